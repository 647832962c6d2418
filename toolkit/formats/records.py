"""From bytes to records: lines, NUL-separated texts, JSON objects, CSV rows; a broken one is a record too."""

import codecs
import csv
import json
from abc import ABC, abstractmethod
from collections.abc import Collection, Iterator, Sequence
from typing import Any

from toolkit.errors import ToolkitError
from toolkit.formats.limits import MAX_VALUE as MAX_RECORD
from toolkit.formats.limits import header_problem, listed
from toolkit.formats.sources import Source
from toolkit.text.normalisation import TEXT_LIMIT, normalise

MAX_FIELD = 1 << 24  # characters of a CSV field; the csv module takes four bytes for each
_HEAD = 4 * TEXT_LIMIT  # bytes that hold at least the characters a tokenizer reads
_ONE_LINE = str.maketrans("\r\n", "  ")
EMPTY = "empty review"


class RecordError(Exception):
    """One record cannot be classified or written; the others can."""


class Record(ABC):
    """One review and what came with it.

    Attributes:
        place: The place in the input, for people.
        size: bytes or characters that came, about.
        text: The text of the review, as much as the model may read; empty where there is a problem.
        problem: why it cannot be classified, in words; None where it can.
    """

    def __init__(self, place: str, size: int, text: str, problem: str | None) -> None:
        self.place = place
        self.size = size
        self.problem = problem or (None if normalise(text[:TEXT_LIMIT]) else EMPTY)
        self.text = text if self.problem is None else ""

    @abstractmethod
    def line(self) -> bytes:
        """The whole review as UTF-8, line breaks that the input format allowed and a line does not as spaces."""

    @abstractmethod
    def names(self) -> Collection[str]:
        """The input's fields; none where it cannot be made out which."""

    @abstractmethod
    def cells(self) -> dict[str, str]:
        """The input's fields as a CSV has them, in order."""

    @abstractmethod
    def json(self) -> str:
        """The input as a JSON object, fields in order."""


class LineRecord(Record):
    """A bare review, kept as the bytes it came in."""

    def __init__(self, place: str, raw: bytes, problem: str | None = None) -> None:
        text = ""
        if not problem:
            try:
                text = _decode_head(raw)
            except UnicodeDecodeError:
                problem = "not valid UTF-8"
        super().__init__(place, len(raw), text, problem)
        self._raw = raw

    def line(self) -> bytes:
        """As it came."""
        return self._raw

    def names(self) -> Collection[str]:
        """One field, `text`."""
        return ("text",)

    def cells(self) -> dict[str, str]:
        """The review."""
        return {"text": self._raw.decode(errors="replace")}

    def json(self) -> str:
        """The review."""
        return json.dumps(self.cells(), ensure_ascii=False)


class JsonRecord(Record):
    """A JSON object, kept as it was written, so that every number and escape goes out as it came in."""

    def __init__(self, place: str, source: str, field: str, problem: str | None = None) -> None:
        self._source = source
        self._fields: dict[str, Any] | None = None
        text: Any = ""
        try:
            if not problem:
                self._fields = _parse_object(source)
                text = _text_of(self._fields, field)
        except RecordError as error:
            problem = str(error)
        super().__init__(place, len(source), text if problem is None else "", problem)
        self._review: str = text

    def line(self) -> bytes:
        """The text's field, on one line."""
        return self._review.translate(_ONE_LINE).encode(errors="replace")

    def names(self) -> Collection[str]:
        """The object's."""
        return self._fields or ()

    def cells(self) -> dict[str, str]:
        """Strings and numbers as they are, null as nothing, the rest as JSON."""
        return {name: self._cell(name, value) for name, value in (self._fields or {}).items()}

    def json(self) -> str:
        """As it came; what is no object stands in a field `input`."""
        return self._source if self._fields is not None else json.dumps({"input": self._source}, ensure_ascii=False)

    def _cell(self, name: str, value: object) -> str:
        if value is None:
            return ""
        if isinstance(value, str):
            return value
        # Parsed again, because inside a list or an object a number must not become a string.
        return json.dumps(json.loads(self._source)[name], ensure_ascii=False)


