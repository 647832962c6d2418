"""From what stands in a column to labels: spellings, known pairs of values, a map that a user gives, ratings."""

import logging
import math
import shlex
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from toolkit.errors import DataError, ToolkitError
from toolkit.formats.limits import listed
from toolkit.text.labels import SENTIMENT, Label, LabelSet, label_name

# Two values of a column that mean negative and positive, beside the spellings that `SENTIMENT` reads anywhere.
_PAIRS = (
    ("1", "2"), ("0", "4"), ("-1", "1"), ("-1", "+1"), ("false", "true"), ("bad", "good"), ("n", "p"), ("-", "+"), ("rotten", "fresh"),
    ("label_0", "label_1"), ("__label__1", "__label__2"), ("__label__0", "__label__1"),
    ("__label__negative", "__label__positive"), ("负面", "正面"), ("负面评论", "正面评论"), ("差评", "好评"), ("消极", "积极"),
)  # fmt: skip
RATING = "rating"  # the column in which a rating is kept
_UNLABELLED = ("unsup", "unsupervised", "unlabelled", "unlabeled")
_RATINGS = range(11)
_IMDB, _STARS = (
    (4, 7),
    (2, 4),
)  # up to which a rating is negative, from which on positive: of 10, as IMDB has it, and of 5
_ADVICE = "Nothing was written. Correct these rows, or leave them out, and run the command again."

_logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class LabelOptions:
    """What a user says of a column whose values do not say it themselves.

    Attributes:
        label_map: The label of each value, by the value; an empty one leaves its rows out.
        rating_column: The column of a rating that the label follows from.
        negative_up_to: The highest rating that is negative.
        positive_from: The lowest that is positive; rows between the two are left out.

    Raises:
        ToolkitError: They contradict each other.
    """

    label_map: Mapping[str, str] | None = None
    rating_column: str | None = None
    negative_up_to: float | None = None
    positive_from: float | None = None

    def __post_init__(self) -> None:
        """Refuse what cannot be followed."""
        bounds = (self.negative_up_to, self.positive_from)
        if self.rating_column is None and bounds != (None, None):
            raise ToolkitError(
                "--negative-up-to and --positive-from are about a rating; name its column with --rating-column"
            )
        if self.rating_column is not None and self.label_map is not None:
            raise ToolkitError("--label-map and --rating-column are two ways to say the labels; give one")
        if None not in bounds and not bounds[0] < bounds[1]:  # type: ignore[operator]
            raise ToolkitError(f"--negative-up-to {bounds[0]:g} must lie below --positive-from {bounds[1]:g}")

    @classmethod
    def parse_map(cls, text: str) -> dict[str, str]:
        """What `1=negative,2=positive` says.

        Raises:
            ToolkitError: It is not written so.
        """
        label_map: dict[str, str] = {}
        for part in text.split(","):
            value, mark, name = (each.strip() for each in part.partition("="))
            if not mark or not value or value.lower() in label_map:
                raise ToolkitError(f"--label-map {text!r}: expected every value once, as in 1=negative,2=positive")
            label_map[(label_name(value) or value).lower()] = name
        return label_map


@dataclass(frozen=True, slots=True)
class LabelledRow:
    """A row whose text is sound and whose label is still what stands there.

    Attributes:
        place: The file and the row.
        text: The text, normalised.
        value: The label's cell.
        columns: The other cells, by column.
    """

    place: str
    text: str
    value: object
    columns: Mapping[str, Any]


@dataclass(frozen=True)
class Labelling:
    """How the values of a column are read.

    Attributes:
        labels: The labels that they can mean.
        names: The label's name by value, where a value is no spelling of it; an empty one leaves rows out.
        bounds: The highest negative and the lowest positive rating, where the values are ratings.
    """

    labels: LabelSet
    names: Mapping[str, str] | None = None
    bounds: tuple[float, float] | None = None

    def parse(self, value: object) -> Label | str | None:
        """The label; or why the row is left out; or None where it is none of those expected."""
        name = label_name(value)
        if name is not None and self.bounds:
            rating = _number(name)
            if rating is None:
                return None
            negative, positive = self.labels
            if self.bounds[0] < rating < self.bounds[1]:
                return "between the ratings"
            return negative if rating <= self.bounds[0] else positive
        if name is not None and self.names is not None:
            target = self.names.get(name.lower())
            return "without a label" if target == "" else self.labels.parse(target)
        if name is not None and name.lower() in _UNLABELLED and self.labels.named(name) is None:
            return "without a label"
        return self.labels.parse(value)

    @property
    def expected(self) -> str:
        """What a cell may hold, in words."""
        if self.bounds:
            return "a number"
        return f"one of {listed(self.names)}" if self.names is not None else self.labels.expected


