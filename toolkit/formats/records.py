"""Reviews of a stream, each with what came beside it as it was written; a broken one is a record too."""

import codecs
import json
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Iterator, Sequence
from typing import Any

from toolkit.errors import MissingColumnError, ToolkitError
from toolkit.formats.encodings import NOT_UTF8
from toolkit.formats.limits import listed
from toolkit.formats.names import TEXT_COLUMNS, find_column, say_columns, wanted_column
from toolkit.formats.parsing import (
    BLANK,
    json_type,
    parse_csv,
    parse_json,
    parse_lines,
    parse_nul_separated,
    parse_object,
    undecodable_cell,
)
from toolkit.formats.places import Place
from toolkit.formats.sources import Source
from toolkit.text.normalisation import TEXT_LIMIT, normalise

_HEAD = 4 * TEXT_LIMIT  # bytes that hold at least the characters a tokenizer reads
_ONE_LINE = str.maketrans("\r\n", "  ")
EMPTY = "empty review"


class Record(ABC):
    """One review and what came with it.

    Attributes:
        place: The place in the input.
        size: bytes or characters that came, about.
        text: The text of the review, as much as the model may read; empty where there is a problem.
        problem: why it cannot be classified, in words; None where it can.
    """

    def __init__(self, place: Place, size: int, text: str, problem: str | None) -> None:
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

    def __init__(
        self,
        place: Place,
        raw: bytes,
        problem: str | None = None,
        undecodable: Callable[[bytes], str] = lambda raw: NOT_UTF8,
    ) -> None:
        text = ""
        problem = None if problem == BLANK else problem  # it is an empty review
        if not problem:
            try:
                text = _decode_head(raw)
            except UnicodeDecodeError:
                problem = undecodable(raw)
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

    def __init__(self, place: Place, source: str, field: str | None, problem: str | None = None) -> None:
        self._source = source
        fields = problem or parse_object(source, _Number)
        self._fields = None if isinstance(fields, str) else fields
        self._review, problem = ("", fields) if isinstance(fields, str) else _text_of(fields, field)
        super().__init__(place, len(source), self._review, problem)

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

    def __init__(
        self, place: Place, columns: Sequence[str], row: Sequence[str], index: int, problem: str | None
    ) -> None:
        if not problem and len(row) != len(columns):
            surplus = f", the last {listed(row[len(columns) :])}" if len(row) > len(columns) else ""
            problem = f"expected {len(columns)} fields, found {len(row)}{surplus}"
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


def read_records(source: Source, input_format: str, field: str | None = None) -> Iterator[Record]:
    """Every record of a source, in order, each as soon as its last byte has come.

    Args:
        source: The source to read.
        input_format: one of `INPUTS`.
        field: name of the text's field or column, one of the usual by default; of no matter for `lines` and `nul`.

    Raises:
        MissingColumnError: A CSV has no such column.
        ToolkitError: Compressed data is broken.
    """
    yield from INPUTS[input_format](source, field)


def _lines(source: Source, _field: str | None) -> Iterator[Record]:
    for place, line, problem in parse_lines(source):
        yield LineRecord(place, line, problem, source.undecodable)


def _nul_separated(source: Source, _field: str | None) -> Iterator[Record]:
    for place, text, problem in parse_nul_separated(source):
        yield LineRecord(place, text, problem, source.undecodable)


def _json_objects(source: Source, field: str | None) -> Iterator[Record]:
    is_said = field is not None
    for place, text, problem in parse_json(source):
        record = JsonRecord(place, text, field, problem)
        if not is_said and (column := find_column(record.names(), None)):
            say_columns(source.name, text=column)
            is_said = True
        yield record


def _csv_rows(source: Source, field: str | None) -> Iterator[Record]:
    rows = parse_csv(source, () if field is None else (field,))
    head = next(rows, None)
    if head is None:
        return
    _, columns, wrong = head
    if wrong:
        raise ToolkitError(f"{source.place}{wrong}")
    column = find_column(columns, field)
    if column is None:
        found = listed(columns) or "a blank line"
        raise MissingColumnError(
            f"{source.place}expected a column {wanted_column(field)}, found {found}; name the text's with --column",
            columns,
        )
    if field is None:
        say_columns(source.name, text=column)
    index = columns.index(column)
    for place, row, problem in rows:
        if source.has_undecodable and not problem and len(row) == len(columns):
            problem = undecodable_cell(source, columns, row)  # any: all of them are repeated in the output
        yield CsvRecord(place, columns, row, index, problem)


INPUTS = {"lines": _lines, "nul": _nul_separated, "jsonl": _json_objects, "csv": _csv_rows}
READERS = {".csv": "csv", ".tsv": "csv", ".jsonl": "jsonl", ".json": "jsonl"}  # of these, by the ending of a file


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


def _text_of(fields: dict[str, Any], named: str | None) -> tuple[str, str | None]:
    """An object's text, and what is wrong with it."""
    first = named or TEXT_COLUMNS[0]
    field = first if first in fields else find_column(fields, named)
    if field is None:
        return "", f"no field {first!r}; it has {listed(fields) or 'none'}"
    text = fields[field]
    if type(text) is not str:
        return "", f"expected a string in the field {field!r}, found {json_type(text)}"
    return text, None


def _replace_escapes(text: str) -> str:
    return text.encode(errors="surrogateescape").decode(errors="replace")
