"""Scores that mean what they say: a temperature fitted on held-out reviews, and how far off scores are."""

import logging
import math

import numpy as np

from toolkit.errors import needs_extra
from toolkit.evaluation.metrics import softmax, squared_errors

BINS = 15
_FEWEST_DECIDED = 200

# Nobody is too sure or too unsure by more: 6, a sure review's margin (score 0.9975), becomes 0.3 (0.574) at 20; 0.3 becomes
# 6 at 0.05. A fit that goes so far says that the scores order the reviews by chance, or without a mistake.
_BOUND = 20.0
# Wrong verdicts, and right ones, that a fit needs, for without the one or the other there is no best temperature. 200 draws
# from the shipped model's 2,483 validation reviews: with 10 wrong ones in a draw the temperature's logarithm has a standard
# deviation of 0.18 (1 / sqrt(10 x 3.4), by the Fisher information of 3.4 a wrong review), with 4 of 0.68, up to the bound.
_FEWEST_OF_EACH = 10
_FOLDS = 10
_logger = logging.getLogger(__name__)


def fit_temperature(logits: np.ndarray, labels: np.ndarray, otherwise: float = 1.0) -> float:
    """The number that the logits have to be divided by for the likeliest labels (Guo et al. 2017, arXiv:1706.04599).

    Args:
        logits: (N, k) of reviews that the model was not trained on.
        labels: (N,) 0 to k - 1.
        otherwise: the temperature where the reviews are too few to fit one.

    Returns:
        The temperature, 0.05 to 20. Labels do not change by it, and neither does their order by score. 1, the bare logits,
        where a temperature makes the labels no likelier on reviews that it was not fitted on (cross-fitted in ten folds).
        Whatever keeps it from being the best one is logged.
    """
    over_true = _over_true(logits, labels)
    wrong = int((np.partition(over_true, -2, axis=1)[:, -2:].min(axis=1) >= 0).sum())  # some label has as much or more
    if min(wrong, len(over_true) - wrong) < _FEWEST_OF_EACH:
        _logger.warning(
            "temperature %g: %d wrong and %d right verdicts are too few to fit one, expected at least %d of each; "
            "the scores may be too high or too low",
            otherwise, wrong, len(over_true) - wrong, _FEWEST_OF_EACH,
        )  # fmt: skip
        return otherwise
    folds = np.random.default_rng(0).permutation(len(over_true)) % _FOLDS  # a file may be sorted by label
    fitted = np.empty((len(over_true), 1))  # (N, 1) for each review, the temperature of the others
    for fold in range(_FOLDS):
        fitted[folds == fold] = _likeliest(over_true[folds != fold])
    if not _loss(over_true, fitted) < _loss(over_true, 1.0):
        _logger.warning(
            "temperature 1: a fitted one makes the scores of held-out reviews no better (log loss %.4f, without %.4f)",
            _loss(over_true, fitted), _loss(over_true, 1.0),
        )  # fmt: skip
        return 1.0
    temperature = _likeliest(over_true)
    if _is_bound(temperature):
        _logger.warning("%s", describe_temperature(temperature))
    return temperature


def describe_temperature(temperature: float) -> str:
    """What a reader of the figures has to know of a temperature; empty for one that was fitted as it should be."""
    if temperature == 1:
        return (
            "The temperature is 1, so the scores are those of the bare logits: none was fitted, or the reviews gave too "
            "little evidence for one, or held-out scores were no better with it."
        )
    if _is_bound(temperature):
        return (
            f"The temperature {temperature:.3g} is at its bound of {_BOUND if temperature > 1 else 1 / _BOUND:g}: the reviews "
            "that it was fitted on set none, so the scores are not to be trusted."
        )
    return ""


def _is_bound(temperature: float) -> bool:
    return abs(math.log(temperature)) > 0.99 * math.log(_BOUND)  # the search comes near it and never reaches it


def _likeliest(over_true: np.ndarray) -> float:
    with needs_extra("evaluate", "calibrating"):
        from scipy.optimize import minimize_scalar

    bound = np.log(_BOUND)
    fit = minimize_scalar(
        lambda logarithm: _loss(over_true, np.exp(logarithm)), bounds=(-bound, bound), method="bounded"
    )
    return float(np.exp(fit.x))


def _loss(over_true: np.ndarray, temperature: "np.ndarray | float") -> float:
    """The mean negative log-likelihood, log(1 + the sum of exp(x / T)) over what the other labels have over the true one."""
    return float(np.logaddexp.reduce(over_true / temperature, axis=1).mean())