def infer_labelling(
    rows: Sequence[LabelledRow],
    source: object,
    options: LabelOptions | None = None,
    known: LabelSet | None = None,
) -> Labelling:
    """How the labels of some rows are read; what is not plain from the values is logged.

    Args:
        rows: The rows.
        source: What they come from, for messages.
        options: What a user says of them; None where nobody can say anything, and what is ambiguous stays as it is.
        known: The labels that are expected, as of a model; by default those that the values make.

    Raises:
        DataError: The values hold no labels.
        ToolkitError: They may mean one thing or another; the message names the option that says which.
    """
    if options and options.rating_column is not None:
        return _by_rating(rows, source, options, known or SENTIMENT)
    if options and options.label_map is not None:
        return _by_map(options.label_map, known)
    counts = Counter(name.lower() for row in rows if (name := label_name(row.value)) is not None)
    values = {name for name in counts if name not in _UNLABELLED}
    pair = next((pair for pair in _PAIRS if values == set(pair)), None)
    if pair and known in (None, SENTIMENT):
        _logger.info("labels of %s: %s", source, ", ".join(map(" = ".join, zip(pair, SENTIMENT.names, strict=True))))
        return Labelling(SENTIMENT, dict(zip(pair, SENTIMENT.names, strict=True)) | dict.fromkeys(_UNLABELLED, ""))
    if known is not None:
        return Labelling(known)
    try:
        labels = LabelSet.of_values(row.value for row in rows if str(row.value).strip().lower() not in _UNLABELLED)
    except ValueError as error:
        raise DataError(f"the labels of {source} cannot be used; found:", [str(error)], _ADVICE) from error
    numbers = sorted(number for name in labels.names if (number := _number(name)) is not None)
    if labels == SENTIMENT or len(numbers) < len(labels):
        return Labelling(labels)
    if options and len(labels) == 2:
        low, high = labels.names
        raise _ambiguous(source, f"{low} and {high}", f"--label-map {low}=negative,{high}=positive")
    are_ratings = len(labels) > 2 and set(numbers) <= set(_RATINGS)
    other = (
        f"are ratings: --rating-column COLUMN {_example(numbers)}" if are_ratings else "mean anything else: --label-map"
    )
    _logger.info("labels of %s: %s, a class each; if they %s", source, labels.listed(), other)
    return Labelling(labels)


def advice(rows: Iterable[LabelledRow], labelling: Labelling) -> str:
    """The option that says what the values mean that were not understood; empty where none can."""
    if labelling.bounds or labelling.names is not None:
        return ""
    values = {name for row in rows if (name := label_name(row.value)) is not None}
    unknown = sorted(name for name in values if labelling.parse(name) is None)
    if not 0 < len(values) <= len(_RATINGS) or not unknown:
        return ""
    numbers = sorted(number for name in values if (number := _number(name)) is not None)
    if len(values) > 2 and len(numbers) == len(values) and set(numbers) <= set(_RATINGS):
        return f" If they are ratings: --rating-column COLUMN {_example(numbers)}"
    names = [*labelling.labels.names, *[""] * len(values)]
    pairs = zip(sorted(values, key=lambda name: (_number(name) or 0.0, name)), names, strict=False)
    return f" Or say what they mean: --label-map {shlex.quote(','.join(map('='.join, pairs)))}"


def _by_rating(rows: Sequence[LabelledRow], source: object, options: LabelOptions, labels: LabelSet) -> Labelling:
    if labels != SENTIMENT:
        raise ToolkitError(f"--rating-column says negative or positive, and the labels are {labels.listed()}")
    if options.negative_up_to is None or options.positive_from is None:
        numbers = [number for row in rows if (number := _number(label_name(row.value))) is not None]
        raise _ambiguous(
            source, "ratings", f"--rating-column {shlex.quote(str(options.rating_column))} {_example(numbers)}"
        )
    bounds = options.negative_up_to, options.positive_from
    _logger.info("labels of %s: up to %g = negative, from %g = positive", source, *bounds)
    return Labelling(labels, bounds=bounds)


def _by_map(label_map: Mapping[str, str], known: LabelSet | None) -> Labelling:
    names = tuple(dict.fromkeys(name for name in label_map.values() if name))
    try:
        labels = known or (SENTIMENT if all(map(SENTIMENT.parse, names)) else LabelSet(names))
    except ValueError as error:
        raise ToolkitError(f"--label-map: {error}") from error
    if unknown := [name for name in names if labels.parse(name) is None]:
        raise ToolkitError(f"--label-map says {unknown[0]!r}, expected {labels.expected}")
    return Labelling(labels, label_map)


def _ambiguous(source: object, found: str, example: str) -> ToolkitError:
    return ToolkitError(
        f"the labels of {source} are {found}, which may mean one thing or another; say which: {example}"
    )


def _example(ratings: Collection[float]) -> str:
    negative, positive = _STARS if ratings and max(ratings) <= 5 else _IMDB
    return f"--negative-up-to {negative} --positive-from {positive}"


def _number(name: str | None) -> float | None:
    try:
        number = math.nan if name is None else float(name)
    except ValueError:
        return None
    return number if math.isfinite(number) else None
