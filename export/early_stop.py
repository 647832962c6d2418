"""Fitting when a model may stop reading: how long its first look is, how sure it has to be, how two looks make one answer."""

import logging
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from toolkit.errors import needs_extra
from toolkit.prediction import Predictor
from toolkit.reading import EarlyStop
from toolkit.splits import Review
from toolkit.text import Encoding, ReviewTokenizer

FIRST_LOOKS = (64, 96, 128)  # tokens
THRESHOLDS = (0.8, 0.85, 0.9, 0.925, 0.95, 0.96, 0.97, 0.98, 0.99)
LOSS = 0.001  # of accuracy, at most
_FOLDS = 5
_RIDGE = 1e-3  # on the weights, beside a mean loss of about 0.2
_logger = logging.getLogger(__name__)


def fit_early_stop(
    model: Predictor, logits: np.ndarray, temperature: float, reviews: Sequence[Review]
) -> EarlyStop | None:
    """The rule that reads least and loses at most `LOSS` against reading in full.

    A review whose label changes from one that has the calibrated probability p costs 2 p - 1 right answers on average. The
    mean of that is what is lost, and varies far less than a difference of two accuracies: of 2,483 reviews, labels alone
    let a rule pass that cost more than a point on others. Answers from both looks are cross-fitted, in `_FOLDS` folds.

    Args:
        model: the graph that is published.
        logits: (N, 2), its answers when reading in full.
        temperature: that calibrates them.
        reviews: N, that it was not trained on.

    Returns:
        The rule, or None where nothing is gained.
    """
    labels = np.array([int(review.label) for review in reviews])
    margins = np.diff(logits.astype(np.float64), axis=1)[:, 0] / temperature  # (N,)
    full = _tokens(ReviewTokenizer.wrap(model.tokenizer, model.tokenizer.max_length), reviews)
    best, least = None, full
    longest = max(encoding.tokens for encoding in model.tokenizer.encode([review.text for review in reviews]))
    for first in FIRST_LOOKS:
        if first >= min(longest, model.tokenizer.max_length):
            continue  # it would be the whole of every review
        looks = _Looks(model, first, reviews, labels)
        for threshold in THRESHOLDS:
            loss, tokens = looks.judge(threshold, margins)
            if loss <= LOSS and tokens < least:
                best, least = replace(looks.rule, threshold=threshold), tokens
    if best:
        _logger.info(
            "a first look of %d tokens, enough at %.3f, reads %.0f%% of the tokens",
            best.first, best.threshold, 100 * least / full,
        )  # fmt: skip
    return best


class _Looks:
    """What the model says of every review's ends, and of the middle where there is one."""

    def __init__(self, model: Predictor, first: int, reviews: Sequence[Review], labels: np.ndarray) -> None:
        unfitted = EarlyStop(first, 1.0, 1.0, (1.0, 0.0, 0.0, 0.0))
        tokenizer = ReviewTokenizer.wrap(model.tokenizer, model.tokenizer.max_length)
        tokenizer.early_stop = unfitted
        parts = tokenizer.encode_parts([review.text for review in reviews])
        self.labels = labels
        self.lengths = np.array(
            [[len(each[0].input_ids), len(each[1].input_ids) if len(each) > 1 else 0] for each in parts]
        )
        self.has_rest = self.lengths[:, 1] > 0
        self.first = _margins(model, [each[0] for each in parts])
        rest = np.zeros(len(parts))
        rest[self.has_rest] = _margins(model, [each[1] for each in parts if len(each) > 1])
        share = self.lengths[:, 1] / self.lengths.sum(axis=1)
        self._terms = np.stack([self.first, self.first * share, rest, rest * share], axis=1)  # (N, 4), see EarlyStop
        self._combined = self._cross_fitted()
        temperature = 1 / _fit(self.first[:, np.newaxis], labels)[0]
        w0, w1, w2, w3 = map(float, _fit(self._terms[self.has_rest], labels[self.has_rest]))
        self.rule = replace(unfitted, temperature=float(temperature), weights=(w0, w1, w2, w3))

    def judge(self, threshold: float, full: np.ndarray) -> tuple[float, int]:
        """Loss of accuracy and tokens read if a first look is enough at `threshold`; `full` are calibrated margins, (N,)."""
        sure = 1 / (1 + np.exp(-np.abs(self.first / self.rule.temperature))) >= threshold
        stopped = sure | ~self.has_rest
        margins = np.where(stopped, self.first, self._combined)
        lost = np.where((margins > 0) == (full > 0), 0, np.tanh(np.abs(full) / 2))  # 2 p - 1 of p = sigmoid(margin)
        return float(lost.mean()), int(self.lengths[stopped, 0].sum() + self.lengths[~stopped].sum())

    def _cross_fitted(self) -> np.ndarray:
        combined = np.zeros(len(self.labels))
        for fold in range(_FOLDS):
            held_out = np.arange(len(self.labels)) % _FOLDS == fold
            weights = _fit(self._terms[~held_out & self.has_rest], self.labels[~held_out & self.has_rest])
            combined[held_out] = self._terms[held_out] @ weights
        return combined


def _fit(terms: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Weights (K,) of a logistic regression without intercept on terms (N, K), which makes the sum a calibrated margin."""
    with needs_extra("train", "fitting"):
        from scipy.optimize import minimize

    signs = 2 * labels - 1
    start = np.eye(terms.shape[1])[0]

    def loss(weights: np.ndarray) -> float:
        return float(np.logaddexp(0, -signs * (terms @ weights)).mean() + _RIDGE * (weights**2).sum())

    weights: np.ndarray = minimize(loss, start).x
    return weights


def _margins(model: Predictor, encodings: Sequence[Encoding]) -> np.ndarray:
    """Positive less negative logit, (n,) float64."""
    margins: np.ndarray = np.diff(model.logits(encodings).astype(np.float64), axis=1)[:, 0]
    return margins


def _tokens(tokenizer: ReviewTokenizer, reviews: Sequence[Review]) -> int:
    return sum(
        len(part.input_ids) for parts in tokenizer.encode_parts([each.text for each in reviews]) for part in parts
    )
