"""How right a predictor is, and how fast, on labelled reviews."""

import time
from collections.abc import Sequence
from typing import Any

import numpy as np

from toolkit.calibration import calibration_metrics
from toolkit.errors import needs_extra
from toolkit.labels import Label
from toolkit.metrics import accuracy_interval, classification_metrics
from toolkit.prediction import Predictor
from toolkit.splits import Review


def evaluate(predictor: Predictor, reviews: Sequence[Review]) -> dict[str, Any]:
    """Predict every review and compare.

    Returns:
        What `classification_metrics` returns, `accuracy_interval` (95%), `ece` and `brier` of the scores (see
        `toolkit.calibration`), plus `reviews`, `reviews_per_second` (tokenisation included, loading
        not), `truncated` (reviews longer than the model read), `backend` and `device`.
    """
    with needs_extra("train", "computing metrics"):
        import sklearn  # noqa: F401 - better missed before the work than after it
    started = time.perf_counter()
    predictions = list(predictor.predict_many(review.text for review in reviews))
    seconds = time.perf_counter() - started
    labels = np.array([int(review.label) for review in reviews])
    scores = np.array([prediction.probabilities[Label.POSITIVE] for prediction in predictions])
    metrics = classification_metrics(labels, scores)
    probabilities = np.clip(np.stack([1 - scores, scores], axis=1), 1e-12, 1)  # (N, 2)
    return {
        **metrics,
        "accuracy_interval": accuracy_interval(round(metrics["accuracy"] * len(reviews)), len(reviews)),
        **calibration_metrics(np.log(probabilities), labels, temperature=1.0),  # the scores are calibrated already
        "reviews": len(reviews),
        "reviews_per_second": len(reviews) / seconds,
        "truncated": sum(prediction.tokens_read < prediction.tokens for prediction in predictions),
        "backend": predictor.backend,
        "device": predictor.device,
    }
