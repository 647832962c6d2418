"""How a folder made by this toolkit takes its place: whole, at once, and never over anything else."""

import ctypes
import os
import sys
import tempfile
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import IO

from toolkit.errors import BundleError, ToolkitError
from toolkit.models.bundle import MANIFEST, REQUIRED_FILES, Kind, Manifest, write_manifest
from toolkit.models.files import read_json_object, refuse_odd_name, sha256
from toolkit.models.workspaces import (
    NEW,
    files_below,
    fill,
    followed,
    is_leaf,
    is_mount_point,
    is_passing,
    old_place,
    stays,
    sweep,
    try_lock,
    workspace,
)

_ROOM = 1 << 22  # bytes that whoever writes a model can be expected to want
_SHOWN = 3  # names in an error
_EARLIER = {Kind.ADAPTER: "adapter of this toolkit", Kind.ONNX: "ONNX bundle of this toolkit"}


@contextmanager
def publish(target: Path, manifest: Manifest) -> Iterator[Path]:
    """Yield an empty folder; when the block ends well, complete it and let it take its place, see `replacing`.

    Raises:
        ToolkitError: see `refuse_foreign_target`.
        BundleError: the block left out a required file.
    """
    refuse_foreign_target(target, manifest.kind)
    with replacing(target, last=MANIFEST) as staging:
        yield staging
        missing = [name for name in REQUIRED_FILES[manifest.kind] if not (staging / name).is_file()]
        if missing:
            raise BundleError(f"refusing to publish {target}: {', '.join(missing)} was not written")
        files = {
            name: {"sha256": sha256(staging / name), "bytes": (staging / name).stat().st_size}
            for name in files_below(staging)
        }
        write_manifest(staging / MANIFEST, replace(manifest, files=files))


@contextmanager
def replacing(target: Path, last: str) -> Iterator[Path]:
    """Yield an empty folder; when the block ends well, let it take the place of `target`, whatever stood there.

    It is renamed into place, so that the block's exception, or a kill at any moment, leaves what stood at `target` as it
    was. A folder that cannot be renamed (a mount point, or one whose parent may not be written) is filled file by file:
    `last` is removed first and written last, so that a kill in between leaves a folder that is no model or report; the next
    run completes it. A link is followed.

    Args:
        target: the folder.
        last: the file without which the folder is not what it is.
    """
    target = followed(target)
    with workspace(target) as room:
        staging = room / NEW
        staging.mkdir()
        with naming_a_full_disk(room):
            yield staging
        _share(staging)
        if stays(target):
            fill(target, room, last, keep_others=False)
        else:
            _move_into_place(staging, target, room)


@contextmanager
def replacing_files(folder: Path, last: str) -> Iterator[Path]:
    """Yield an empty folder; when the block ends well, move its files into `folder`, whose other files stay.

    A kill in between is as for a folder that cannot be renamed, see `replacing`.
    """
    folder = followed(folder)
    with workspace(folder, inside=True) as room:
        staging = room / NEW
        staging.mkdir()
        with naming_a_full_disk(room):
            yield staging
        _share(staging)
        fill(folder, room, last, keep_others=True)


@contextmanager
def replacing_file(target: Path) -> Iterator[IO[bytes]]:
    """Yield a file beside `target`; when the block ends well, rename it into place.

    The block's exception, or a kill at any moment, leaves what stood at `target` as it was. A link is followed.

    Raises:
        ToolkitError: see `refuse_no_file`.
        OSError: likewise.
    """
    refuse_no_file(target)
    target = followed(target)
    sweep(target)
    while True:
        descriptor, name = tempfile.mkstemp(prefix=f".{target.name}.", suffix=".partial", dir=target.parent)
        written = Path(name)
        if try_lock(descriptor, otherwise=True) and written.exists():
            break
        os.close(descriptor)  # another process swept it away before it was locked
    try:
        with naming_a_full_disk(target.parent), os.fdopen(descriptor, "wb") as stream:
            yield stream
            stream.flush()
            os.fsync(descriptor)
        _share(written)
        written.replace(target)
    finally:
        written.unlink(missing_ok=True)


@contextmanager
def naming_a_full_disk(folder: Path) -> Iterator[None]:
    """Let the system say that a disk is full, where a block that writes below `folder` fails of that.

    safetensors, torch and onnx each raise something of their own, and a plain write does not say where.

    Raises:
        OSError: the block failed, and `folder` has no room for `_ROOM` bytes more.
    """
    try:
        yield
    except ToolkitError:
        raise
    except Exception as error:
        if isinstance(error, OSError) and error.filename:
            raise
        try:
            with tempfile.TemporaryFile(dir=folder) as stream:
                stream.write(bytes(_ROOM))
        except OSError as full:
            raise OSError(full.errno, full.strerror, str(folder)) from error
        raise


