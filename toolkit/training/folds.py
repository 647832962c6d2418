"""Folds in which texts on one subject stay together: reviews of one film, letters about one order."""

import numpy as np

_RAREST = 20  # texts at most that have an n-gram by which two of them are known to have one subject: names, titles
_SHARED = 3  # of those, in two texts on one subject
_GROUPS_IN_FOLD = 4  # at least, so that no fold is one subject


def grouped_folds(texts: np.ndarray, entries: np.ndarray, count: int, folds: int) -> np.ndarray:
    """The fold of each text, (n,) 0 to `folds` - 1: those that share rare n-grams in one, as far as a group's size allows.

    What a model has learnt from other reviews of the same film helps it only with that film. Folds drawn at random make it look
    better than it is on films that it has never seen; these do not. Pairs are joined from the most alike on (single linkage), unless
    their group would become too large; the groups are dealt out from the largest on.

    Args:
        texts: (m,) The text of each pair of a text and an n-gram that is in it, each pair once.
        entries: (m,) The n-gram of each pair.
        count: n, the number of texts.
        folds: The number of folds.
    """
    groups = _groups(*_alike(texts, entries, count), count, limit=max(2, count // (_GROUPS_IN_FOLD * folds)))
    sizes = np.bincount(groups)
    filled, fold_of_group = np.zeros(folds, np.int64), np.zeros(len(sizes), np.int64)
    for group in np.argsort(-sizes, kind="stable").tolist():
        fold = int(filled.argmin())
        fold_of_group[group] = fold
        filled[fold] += sizes[group]
    chosen: np.ndarray = fold_of_group[groups]
    return chosen


def _alike(texts: np.ndarray, entries: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Pairs of texts, two arrays of places, those that share most rare n-grams first."""
    from scipy.sparse import csr_matrix

    occurrences = np.bincount(entries)
    rare = (occurrences >= 2) & (occurrences <= _RAREST)
    kept = rare[entries]
    shape = (count, int(rare.sum()))
    found = csr_matrix(
        (np.ones(kept.sum(), np.int32), (texts[kept], (np.cumsum(rare) - 1)[entries[kept]])), shape=shape
    )
    shared = (found @ found.T).tocoo()
    wanted = (shared.row < shared.col) & (shared.data >= _SHARED)
    order = np.lexsort((shared.col[wanted], shared.row[wanted], -shared.data[wanted]))
    return shared.row[wanted][order], shared.col[wanted][order]


def _groups(first: np.ndarray, second: np.ndarray, count: int, limit: int) -> np.ndarray:
    """The group of each text, (n,) from 0 on, none larger than `limit`."""
    leader, size = list(range(count)), [1] * count

    def find(text: int) -> int:
        while leader[text] != text:
            leader[text] = text = leader[leader[text]]
        return text

    for one, other in zip(first.tolist(), second.tolist(), strict=True):
        one, other = find(one), find(other)
        if one != other and size[one] + size[other] <= limit:
            leader[other] = one
            size[one] += size[other]
    _, groups = np.unique([find(text) for text in range(count)], return_inverse=True)
    return groups
