"""A file of rows by column: CSV, JSONL, Parquet, or lines, which have one column; blank lines are passed over."""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from toolkit.formats.limits import most_unpacked
from toolkit.formats.names import TEXT_COLUMNS
from toolkit.formats.parquet import parquet_rows
from toolkit.formats.parsing import BLANK, Parsed, parse_csv, parse_json_lines, parse_lines, parse_object
from toolkit.formats.sources import Source

Row = Parsed[Mapping[str, Any]]


def read_rows(
    path: Path,
    ending: str,
    needed: Callable[[Sequence[str]], Sequence[str]] = list,
    name: str | None = None,
    most: int | None = None,
    longest: int | None = None,
    advance: Callable[[int], None] = lambda count: None,
    structs: Collection[str] = (),
) -> Iterator[Row]:
    """The rows of a file, each with its values by column or what is wrong with it.

    Args:
        path: the file.
        ending: one of `FORMATS` or `.txt`, whatever the file's own is; compressed or not.
        needed: Chooses, of the names of the columns, those that are looked at; Parquet reads no others.
        name: the name shown to people; the path by default.
        most: bytes that compressed data may become; by default a hundred times the file's own, or 256 MiB.
        longest: The most bytes in a row of CSV, JSONL or lines; 64 MiB by default.
        advance: takes the bytes of the file that were read since it was last called.
        structs: Names of columns that Parquet is to give although each of their values is a struct of numbers.

    Raises:
        ToolkitError: compressed data or a Parquet file is damaged, or unpacks to too much.
    """
    if ending == ".parquet":
        yield from parquet_rows(path, needed, advance, structs)
        return
    source = Source(name or str(path), path, most_unpacked(path) if most is None else most, longest)
    done = 0
    for row in _PARSERS[ending](source):
        if source.position != done:
            advance(source.position - done)
            done = source.position
        if row[2] != BLANK:
            yield row


def _csv_rows(source: Source) -> Iterator[Row]:
    rows = parse_csv(source)
    head = next(rows, None)
    if head is None:
        return
    place, columns, wrong = head
    if wrong:
        yield place, {}, wrong
    for place, row, problem in rows:
        if problem or len(row) == len(columns):
            yield place, {} if problem else dict(zip(columns, row, strict=True)), problem
        else:
            yield place, {}, f"broken row: expected {len(columns)} fields, found {len(row)}"


def _json_rows(source: Source) -> Iterator[Row]:
    for place, text, problem in parse_json_lines(source):
        fields = problem or parse_object(text)
        yield (place, {}, fields) if isinstance(fields, str) else (place, fields, None)


def _lines(source: Source) -> Iterator[Row]:
    for place, line, problem in parse_lines(source):
        yield place, {TEXT_COLUMNS[0]: line.decode(errors="surrogateescape")}, problem


_PARSERS: dict[str, Callable[[Source], Iterator[Row]]] = {".csv": _csv_rows, ".jsonl": _json_rows, ".txt": _lines}
