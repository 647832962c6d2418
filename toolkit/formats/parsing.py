"""The one parser: a source's bytes become lines, JSON texts and CSV rows, each with its place; a broken one is there too.

Lines end with LF or CRLF, or with a lone CR where there is no LF; rows of a CSV with any of them. A CSV's bytes that are not
in their encoding stay as `surrogateescape` spells them, for `is_undecodable` to find, since they may stand in a column that
nobody reads. A blank line has the problem `BLANK`: who gives every line an answer says so, and who reads a table passes over
it.
"""

import csv
import json
import logging
import re
from collections.abc import Callable, Collection, Iterator, Sequence
from typing import Any, TypeVar

from toolkit.errors import ToolkitError
from toolkit.formats.arrays import array_elements
from toolkit.formats.dialects import (
    SEPARATORS,
    find_separator,
    has_escaped_quotes,
    said_separator,
    with_doubled_quotes,
)
from toolkit.formats.encodings import NOT_UTF8
from toolkit.formats.limits import header_problem, shown
from toolkit.formats.names import LABEL_COLUMNS, TEXT_COLUMNS, split_name
from toolkit.formats.places import Place
from toolkit.formats.sources import Source, first_line

MAX_FIELD = 1 << 24  # characters of a CSV field; the csv module takes four bytes for each
BLANK = "blank line"
_KEPT_LINES = 1000  # of a row, to read it in another way
HALF = "half a character (a lone surrogate)"
_ESCAPED = re.compile("[\udc80-\udcff]")
_SURROGATE = re.compile("[\ud800-\udfff]")
_Content = TypeVar("_Content")
_logger = logging.getLogger(__name__)


# A record as far as its format goes: where it begins, what is there, and why it is none, or None where it is one.
Parsed = tuple[Place, _Content, str | None]


def too_long(source: Source) -> str:
    """What is said of a record that is longer than its source allows."""
    return f"longer than {source.longest >> 20} MiB"


def is_undecodable(text: str) -> bool:
    """Whether there were bytes that are not in the encoding."""
    return not text.isascii() and _ESCAPED.search(text) is not None


def undecodable_cell(source: Source, columns: Sequence[str], row: Sequence[str]) -> str | None:
    """What is wrong with a row that `parse_csv` let pass; None if nothing is."""
    for column, cell in zip(columns, row, strict=True):
        if is_undecodable(cell):
            return source.undecodable(cell.encode(errors="surrogateescape"), f"the column {shown(column)}")
    return None


def unwritable(text: object) -> str | None:
    """Why a cell cannot be written as it is, UTF-8 having no way to spell it; None where it can."""
    if not isinstance(text, str) or text.isascii() or not _SURROGATE.search(text):
        return None
    return f"is {NOT_UTF8}" if is_undecodable(text) else f"holds {HALF}"


def parse_lines(source: Source) -> Iterator[Parsed[bytes]]:
    """Lines without their ends."""
    row = 0
    for number, frame in enumerate(_frames(source, _with_line_feeds(source.blocks()), b"\n"), start=1):
        line = (frame or b"").removesuffix(b"\r")
        problem = too_long(source) if frame is None else BLANK if not line or line.isspace() else None
        row += problem is not BLANK
        yield Place(source.name, row, number), line, problem


def parse_nul_separated(source: Source) -> Iterator[Parsed[bytes]]:
    """What stands between NUL bytes."""
    for number, frame in enumerate(_frames(source, source.blocks(zeros=True), b"\0"), start=1):
        yield Place(source.name, number, None, "record"), frame or b"", too_long(source) if frame is None else None


