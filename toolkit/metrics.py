"""What a classifier got right, in the field's usual numbers."""

from typing import Any

import numpy as np

from toolkit.errors import needs_extra


def classification_metrics(labels: np.ndarray, positive_scores: np.ndarray) -> dict[str, Any]:
    """Compare true labels with scores.

    Args:
        labels: (N,) 0 or 1.
        positive_scores: (N,) higher means more positive; over 0.5 counts as positive. Probabilities.

    Returns:
        `accuracy`, `precision`, `recall`, `f1` of the positive class, `roc_auc` (None where only one class occurs),
        and `confusion_matrix` as [[TN, FP], [FN, TP]].
    """
    with needs_extra("train", "computing metrics"):
        from sklearn import metrics

    predicted = (positive_scores > 0.5).astype(int)
    precision, recall, f1, _ = metrics.precision_recall_fscore_support(
        labels, predicted, average="binary", zero_division=0.0
    )
    return {
        "accuracy": float(metrics.accuracy_score(labels, predicted)),
        "precision": float(precision),
        "recall": float(recall),
        "f1": float(f1),
        "roc_auc": float(metrics.roc_auc_score(labels, positive_scores)) if len(set(labels.tolist())) == 2 else None,
        "confusion_matrix": metrics.confusion_matrix(labels, predicted, labels=[0, 1]).tolist(),
    }


def accuracy_interval(right: int, reviews: int) -> tuple[float, float]:
    """Wilson's 95% interval of a share, which holds near 1 too, where the normal one runs over."""
    with needs_extra("train", "computing metrics"):
        from scipy.stats import binomtest

    interval = binomtest(right, reviews).proportion_ci(0.95, method="wilson")
    return float(interval.low), float(interval.high)
