"""What input of anybody's making may cost, and how much of it a message repeats."""

from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import islice
from pathlib import Path
from typing import Self

from toolkit.errors import ToolkitError

MAX_COLUMNS = 16_384  # of a table: as many as a spreadsheet has; each of its rows costs time and memory for all of them
MAX_VALUE = 1 << 26  # bytes of one record or row, 64 MiB; the output echoes the text, so it has to fit into memory
# Compressed text, repetitions of whole reviews included, unpacks to some ten times its size, a bomb to a million times.
_LEAST_UNPACKED, _MOST_TIMES = 1 << 28, 100  # bytes, 256 MiB
_SHOWN_NAMES, _SHOWN_CHARACTERS = 20, 80


class UnpackedSize:
    """Counts what a compressed file becomes.

    Args:
        name: The name of the file.
        most: bytes that it may become.
    """

    def __init__(self, name: str, most: int) -> None:
        self._name = name
        self.left = self._limit = most

    @classmethod
    def of(cls, path: Path) -> Self:
        """Up to a hundred times the file's own size, or 256 MiB if that is more."""
        return cls(str(path), most_unpacked(path))

    def add(self, size: int) -> None:
        """Take `size` bytes more.

        Raises:
            ToolkitError: they are too many.
        """
        self.left -= size
        if self.left < 0:
            raise ToolkitError(
                f"{self._name} unpacks to more than {self._limit >> 20} MiB: no file of reviews of its size does; "
                "unpack it yourself if you trust it"
            )


def most_unpacked(path: Path) -> int:
    """Bytes that a file may become: a hundred times its own size, or 256 MiB if that is more."""
    return max(_LEAST_UNPACKED, _MOST_TIMES * path.stat().st_size)


def header_problem(names: Sequence[str]) -> str | None:
    """What is wrong with the names of a table's columns; None if nothing is."""
    if len(names) > MAX_COLUMNS:
        return f"expected {MAX_COLUMNS} columns at most, found {len(names)}; keep the text's and those you need"
    repeated = sorted(name for name, times in Counter(names).items() if times > 1)
    return f"expected every column once, found {listed(repeated)} more often" if repeated else None


def printable(text: str, on_one_line: bool = False) -> str:
    """A text for a terminal or a log: control characters, and those that turn the direction of writing, as Python spells them."""
    return text.translate(_ALL_SPELT if on_one_line else _SPELT)


_CONTROLS = (
    *range(0x20),
    *range(0x7F, 0xA0),
    0x061C,
    0x200E,
    0x200F,
    0x2028,
    0x2029,
    *range(0x202A, 0x202F),
    *range(0x2066, 0x206A),
)
_ALL_SPELT = {code: ascii(chr(code))[1:-1] for code in _CONTROLS}
_SPELT = {code: spelt for code, spelt in _ALL_SPELT.items() if chr(code) not in "\n\t"}


def listed(names: Iterable[object]) -> str:
    """Names with commas between; of many the first, of long ones the beginning."""
    names = iter(names)
    shown = [printable(_cut(str(name)), on_one_line=True) for name in islice(names, _SHOWN_NAMES)]
    return ", ".join([*shown, *(["…"] if next(names, None) is not None else [])])


def shown(value: object) -> str:
    """A value as Python spells it; of a long one the beginning."""
    return _cut(repr(value[: _SHOWN_CHARACTERS + 1] if isinstance(value, str | bytes) else value))


def _cut(text: str) -> str:
    return text if len(text) <= _SHOWN_CHARACTERS else text[:_SHOWN_CHARACTERS] + "…"