def parse_json(source: Source) -> Iterator[Parsed[str]]:
    """What should be JSON objects, a line each or in an array, as they were written.

    Raises:
        ToolkitError: It is one object over many lines, of which every line would be a broken record.
    """
    head, blocks = first_line(source.blocks())
    if head.strip() == b"{":
        raise ToolkitError(
            f"{source.place}expected an array of JSON objects, or an object a line, found one over many lines"
        )
    if _begins_array(head):
        for number, (element, wrong) in enumerate(array_elements(blocks, source.longest), start=1):
            text, problem = _decode_json(source, element)
            yield Place(source.name, number, None, "object"), text, wrong or problem
        return
    row = 0
    for number, frame in enumerate(_frames(source, _with_line_feeds(blocks), b"\n"), start=1):
        text, problem = _decode_json(source, frame)
        problem = problem or (None if text else BLANK)
        row += problem != BLANK
        yield Place(source.name, row, number), text, problem


def _begins_array(head: bytes) -> bool:
    """Whether it is an array of objects; a line may be a list of something else."""
    content = head.lstrip()
    return content[:1] == b"[" and content[1:].lstrip()[:1] in (b"", b"{", b"]")


def _decode_json(source: Source, frame: bytes | None) -> tuple[str, str | None]:
    if frame is None:
        return "", too_long(source)
    try:
        return frame.decode().strip(" \t\r\n"), None
    except UnicodeDecodeError:  # JSON is UTF-8 and nothing else: RFC 8259, section 8.1
        return frame.decode(errors="replace").strip(" \t\r\n"), source.undecodable(frame)


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


def parse_csv(source: Source, known: Collection[str] = ()) -> Iterator[Parsed[list[str]]]:
    """The header, whose place has no row, then the rows; after a broken header comes nothing.

    The first line says what separates the columns. Columns without a name behind the last that has one are none. Quotes
    that are escaped with backslashes, as Spark writes them, are understood from the first row on that has such.

    Args:
        source: where it comes from.
        known: names of columns by which the separator is known, beside the usual.
    """
    csv.field_size_limit(MAX_FIELD)
    lines = _CsvLines(source)
    head = Place(source.name, None, 1)
    try:
        separator = _read_separator(lines, source, (*known, *TEXT_COLUMNS, *LABEL_COLUMNS))
        reader = csv.reader(lines, strict=True, delimiter=separator)
        header = next(reader, None)
    except (csv.Error, _TooLongError) as error:
        yield head, [], f"the header is broken CSV ({error}); put it right"
        return
    if header is None:
        return
    columns = _without_nameless(header)
    problem = header_problem(columns) or _undecodable_header(source, columns)
    yield head, columns, problem
    nameless, cells_left_out = len(header) - len(columns), 0
    row_number = 1
    while problem is None:
        place = Place(source.name, row_number, lines.number + 1)
        lines.begin_row()
        row, wrong = None, None
        try:
            row = next(reader, None)
        except csv.Error as error:
            if lines.unescape():
                _logger.info("%sthe quotes are escaped with backslashes, as Spark writes them", source.place)
                continue
            wrong = f"broken CSV ({error})"
        except _TooLongError:
            wrong = too_long(source)
        if row is None and wrong is None:
            break
        if lines.size > source.longest:
            wrong = too_long(source)
        elif row == []:
            wrong = BLANK
        elif nameless and row and len(columns) < len(row) <= len(header):
            cells_left_out += sum(map(bool, row[len(columns) :]))
            del row[len(columns) :]
        row_number += wrong != BLANK
        yield place, row or [], wrong
    if cells_left_out:
        _logger.warning("%scells in columns without a name, which were left out: %d", source.place, cells_left_out)


def _undecodable_header(source: Source, columns: Sequence[str]) -> str | None:
    """A header that is not in the encoding: it could neither be looked through nor repeated."""
    if not source.has_undecodable or not any(map(is_undecodable, columns)):
        return None
    return source.undecodable(",".join(columns).encode(errors="surrogateescape"), "the header")