def refuse_foreign_target(target: Path, kind: Kind) -> None:
    """Refuse a folder that holds anything but what the manifest of an older one of this kind lists.

    Damaged files are no matter, they are to be replaced. An adapter that PEFT saved elsewhere lists nothing.

    Raises:
        ToolkitError: see `refuse_other_files`.
    """
    refuse_odd_name(target)
    sweep(target)  # completes what a killed run has half written
    refuse_other_files(target, _listed(target, kind), _EARLIER[kind])


def refuse_other_files(target: Path, ours: Collection[str], what: str, among: Collection[str] | None = None) -> None:
    """Refuse, before any work is done for it, a place where a folder cannot be written or would replace something.

    Args:
        target: the folder.
        ours: paths in it of the files that may be replaced.
        what: they are, for the error.
        among: the only names in the folder that would be replaced; all by default.

    Raises:
        ToolkitError: `target` is a file, or holds something else; names it.
        OSError: it cannot be written.
    """
    place = followed(target)
    if place.exists() and not place.is_dir():
        raise ToolkitError(f"{target} is a file; expected a folder to write, choose another --output")
    others = [name for name in _others(place, ours) if among is None or name in among] if place.exists() else []
    if others:
        names = ", ".join(others[:_SHOWN]) + (f" and {len(others) - _SHOWN} more" if len(others) > _SHOWN else "")
        raise ToolkitError(
            f"{target} holds {names}; expected a new or empty folder, or nothing but an earlier {what}: "
            "move the rest elsewhere, or choose another --output"
        )
    room = place if among is not None or stays(place) else place.parent
    _require_room(next(folder for folder in (room, *room.parents) if folder.exists()))


def refuse_no_file(target: Path) -> None:
    """Refuse, before any work is done for it, a place where a file cannot be written or replaced.

    Raises:
        ToolkitError: it holds something that no file can replace.
        OSError: its folder cannot be written.
    """
    place = followed(target)
    if place.exists() and (not place.is_file() or is_mount_point(place)):
        found = "a folder" if place.is_dir() else "a mount point" if place.is_file() else "no regular file"
        raise ToolkitError(f"{target} is {found}; expected a file to write, choose another name")
    _require_room(place.parent)


def _require_room(folder: Path) -> None:
    try:
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(folder)) from error


def _listed(folder: Path, kind: Kind) -> Collection[str]:
    """What the folder's manifest lists, and the manifest."""
    try:
        content = read_json_object(folder / MANIFEST)
    except (OSError, BundleError):
        return ()
    files = content.get("files")
    if content.get("kind") != kind or "format" not in content or not isinstance(files, dict):
        return ()
    return {MANIFEST, *files}


def _others(folder: Path, ours: Collection[str]) -> Iterator[str]:
    """The names in `folder` of files that are not ours, and of folders that hold any such file, or none at all."""
    for path in sorted(folder.iterdir()):
        if is_passing(path.name, folder):
            continue
        if path.is_dir() and not path.is_symlink():
            files = (each.relative_to(folder).as_posix() for each in path.rglob("*") if is_leaf(each))
            if next(files, None) not in ours or not all(name in ours for name in files):
                yield f"{path.name}/"
        elif path.name not in ours:
            yield path.name


def _share(written: Path) -> None:
    """Give a folder and its files, or a file, the rights a plain `mkdir` and `open` would have given them.

    Temporary folders and safetensors files come as private ones, which a server under another user could not read.
    """
    umask = os.umask(0)
    os.umask(umask)
    for path in (written, *written.rglob("*")):
        path.chmod((0o777 if path.is_dir() else 0o666) & ~umask)


def _move_into_place(staging: Path, target: Path, room: Path) -> None:
    """Swap the two folders in one system call, so that there is no moment without a folder at `target`."""
    if not target.exists():
        staging.rename(target)
    elif not _exchange(staging, target):
        target.rename(old_place(room, target))
        staging.rename(target)


def _exchange(first: Path, second: Path) -> bool:
    """renameat2(RENAME_EXCHANGE), which Python does not wrap; False where the system has no such call."""
    renameat2 = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None) if sys.platform == "linux" else None
    if renameat2 is None:
        return False
    current_directory, exchange = -100, 2  # AT_FDCWD, RENAME_EXCHANGE: linux/fcntl.h, linux/fs.h
    return bool(renameat2(current_directory, os.fsencode(first), current_directory, os.fsencode(second), exchange) == 0)
