"""Parts of the reviews, and how right a model is on each."""

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from toolkit.datasets.labelling import LabelledRow
from toolkit.datasets.splits import Review
from toolkit.errors import ToolkitError
from toolkit.evaluation.metrics import accuracy_interval

MANY = 20  # distinct values of a column that are shown one by one
NONE, OTHER = "(none)", "(other)"

_SCORES = (0.0, 0.25, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99)  # narrower towards 1, where most reviews are
_SHORT = 64  # tokens; the groups of length double from there


@dataclass(frozen=True)
class Group:
    """Some of N reviews: what they have in common, and (N,) bool, which they are."""

    name: str
    members: np.ndarray


def by_length(tokens: np.ndarray, max_length: int) -> list[Group]:
    """Reviews by their tokens: groups that double in length, parted at `max_length` too, beyond which nothing is read."""
    longest = int(tokens.max())
    doublings = range(max(0, math.ceil(math.log2(longest / _SHORT))) + 1)
    edges = sorted({0, max_length, *(_SHORT << each for each in doublings)})
    return [
        Group(f"{low + 1}–{high}" if high < math.inf else f"over {low}", (tokens > low) & (tokens <= high))
        for low, high in zip(edges, [*edges[1:], math.inf], strict=True)
    ]


def by_score(scores: np.ndarray) -> list[Group]:
    """Reviews by the score of their verdict; of two labels none has less than 0.5."""
    return [
        Group(f"{low:g}–{high:g}", (scores >= low) & ((scores < high) | (high == 1)))
        for low, high in zip(_SCORES, (*_SCORES[1:], 1), strict=True)
    ]


def by_column(values: Sequence[Any]) -> list[Group]:
    """Reviews by what stands in a column.

    Up to `MANY` distinct values are a group each; of more, numbers make four groups of about equal size, and texts the
    `MANY` most frequent and `OTHER`. Where nothing stands, the group is `NONE`.
    """
    cells = ["" if value is None or value != value else str(value).strip() for value in values]  # NaN is not itself
    given = np.array([cell != "" for cell in cells])
    numbers = _numbers(cells)
    groups = _by_text(cells) if numbers is None else _by_number(numbers)
    return [*groups, Group(NONE, ~given)]


def find_columns(reviews: Sequence[Review | LabelledRow], names: Iterable[str], source: str) -> dict[str, list[Any]]:
    """The (N,) values of each column named.

    Raises:
        ToolkitError: no review has such a column; names those there are.
    """
    there = list(dict.fromkeys(name for review in reviews for name in review.columns))
    for name in names:
        if name not in there:
            found = f"one of {', '.join(map(str, there))}" if there else "none, since it has only text and label"
            raise ToolkitError(f"{source} has no column {name!r} to slice by; expected {found}")
    return {name: [review.columns.get(name) for review in reviews] for name in names}


def rates(groups: Iterable[Group], right: np.ndarray, scores: np.ndarray) -> list[dict[str, Any]]:
    """Of each group that has any: `name`, `reviews`, `accuracy`, its Wilson `interval` (95%), and `mean_score`."""
    rows = []
    for group in groups:
        reviews, hits = int(group.members.sum()), int(right[group.members].sum())
        if reviews:
            rows.append({
                "name": group.name,
                "reviews": reviews,
                "accuracy": hits / reviews,
                "interval": accuracy_interval(hits, reviews),
                "mean_score": float(scores[group.members].mean()),
            })  # fmt: skip
    return rows


def mean_rate(rows: Sequence[Mapping[str, Any]]) -> float:
    """Accuracy over all rows of `rates`."""
    return float(np.average([row["accuracy"] for row in rows], weights=[row["reviews"] for row in rows]))


def _numbers(cells: Sequence[str]) -> np.ndarray | None:
    """(N,) the cells as numbers, NaN where there is nothing; None if one is something else."""
    try:
        numbers = np.array([float(cell) if cell else math.nan for cell in cells])
    except ValueError:
        return None
    return None if np.isinf(numbers).any() or np.isnan(numbers).all() else numbers


def _by_number(numbers: np.ndarray) -> list[Group]:
    distinct = np.unique(numbers[~np.isnan(numbers)])
    if len(distinct) <= MANY:
        return [Group(_written(value), numbers == value) for value in distinct]
    highs = np.unique(np.nanquantile(numbers, [0.25, 0.5, 0.75, 1], method="inverted_cdf"))
    groups = []
    for low, high in zip([-math.inf, *highs[:-1]], highs, strict=True):
        members = (numbers > low) & (numbers <= high)
        least = numbers[members].min()
        groups.append(Group(_written(high) if least == high else f"{_written(least)} to {_written(high)}", members))
    return groups


def _by_text(cells: Sequence[str]) -> list[Group]:
    column = np.array(cells, dtype=object)
    counts = Counter(cell for cell in cells if cell)
    if len(counts) <= MANY:
        return [Group(value, column == value) for value in sorted(counts)]
    shown = [value for value, _ in counts.most_common(MANY)]
    rest = np.array([bool(cell) and cell not in shown for cell in cells])
    return [*(Group(value, column == value) for value in shown), Group(OTHER, rest)]


def _written(number: float) -> str:
    return str(int(number)) if float(number).is_integer() else f"{number:g}"
