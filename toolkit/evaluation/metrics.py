"""What a classifier got right, in the field's usual numbers."""

from typing import Any

import numpy as np

from toolkit.errors import needs_extra

RESAMPLES = 1000
SEED = 0


def two_columns(second: np.ndarray) -> np.ndarray:
    """The probabilities (N, 2) of two labels, given the second's (N,)."""
    columns: np.ndarray = np.column_stack([1 - second, second])
    return columns


def softmax(logits: np.ndarray) -> np.ndarray:
    """Probabilities (N, k) float64 of logits (N, k)."""
    logits = np.asarray(logits, np.float64)
    if logits.shape[1] == 2:
        with np.errstate(over="ignore"):  # where exp is infinite, the score is 0
            return two_columns(1 / (1 + np.exp(logits[:, 0] - logits[:, 1])))
    exponentials = np.exp(logits - logits.max(axis=1, keepdims=True))
    probabilities: np.ndarray = exponentials / exponentials.sum(axis=1, keepdims=True)
    return probabilities


def squared_errors(labels: np.ndarray, probabilities: np.ndarray) -> np.ndarray:
    """Brier's score of each review, (N,): the squared error summed over all labels; of two, the second's alone.

    Two labels are wrong by the same; with one of them the score is the one that the field calls Brier's (1950) for yes
    and no, half of the sum.
    """
    if probabilities.shape[1] == 2:
        errors: np.ndarray = (probabilities[:, 1] - labels) ** 2
        return errors
    errors = ((probabilities - np.eye(probabilities.shape[1])[labels]) ** 2).sum(axis=1)
    return errors


def classification_metrics(labels: np.ndarray, probabilities: np.ndarray) -> dict[str, Any]:
    """Compare true labels with probabilities.

    Args:
        labels: (N,) 0 to k - 1.
        probabilities: (N, k); the highest counts as the answer, of equal ones the first.

    Returns:
        `accuracy` and `confusion_matrix`, (k, k), a row a true label. Of two labels, `precision`, `recall` and `f1` of the
        second, and `roc_auc` (None where only one class occurs). Of more, `precision`, `recall` and `f1` averaged over the
        labels that occur, true or predicted (macro), and `per_label`: `precision`, `recall`, `f1` and `reviews` of each.
    """
    with needs_extra("evaluate", "computing metrics"):
        from sklearn import metrics

    if probabilities.shape[1] > 2:
        return _of_many(labels, probabilities)
    positive_scores = probabilities[:, 1]
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


def _of_many(labels: np.ndarray, probabilities: np.ndarray) -> dict[str, Any]:
    classes = probabilities.shape[1]
    matrix = np.bincount(labels * classes + probabilities.argmax(axis=1), minlength=classes**2).reshape(
        classes, classes
    )
    precision, recall, f1 = _rates_of(matrix)
    return {
        "accuracy": float(matrix.trace() / len(labels)),
        **_macro(matrix),
        "per_label": [
            {"precision": float(p), "recall": float(r), "f1": float(f), "reviews": int(count)}
            for p, r, f, count in zip(precision, recall, f1, matrix.sum(axis=1), strict=True)
        ],
        "confusion_matrix": matrix.tolist(),
    }


