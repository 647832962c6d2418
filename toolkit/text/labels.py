"""Labels as a data set has them: an index, a name, and words for readers of other languages."""

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import overload

from toolkit.choices import Language, choices

UNCERTAIN = "uncertain"
FEWEST, MOST = 2, 200  # labels of a set
FEWEST_EXAMPLES = 10  # of a label, for a model to learn it from, and for a stray value to count as one
LONGEST_NAME = 100  # characters
_LISTED = 20  # names in a message


@dataclass(frozen=True, slots=True)
class Label:
    """One label of a set.

    Attributes:
        index: The column of the logits.
        name: The name, as JSON, manifests and terminals have it.
        displays: The words for it by language, where they are not its name.
    """

    index: int
    name: str
    displays: Mapping[str, str] = field(default_factory=dict, compare=False, repr=False)

    def __int__(self) -> int:
        return self.index

    __index__ = __int__

    def __str__(self) -> str:
        return self.name

    def display(self, language: str) -> str:
        """The label for a reader of `language` (`en` or `zh`)."""
        return self.displays.get(language, self.name)


@dataclass(frozen=True)
class LabelSet(Sequence[Label]):
    """The labels of a data set and of the models trained on it, in the order of the logits' columns.

    Attributes:
        names: The names, in order.
        displays: By language and name, the words for readers, where they are not the name.

    Raises:
        ValueError: There are too few or too many, a name occurs twice or is no name, or a word is for no label.
    """

    names: tuple[str, ...]
    displays: Mapping[str, Mapping[str, str]] = field(default_factory=dict, compare=False, repr=False)

    def __post_init__(self) -> None:
        """Refuse what no data set could have."""
        if not FEWEST <= len(self.names) <= MOST:
            raise ValueError(f"{len(self.names)} labels, expected {FEWEST} to {MOST}")
        for name in self.names:
            if problem := _name_problem(name):
                raise ValueError(problem)
        if repeated := [name for name, times in Counter(self.names).items() if times > 1]:
            raise ValueError(f"the label {repeated[0]!r} occurs twice, expected every label once")
        for language, words in self.displays.items():
            if language not in choices(Language):
                raise ValueError(f"words for labels in {language!r}, expected {' or '.join(choices(Language))}")
            for name, word in words.items():
                if name not in self.names:
                    raise ValueError(f"a word for the label {name!r}, expected one of {self.listed()}")
                if problem := _name_problem(word):
                    raise ValueError(problem)

    @classmethod
    def of_model(cls, names: Iterable[str], displays: Mapping[str, Mapping[str, str]] | None = None) -> "LabelSet":
        """The set that a model names, with the sentiment pair's Chinese words where it is that pair.

        Raises:
            ValueError: See the class.
        """
        names, given = tuple(names), displays or {}
        own = _PAIR_DISPLAYS if names == _PAIR else {}
        languages = dict.fromkeys((*own, *given))
        return cls(names, {each: {**own.get(each, {}), **given.get(each, {})} for each in languages})

    @classmethod
    def of_values(cls, values: Iterable[object]) -> "LabelSet":
        """The set that a column of labels holds: the sentiment pair, or the distinct values, numbers in their order.

        Values that are none of the pair's spellings make another set only where they are many: fewer than
        `FEWEST_EXAMPLES` of each, beside more of the pair's, are mistakes; so is a lone one.

        Args:
            values: The cells; those where nothing stands, or something that is no name, do not count.

        Raises:
            ValueError: There are so many that the column looks like text or a number.
        """
        counts = Counter(name for name in map(label_name, values) if name is not None)
        strays = {name: times for name, times in counts.items() if SENTIMENT.parse(name) is None}
        known, rows = counts.total() - sum(strays.values()), counts.total()
        if (
            len(counts) < FEWEST
            or not strays
            or (known >= sum(strays.values()) and max(strays.values()) < FEWEST_EXAMPLES)
        ):
            return SENTIMENT
        if len(counts) > MOST or (len(counts) == rows and rows > FEWEST):
            raise ValueError(
                f"{len(counts)} different labels in {rows} rows, expected {FEWEST} to {MOST}: this looks like text or a number"
            )
        return cls(tuple(sorted(counts, key=_in_order)))

    @overload
    def __getitem__(self, index: int) -> Label: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Label]: ...
    def __getitem__(self, index: int | slice) -> "Label | Sequence[Label]":
        return self._labels[index]

    def __len__(self) -> int:
        return len(self.names)

    def __iter__(self) -> Iterator[Label]:
        return iter(self._labels)

    def parse(self, value: object) -> Label | None:
        """Read a label as data sets spell it: its name, or of the sentiment pair 0/1, neg/pos, in any case; else None."""
        name = label_name(value)
        if name is None:
            return None
        return self._spellings.get(name.lower() if self.names == _PAIR else name)

    def named(self, name: str) -> Label | None:
        """The label of exactly this name."""
        return self._by_name.get(name)

    def listed(self) -> str:
        """The names with commas between; of many the first."""
        return ", ".join([*self.names[:_LISTED], *(["…"] if len(self) > _LISTED else [])])

    @property
    def expected(self) -> str:
        """What a column of these labels may hold, in words."""
        return "0/1, neg/pos or negative/positive" if self.names == _PAIR else f"one of {self.listed()}"

    @property
    def values(self) -> list[int] | list[str]:
        """The labels as a data set has them: numbers where every name is one, and of the sentiment pair 0 and 1."""
        if self.names == _PAIR:
            return [0, 1]
        numbers = [int(name) for name in self.names if name.removeprefix("-").isdecimal()]
        return numbers if [str(number) for number in numbers] == list(self.names) else list(self.names)

    @property
    def lowest_score(self) -> float:
        """The least that the likeliest of so many labels can score: of two 0.5; of more rounded down in the sixth place."""
        return math.floor(1e6 / len(self)) / 1e6

    @cached_property
    def _labels(self) -> tuple[Label, ...]:
        return tuple(
            Label(index, name, {language: words[name] for language, words in self.displays.items() if name in words})
            for index, name in enumerate(self.names)
        )

    @cached_property
    def _by_name(self) -> dict[str, Label]:
        return {label.name: label for label in self._labels}

    @cached_property
    def _spellings(self) -> dict[str, Label]:
        if self.names != _PAIR:
            return self._by_name
        return {spelling: self._labels[index] for index, each in enumerate(_PAIR_SPELLINGS) for spelling in each}


