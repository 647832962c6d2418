"""Fitting the n-gram reader: naive-Bayes log-count ratios under a logistic regression, judged out of fold."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from toolkit.errors import needs_extra
from toolkit.prediction.ngrams import NgramScores, NgramTable, ngram_keys
from toolkit.progress import track
from toolkit.training.folds import grouped_folds

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix

FOLDS = 5
_EXCERPT = (6, 30)  # tokens, as a sentence has
_NO_WEIGHT = 0.02  # probability up to which a label is as good as none, and a text need not be read twice


@dataclass(frozen=True, slots=True)
class NgramSettings:
    """How a table is fitted; chosen on validation and out of fold (docs/model.md).

    Attributes:
        minimum_counts: The number of texts in which an n-gram of each order has to occur.
        smoothing: Added to the counts before their ratio is taken, Wang and Manning's alpha.
        regularisation: The C of the logistic regression; smaller is smoother.
        buckets: The rows of the table, a power of two; 2 bytes each for two labels.
        seed: Of the excerpts, and of the regression.
    """

    minimum_counts: tuple[int, ...] = (3, 3, 5)
    smoothing: float = 1.0
    regularisation: float = 0.1
    buckets: int = 1 << 20
    seed: int = 0


@dataclass(frozen=True, slots=True)
class FittedNgrams:
    """A table, and what tables that never saw a text say of it.

    Attributes:
        table: Fitted on every text.
        out_of_fold: The scores of each of the n texts by the table of the other folds, see `grouped_folds`.
        excerpts: The same of an excerpt of each, as long as a sentence.
        unseen: The same of each of the further texts.
    """

    table: NgramTable
    out_of_fold: NgramScores
    excerpts: NgramScores
    unseen: NgramScores


def fit_ngrams(
    sequences: Sequence[np.ndarray],
    targets: np.ndarray,
    settings: NgramSettings = NgramSettings(),
    unseen: Sequence[np.ndarray] = (),
) -> FittedNgrams:
    """Fit a table on n texts, and one without each of `FOLDS` parts of them.

    Args:
        sequences: The token ids of each text, with [CLS] and [SEP].
        targets: (n, k) How likely each label is for each text: 1 for the one that it has, or a teacher's probabilities.
        settings: How it is fitted.
        unseen: The same of further texts, which no table learns from; the table that scores one has not learnt from those on its
            subject either.
    """
    every, count = [*sequences, *unseen], len(sequences)
    counted = _Counted.of(every)
    random = np.random.default_rng(settings.seed)
    with needs_extra("train", "fitting the n-gram reader"):
        folds = grouped_folds(counted.texts, counted.entries, len(every), FOLDS)
    excerpts = [_excerpt(ids, random) for ids in sequences]
    held_out = [np.flatnonzero(folds == fold) for fold in range(FOLDS)]
    learnt_from = np.arange(len(every)) < count
    with track("fitting n-grams", "tables", FOLDS + 1) as progress:
        tables = []
        for fold in range(FOLDS + 1):  # the last is without none of them
            tables.append(_fit(counted, targets, learnt_from & (folds != fold), settings))
            progress.advance()

    def by_others(texts: Sequence[np.ndarray]) -> NgramScores:
        parts = [part[part < len(texts)] for part in held_out]
        scored = [table.score([texts[n] for n in part.tolist()]) for table, part in zip(tables, parts, strict=False)]
        order = np.argsort(np.concatenate(parts), kind="stable")
        return NgramScores(*(np.concatenate(arrays) for arrays in zip(*map(_arrays, scored), strict=True))).of(order)

    scores = by_others(every)
    return FittedNgrams(
        table=tables[FOLDS],
        out_of_fold=scores.of(np.flatnonzero(learnt_from)),
        excerpts=by_others(excerpts),
        unseen=scores.of(np.flatnonzero(~learnt_from)),
    )


def _arrays(scores: NgramScores) -> tuple[np.ndarray, np.ndarray]:
    return scores.logits, scores.familiarity


def _excerpt(ids: np.ndarray, random: np.random.Generator) -> np.ndarray:
    length = int(random.integers(*_EXCERPT))
    start = int(random.integers(1, max(2, len(ids) - length)))
    return np.concatenate([ids[:1], ids[start : min(start + length, len(ids) - 1)], ids[-1:]])


@dataclass(frozen=True, slots=True)
class _Counted:
    """The distinct n-grams of all texts, each pair of a text and an n-gram once.

    Attributes:
        keys: (v,) uint64, of the distinct n-grams.
        orders: (v,) The orders of these.
        texts: (m,) The text of each pair.
        entries: (m,) The n-gram of each pair, as a place in `keys`.
    """

    keys: np.ndarray
    orders: np.ndarray
    texts: np.ndarray
    entries: np.ndarray

    @classmethod
    def of(cls, sequences: Sequence[np.ndarray]) -> "_Counted":
        """Count n-grams order by order, which holds no more than one order's keys at a time."""
        keys, orders, texts, entries, offset = [], [], [], [], 0
        for order, text, key in ngram_keys(sequences):
            distinct, place = np.unique(key, return_inverse=True)
            pair = np.unique(text * len(distinct) + place)
            keys.append(distinct)
            orders.append(np.full(len(distinct), order, np.int8))
            texts.append((pair // max(1, len(distinct))).astype(np.int32))
            entries.append((pair % max(1, len(distinct)) + offset).astype(np.int32))
            offset += len(distinct)
        return cls(*map(np.concatenate, (keys, orders, texts, entries)))


def _fit(counted: _Counted, targets: np.ndarray, chosen: np.ndarray, settings: NgramSettings) -> NgramTable:
    """A table of the `chosen` of all texts that were counted, bool; `targets` are those of the first n, (n, k)."""
    with needs_extra("train", "fitting the n-gram reader"):
        from scipy.sparse import csr_matrix

    of_chosen = chosen[counted.texts]
    counts = np.bincount(counted.entries[of_chosen], minlength=len(counted.keys))
    kept = counts >= np.array([0, *settings.minimum_counts])[counted.orders]
    column = np.cumsum(kept) - 1
    taken = of_chosen & kept[counted.entries]
    row = np.cumsum(chosen) - 1
    features = csr_matrix(
        (np.ones(taken.sum(), np.float32), (row[counted.texts[taken]], column[counted.entries[taken]])),
        shape=(int(chosen.sum()), int(kept.sum())),
    )
    wanted = targets[np.flatnonzero(chosen)].astype(np.float64)  # (texts, k)
    labels = [1] if wanted.shape[1] == 2 else range(wanted.shape[1])
    weights = np.stack([_one_against_the_rest(features, wanted[:, label], settings) for label in labels], axis=1)
    importance = np.abs(weights).max(axis=1, initial=0) * np.sqrt(counts[kept])
    return NgramTable.build(counted.keys[kept], weights, importance, settings.buckets)


def _one_against_the_rest(features: "csr_matrix", target: np.ndarray, settings: NgramSettings) -> np.ndarray:
    """(v,) log-odds of each n-gram for a label against the others; `target` says how likely that is for each text, (n,).

    A text of which the label is not sure stands on both sides, with the weight of each. The intercept is fitted and left out:
    it would decide texts of whose n-grams nothing is known.
    """
    from sklearn.linear_model import LogisticRegression

    sides = np.stack([1 - target, target], axis=1)  # (n, 2)
    row, side = np.nonzero(sides > _NO_WEIGHT)
    if len(np.unique(side)) < 2:
        return np.zeros(features.shape[1])
    inside, outside = (features.T @ sides[:, each] + settings.smoothing for each in (1, 0))
    ratios = np.log((inside / inside.sum()) / (outside / outside.sum())).astype(np.float32)
    regression = LogisticRegression(
        C=settings.regularisation, solver="liblinear", dual=True, tol=1e-2, random_state=settings.seed
    )
    regression.fit(features[row].multiply(ratios).tocsr(), side, sample_weight=sides[row, side])
    weights: np.ndarray = regression.coef_[0] * ratios
    return weights
