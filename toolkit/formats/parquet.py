"""The rows of Parquet files, as they come; what a hostile file takes of time and memory is bounded."""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from toolkit.errors import ToolkitError, needs_extra
from toolkit.formats.limits import MAX_VALUE, UnpackedSize, header_problem
from toolkit.formats.parsing import Parsed, unwritable
from toolkit.formats.places import Place

_ROWS = 1024  # of a batch of Parquet
_FEW_ROWS = 4  # where a column's part has more bytes than _SMALL: each value may be as large as all of them
_SMALL = 1 << 26  # bytes, 64 MiB
_ROW_COST = 100  # bytes that any row counts for, so that billions of empty ones are too many


def parquet_rows(
    path: Path,
    needed: Callable[[Sequence[str]], Sequence[str]],
    advance: Callable[[int], None],
    structs: Collection[str] = (),
) -> Iterator[Parsed[Mapping[str, Any]]]:
    """Rows by column; a header that cannot be used comes alone, as a place without a row.

    Args:
        path: the file.
        needed: Chooses, of the names of the columns, those that are read.
        advance: takes the bytes of the file, as if every row had as many, that were done since it was last called.
        structs: Names of columns to offer although each of their values is a struct of numbers.

    Raises:
        ToolkitError: it is damaged, or unpacks to too much.
    """
    with needs_extra("parquet", "reading Parquet"):
        import pyarrow.parquet
    head = Place(str(path))
    with parquet_errors(path):
        schema = pyarrow.parquet.read_schema(parquet_file(path))
        if problem := header_problem(schema.names):
            yield head, {}, problem
            return
        columns = needed(
            [each.name for each in schema if _is_plain(each.type) or (each.name in structs and _is_numbers(each.type))]
        )
        if not columns:
            yield head, dict.fromkeys(schema.names), None  # for the reader to say what it misses
            return
        number, size, rows = 0, path.stat().st_size, max(1, pyarrow.parquet.read_metadata(parquet_file(path)).num_rows)
        for batch in parquet_batches(path, columns):
            advance(size * (number + batch.num_rows) // rows - size * number // rows)
            values = [to_values(batch.column(name)) for name in columns]
            for row in zip(*values, strict=True):
                number += 1
                yield Place(str(path), number), dict(zip(columns, row, strict=True)), None


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

    unpacked = UnpackedSize.of(path)
    file = pyarrow.parquet.ParquetFile(parquet_file(path))
    leaves = [file.schema.column(number) for number in range(file.metadata.num_columns)]
    texts = [column.path for column in leaves if column.physical_type == "BYTE_ARRAY"]
    encoded = pyarrow.parquet.ParquetFile(parquet_file(path), metadata=file.metadata, read_dictionary=texts)
    for group in range(file.num_row_groups) if row_groups is None else row_groups:
        metadata = file.metadata.row_group(group)
        parts = [(column, metadata.column(number)) for number, column in enumerate(leaves)]
        parts = [
            part
            for part in parts
            if columns is None or not {part[0].path, part[0].path.partition(".")[0]}.isdisjoint(columns)
        ]
        UnpackedSize.of(path).add(sum(part.total_uncompressed_size for _, part in parts))
        # One row of a nested column may hold all of its values.
        UnpackedSize.of(path).add(8 * sum(part.num_values for column, part in parts if "." in column.path))
        wide = sum(column.length for column, _ in parts if column.physical_type == "FIXED_LEN_BYTE_ARRAY")
        small = all(part.total_uncompressed_size <= _SMALL for _, part in parts)
        reader = encoded if small else file
        most = min(rows if small else _FEW_ROWS, max(1, MAX_VALUE // max(1, wide)))
        for batch in reader.iter_batches(batch_size=most, row_groups=[group], columns=columns):
            for piece, size in _pieces(batch, path):
                unpacked.add(size + _ROW_COST * piece.num_rows)
                yield piece


def _is_plain(kind: Any) -> bool:  # noqa: ANN401 - pyarrow ships no types
    from pyarrow import types

    return not types.is_nested(kind)


def _is_numbers(kind: Any) -> bool:  # noqa: ANN401
    from pyarrow import types

    return bool(types.is_struct(kind)) and all(types.is_floating(each.type) for each in kind)


def parquet_file(path: Path) -> Path | IO[bytes]:
    """What pyarrow is given for a file: the path, or where its name is no UTF-8, which pyarrow cannot spell, the open file."""
    return path.open("rb") if unwritable(str(path)) else path


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