def calibration_metrics(logits: np.ndarray, labels: np.ndarray, temperature: float) -> dict[str, float]:
    """How far scores are from the truth.

    Args:
        logits: (N, k).
        labels: (N,) 0 to k - 1.
        temperature: the logits are divided by it.

    Returns:
        `ece`: expected calibration error: the mean, over reviews, of |accuracy - mean score| of their bin, in 15 bins
        of equal width over 0 to 1 (Guo et al. 2017), of the likeliest label; `brier`: the mean of `squared_errors`.
    """
    over_true = _over_true(logits, labels) / temperature
    best = over_true.max(axis=1, keepdims=True)
    score = 1 / np.exp(over_true - best).sum(axis=1)  # (N,) of the label that is given
    right = np.sort(over_true, axis=1)[:, -2] < 0  # every other label has less
    if over_true.shape[1] == 2:
        errors = np.exp(-2 * np.logaddexp(0, -over_true.sum(axis=1)))  # (1 - the true label's probability)²
    else:
        errors = squared_errors(np.asarray(labels), softmax(over_true))
    return {"ece": _calibration_error(score, right), "brier": float(errors.mean())}


def chance_calibration_error(scores: np.ndarray, resamples: int = 1000, seed: int = 0) -> float:
    """The expected calibration error that honest scores stay under in 95 of 100 cases.

    It is never negative and never 0 on so many reviews: labels are drawn that the scores describe exactly, again and
    again, and it is measured on them (consistency resampling, Bröcker and Smith 2007, Weather Forecast. 22:651-661).

    Args:
        scores: (N,) of the labels that were given.
        resamples: The number of samples drawn.
        seed: The seed of the draw.
    """
    rng = np.random.default_rng(seed)
    errors = [_calibration_error(scores, rng.random(len(scores)) < scores) for _ in range(resamples)]
    return float(np.percentile(errors, 95))


def risk_coverage(labels: np.ndarray, probabilities: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """What is gained by deciding only the surest reviews (El-Yaniv and Wiener 2010, JMLR 11:1605-1641).

    Args:
        labels: (N,) 0 to k - 1, N at least 1.
        probabilities: (N, k). A review's score is that of its likeliest label.

    Returns:
        Three arrays of length K, the number of distinct scores, from the surest review to all of them: `coverage`, the
        share of reviews with a score of at least `thresholds[k]`; `accuracy` among these, one less the selective risk;
        and `thresholds`, falling, which `Threshold` takes as `uncertain_below`. Reviews of one score are decided
        together, since no threshold parts them.
    """
    scores = probabilities.max(axis=1)
    right = probabilities.argmax(axis=1) == labels
    thresholds, place, counts = np.unique(-scores, return_inverse=True, return_counts=True)
    decided = np.cumsum(counts)
    accuracy = np.cumsum(np.bincount(place, weights=right)) / decided
    return decided / len(scores), accuracy, -thresholds


def steps_of_risk_coverage(logits: np.ndarray, labels: np.ndarray) -> tuple[dict[str, float], ...]:
    """The risk-coverage curve in a few steps, for a manifest: for each accuracy, a thousandth apart, the most coverage.

    Args:
        logits: (N, k), calibrated.
        labels: (N,) 0 to k - 1.

    Returns:
        `accuracy`, `uncertain_below` and `coverage` of each step, from all reviews on, both of the former rising. The
        curve's surest end, where a single review moves the accuracy by more than half a point, is left out.
    """
    coverage, accuracy, thresholds = risk_coverage(labels, softmax(logits))
    lowest = math.floor(1e6 / logits.shape[1]) / 1e6
    steps: list[dict[str, float]] = [{"accuracy": float(accuracy[-1]), "uncertain_below": lowest, "coverage": 1.0}]
    for k in reversed(np.flatnonzero(coverage * len(labels) >= _FEWEST_DECIDED)):  # from all reviews to the surest
        if accuracy[k] >= np.floor(1000 * steps[-1]["accuracy"] + 1) / 1000:
            below = np.floor(thresholds[k] * 1e6) / 1e6  # rounded down, so that the review at the threshold stays in
            steps.append({"accuracy": float(accuracy[k]), "uncertain_below": max(lowest, float(below)),
                          "coverage": float(coverage[k])})  # fmt: skip
    return tuple(steps)


def _calibration_error(scores: np.ndarray, right: np.ndarray) -> float:
    bins = np.minimum((scores * BINS).astype(int), BINS - 1)
    gaps = np.bincount(bins, weights=right - scores, minlength=BINS)  # each times the bin's reviews
    return float(np.abs(gaps).sum() / len(scores))


def _over_true(logits: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Each label's logit less the true one's, (N, k) float64, 0 in the true one's column."""
    logits = logits.astype(np.float64)
    over_true: np.ndarray = logits - np.take_along_axis(logits, np.asarray(labels)[:, None], axis=1)
    return over_true