class CsvRecord(Record):
    """A row under a header."""

    def __init__(self, place: str, columns: Sequence[str], row: Sequence[str], index: int, problem: str | None) -> None:
        if not problem:
            if not row:
                problem = "blank line"
            elif len(row) != len(columns):
                surplus = f", the last {listed(row[len(columns) :])}" if len(row) > len(columns) else ""
                problem = f"expected {len(columns)} fields, found {len(row)}{surplus}"
            elif any("\udc80" <= character <= "\udcff" for cell in row if not cell.isascii() for character in cell):
                problem = "not valid UTF-8"  # this is how surrogateescape spells other bytes
        super().__init__(place, sum(map(len, row)), "" if problem else row[index], problem)
        self._columns = columns
        self._row = [_replace_escapes(cell) for cell in row] if problem else row
        self._index = index

    def line(self) -> bytes:
        """The text's column, on one line."""
        return self._row[self._index].translate(_ONE_LINE).encode()

    def names(self) -> Collection[str]:
        """The header's."""
        return self._columns

    def cells(self) -> dict[str, str]:
        """The columns; those that a broken row lacks are empty."""
        row = [*self._row, *[""] * (len(self._columns) - len(self._row))]
        return dict(zip(self._columns, row, strict=False))

    def json(self) -> str:
        """The columns, all of them strings."""
        return json.dumps(self.cells(), ensure_ascii=False)


def read_records(source: Source, input_format: str, field: str) -> Iterator[Record]:
    """Every record of a source, in order, each as soon as its last byte has come.

    Args:
        source: The source to read.
        input_format: one of `INPUTS`.
        field: name of the text's field or column; of no matter for `lines` and `nul`.

    Raises:
        ToolkitError: a CSV without that column, or compressed data that is broken.
    """
    prefix = f"{source.name}: " if source.name else ""
    yield from INPUTS[input_format](_frames(source.blocks(), b"\0" if input_format == "nul" else b"\n"), prefix, field)


def _lines(frames: Iterator[bytes | None], prefix: str, _field: str) -> Iterator[Record]:
    for number, frame in enumerate(frames, start=1):
        place = f"{prefix}line {number}"
        yield LineRecord(place, b"", _TOO_LONG) if frame is None else LineRecord(place, frame.removesuffix(b"\r"))


def _nul_separated(frames: Iterator[bytes | None], prefix: str, _field: str) -> Iterator[Record]:
    for number, frame in enumerate(frames, start=1):
        place = f"{prefix}record {number}"
        yield LineRecord(place, b"", _TOO_LONG) if frame is None else LineRecord(place, frame)


def _json_lines(frames: Iterator[bytes | None], prefix: str, field: str) -> Iterator[Record]:
    for number, frame in enumerate(frames, start=1):
        problem = None if frame is not None else _TOO_LONG
        try:
            source = (frame or b"").decode()
        except UnicodeDecodeError as error:
            source, problem = error.object.decode(errors="replace"), "not valid UTF-8"
        yield JsonRecord(f"{prefix}line {number}", source.strip(" \t\r\n"), field, problem)


class _CsvLines(Iterator[str]):
    """Physical lines for the csv module, bytes that are no UTF-8 escaped; counts them, and bytes of the lines of a row."""

    def __init__(self, frames: Iterator[bytes | None]) -> None:
        self._frames = frames
        self.number = 0
        self.size = 0  # since somebody last set it back

    def __next__(self) -> str:
        frame = next(self._frames)
        self.number += 1
        self.size += MAX_RECORD + 1 if frame is None else len(frame)
        if self.size > MAX_RECORD and frame is not None:
            raise _TooLongError(
                _TOO_LONG
            )  # a row of many lines, which the csv module would keep for as long as they come
        return (frame or b"").decode(errors="surrogateescape") + "\n"


