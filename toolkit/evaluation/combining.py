"""Fitting the rule by which two readers become one: on out-of-fold scores of train, and on validation."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from toolkit.errors import needs_extra
from toolkit.prediction.combination import NEVER, Combination, softmax
from toolkit.prediction.ngrams import NgramScores

# Of the reviews that n-grams decide alone, the share that may be wrong, out of fold. IMDB's are wrong as often when both
# readers are asked: docs/model.md has the curve.
ERROR_BOUND = 0.035
_GROUP_BOUND = 1.5 * ERROR_BOUND  # in each label and each half by length, which have fewer reviews to be judged by
_FEWEST_DECIDED = 200  # a share of errors of 0.035 has a standard error of 0.013 then
FEWEST_TOKENS = 64  # some three sentences; a shorter text has few n-grams to be sure by
_LEAST_FAMILIAR = 0.005  # the quantile of reviews, out of fold, below which n-grams do not decide alone
_UNFAMILIAR = 0.01  # the quantile of excerpts as long as a sentence below which nobody decides


def calibrate_alone(
    combination: Combination, scores: NgramScores, tokens: np.ndarray, labels: np.ndarray
) -> Combination:
    """Fit `slope` and `exponent` to the likeliest labels.

    Args:
        combination: The rest of the rule.
        scores: Out-of-fold scores of n texts.
        tokens: The number of tokens of each, (n,).
        labels: The labels, (n,).
    """

    def loss(parameters: np.ndarray) -> float:
        fitted = replace(combination, slope=float(np.exp(parameters[0])), exponent=float(parameters[1]))
        return _log_loss(fitted.alone(scores, tokens), labels)

    slope, exponent = _minimise(loss, [0.0, 0.5])
    return replace(combination, slope=float(np.exp(slope)), exponent=float(exponent))


def fit_sum(
    combination: Combination, scores: NgramScores, tokens: np.ndarray, logits: np.ndarray, labels: np.ndarray
) -> Combination:
    """Fit `weight` and `temperature` of the sum to the likeliest labels.

    Args:
        combination: The rest of the rule.
        scores: The table's scores of n held-out texts.
        tokens: The number of tokens of each, (n,).
        logits: The transformer's logits, (n, k).
        labels: The labels, (n,).
    """

    def fitted(parameters: np.ndarray) -> Combination:
        weight, temperature = np.exp(parameters)
        return replace(combination, weight=float(weight), temperature=float(temperature))

    return fitted(
        _minimise(lambda parameters: _log_loss(fitted(parameters).together(scores, tokens, logits), labels), [0.0, 0.0])
    )


def fit_unfamiliar(combination: Combination, excerpts: NgramScores) -> Combination:
    """Set `unfamiliar_below`, from the out-of-fold scores of excerpts as long as a sentence."""
    return replace(combination, unfamiliar_below=float(np.quantile(excerpts.familiarity, _UNFAMILIAR)))


def fit_rule(combination: Combination, scores: NgramScores, tokens: np.ndarray, labels: np.ndarray) -> Combination:
    """Choose how sure n-grams have to be to decide alone: as little as the bound on their errors allows.

    The bound holds for all texts that they decide, and a wider one for those of each label and of each half by length.

    Args:
        combination: The rest of the rule, `slope` and `exponent` fitted.
        scores: Out-of-fold scores of n texts.
        tokens: The number of tokens of each, (n,).
        labels: The labels, (n,).
    """
    least_familiar = float(np.quantile(scores.familiarity, _LEAST_FAMILIAR))
    combination = replace(combination, fewest_tokens=FEWEST_TOKENS, least_familiar=least_familiar)
    probabilities = softmax(combination.alone(scores, tokens))
    called, surest = probabilities.argmax(axis=1), probabilities.max(axis=1)
    allowed = (tokens >= FEWEST_TOKENS) & (scores.familiarity >= least_familiar)
    if not allowed.any():
        return combination
    middle = np.median(tokens[allowed])
    groups = [called == label for label in range(probabilities.shape[1])] + [tokens < middle, tokens >= middle]
    thresholds = [_threshold(surest, called != labels, allowed, ERROR_BOUND)]
    thresholds += [_threshold(surest, called != labels, allowed & group, _GROUP_BOUND) for group in groups]
    return replace(combination, certain=max(thresholds))


def _threshold(surest: np.ndarray, wrong: np.ndarray, chosen: np.ndarray, bound: float) -> float:
    """The lowest probability from which on at most `bound` of the chosen are wrong; 2 where too few are sure enough."""
    order = np.flatnonzero(chosen)[np.argsort(-surest[chosen], kind="stable")]
    shares = np.cumsum(wrong[order]) / np.arange(1, len(order) + 1)
    within = np.flatnonzero(shares <= bound)
    if not len(within) or within[-1] + 1 < _FEWEST_DECIDED:
        return NEVER
    return float(surest[order[within[-1]]])


def _log_loss(logits: np.ndarray, labels: np.ndarray) -> float:
    shifted = logits - logits.max(axis=1, keepdims=True)
    return float((np.log(np.exp(shifted).sum(axis=1)) - shifted[np.arange(len(labels)), labels]).mean())


def _minimise(loss: Callable[[np.ndarray], float], start: list[float]) -> np.ndarray:
    with needs_extra("train", "fitting the readers"):
        from scipy.optimize import minimize

    found: np.ndarray = minimize(loss, np.array(start), method="Nelder-Mead", options={"xatol": 1e-4, "fatol": 1e-8}).x
    return found
