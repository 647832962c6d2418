"""How right a predictor is, and how fast, on labelled reviews."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from toolkit.datasets.splits import Review
from toolkit.errors import needs_extra
from toolkit.evaluation.calibration import calibration_metrics, chance_calibration_error, describe_temperature
from toolkit.evaluation.metrics import (
    RESAMPLES,
    SEED,
    accuracy_interval,
    bootstrap_intervals,
    classification_metrics,
    two_columns,
)
from toolkit.prediction import Predictor
from toolkit.prediction.abstention import FOREIGN, Threshold
from toolkit.text.labels import SENTIMENT, LabelSet


@dataclass(frozen=True)
class EvaluationResult:
    """What a model said of N labelled reviews.

    Attributes:
        labels: The true labels, (N,), 0 to k - 1.
        logits: The logits as `Prediction` has them, (N, k).
        probabilities: The calibrated probabilities, (N, k).
        tokens: The number of tokens in each whole review, (N,).
        tokens_read: The number of tokens that the model saw of each, (N,).
        temperature: The number by which the logits were divided; 1 where n-grams had a part in them, which are calibrated.
        seconds: The time it took, tokenisation included, loading not.
        backend: The predictor's backend.
        device: The predictor's device.
        label_set: The labels of the columns.
        read_by: Who read each, (N,), see `Prediction`; None where there is no n-gram table.
        foreign: Which texts are not for the model, and have no verdict whatever their score, (N,); None where none is known
            to be so. See `toolkit.prediction.abstention.FOREIGN`.
    """

    labels: np.ndarray
    logits: np.ndarray
    probabilities: np.ndarray
    tokens: np.ndarray
    tokens_read: np.ndarray
    temperature: float
    seconds: float
    backend: str
    device: str
    label_set: LabelSet = SENTIMENT
    read_by: np.ndarray | None = None
    foreign: np.ndarray | None = None

    @property
    def verdicts(self) -> np.ndarray:
        """(N,) the labels that were given, 0 to k - 1."""
        verdicts: np.ndarray = self.probabilities.argmax(axis=1)
        return verdicts

    @property
    def right(self) -> np.ndarray:
        """(N,) whether the verdict is the label."""
        right: np.ndarray = self.verdicts == self.labels
        return right

    @property
    def scores(self) -> np.ndarray:
        """(N,) calibrated probabilities of the verdicts."""
        scores: np.ndarray = self.probabilities.max(axis=1)
        return scores


def run_evaluation(
    predictor: Predictor, reviews: Sequence[Review], advance: Callable[[int], object] = lambda count: None
) -> EvaluationResult:
    """Predict every review.

    Args:
        predictor: The model.
        reviews: The labelled reviews, one at least.
        advance: Takes the number of reviews that were done since it was last called.
    """
    with needs_extra("evaluate", "computing metrics"):
        import sklearn  # noqa: F401 - better missed before the work than after it
    started = time.perf_counter()
    predictions = []
    for prediction in predictor.predict_many(review.text for review in reviews):
        predictions.append(prediction)
        advance(1)
    probabilities = np.array([list(prediction.probabilities.values()) for prediction in predictions])  # (N, k)
    if len(predictor.labels) == 2:
        probabilities = two_columns(probabilities[:, 1])  # as a report, which has one of them, gives them back
    return EvaluationResult(
        labels=np.array([int(review.label) for review in reviews]),
        logits=np.array([prediction.logits for prediction in predictions]),
        probabilities=probabilities,
        tokens=np.array([prediction.tokens for prediction in predictions]),
        tokens_read=np.array([prediction.tokens_read for prediction in predictions]),
        temperature=predictor.manifest.temperature if predictor.readers == "model" else 1.0,
        seconds=time.perf_counter() - started,
        backend=predictor.backend,
        device=predictor.device,
        label_set=predictor.labels,
        read_by=np.array([prediction.read_by for prediction in predictions]) if predictor.ngrams else None,
        foreign=np.array([prediction.reason in FOREIGN for prediction in predictions]),
    )


def measure(result: EvaluationResult, threshold: Threshold | None = None) -> dict[str, Any]:
    """The headline figures.

    Args:
        result: What the model said of labelled reviews.
        threshold: Which reviews count as undecided; none by default.

    Returns:
        What `classification_metrics` returns; `accuracy_interval` (Wilson's, 95%) and `intervals` of the others (see
        `bootstrap_intervals`; `resamples` and `seed` beside them); `ece` and `brier` of the scores, and `calibration`:
        the `temperature`, what a reader has to know of it (`note`), both figures without it (`before`), and `ece_by_chance` (see `chance_calibration_error`);
        `reviews`, `reviews_per_second`, `truncated` (reviews longer than the model read), `backend` and `device`.
        `readers`, by who read them the `reviews`, their `accuracy` with its `interval`, and their `ece`; None where there is no
        n-gram table.
        `abstention`, None where no verdict is withheld: `uncertain_below`, `unfamiliar` (the number of texts that are not
        for the model, see `EvaluationResult.foreign`), `coverage` (the share decided), and `accuracy` of those, with its `interval`; both None where none was decided.
    """
    labels, reviews = result.labels, len(result.labels)
    return {
        **classification_metrics(labels, result.probabilities),
        "accuracy_interval": accuracy_interval(int(result.right.sum()), reviews),
        "intervals": bootstrap_intervals(labels, result.probabilities),
        "resamples": RESAMPLES,
        "seed": SEED,
        **calibration_metrics(result.logits, labels, result.temperature),
        "calibration": {
            "temperature": result.temperature,
            "note": describe_temperature(result.temperature) if _is_transformer_alone(result) else "",
            "before": calibration_metrics(result.logits, labels, temperature=1.0),
            "ece_by_chance": chance_calibration_error(result.scores),
        },
        "abstention": _abstain(result, threshold),
        "readers": _by_reader(result),
        "reviews": reviews,
        "reviews_per_second": reviews / result.seconds,
        "truncated": int((result.tokens_read < result.tokens).sum()),
        "backend": result.backend,
        "device": result.device,
    }


def _is_transformer_alone(result: EvaluationResult) -> bool:
    return result.read_by is None or bool((result.read_by == "model").all())


def _by_reader(result: EvaluationResult) -> dict[str, dict[str, Any]] | None:
    if result.read_by is None:
        return None
    figures = {}
    for reader in np.unique(result.read_by).tolist():
        chosen = result.read_by == reader
        count, right = int(chosen.sum()), int(result.right[chosen].sum())
        calibration = calibration_metrics(result.logits[chosen], result.labels[chosen], result.temperature)
        figures[reader] = {
            "reviews": count, "accuracy": right / count, "interval": accuracy_interval(right, count), "ece": calibration["ece"],
        }  # fmt: skip
    return figures


def evaluate(predictor: Predictor, reviews: Sequence[Review]) -> dict[str, Any]:
    """Predict every review and compare; returns what `measure` does."""
    return measure(run_evaluation(predictor, reviews))


def _abstain(result: EvaluationResult, threshold: Threshold | None) -> dict[str, Any] | None:
    foreign = np.zeros(len(result.labels), bool) if result.foreign is None else result.foreign
    if threshold is None or (threshold.uncertain_below <= result.label_set.lowest_score and not foreign.any()):
        return None
    decided = (result.scores >= threshold.uncertain_below) & ~foreign
    count, right = int(decided.sum()), int((result.right & decided).sum())
    return {
        "uncertain_below": threshold.uncertain_below,
        "unfamiliar": int(foreign.sum()),
        "coverage": count / len(decided),
        "accuracy": right / count if count else None,
        "interval": accuracy_interval(right, count) if count else None,
    }
