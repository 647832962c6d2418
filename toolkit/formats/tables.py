"""The rows of CSV, JSONL and Parquet files, as they come; what a hostile file takes of time and memory is bounded."""

import csv
import json
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TextIO

from toolkit.errors import ToolkitError, needs_extra
from toolkit.formats.limits import MAX_VALUE, UnpackedSize, header_problem

FORMATS = (".csv", ".jsonl", ".parquet")
Row = tuple[str, Mapping[str, Any] | str]  # its place, and its values by column or what is wrong with it
Needed = Callable[[Iterable[str]], Sequence[str]]

_ROWS = 1024  # of a batch of Parquet
_FEW_ROWS = 4  # where a column's part has more bytes than _SMALL: each value may be as large as all of them
_SMALL = 1 << 26  # bytes, 64 MiB
_ROW_COST = 100  # bytes that any row counts for, so that billions of empty ones are too many


def read_rows(path: Path, suffix: str, needed: Needed = list, largest: int = MAX_VALUE) -> Iterator[Row]:
    """The rows of a file, numbered from 1, the header apart.

    Args:
        path: the file.
        suffix: one of `FORMATS`, whatever the file's own is.
        needed: Chooses, of the names of the columns, those that are looked at; Parquet reads no others.
        largest: The most characters in a row of CSV or JSONL.

    Raises:
        ToolkitError: a Parquet file is damaged, or unpacks to too much.
    """
    if suffix == ".parquet":
        return _parquet_rows(path, needed)
    return _csv_rows(path, largest) if suffix == ".csv" else _jsonl_rows(path, largest)


class _TooLongError(Exception):
    """A row is longer than it may be."""


class _Lines(Iterator[str]):
    """The lines of a file, of which those that make up a row are counted; none longer than a row may be is ever whole.

    Args:
        stream: the file.
        largest: characters of a row.
    """

    def __init__(self, stream: TextIO, largest: int) -> None:
        self._stream = stream
        self._largest = largest
        self.number = 0
        self.size = 0  # since somebody last set it back

    def __next__(self) -> str:
        line = self._stream.readline(self._largest + 1)
        if not line:
            raise StopIteration
        self.number += 1
        self.size += len(line)
        if self.size <= self._largest:
            return line
        while line and line[-1] not in "\r\n":
            line = self._stream.readline(self._largest)  # dropped as it comes
        raise _TooLongError(f"longer than {self._largest >> 20} MiB")


def _csv_rows(path: Path, largest: int) -> Iterator[Row]:
    csv.field_size_limit(min(sys.maxsize, 2**31 - 1))  # the default refuses a field over 128 KiB
    with path.open(encoding="utf-8-sig", errors="surrogateescape", newline="") as stream:
        lines = _Lines(stream, largest)
        reader = csv.reader(lines, strict=True)
        try:
            header = next(reader, [])
        except (csv.Error, _TooLongError) as error:
            yield "header", f"broken CSV ({error})"
            return
        if not header:
            return
        if problem := header_problem(header):
            yield "header", problem
            return
        row_number = 1
        while True:
            place = f"row {row_number} (line {lines.number + 1})"
            lines.size = 0
            try:
                fields = next(reader)
            except StopIteration:
                return
            except _TooLongError as error:
                yield place, str(error)
                row_number += 1
                continue
            except csv.Error as error:
                yield place, f"broken CSV ({error})"
                row_number += 1
                continue
            if not fields:
                continue  # a blank line between records is not a row
            row_number += 1
            if len(fields) == len(header):
                yield place, dict(zip(header, fields, strict=True))
            else:
                yield place, f"broken row: expected {len(header)} fields, found {len(fields)}"


def _jsonl_rows(path: Path, largest: int) -> Iterator[Row]:
    with path.open(encoding="utf-8-sig", errors="surrogateescape") as stream:
        lines = _Lines(stream, largest)
        while True:
            lines.size = 0
            try:
                line = next(lines)
            except StopIteration:
                return
            except _TooLongError as error:
                yield f"row {lines.number}", str(error)
                continue
            if not line.strip():
                continue
            place = f"row {lines.number}"
            try:
                row = json.loads(line)
            except (ValueError, RecursionError) as error:
                yield place, f"broken JSON ({error})"
                continue
            yield place, row if isinstance(row, dict) else f"expected a JSON object, found {type(row).__name__}"


def _parquet_rows(path: Path, needed: Needed) -> Iterator[Row]:
    with needs_extra("train", "reading Parquet"):
        import pyarrow.parquet
    with parquet_errors(path):
        schema = pyarrow.parquet.read_schema(path)
        if problem := header_problem(schema.names):
            yield "header", problem
            return
        flat = [name for name in schema.names if not pyarrow.types.is_nested(schema.field(name).type)]
        columns = needed(flat)
        if not columns:
            yield "header", dict.fromkeys(schema.names)  # for the reader to say what it misses
            return
        number = 0
        for batch in parquet_batches(path, columns):
            values = [to_values(batch.column(name)) for name in columns]
            for row in zip(*values, strict=True):
                number += 1
                yield f"row {number}", dict(zip(columns, row, strict=True))