def _read_separator(lines: "_CsvLines", source: Source, known: Collection[str]) -> str:
    """What separates the columns, said where that is no comma; a first line `sep=;`, which is for Excel, is taken away."""
    first = next(lines, "")
    separator = said_separator(first)
    if separator is None:
        lines.push_back()
        separator = find_separator(first, known, "\t" if split_name(source.name)[1] == ".tsv" else None)
    if separator != ",":
        _logger.info("%scolumns are separated by %s", source.place, SEPARATORS.get(separator, repr(separator)))
    return separator


def _without_nameless(header: list[str]) -> list[str]:
    """Without the columns at the end that have no name: a spreadsheet's empty ones."""
    count = len(header)
    while count and not header[count - 1].strip():
        count -= 1
    return header[:count]


class _CsvLines(Iterator[str]):
    """Physical lines for the csv module; counts them, and the characters of the lines of a row."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self._frames = _frames(source, source.blocks(), b"\n")
        self._pieces: list[str] = []  # that come before the next frame, the last first
        self._row: list[str] = []  # lines since the row began, as they came
        self._unescapes = False
        self.number = 0
        self.size = 0  # since the row began

    def __next__(self) -> str:
        line = self._pieces.pop() if self._pieces else self._next_line()
        self.number += 1
        self.size += len(line)
        if line != "\n" and self.size > self._source.longest:
            raise _TooLongError(
                too_long(self._source)
            )  # a row of many lines, which the csv module would keep as long as they come
        if len(self._row) < _KEPT_LINES:
            self._row.append(line)
        return with_doubled_quotes(line) if self._unescapes else line

    def begin_row(self) -> None:
        """What comes belongs to another row."""
        self._row.clear()
        self.size = 0

    def push_back(self) -> None:
        """The lines of this row come again."""
        self.number -= len(self._row)
        self._pieces += reversed(self._row)
        self.begin_row()

    def unescape(self) -> bool:
        """Read the row again with quotes escaped by backslashes, and all that follow, if there are such in it."""
        if self._unescapes or len(self._row) == _KEPT_LINES or not any(map(has_escaped_quotes, self._row)):
            return False
        self._unescapes = True
        self.push_back()
        return True

    def _next_line(self) -> str:
        frame = next(self._frames)
        if frame is None:
            self.size += self._source.longest
            return "\n"
        try:
            line = frame.decode() + "\n"
        except UnicodeDecodeError:
            self._source.has_undecodable = True
            line = frame.decode(errors="surrogateescape") + "\n"
        if "\r" in line[:-2]:
            first, *pieces = line[:-2].split("\r")
            self._pieces = [pieces.pop() + line[-2:], *(f"{piece}\r" for piece in reversed(pieces))]
            return f"{first}\r"
        return line


class _TooLongError(Exception):
    """A row is longer than its source allows."""


def _with_line_feeds(blocks: Iterator[bytes]) -> Iterator[bytes]:
    """Blocks in which line feeds end the lines, even where carriage returns alone do, as old Macs wrote them."""
    head, blocks = first_line(blocks)
    is_old = b"\n" not in head and b"\r" in head[:-1]
    for block in blocks:
        yield block.replace(b"\r", b"\n") if is_old else block


def _frames(source: Source, blocks: Iterator[bytes], separator: bytes) -> Iterator[bytes | None]:
    """Split what each block brings; an unfinished record waits for its end. None stands for one that is too long.

    The rest of such a record is dropped as it comes, so that a stream without a separator fills no memory.
    """
    pieces: list[bytes] = []  # joined once, so that a huge record costs linear time
    size = 0
    for block in blocks:
        *ends, rest = block.split(separator)
        for end in ends:
            pieces.append(end)
            yield _join(pieces, size + len(end), source.longest)
            size = 0
        size += len(rest)
        if size <= source.longest:
            pieces.append(rest)
        else:
            pieces.clear()
    if size:
        yield _join(pieces, size, source.longest)


def _join(pieces: list[bytes], size: int, longest: int) -> bytes | None:
    """The record, and no second copy of it left in `pieces`."""
    frame = b"".join(pieces) if size <= longest else None
    pieces.clear()
    return frame