def label_name(value: object) -> str | None:
    """A cell of a column of labels as a name, white space made one space, a whole number without a point; None if empty.

    A float is how pandas writes whole numbers in a column with gaps; a list of one is how some data sets write the only
    label of several that there may be.
    """
    if isinstance(value, list | tuple) and len(value) == 1:
        value = value[0]
    if value is None or value != value or not isinstance(value, str | int | float):  # NaN is not itself
        return None
    if isinstance(value, float):
        return str(int(value)) if value.is_integer() else str(value)
    name = " ".join(str(value).split())
    if name.startswith("[") and name.endswith("]"):
        inner = name[1:-1].strip()
        is_quoted = len(inner) > 2 and inner[0] == inner[-1] and inner[0] in "\"'"
        name = inner[1:-1].strip() if is_quoted else inner if inner.isdecimal() else name
    whole, point, rest = name.partition(".")
    if point and rest and not rest.strip("0") and whole.removeprefix("-").isdecimal():
        name = whole
    return None if name.lower() in ("", "nan") else name


def _name_problem(name: object) -> str | None:
    if not isinstance(name, str) or not name.strip():
        return f"a label is called {name!r}, expected a text that is not empty"
    if len(name) > LONGEST_NAME:
        return f"a label has {len(name)} characters, expected {LONGEST_NAME} at most: this looks like text"
    if not name.isprintable():
        return f"a label is called {name!r}, expected characters that can be printed on one line"
    return f"a label is called {name!r}, which is what a withheld verdict is called" if name == UNCERTAIN else None


def _in_order(name: str) -> tuple[bool, float, str]:
    """Numbers first, by their size; texts by their characters."""
    try:
        number = float(name)
    except ValueError:
        return True, 0.0, name
    return (False, number, name) if math.isfinite(number) else (True, 0.0, name)


_PAIR = ("negative", "positive")
_PAIR_DISPLAYS = {"zh": {"negative": "负面评论", "positive": "正面评论"}}
_PAIR_SPELLINGS = (("0", "neg", "negative"), ("1", "pos", "positive"))

SENTIMENT = LabelSet(_PAIR, _PAIR_DISPLAYS)
NEGATIVE, POSITIVE = SENTIMENT
