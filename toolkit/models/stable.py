"""Reading a folder that another process may replace meanwhile."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from toolkit.errors import BundleError
from toolkit.models.bundle import MANIFEST

_Content = TypeVar("_Content")


def read_stable(folder: Path, read: Callable[[], _Content]) -> _Content:
    """Call `read` until the folder was the same before and after: a bundle may be replaced while it is being read.

    Raises:
        BundleError: what `read` found wrong with a folder that nobody replaced.
        FileNotFoundError: likewise.
    """
    while True:
        with _held(folder) as identity:
            try:
                content = read()
            except (BundleError, FileNotFoundError):
                if _identity(folder) == identity:
                    raise
                continue
            if _identity(folder) == identity:
                return content


@contextmanager
def _held(folder: Path) -> Iterator[tuple[int, ...] | None]:
    """The folder's identity, kept from being another's: a file system gives a deleted folder's number to the next."""
    try:
        descriptor = os.open(folder, os.O_RDONLY)
    except OSError:  # it is not there, or the system opens no folders
        yield _identity(folder)
        return
    try:
        yield _identity(folder, descriptor)
    finally:
        os.close(descriptor)


def _identity(folder: Path, descriptor: int | None = None) -> tuple[int, ...] | None:
    """Of the folder and its manifest, which is the first file to go where files are replaced one by one."""
    try:
        status = folder.stat() if descriptor is None else os.fstat(descriptor)
    except OSError:
        return None
    try:
        manifest = os.stat(folder / MANIFEST if descriptor is None else MANIFEST, dir_fd=descriptor)
    except OSError:
        return status.st_dev, status.st_ino
    return status.st_dev, status.st_ino, manifest.st_ino, manifest.st_mtime_ns
