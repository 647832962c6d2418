"""The n-gram reader: a linear model on n-grams of word pieces, in one table that is looked up and never unpacked.

A text's score is the sum of the weights of the distinct n-grams in it, as in Wang and Manning 2012 (ACL, short papers,
pp. 90-94), whose naive-Bayes log-count ratios scale the features that the weights were fitted on.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from toolkit.errors import BundleError

ORDERS = (1, 2, 3)  # word pieces in an n-gram; a fourth gained nothing: docs/model.md
_FAMILIAR_ORDER = 2  # the longest n-grams by which a text is called familiar
# Odd 64-bit constants of SplitMix64 (Steele, Lea and Flood 2014, OOPSLA): multiplication by them permutes the integers.
_STEP = np.uint64(0x9E3779B97F4A7C15)
_MIX = (np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB))
_PLACE_SHIFTS = (np.uint64(0), np.uint64(24))  # rows are 24 bits at most, fingerprints the last 16
_LARGEST = 1 << 24
_GRANTED = 3
_FINGERPRINT_SHIFT = np.uint64(48)
_FINGERPRINTS = np.uint64(255)  # 1 to 255; 0 marks an empty row


@dataclass(frozen=True, slots=True)
class NgramScores:
    """What the table says of n texts.

    Attributes:
        logits: (n, k) float64, columns in label order, without an intercept: a text of unknown n-grams has none.
        familiarity: (n,) 0 to 1, the share of the text's word pieces that the table knows, times that of its pairs of
            neighbours; `_GRANTED` known pairs are added to those, for a short text has few to be judged by.
    """

    logits: np.ndarray
    familiarity: np.ndarray

    def of(self, texts: "Sequence[int] | np.ndarray") -> "NgramScores":
        """Those of some of the texts, by place or by a mask."""
        return NgramScores(self.logits[texts], self.familiarity[texts])


@dataclass(frozen=True, slots=True)
class Occurrences:
    """Where the n-grams of a text stand that the table knows: u of them, m times in all.

    Attributes:
        rows: (u,) the row of each.
        counts: (u,) how often it stands in the text.
        first: (u,) which occurrence is its first.
        ngrams: (m,) which n-gram occurs.
        starts: (m,) with which token it begins, [CLS] not counted.
        orders: (m,) how many tokens it has.
    """

    rows: np.ndarray
    counts: np.ndarray
    first: np.ndarray
    ngrams: np.ndarray
    starts: np.ndarray
    orders: np.ndarray


class NgramTable:
    """Weights of n-grams by hash: a row has a fingerprint of the n-gram and one int8 weight a column.

    Each n-gram has two rows in which it may stand (Azar et al. 1994, STOC, pp. 593-602, on balanced allocations), so that
    few find no room. One that the table does not know meets a stranger's fingerprint in one of 255 occupied rows; unknown
    text stays without weight, as it should.

    Args:
        rows: (buckets, 1 + columns) uint8, the fingerprint and the weights; buckets a power of two. One column stands for
            two labels: the weight of the second less that of the first.
        scales: (columns,) what a weight of 1 is worth, in log-odds.

    Raises:
        ValueError: the shapes do not fit together.
    """

    def __init__(self, rows: np.ndarray, scales: Sequence[float]) -> None:
        buckets = len(rows)
        fits = rows.dtype == np.uint8 and rows.ndim == 2 and rows.shape[1] == 1 + len(scales) >= 2
        if not fits or not buckets or buckets & (buckets - 1) or buckets > _LARGEST:
            raise ValueError(
                f"expected (a power of two up to {_LARGEST:,}, {1 + len(scales)}) uint8, found {rows.shape} {rows.dtype} in the n-gram table"
            )
        self._rows = rows
        self._flat = rows.reshape(-1)
        self.scales = np.asarray(scales, np.float64)
        self.labels = 2 if len(scales) == 1 else len(scales)

    @classmethod
    def load(cls, path: Path, scales: Sequence[float]) -> "NgramTable":
        """Map a table into memory; pages are read when they are first looked at.

        Raises:
            BundleError: the file is no table of this shape.
        """
        try:
            return cls(np.lib.format.open_memmap(path, mode="r"), scales)
        except (ValueError, EOFError) as error:
            raise BundleError(f"{path} is no n-gram table ({error}); make the model again") from error

    @classmethod
    def build(cls, keys: np.ndarray, weights: np.ndarray, importance: np.ndarray, buckets: int) -> "NgramTable":
        """Put n-grams into a table; of those that meet in a row the most important stays.

        Args:
            keys: (m,) uint64, of distinct n-grams, see `ngram_keys`.
            weights: (m, columns) in log-odds.
            importance: (m,) decides who stays.
            buckets: a power of two.
        """
        weights = np.asarray(weights, np.float64).reshape(len(keys), -1)
        scales = np.array([_scale(column) for column in np.abs(weights).T])
        rows = np.zeros((buckets, 1 + weights.shape[1]), np.uint8)
        left = np.argsort(-importance, kind="stable")  # who comes first stays
        for shift in _PLACE_SHIFTS:
            places = _places(keys, shift, buckets)
            left = left[rows[places[left], 0] == 0]
            _, first = np.unique(places[left], return_index=True)
            placed = left[first]
            rows[places[placed], 0] = _fingerprints(keys[placed])
            rows[places[placed], 1:] = (
                np.clip(np.rint(weights[placed] / scales), -127, 127).astype(np.int8).view(np.uint8)
            )
            left = np.delete(left, first)
        return cls(rows, scales.tolist())

    @property
    def occupied(self) -> int:
        """The number of n-grams in it."""
        return int(np.count_nonzero(self._rows[:, 0]))

    def save(self, path: Path) -> None:
        """Write the table as NumPy's own format has it."""
        np.save(path, np.ascontiguousarray(self._rows), allow_pickle=False)

    def score(self, sequences: Sequence[np.ndarray]) -> NgramScores:
        """Read n texts, each as all its token ids with [CLS] and [SEP]; the ids need not fit into a model."""
        count, buckets = len(sequences), len(self._rows)
        found, shares = [], []
        for order, texts, keys in ngram_keys(sequences):
            texts_known, places = self.find(texts, keys)
            found.append(texts_known * buckets + places)
            if order <= _FAMILIAR_ORDER:
                shares.append((np.bincount(texts_known, minlength=count), np.bincount(texts, minlength=count)))
        # An n-gram counts once in a text, however often it stands there.
        entries = np.sort(np.concatenate(found)) if found else np.empty(0, np.int64)
        entries = entries[np.diff(entries, prepend=-1) != 0]
        texts, places = np.divmod(entries, buckets)
        weights = self._rows[places, 1:].view(np.int8)  # (m, columns)
        columns = [
            np.bincount(texts, weights=weights[:, column], minlength=count) * scale
            for column, scale in enumerate(self.scales)
        ]
        logits = np.stack([-columns[0] / 2, columns[0] / 2] if self.labels == 2 else columns, axis=1)
        return NgramScores(logits, _familiarity(*shares))

    def find(self, texts: np.ndarray, keys: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Of n-grams, given as `ngram_keys` yields them, the texts and the rows of those that the table knows."""
        wanted, known_texts, known_places = _fingerprints(keys), [], []
        for shift in _PLACE_SHIFTS:
            places = _places(keys, shift, len(self._rows))
            known = self._flat.take(places * self._rows.shape[1]) == wanted
            known_texts.append(texts[known])
            known_places.append(places[known])
            texts, keys, wanted = texts[~known], keys[~known], wanted[~known]
        return np.concatenate(known_texts), np.concatenate(known_places)

    def occurrences(self, ids: np.ndarray) -> Occurrences:
        """The known n-grams of one text, given as for `score`, each of which counts once there."""
        starts, places, orders = [], [], []
        for order, texts, keys in ngram_keys([ids]):
            found, rows = self.find(np.arange(len(texts)), keys)
            starts.append(found)
            places.append(rows)
            orders.append(np.full(len(found), order))
        rows, first, ngrams, counts = np.unique(
            np.concatenate(places), return_index=True, return_inverse=True, return_counts=True
        )
        return Occurrences(rows, counts, first, ngrams, np.concatenate(starts), np.concatenate(orders))

    def weights(self, places: np.ndarray) -> np.ndarray:
        """The weights in some rows, (m, k) in log-odds, a column a label."""
        columns = self._rows[places, 1:].view(np.int8) * self.scales
        return np.concatenate([-columns / 2, columns / 2], axis=1) if self.labels == 2 else columns


def ngram_keys(sequences: Sequence[np.ndarray]) -> Iterator[tuple[int, np.ndarray, np.ndarray]]:
    """Every n-gram of n texts, order by order, as often as it stands there.

    Args:
        sequences: token ids of each text, with [CLS] and [SEP], which belong to no n-gram.

    Yields:
        The order; the text of each n-gram, (m,) int64, rising; and its key, (m,) uint64, a hash of its ids and its order.
    """
    bodies = [ids[1:-1] for ids in sequences]
    ids = np.concatenate(bodies or [np.empty(0, np.int64)]).astype(np.uint64)
    texts = np.repeat(np.arange(len(bodies)), [len(body) for body in bodies])
    keys = np.zeros(len(ids), np.uint64)
    for order in ORDERS:
        end = max(0, len(ids) - order + 1)
        keys = _mix((keys[:end] + ids[order - 1 :] + np.uint64(1)) * _STEP)
        inside = texts[:end] == texts[order - 1 :]
        yield order, texts[:end][inside], keys[inside]


def _scale(weights: np.ndarray) -> float:
    """What a step of int8 is worth: a few outliers are clipped, for all others would be coarser."""
    used = weights[weights > 0]
    return float(np.quantile(used, 0.9999)) / 127 if len(used) else 1.0


def _places(keys: np.ndarray, shift: np.uint64, buckets: int) -> np.ndarray:
    """One of the two rows in which each n-gram may stand."""
    return ((keys >> shift) & np.uint64(buckets - 1)).astype(np.int64)


def _fingerprints(keys: np.ndarray) -> np.ndarray:
    """1 to 255, from other bits of the key than its rows."""
    return ((keys >> _FINGERPRINT_SHIFT) % _FINGERPRINTS + np.uint64(1)).astype(np.uint8)


def _familiarity(pieces: tuple[np.ndarray, np.ndarray], pairs: tuple[np.ndarray, np.ndarray]) -> np.ndarray:
    """(n,) see `NgramScores`, from the known and all n-grams of order 1 and 2 of each text."""
    (known, every), (known_pairs, every_pair) = pieces, pairs
    familiarity: np.ndarray = known / np.maximum(every, 1) * (known_pairs + _GRANTED) / (every_pair + _GRANTED)
    return familiarity


def _mix(values: np.ndarray) -> np.ndarray:
    """SplitMix64's finaliser."""
    values = (values ^ (values >> np.uint64(30))) * _MIX[0]
    values = (values ^ (values >> np.uint64(27))) * _MIX[1]
    mixed: np.ndarray = values ^ (values >> np.uint64(31))
    return mixed
