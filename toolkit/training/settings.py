"""A setting as a dataclass field: its default, its help and its constraints in one place, and whether a value keeps to them."""

import json
import math
import textwrap
import tomllib
import types
import typing
from collections.abc import Iterator
from dataclasses import dataclass, field, fields
from typing import Any

LARGEST = 2**31 - 1  # steps, epochs, reviews: what the libraries count with
_CONSTRAINTS = "constraints"
_KINDS: dict[object, str] = {
    int: "a whole number", float: "a number", bool: "true or false", str: "text", tuple: "a list of texts", types.NoneType: "none"
}  # fmt: skip


@dataclass(frozen=True)
class _Constraints:
    """What a value must be, beyond its type; as `setting` describes them."""

    minimum: float | None = None
    above: float | None = None
    maximum: float | None = None
    below: float | None = None
    choices: tuple[str, ...] = ()
    off: int | None = None
    why: str = ""

    def allow(self, value: object) -> bool:
        """Whether a value of the setting's type keeps to them."""
        if value is None or (self.off is not None and value == self.off):
            return True
        if self.choices:
            return value in self.choices
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            return True
        return (
            (self.minimum is None or value >= self.minimum)
            and (self.above is None or value > self.above)
            and (self.maximum is None or value <= self.maximum)
            and (self.below is None or value < self.below)
        )

    def describe(self, value: object) -> str:
        """What was expected instead of `value`, in words."""
        if self.choices:
            return f"one of {', '.join(self.choices)}"
        if self.maximum == LARGEST:  # of which nobody thinks who gives a value too small
            lower = f"more than {self.above}" if self.above is not None else f"{self.minimum} or more"
            text = f"{LARGEST} or less" if isinstance(value, (int, float)) and value > LARGEST else lower
        elif self.minimum is not None and self.maximum is not None:
            text = f"{self.minimum} to {self.maximum}"
        else:
            bounds = (
                ("{} or more", self.minimum), ("more than {}", self.above), ("{} or less", self.maximum),
                ("less than {}", self.below),
            )  # fmt: skip
            text = " and ".join(words.format(bound) for words, bound in bounds if bound is not None)
        return (f"{self.off}, or {text}" if self.off is not None else text) + (f", {self.why}" if self.why else "")


def setting(
    default: Any,  # noqa: ANN401 - of any type
    help_text: str,
    *,
    minimum: float | None = None,
    above: float | None = None,
    maximum: float | None = None,
    below: float | None = None,
    choices: tuple[str, ...] = (),
    off: int | None = None,
    why: str = "",
) -> Any:  # noqa: ANN401 - a dataclass field
    """A field of a settings dataclass; where it may be None, the constraints hold for the other values.

    A whole number without another upper bound is at most `LARGEST`.

    Args:
        default: The default.
        help_text: The setting's help, which is also the command line's.
        minimum: The smallest value allowed.
        above: The value that it must exceed.
        maximum: The largest value allowed.
        below: The value that it must not reach.
        choices: The only values allowed.
        off: A value that is allowed besides, and switches something off.
        why: The reason for a bound, for the error.
    """
    if type(default) is int and maximum is None and below is None:
        maximum = LARGEST
    constraints = _Constraints(minimum, above, maximum, below, choices, off, why)
    return field(default=default, metadata={"help": help_text, _CONSTRAINTS: constraints})


def type_problems(settings: Any) -> dict[str, str]:  # noqa: ANN401 - any settings dataclass
    """The settings of a wrong type, and what is wrong with them."""
    problems = {}
    for name, expected in typing.get_type_hints(type(settings)).items():
        value = getattr(settings, name)
        if not _is_a(value, expected):
            problems[name] = f"{name} = {value!r}: expected {_in_words(expected)}"
    return problems


def value_problems(kind: type, values: Any) -> Iterator[str]:  # noqa: ANN401 - anything with its attributes
    """What is wrong with values of the right types, each by itself.

    Args:
        kind: The settings dataclass.
        values: An object with its attributes.
    """
    for each in fields(kind):
        value, constraints = getattr(values, each.name), each.metadata[_CONSTRAINTS]
        if isinstance(value, float) and not math.isfinite(value):
            yield f"{each.name} = {value}: expected a finite number"
        elif not constraints.allow(value):
            shown = repr(value) if isinstance(value, str) else value
            yield f"{each.name} = {shown}: expected {constraints.describe(value)}"


def parse_setting(kind: type, name: str, text: str) -> object:
    """The value that a text means for a setting, as a command line has it: words need no quotes, lists no brackets.

    Args:
        kind: The settings dataclass.
        name: One of its fields.
        text: A TOML value; `none` where the setting may be None; of a list of words also the words with commas between.

    Returns:
        The value, or the text where it means none of the setting's type, which `type_problems` refuses.
    """
    expected = typing.get_type_hints(kind)[name]
    if expected is str:
        return text
    if typing.get_origin(expected) is tuple and not text.startswith("["):
        return tuple(word.strip() for word in text.split(",") if word.strip())
    if text.lower() in ("none", "null") and _is_a(None, expected):
        return None
    try:
        value = tomllib.loads(f"value = {text}")
    except tomllib.TOMLDecodeError:
        return text
    return value["value"] if value.keys() == {"value"} else text


def toml_value(value: object) -> str:
    """A setting's value as TOML has it; None has no spelling there."""
    if isinstance(value, tuple):
        return "[" + ", ".join(toml_value(item) for item in value) + "]"
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False).replace(
            "\x7f", "\\u007f"
        )  # TOML's basic strings are JSON's but for this
    return str(value).lower() if isinstance(value, bool) else str(value)


def to_toml(settings: Any) -> str:  # noqa: ANN401 - any settings dataclass
    """Every setting as a TOML file, each under its help; those that are None are commented out."""
    lines = []
    for each in fields(settings):
        value = getattr(settings, each.name)
        lines += textwrap.wrap(each.metadata["help"], 78, initial_indent="# ", subsequent_indent="# ")
        lines.append(f"# {each.name} =" if value is None else f"{each.name} = {toml_value(value)}")
    return "\n".join(lines)


def _in_words(expected: Any) -> str:  # noqa: ANN401 - a type hint
    if isinstance(expected, types.UnionType):
        return " or ".join(map(_in_words, typing.get_args(expected)))
    return _KINDS[typing.get_origin(expected) or expected]


def _is_a(value: object, expected: Any) -> bool:  # noqa: ANN401 - a type hint
    if isinstance(expected, types.UnionType):
        return any(_is_a(value, option) for option in typing.get_args(expected))
    if typing.get_origin(expected) is tuple:
        return isinstance(value, tuple) and all(isinstance(item, str) for item in value)
    if expected is float:
        return isinstance(value, (int, float)) and not isinstance(value, bool)
    return isinstance(value, expected) and (expected is bool or not isinstance(value, bool))
