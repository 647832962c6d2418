"""What there is to do: files found by patterns, cut into pieces that are done whole or not at all."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import PurePosixPath

from toolkit.cluster.storage import Found, Storage, open_storage
from toolkit.errors import ToolkitError
from toolkit.formats.names import FORMATS, format_of, split_name

ROWS = 20_000  # of a piece of Parquet, at least, as whole row groups; some minutes of one core

_WRITTEN_AS = {".tsv": ".csv", ".json": ".jsonl"}  # the others as they are


@dataclass(frozen=True, slots=True)
class Partition:
    """A file, or some row groups of a Parquet file: the unit of work, with one output that is named after it.

    Attributes:
        source: path of the file, as its file system spells it.
        target: path of its output below the output folder.
        size: bytes, of the share of the file.
        row_groups: The row groups of this piece; None for the whole file.
        first_row: number of the piece's first row in the file, from 1.
    """

    source: str
    target: str
    size: int
    row_groups: tuple[int, ...] | None = None
    first_row: int = 1


def find_partitions(patterns: Sequence[str]) -> tuple[Storage, list[Partition]]:
    """The pieces of every file that the patterns name.

    Args:
        patterns: each a file, a folder, or a path or URI with `*`, `?`, `[…]` in its names and `**` for any folders; in a URI `?` begins the
            options. Names that begin with `.` or `_` are left out unless they are named so. Of a folder, files of other kinds
            are left out too, and those that end in `.json`.

    Raises:
        ToolkitError: there is no such file, it is of no kind that is read here, two would be written to one place, or the
            patterns name files of different stores.
    """
    found = [_find(pattern) for pattern in patterns]
    storage = found[0][0]
    for pattern, (other, _) in zip(patterns, found, strict=True):
        if not storage.is_same_system(other):
            raise ToolkitError(f"{patterns[0]} and {pattern} are files of different stores; classify them apart")
    partitions = [piece for _, pieces in found for piece in pieces]
    targets = Counter(piece.target for piece in partitions)
    if repeated := [target for target, times in targets.items() if times > 1]:
        raise ToolkitError(
            f"{', '.join(patterns)}: two files would be written to {repeated[0]}; rename one, or classify them apart"
        )
    return storage, partitions


def is_pattern(text: str) -> bool:
    """Whether a path has wildcards in it."""
    return any(map(_is_glob, text.split("/")))


def _find(pattern: str) -> tuple[Storage, list[Partition]]:
    path, mark, query = pattern.partition("?") if "://" in pattern else (pattern, "", "")
    parts = path.split("/")
    fixed = next((index for index, part in enumerate(parts) if _is_glob(part)), len(parts))
    base = "/".join(parts[:fixed]) or ("/" if pattern.startswith("/") else ".")
    storage = open_storage(base + mark + query)
    alone = storage.find() if fixed == len(parts) else None
    if alone:
        found, folder = [alone], str(PurePosixPath(alone.path).parent)
    else:
        found, folder = storage.list_files(), storage.root
        names = [PurePosixPath(each.path).relative_to(folder or "/") for each in found]
        rest = parts[fixed:] or ["**"]
        found = [each for each, name in zip(found, names, strict=True) if _matches(name.parts, rest)]
        if fixed == len(parts):
            found = [
                each for each in found if format_of(each.path) not in (None, ".json")
            ]  # which is seldom one of reviews
    if not found:
        raise ToolkitError(f"{pattern}: expected files ending in {', '.join(FORMATS)}, found none")
    return storage, [piece for each in found for piece in _pieces(storage, each, folder)]


def _is_glob(part: str) -> bool:
    return any(character in part for character in "*?[")


def _matches(names: tuple[str, ...], parts: Sequence[str]) -> bool:
    """Whether the parts of a pattern mean a path, given as the names on it."""
    if not (names and parts):
        return not names and not [part for part in parts if part != "**"]
    if parts[0] == "**":
        return _matches(names, parts[1:] or ["*"]) or (not _is_hidden(names[0]) and _matches(names[1:], parts))
    fits = fnmatchcase(names[0], parts[0]) and not (_is_hidden(names[0]) and _is_glob(parts[0][0]))
    return fits and _matches(names[1:], parts[1:])


def _is_hidden(name: str) -> bool:
    return name[0] in "._"


def _pieces(storage: Storage, file: Found, folder: str) -> Iterator[Partition]:
    name = PurePosixPath(file.path).relative_to(folder or "/").as_posix()
    stem, ending = split_name(name)
    if ending not in FORMATS:
        raise ToolkitError(f"{file.path}: expected a file ending in {', '.join(FORMATS)}")
    name = str(PurePosixPath(name).with_name(stem + _WRITTEN_AS.get(ending, ending)))
    sizes = storage.row_groups(file.path) if ending == ".parquet" else []
    rows = sum(sizes)
    if rows < 2 * ROWS:
        yield Partition(file.path, name, file.size)
        return
    first, first_row, held = 0, 1, 0
    for group, size in enumerate(sizes):
        held += size
        if held >= ROWS or group == len(sizes) - 1:
            target = f"{name.removesuffix(ending)}.{first:05}-{group:05}{ending}"
            groups = tuple(range(first, group + 1))
            yield Partition(file.path, target, file.size * held // rows, groups, first_row)
            first, first_row, held = group + 1, first_row + held, 0