class _TooLongError(Exception):
    """A row is longer than `MAX_RECORD`."""


def _csv_rows(frames: Iterator[bytes | None], prefix: str, field: str) -> Iterator[Record]:
    csv.field_size_limit(MAX_FIELD)
    lines = _CsvLines(frames)
    reader = csv.reader(lines, strict=True)
    try:
        columns = next(reader, None)
    except (csv.Error, _TooLongError) as error:
        raise ToolkitError(f"{prefix}the header is broken CSV ({error}); put it right") from error
    if columns is None:
        return
    if problem := header_problem(columns):
        raise ToolkitError(f"{prefix}{problem}")
    if field not in columns:
        found = listed(columns) or "a blank line"
        raise ToolkitError(f"{prefix}expected a column {field!r}, found {found}; name the text's with --column")
    index = columns.index(field)
    while True:
        place = f"{prefix}line {lines.number + 1}"
        problem, row = None, None
        lines.size = 0
        try:
            row = next(reader, None)
        except csv.Error as error:
            problem = f"broken CSV ({error})"
        except _TooLongError:
            problem = _TOO_LONG
        if row is None and problem is None:
            return
        problem = _TOO_LONG if lines.size > MAX_RECORD else problem
        yield CsvRecord(place, columns, row or [], index, problem)


INPUTS = {"lines": _lines, "nul": _nul_separated, "jsonl": _json_lines, "csv": _csv_rows}
_TOO_LONG = f"longer than {MAX_RECORD >> 20} MiB"


def _frames(blocks: Iterator[bytes], separator: bytes) -> Iterator[bytes | None]:
    """Split what each block brings; an unfinished record waits for its end. None stands for one over `MAX_RECORD`.

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
            yield _join(pieces, mark, size + len(end))
            mark, size = b"", 0
        size += len(rest)
        if size <= MAX_RECORD:
            pieces.append(rest)
        else:
            pieces.clear()
    if size and (last := _join(pieces, mark, size)) != b"":
        yield last


def _join(pieces: list[bytes], mark: bytes, size: int) -> bytes | None:
    """The record, and no second copy of it left in `pieces`."""
    frame = b"".join(pieces).removeprefix(mark) if size <= MAX_RECORD else None
    pieces.clear()
    return frame


def _decode_head(raw: bytes) -> str:
    """The characters that the model may read; the others are checked a piece at a time and dropped."""
    if len(raw) <= _HEAD:
        return raw.decode()
    decoder = codecs.getincrementaldecoder("utf-8")()
    head = decoder.decode(raw[:_HEAD])
    for start in range(_HEAD, len(raw), _HEAD):
        decoder.decode(raw[start : start + _HEAD], final=start + _HEAD >= len(raw))
    return head


class _Number(str):
    """A JSON number as it was written."""

    __slots__ = ()


def _parse_object(source: str) -> dict[str, Any]:
    if not source:
        raise RecordError("blank line")
    try:
        value = json.loads(source, parse_int=_Number, parse_float=_Number)
    except (ValueError, RecursionError) as error:
        raise RecordError(f"broken JSON ({error})") from error
    if not isinstance(value, dict):
        raise RecordError(f"expected a JSON object, found {_json_type(value)}")
    return value


def _text_of(fields: dict[str, Any], field: str) -> str:
    if field not in fields:
        raise RecordError(f"no field {field!r}; it has {listed(fields) or 'none'}")
    text = fields[field]
    if type(text) is not str:
        raise RecordError(f"expected a string in the field {field!r}, found {_json_type(text)}")
    return text


def _json_type(value: object) -> str:
    names = {_Number: "a number", str: "a string", list: "a list", dict: "an object", bool: "a truth value"}
    return names.get(type(value), "null" if value is None else "a number")


def _replace_escapes(text: str) -> str:
    return text.encode(errors="surrogateescape").decode(errors="replace")
