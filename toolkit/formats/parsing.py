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

from toolkit.formats.limits import header_problem
from toolkit.formats.places import Place
from toolkit.formats.sources import Source

MAX_FIELD = 1 << 24  # characters of a CSV field; the csv module takes four bytes for each
BLANK = "blank line"
NOT_UTF8 = "not valid UTF-8"
HALF = "half a character (a lone surrogate)"
_ESCAPED = re.compile("[\udc80-\udcff]")
_SURROGATE = re.compile("[\ud800-\udfff]")
_Content = TypeVar("_Content")


# A record as far as its format goes: where it begins, what is there, and why it is none, or None where it is one.
Parsed = tuple[Place, _Content, str | None]


def too_long(source: Source) -> str:
    """What is said of a record that is longer than its source allows."""
    return f"longer than {source.longest >> 20} MiB"


def is_undecodable(text: str) -> bool:
    """Whether there were bytes that are no UTF-8."""
    return not text.isascii() and _ESCAPED.search(text) is not None


def unwritable(text: object) -> str | None:
    """Why a cell cannot be written as it is, UTF-8 having no way to spell it; None where it can."""
    if not isinstance(text, str) or text.isascii() or not _SURROGATE.search(text):
        return None
    return f"is {NOT_UTF8}" if is_undecodable(text) else f"holds {HALF}"


def parse_lines(source: Source) -> Iterator[Parsed[bytes]]:
    """Lines without their ends."""
    row = 0
    for number, frame in enumerate(_frames(source, b"\n"), start=1):
        line = (frame or b"").removesuffix(b"\r")
        problem = too_long(source) if frame is None else BLANK if not line or line.isspace() else None
        row += problem is not BLANK
        yield Place(source.name, row, number), line, problem


def parse_nul_separated(source: Source) -> Iterator[Parsed[bytes]]:
    """What stands between NUL bytes."""
    for number, frame in enumerate(_frames(source, b"\0"), start=1):
        yield Place(source.name, number, None, "record"), frame or b"", too_long(source) if frame is None else None


def parse_json_lines(source: Source) -> Iterator[Parsed[str]]:
    """What should be a JSON object, as it was written."""
    row = 0
    for number, frame in enumerate(_frames(source, b"\n"), start=1):
        problem = None if frame is not None else too_long(source)
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
    lines = _CsvLines(source)
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
            wrong = too_long(source)
        if row is None and wrong is None:
            return
        if lines.size > source.longest:
            wrong = too_long(source)
        elif row == []:
            wrong = BLANK
        row_number += wrong != BLANK
        yield place, row or [], wrong


class _CsvLines(Iterator[str]):
    """Physical lines for the csv module; counts them, and the characters of the lines of a row."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self._frames = _frames(source, b"\n")
        self._pieces: list[str] = []  # of a line with carriage returns inside, the last first
        self.number = 0
        self.size = 0  # since somebody last set it back

    def __next__(self) -> str:
        line = self._pieces.pop() if self._pieces else self._next_line()
        self.number += 1
        self.size += len(line)
        if line != "\n" and self.size > self._source.longest:
            raise _TooLongError(
                too_long(self._source)
            )  # a row of many lines, which the csv module would keep as long as they come
        return line

    def _next_line(self) -> str:
        frame = next(self._frames)
        if frame is None:
            self.size += self._source.longest
            return "\n"
        line = frame.decode(errors="surrogateescape") + "\n"
        if "\r" in line[:-2]:
            first, *pieces = line[:-2].split("\r")
            self._pieces = [pieces.pop() + line[-2:], *(f"{piece}\r" for piece in reversed(pieces))]
            return f"{first}\r"
        return line


class _TooLongError(Exception):
    """A row is longer than its source allows."""


def _frames(source: Source, separator: bytes) -> Iterator[bytes | None]:
    """Split what each block brings; an unfinished record waits for its end. None stands for one that is too long.

    The rest of such a record is dropped as it comes, so that a stream without a separator fills no memory. A byte order
    mark at the start is dropped.
    """
    pieces: list[bytes] = []  # joined once, so that a huge record costs linear time
    size = 0
    mark = codecs.BOM_UTF8
    for block in source.blocks():
        *ends, rest = block.split(separator)
        for end in ends:
            pieces.append(end)
            yield _join(pieces, mark, size + len(end), source.longest)
            mark, size = b"", 0
        size += len(rest)
        if size <= source.longest:
            pieces.append(rest)
        else:
            pieces.clear()
    if size and (last := _join(pieces, mark, size, source.longest)) != b"":
        yield last


def _join(pieces: list[bytes], mark: bytes, size: int, longest: int) -> bytes | None:
    """The record, and no second copy of it left in `pieces`."""
    frame = b"".join(pieces).removeprefix(mark) if size <= longest else None
    pieces.clear()
    return frame
