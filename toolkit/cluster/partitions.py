"""What there is to do: files found by a pattern, cut into pieces that are done whole or not at all."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path, PurePosixPath
from typing import Any

from toolkit.errors import ToolkitError, needs_extra
from toolkit.formats.names import FORMATS, format_of, split_name

ROWS = 20_000  # of a piece of Parquet, at least, as whole row groups; some minutes of one core


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


class Storage:
    """A folder on a disk, on S3, or wherever else pyarrow reaches.

    Args:
        location: a path, or a URI such as `s3://bucket/folder`.

    Attributes:
        files: pyarrow's file system.
        root: the folder in it.

    Raises:
        ToolkitError: nobody knows that kind of URI.
    """

    def __init__(self, location: str) -> None:
        with needs_extra("ray", "reading many files"):
            import pyarrow
            from pyarrow import fs
        try:
            if "://" in location:
                self.files, self.root = fs.FileSystem.from_uri(location)
            else:
                self.files, self.root = fs.LocalFileSystem(), str(Path(location).absolute())
        except (pyarrow.ArrowException, OSError, ValueError) as error:
            raise ToolkitError(f"{location} cannot be reached ({_first_line(error)})") from error
        self.root = self.root.rstrip("/")

    def fetch(self, path: str, target: Path) -> None:
        """Copy a file here; `path` as the file system spells it."""
        with self.files.open_input_stream(path, compression=None) as stream, target.open("wb") as copy:
            while block := stream.read(1 << 20):
                copy.write(block)

    def put(self, name: str, source: Path) -> None:
        """Copy a file to `name` below the folder, whole at once: renamed on a disk; an object store shows no half."""
        path = f"{self.root}/{name}"
        waiting = f"{self.root}/_temporary/{source.parent.name}-{source.name}" if self._renames else path
        for each in (path, waiting) if self._renames else ():  # an object store has no folders
            self.files.create_dir(str(PurePosixPath(each).parent), recursive=True)
        with source.open("rb") as stream, self.files.open_output_stream(waiting, compression=None) as copy:
            while block := stream.read(1 << 20):
                copy.write(block)
        if waiting != path:
            self.files.move(waiting, path)

    def read(self, name: str) -> bytes | None:
        """A small file below the folder; None where there is none."""
        try:
            with self.files.open_input_stream(f"{self.root}/{name}", compression=None) as stream:
                content: bytes = stream.read()
                return content
        except FileNotFoundError:
            return None

    def remove(self, name: str) -> None:
        """A file or folder below the folder, if it is there."""
        info = self.files.get_file_info(f"{self.root}/{name}")
        if info.is_file:
            self.files.delete_file(info.path)
        elif info.type.name == "Directory":
            self.files.delete_dir(info.path)

    def list(self) -> list[Any]:
        """What lies in the folder and below, pyarrow's `FileInfo` each, by path; nothing where there is no folder."""
        from pyarrow import fs

        selector = fs.FileSelector(self.root, allow_not_found=True, recursive=True)
        return sorted(self.files.get_file_info(selector), key=lambda info: info.path)

    @property
    def _renames(self) -> bool:
        return self.files.type_name in ("local", "hdfs")


def find_partitions(pattern: str) -> tuple[Storage, list[Partition]]:
    """The pieces of every file that a pattern names.

    Args:
        pattern: a file, a folder, or a path or URI with `*`, `?`, `[…]` in its names and `**` for any folders; in a URI `?` begins the
            options. Names that begin with `.` or `_` are left out unless they are named so. Of a folder, files of other kinds
            are left out too.

    Raises:
        ToolkitError: there is no such file, or it is of no kind that is read here.
    """
    path, mark, query = pattern.partition("?") if "://" in pattern else (pattern, "", "")
    parts = path.split("/")
    fixed = next((index for index, part in enumerate(parts) if _is_glob(part)), len(parts))
    base = "/".join(parts[:fixed]) or ("/" if pattern.startswith("/") else ".")
    storage = Storage(base + mark + query)
    info = storage.files.get_file_info(storage.root or "/")
    if info.is_file and fixed == len(parts):
        found, folder = [info], str(PurePosixPath(info.path).parent)
    else:
        folder = storage.root
        found = [each for each in storage.list() if each.is_file]
        names = [PurePosixPath(each.path).relative_to(folder or "/") for each in found]
        rest = parts[fixed:] or ["**"]
        found = [each for each, name in zip(found, names, strict=True) if _matches(name.parts, rest)]
        if fixed == len(parts):
            found = [each for each in found if format_of(each.path)]
    if not found:
        raise ToolkitError(f"{pattern}: expected files ending in {', '.join(FORMATS)}, found none")
    partitions = [piece for each in found for piece in _pieces(storage, each, folder)]
    targets = Counter(piece.target for piece in partitions)
    if repeated := [target for target, times in targets.items() if times > 1]:
        raise ToolkitError(
            f"{pattern}: two files would be written to {repeated[0]}; rename one, or classify them apart"
        )
    return storage, partitions


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


def _pieces(storage: Storage, info: Any, folder: str) -> Iterator[Partition]:  # noqa: ANN401 - pyarrow ships no types
    name = PurePosixPath(info.path).relative_to(folder or "/").as_posix()
    stem, ending = split_name(name)
    if ending not in FORMATS:
        raise ToolkitError(f"{info.path}: expected a file ending in {', '.join(FORMATS)}")
    name = str(PurePosixPath(name).with_name(stem + ending))
    sizes = _row_groups(storage, info.path) if ending == ".parquet" else []
    rows = sum(sizes)
    if rows < 2 * ROWS:
        yield Partition(info.path, name, info.size)
        return
    first, first_row, held = 0, 1, 0
    for group, size in enumerate(sizes):
        held += size
        if held >= ROWS or group == len(sizes) - 1:
            target = f"{name.removesuffix(ending)}.{first:05}-{group:05}{ending}"
            groups = tuple(range(first, group + 1))
            yield Partition(info.path, target, info.size * held // rows, groups, first_row)
            first, first_row, held = group + 1, first_row + held, 0


def _row_groups(storage: Storage, path: str) -> list[int]:
    """Rows of each row group; none of a file that is no Parquet, whose worker will say so."""
    import pyarrow
    import pyarrow.parquet

    try:
        metadata = pyarrow.parquet.read_metadata(path, filesystem=storage.files)
    except (pyarrow.ArrowException, OSError):
        return []
    return [metadata.row_group(group).num_rows for group in range(metadata.num_row_groups)]


def _first_line(error: BaseException) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
