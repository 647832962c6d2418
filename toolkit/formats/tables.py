"""A file of rows by column: CSV, JSON, Parquet, or lines, which have one column; blank lines are passed over."""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from toolkit.formats.limits import most_unpacked
from toolkit.formats.names import TEXT_COLUMNS
from toolkit.formats.parquet import parquet_rows
from toolkit.formats.parsing import (
    BLANK,
    Parsed,
    parse_csv,
    parse_json,
    parse_lines,
    parse_object,
    undecodable_cell,
)
from toolkit.formats.sources import Source

Row = Parsed[Mapping[str, Any]]
Choose = Callable[[Sequence[str]], Sequence[str]]


def read_rows(
    path: Path,
    ending: str,
    needed: Choose = list,
    name: str | None = None,
    most: int | None = None,
    longest: int | None = None,
    advance: Callable[[int], None] = lambda count: None,
    structs: Collection[str] = (),
    encoding: str | None = None,
    known: Collection[str] = (),
) -> Iterator[Row]:
    """The rows of a file, each with its values by column or what is wrong with it.

    Args:
        path: the file.
        ending: one of `FORMATS` or `.txt`, whatever the file's own is; compressed or not.
        needed: Chooses, of the names of the columns, those that are looked at; Parquet reads no others, and a row of CSV is a
            broken one where one of these is not in the file's encoding.
        name: the name shown to people; the path by default.
        most: bytes that compressed data may become; by default a hundred times the file's own, or 256 MiB.
        longest: The most bytes in a row of CSV, JSONL or lines; 64 MiB by default.
        advance: takes the bytes of the file that were read since it was last called.
        structs: Names of columns that Parquet is to give although each of their values is a struct of numbers.
        encoding: The encoding of text without a byte order mark; UTF-8 by default.
        known: names of columns by which a CSV's separator is known, beside the usual.

    Raises:
        ToolkitError: compressed data or a Parquet file is damaged, or unpacks to too much.
    """
    if ending == ".parquet":
        yield from parquet_rows(path, needed, advance, structs)
        return
    source = Source(name or str(path), path, most_unpacked(path) if most is None else most, longest, encoding)
    done = 0
    for row in _csv_rows(source, needed, known) if ending in (".csv", ".tsv") else _PARSERS[ending](source):
        if source.position != done:
            advance(source.position - done)
            done = source.position
        if row[2] != BLANK:
            yield row


def _csv_rows(source: Source, needed: Choose, known: Collection[str]) -> Iterator[Row]:
    rows = parse_csv(source, known)
    head = next(rows, None)
    if head is None:
        return
    place, columns, wrong = head
    if wrong:
        yield place, {}, wrong
    first = dict(zip(reversed(columns), range(len(columns) - 1, -1, -1), strict=True))  # of a name that comes twice
    indexes = [first[name] for name in needed(columns)]
    for place, row, problem in rows:
        if problem is None and len(row) != len(columns):
            problem = f"broken row: expected {len(columns)} fields, found {len(row)}"
        elif problem is None and source.has_undecodable:
            problem = undecodable_cell(source, [columns[each] for each in indexes], [row[each] for each in indexes])
        yield place, {} if problem else dict(zip(columns, row, strict=True)), problem


def _json_rows(source: Source) -> Iterator[Row]:
    for place, text, problem in parse_json(source):
        fields = problem or parse_object(text)
        yield (place, {}, fields) if isinstance(fields, str) else (place, fields, None)


def _lines(source: Source) -> Iterator[Row]:
    for place, line, problem in parse_lines(source):
        try:
            row, broken = {TEXT_COLUMNS[0]: line.decode()}, None
        except UnicodeDecodeError:
            row, broken = {}, source.undecodable(line)
        yield place, row, problem or broken


_PARSERS: dict[str, Callable[[Source], Iterator[Row]]] = {".jsonl": _json_rows, ".json": _json_rows, ".txt": _lines}
