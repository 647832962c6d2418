"""Where files come from and go to: a folder on a disk, or wherever else pyarrow reaches."""

import os
import shutil
from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from toolkit.errors import ToolkitError, needs_extra
from toolkit.formats.parquet import parquet_file


@dataclass(frozen=True, slots=True)
class Found:
    """A file.

    Attributes:
        path: as its file system spells it.
        size: bytes.
    """

    path: str
    size: int


class Storage(ABC):
    """A folder.

    Attributes:
        root: its path, as its file system spells it.
    """

    root: str

    @abstractmethod
    def local(self, path: str, folder: Path) -> Path:
        """A file that this machine can open: itself, or a copy in `folder`; `path` as the file system spells it."""

    @abstractmethod
    def put(self, name: str, source: Path) -> None:
        """Copy a file to `name` below the folder, whole at once."""

    @abstractmethod
    def read(self, name: str) -> bytes | None:
        """A small file below the folder; None where there is none."""

    @abstractmethod
    def remove(self, name: str) -> None:
        """A file or folder below the folder, if it is there."""

    @abstractmethod
    def list_files(self) -> list[Found]:
        """The files in the folder and below, by path; none where there is no folder."""

    @abstractmethod
    def find(self) -> Found | None:
        """The file that `root` names, if it is no folder."""

    @abstractmethod
    def row_groups(self, path: str) -> list[int]:
        """Rows of each row group of a Parquet file; none of a file that is no Parquet, whose reader will say so."""

    @abstractmethod
    def is_same_system(self, other: "Storage") -> bool:
        """Whether a path means the same to both."""


class LocalStorage(Storage):
    """A folder on a disk, or on one that is mounted.

    Args:
        location: its path.
    """

    def __init__(self, location: str) -> None:
        self.root = str(Path(location).absolute()).rstrip("/")

    def local(self, path: str, folder: Path) -> Path:
        """Itself."""
        return Path(path)

    def put(self, name: str, source: Path) -> None:
        """Renamed into place."""
        target = Path(self.root, name)
        waiting = Path(self.root, "_temporary", f"{source.parent.name}-{source.name}")
        for each in (target, waiting):
            each.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, waiting)
        os.replace(waiting, target)

    def read(self, name: str) -> bytes | None:
        """As it lies there."""
        try:
            return Path(self.root, name).read_bytes()
        except FileNotFoundError:
            return None

    def remove(self, name: str) -> None:
        """With all that is in it."""
        path = Path(self.root, name)
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)

    def list_files(self) -> list[Found]:
        """Links are followed to files."""
        return [
            Found(str(path), path.stat().st_size)
            for path in sorted(Path(self.root or "/").rglob("*"))
            if path.is_file()
        ]

    def find(self) -> Found | None:
        """By the system."""
        path = Path(self.root or "/")
        return Found(str(path), path.stat().st_size) if path.is_file() else None

    def row_groups(self, path: str) -> list[int]:
        """From the file's end."""
        return _row_groups(path, None)

    def is_same_system(self, other: Storage) -> bool:
        """There is one."""
        return isinstance(other, LocalStorage)


class ArrowStorage(Storage):
    """A folder on S3, or wherever else pyarrow reaches.

    Args:
        location: a URI such as `s3://bucket/folder`.

    Attributes:
        files: pyarrow's file system.

    Raises:
        ToolkitError: nobody knows that kind of URI.
    """

    def __init__(self, location: str) -> None:
        with needs_extra("parquet", "reading files by a URI"):
            import pyarrow
            from pyarrow import fs
        try:
            self.files, self.root = fs.FileSystem.from_uri(location)
        except (pyarrow.ArrowException, OSError, ValueError) as error:
            raise ToolkitError(f"{location} cannot be reached ({first_line(error)})") from error
        self.root = self.root.rstrip("/")

    def local(self, path: str, folder: Path) -> Path:
        """A copy."""
        target = folder / PurePosixPath(path).name
        with self.files.open_input_stream(path, compression=None) as stream, target.open("wb") as copy:
            shutil.copyfileobj(stream, copy, 1 << 20)
        return target

    def put(self, name: str, source: Path) -> None:
        """Renamed where there are folders; an object store shows no half."""
        path = f"{self.root}/{name}"
        waiting = f"{self.root}/_temporary/{source.parent.name}-{source.name}" if self._renames else path
        for each in (path, waiting) if self._renames else ():  # an object store has no folders
            self.files.create_dir(str(PurePosixPath(each).parent), recursive=True)
        with source.open("rb") as stream, self.files.open_output_stream(waiting, compression=None) as copy:
            shutil.copyfileobj(stream, copy, 1 << 20)
        if waiting != path:
            self.files.move(waiting, path)

    def read(self, name: str) -> bytes | None:
        """As it lies there."""
        try:
            with self.files.open_input_stream(f"{self.root}/{name}", compression=None) as stream:
                content: bytes = stream.read()
                return content
        except FileNotFoundError:
            return None

    def remove(self, name: str) -> None:
        """With all that is in it."""
        info = self.files.get_file_info(f"{self.root}/{name}")
        if info.is_file:
            self.files.delete_file(info.path)
        elif info.type.name == "Directory":
            self.files.delete_dir(info.path)

    def list_files(self) -> list[Found]:
        """In one request where the store has one for it."""
        from pyarrow import fs

        selector = fs.FileSelector(self.root, allow_not_found=True, recursive=True)
        infos = sorted(self.files.get_file_info(selector), key=lambda info: info.path)
        return [Found(info.path, info.size) for info in infos if info.is_file]

    def find(self) -> Found | None:
        """By the store."""
        info = self.files.get_file_info(self.root or "/")
        return Found(info.path, info.size) if info.is_file else None

    def row_groups(self, path: str) -> list[int]:
        """From the file's end."""
        return _row_groups(path, self.files)

    def is_same_system(self, other: Storage) -> bool:
        """As pyarrow sees it."""
        return isinstance(other, ArrowStorage) and bool(self.files.equals(other.files))

    @property
    def _renames(self) -> bool:
        return self.files.type_name in ("local", "hdfs")


def open_storage(location: str) -> Storage:
    """The folder that a path or a URI names."""
    return ArrowStorage(location) if "://" in location else LocalStorage(location)


def first_line(error: BaseException) -> str:
    """The beginning of a message that may be long."""
    return (str(error).splitlines() or [type(error).__name__])[0]


def _row_groups(path: str, files: Any) -> list[int]:  # noqa: ANN401 - pyarrow ships no types
    with needs_extra("parquet", "reading Parquet"):
        import pyarrow
        import pyarrow.parquet
    try:
        file = path if files else parquet_file(Path(path))
        metadata = pyarrow.parquet.read_metadata(file, filesystem=files)
    except (pyarrow.ArrowException, OSError):
        return []
    return [metadata.row_group(group).num_rows for group in range(metadata.num_row_groups)]