def _rates_of(matrix: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Precision, recall and F1 of each label, (k,); 0 where there is nothing to divide by."""
    hits, calls, true = np.diag(matrix), matrix.sum(axis=0), matrix.sum(axis=1)
    return hits / np.maximum(calls, 1), hits / np.maximum(true, 1), 2 * hits / np.maximum(calls + true, 1)


def _macro(matrix: np.ndarray) -> dict[str, float]:
    occurring = matrix.sum(axis=0) + matrix.sum(axis=1) > 0
    names = ("precision", "recall", "f1")
    return {name: float(rates[occurring].mean()) for name, rates in zip(names, _rates_of(matrix), strict=True)}


def accuracy_interval(right: int, reviews: int) -> tuple[float, float]:
    """Wilson's 95% interval of a share, which holds near 1 too, where the normal one runs over."""
    with needs_extra("evaluate", "computing metrics"):
        from scipy.stats import binomtest

    interval = binomtest(right, reviews).proportion_ci(0.95, method="wilson")
    return float(interval.low), float(interval.high)


def bootstrap_intervals(
    labels: np.ndarray, probabilities: np.ndarray, resamples: int = RESAMPLES, seed: int = SEED
) -> dict[str, tuple[float, float] | None]:
    """95% intervals of what `classification_metrics` returns, and of the Brier score, over samples of the reviews.

    Each sample draws N reviews with replacement; the interval lies between the 2.5th and the 97.5th percentile (Efron and
    Tibshirani 1993). Accuracy is left to `accuracy_interval`: where every review is right, so is every sample, and the
    interval would have no width.

    Args:
        labels: (N,) 0 to k - 1.
        probabilities: (N, k).
        resamples: The number of samples drawn.
        seed: The seed of the draw.

    Returns:
        `precision`, `recall`, `f1`, `roc_auc` and `brier`, each (low, high); `roc_auc` is None where one class occurs, and
        missing where there are more labels than two.
    """
    rng = np.random.default_rng(seed)
    reviews = len(labels)
    wrong_by = squared_errors(labels, probabilities)
    if (classes := probabilities.shape[1]) > 2:
        cells = labels * classes + probabilities.argmax(axis=1)
        samples = []
        for _ in range(resamples):
            times = np.bincount(rng.integers(reviews, size=reviews), minlength=reviews)
            matrix = np.bincount(cells, weights=times, minlength=classes**2).reshape(classes, classes)
            samples.append({**_macro(matrix), "brier": times @ wrong_by / reviews})
        return {name: _percentiles([sample[name] for sample in samples]) for name in samples[0]}
    positive_scores = probabilities[:, 1]
    positive, called = labels == 1, positive_scores > 0.5
    scores, place = np.unique(positive_scores, return_inverse=True)
    drawn: dict[str, list[float]] = {name: [] for name in ("precision", "recall", "f1", "roc_auc", "brier")}
    for _ in range(resamples):
        times = np.bincount(rng.integers(reviews, size=reviews), minlength=reviews)  # (N,) each review is in the sample
        positives, hits, calls = times @ positive, times @ (positive & called), times @ called
        drawn["precision"].append(hits / calls if calls else 0.0)
        drawn["recall"].append(hits / positives if positives else 0.0)
        drawn["f1"].append(2 * hits / (positives + calls) if positives + calls else 0.0)
        drawn["brier"].append(times @ wrong_by / reviews)
        if 0 < positives < reviews:
            above = np.bincount(place, weights=times * positive, minlength=len(scores))  # positives of each score
            below = np.bincount(place, weights=times * ~positive, minlength=len(scores))
            pairs = above @ (np.cumsum(below) - below / 2)  # in the right order, a tie for half
            drawn["roc_auc"].append(pairs / (positives * (reviews - positives)))
    return {name: _percentiles(values) if values else None for name, values in drawn.items()}


def difference_interval(
    only_first: int, only_second: int, reviews: int, resamples: int = 10 * RESAMPLES, seed: int = SEED
) -> tuple[float, float]:
    """95% interval of the second model's accuracy less the first's, over samples of the reviews both have judged.

    Args:
        only_first: reviews that only the first got right.
        only_second: reviews that only the second got right.
        reviews: all of them; the rest, right or wrong twice, says nothing of a difference.
        resamples: The number of samples drawn.
        seed: The seed of the draw.
    """
    shares = np.array([only_first, only_second, reviews - only_first - only_second]) / reviews
    counts = np.random.default_rng(seed).multinomial(reviews, shares, size=resamples)  # (resamples, 3): drawing pairs
    return _percentiles((counts[:, 1] - counts[:, 0]) / reviews)


def mcnemar(only_first: int, only_second: int) -> dict[str, float]:
    """Whether two models are right equally often, from the reviews that one got right and the other wrong.

    Returns:
        `exact`: the two-sided binomial p-value (McNemar 1947); `mid_p`: the same less half the weight of what was seen,
        which is less cautious and nearer the nominal level (Fagerland, Lydersen and Laake 2013, BMC Med. Res.
        Methodol. 13:91).
    """
    with needs_extra("evaluate", "computing metrics"):
        from scipy.stats import binom, binomtest

    if only_first == only_second:
        return {"exact": 1.0, "mid_p": 1.0}
    changed = only_first + only_second
    exact = float(binomtest(only_first, changed, 0.5).pvalue)
    return {"exact": exact, "mid_p": exact - float(binom.pmf(only_first, changed, 0.5))}


def _percentiles(values: "np.ndarray | list[float]") -> tuple[float, float]:
    low, high = np.percentile(values, [2.5, 97.5])
    return float(low), float(high)
