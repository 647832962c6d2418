"""The one parser: a source's bytes become lines, JSON texts and CSV rows, each with its place; a broken one is there too.

Lines end with LF or CRLF, rows of a CSV also with a lone CR. A CSV's bytes that are no UTF-8 stay as `surrogateescape`
spells them, for `is_undecodable` to find, since they may stand in a column that nobody reads. A blank line has the problem
`BLANK`: who gives every line an answer says so, and who reads a table passes over it.
"""

import codecs
import csv
import json
import re
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

from toolkit.formats.limits import MAX_VALUE, header_problem
from toolkit.formats.places import Place
from toolkit.formats.sources import Source

MAX_FIELD = 1 << 24  # characters of a CSV field; the csv module takes four bytes for each
BLANK = "blank line"
NOT_UTF8 = "not valid UTF-8"
_ESCAPED = re.compile("[\udc80-\udcff]")
_Content = TypeVar("_Content")


# A record as far as its format goes: where it begins, what is there, and why it is none, or None where it is one.
Parsed = tuple[Place, _Content, str | None]


def too_long(largest: int) -> str:
    """What is wrong with a record of more bytes."""
    return f"longer than {largest >> 20} MiB"


def is_undecodable(text: str) -> bool:
    """Whether there were bytes that are no UTF-8."""
    return not text.isascii() and _ESCAPED.search(text) is not None


def parse_lines(source: Source) -> Iterator[Parsed[bytes]]:
    """Lines without their ends."""
    row, largest = 0, source.largest or MAX_VALUE
    for number, frame in enumerate(_frames(source.blocks(), b"\n", largest), start=1):
        line = (frame or b"").removesuffix(b"\r")
        problem = too_long(largest) if frame is None else BLANK if not line or line.isspace() else None
        row += problem is not BLANK
        yield Place(source.name, row, number), line, problem


def parse_nul_separated(source: Source) -> Iterator[Parsed[bytes]]:
    """What stands between NUL bytes."""
    largest = source.largest or MAX_VALUE
    for number, frame in enumerate(_frames(source.blocks(), b"\0", largest), start=1):
        yield Place(source.name, number, None, "record"), frame or b"", too_long(largest) if frame is None else None


def parse_json_lines(source: Source) -> Iterator[Parsed[str]]:
    """What should be a JSON object, as it was written."""
    row, largest = 0, source.largest or MAX_VALUE
    for number, frame in enumerate(_frames(source.blocks(), b"\n", largest), start=1):
        problem = None if frame is not None else too_long(largest)
        try:
            text = (frame or b"").decode()
        except UnicodeDecodeError as error:  # JSON is UTF-8 and nothing else: RFC 8259, section 8.1
            text, problem = error.object.decode(errors="replace"), NOT_UTF8
        text = text.strip(" \t\r\n")
        problem = problem or (None if text else BLANK)
        row += problem != BLANK
        yield Place(source.name, row, number), text, problem


def parse_object(text: str, number: Callable[[str], Any] | None = None) -> dict[str, Any] | str:
    """The fields of a JSON object, or what is wrong with it.

    Args:
        text: what was written.
        number: makes something of a number as it was written; what Python makes of it by default.
    """
    try:
        value = json.loads(text, parse_int=number, parse_float=number)
    except (ValueError, RecursionError) as error:
        return f"broken JSON ({error})"
    return value if isinstance(value, dict) else f"expected a JSON object, found {json_type(value)}"


def json_type(value: object) -> str:
    """What JSON calls a value."""
    names = {str: "a string", list: "a list", dict: "an object", bool: "a truth value"}
    return names.get(type(value), "null" if value is None else "a number")


def parse_csv(source: Source) -> Iterator[Parsed[list[str]]]:
    """The header, whose place has no row, then the rows; after a broken header comes nothing."""
    csv.field_size_limit(MAX_FIELD)
    largest = source.largest or MAX_VALUE
    lines = _CsvLines(_frames(source.blocks(), b"\n", largest), largest)
    reader = csv.reader(lines, strict=True)
    head = Place(source.name, None, 1)
    try:
        columns = next(reader, None)
    except (csv.Error, _TooLongError) as error:
        yield head, [], f"the header is broken CSV ({error}); put it right"
        return
    if columns is None:
        return
    problem = header_problem(columns)
    yield head, columns, problem
    row_number = 1
    while problem is None:
        place = Place(source.name, row_number, lines.number + 1)
        lines.size = 0
        row, wrong = None, None
        try:
            row = next(reader, None)
        except csv.Error as error:
            wrong = f"broken CSV ({error})"
        except _TooLongError:
            wrong = too_long(largest)
        if row is None and wrong is None:
            return
        if lines.size > largest:
            wrong = too_long(largest)
        elif row == []:
            wrong = BLANK
        row_number += wrong != BLANK
        yield place, row or [], wrong


class _CsvLines(Iterator[str]):
    """Physical lines for the csv module; counts them, and the characters of the lines of a row."""

    def __init__(self, frames: Iterator[bytes | None], largest: int) -> None:
        self._frames = frames
        self._largest = largest
        self._pieces: list[str] = []  # of a line with carriage returns inside, the last first
        self.number = 0
        self.size = 0  # since somebody last set it back

    def __next__(self) -> str:
        line = self._pieces.pop() if self._pieces else self._next_line()
        self.number += 1
        self.size += len(line)
        if line != "\n" and self.size > self._largest:
            raise _TooLongError(
                too_long(self._largest)
            )  # a row of many lines, which the csv module would keep as long as they come
        return line

    def _next_line(self) -> str:
        frame = next(self._frames)
        if frame is None:
            self.size += self._largest
            return "\n"
        line = frame.decode(errors="surrogateescape") + "\n"
        if "\r" in line[:-2]:
            first, *pieces = line[:-2].split("\r")
            self._pieces = [pieces.pop() + line[-2:], *(f"{piece}\r" for piece in reversed(pieces))]
            return f"{first}\r"
        return line


class _TooLongError(Exception):
    """A row is longer than it may be."""


def _frames(blocks: Iterator[bytes], separator: bytes, largest: int) -> Iterator[bytes | None]:
    """Split what each block brings; an unfinished record waits for its end. None stands for one over `largest` bytes.

    The rest of such a record is dropped as it comes, so that a stream without a separator fills no memory. A byte order
    mark at the start is dropped.
    """
    pieces: list[bytes] = []  # joined once, so that a huge record costs linear time
    size = 0
    mark = codecs.BOM_UTF8
    for block in blocks:
        *ends, rest = block.split(separator)
        for end in ends:
            pieces.append(end)
            yield _join(pieces, mark, size + len(end), largest)
            mark, size = b"", 0
        size += len(rest)
        if size <= largest:
            pieces.append(rest)
        else:
            pieces.clear()
    if size and (last := _join(pieces, mark, size, largest)) != b"":
        yield last


def _join(pieces: list[bytes], mark: bytes, size: int, largest: int) -> bytes | None:
    """The record, and no second copy of it left in `pieces`."""
    frame = b"".join(pieces).removeprefix(mark) if size <= largest else None
    pieces.clear()
    return frame