def parquet_batches(
    path: Path,
    columns: Sequence[str] | None = None,
    row_groups: Sequence[int] | None = None,
    rows: int = _ROWS,
) -> Iterator[Any]:
    """A Parquet file in record batches, of which none is large, whatever the file says it holds.

    A file of a few kB can repeat a value of megabytes in every row: texts come dictionary-encoded, each value once
    (`to_values`), and a batch is cut where its rows, written out, would have more than `MAX_VALUE` bytes.

    Args:
        path: the file.
        columns: names of those to read, all by default.
        row_groups: numbers of those to read, all by default.
        rows: The most rows in a batch.

    Raises:
        ToolkitError: it unpacks to too much, or a row does.
    """
    import pyarrow.parquet

    unpacked = UnpackedSize(path)
    file = pyarrow.parquet.ParquetFile(path)
    leaves = [file.schema.column(number) for number in range(file.metadata.num_columns)]
    texts = [column.path for column in leaves if column.physical_type == "BYTE_ARRAY"]
    encoded = pyarrow.parquet.ParquetFile(path, metadata=file.metadata, read_dictionary=texts)
    for group in range(file.num_row_groups) if row_groups is None else row_groups:
        metadata = file.metadata.row_group(group)
        parts = [(column, metadata.column(number)) for number, column in enumerate(leaves)]
        parts = [part for part in parts if columns is None or part[0].path in columns]
        UnpackedSize(path).add(sum(part.total_uncompressed_size for _, part in parts))
        # One row of a nested column may hold all of its values.
        UnpackedSize(path).add(8 * sum(part.num_values for column, part in parts if "." in column.path))
        wide = sum(column.length for column, _ in parts if column.physical_type == "FIXED_LEN_BYTE_ARRAY")
        small = all(part.total_uncompressed_size <= _SMALL for _, part in parts)
        reader = encoded if small else file
        most = min(rows if small else _FEW_ROWS, max(1, MAX_VALUE // max(1, wide)))
        for batch in reader.iter_batches(batch_size=most, row_groups=[group], columns=columns):
            for piece, size in _pieces(batch, path):
                unpacked.add(size + _ROW_COST * piece.num_rows)
                yield piece


def to_values(column: Any) -> list[Any]:  # noqa: ANN401 - pyarrow ships no types
    """The values of a batch's column; equal texts are one object."""
    import pyarrow
    import pyarrow.compute

    if not pyarrow.types.is_dictionary(column.type):
        values: list[Any] = column.to_pylist()
        return values
    used = pyarrow.compute.unique(column.indices).drop_null()
    value_of = dict(zip(used.to_pylist(), column.dictionary.take(used).to_pylist(), strict=True))
    return [value_of.get(index) for index in column.indices.to_pylist()]


def _pieces(batch: Any, path: Path) -> Iterator[tuple[Any, int]]:  # noqa: ANN401
    """A batch, cut in halves until each has `MAX_VALUE` bytes at most, with their number."""
    size = sum(map(_size, batch.columns))
    if size <= MAX_VALUE:
        yield batch, size
    elif batch.num_rows <= 1:
        raise ToolkitError(f"{path} has a row of {size >> 20} MiB; expected {MAX_VALUE >> 20} MiB at most")
    else:
        half = batch.num_rows // 2
        yield from _pieces(batch.slice(0, half), path)
        yield from _pieces(batch.slice(half), path)


def _size(array: Any) -> int:  # noqa: ANN401
    """Bytes of an array's values once each stands for itself."""
    import pyarrow
    from pyarrow import compute

    kind = array.type
    if pyarrow.types.is_dictionary(kind):
        lengths = compute.binary_length(array.dictionary) if _has_bytes(kind.value_type) else None
        total = compute.sum(lengths.take(array.indices).cast(pyarrow.int64())).as_py() if lengths else 0
        return int(total or 0) + int(array.indices.nbytes)
    if pyarrow.types.is_struct(kind):
        return sum(map(_size, array.flatten()))
    if pyarrow.types.is_map(kind) and len(array):
        start, end = array.offsets[0].as_py(), array.offsets[-1].as_py()
        return sum(_size(part.slice(start, end - start)) for part in (array.keys, array.items))
    return _size(array.flatten()) if pyarrow.types.is_nested(kind) and len(array) else int(array.nbytes)


def _has_bytes(kind: Any) -> bool:  # noqa: ANN401
    from pyarrow import types

    return bool(
        types.is_string(kind) or types.is_large_string(kind) or types.is_binary(kind) or types.is_large_binary(kind)
    )


@contextmanager
def parquet_errors(path: Path) -> Iterator[None]:
    """Say of any damage that pyarrow stumbles over, be it in thrift, in a page or in a string, that the file is damaged.

    Raises:
        ToolkitError: the file is no Parquet, or a damaged one.
    """
    import pyarrow

    try:
        yield
    except (pyarrow.ArrowException, OSError, UnicodeDecodeError, OverflowError) as error:
        if isinstance(error, OSError) and error.errno:
            raise  # the system's, not the file's
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise ToolkitError(f"{path} is not readable Parquet ({reason}); download or make it again") from error
