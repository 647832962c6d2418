"""How a folder made by this toolkit takes its place: whole, at once, and never over anything else."""

import ctypes
import fcntl
import glob
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import IO

from toolkit.errors import BundleError, ToolkitError
from toolkit.models.bundle import MANIFEST, MODEL_CARD, REQUIRED_FILES, Kind, Manifest, write_manifest
from toolkit.models.files import read_json, sha256

_ROOM = 1 << 22  # bytes that whoever writes a model can be expected to want


@contextmanager
def publish(target: Path, manifest: Manifest) -> Iterator[Path]:
    """Yield an empty folder beside `target`; when the block ends well, complete it and rename it into place.

    The block's exception, or a kill at any moment, leaves what stood at `target` as it was. A link is followed.

    Raises:
        BundleError: `target` holds something that is no bundle of this kind, so replacing it would lose somebody's
            work, or the block left out a required file.
    """
    refuse_foreign_target(target, manifest.kind)
    with replacing(target) as staging:
        yield staging
        missing = [name for name in REQUIRED_FILES[manifest.kind] if not (staging / name).is_file()]
        if missing:
            raise BundleError(f"refusing to publish {target}: {', '.join(missing)} was not written")
        files = {
            path.relative_to(staging).as_posix(): {"sha256": sha256(path), "bytes": path.stat().st_size}
            for path in sorted(staging.rglob("*"))
            if path.is_file()
        }
        write_manifest(staging / MANIFEST, replace(manifest, files=files))


@contextmanager
def replacing(target: Path) -> Iterator[Path]:
    """Yield an empty folder beside `target`; when the block ends well, rename it into place, whatever stood there.

    The block's exception, or a kill at any moment, leaves what stood at `target` as it was. A link is followed.
    """
    target = target.resolve()
    target.parent.mkdir(parents=True, exist_ok=True)
    _sweep(target)
    staging, lock = _make_staging(target)
    try:
        with naming_a_full_disk(target.parent):
            yield staging
        _share(staging)
        _move_into_place(staging, target)
    finally:
        shutil.rmtree(staging, ignore_errors=True)  # after an exchange, this is the old folder
        os.close(lock)


@contextmanager
def replacing_file(target: Path) -> Iterator[IO[bytes]]:
    """Yield a file beside `target`; when the block ends well, rename it into place.

    The block's exception, or a kill at any moment, leaves what stood at `target` as it was. A link is followed.
    """
    target = target.resolve()
    _sweep(target)
    while True:
        descriptor, name = tempfile.mkstemp(prefix=f".{target.name}.", suffix=".partial", dir=target.parent)
        partial = Path(name)
        if _try_lock(descriptor, otherwise=True) and partial.exists():
            break
        os.close(descriptor)  # another process swept it away before it was locked
    try:
        with naming_a_full_disk(target.parent), os.fdopen(descriptor, "wb") as stream:
            yield stream
            stream.flush()
            os.fsync(descriptor)
        _share(partial)
        partial.replace(target)
    finally:
        partial.unlink(missing_ok=True)


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
    """Refuse a folder that holds anything but an older bundle of this kind (a lone README.md is a placeholder).

    Raises:
        BundleError: names the folder, before any work is done on its behalf.
    """
    if target.exists() and not target.is_dir():
        raise BundleError(f"{target} is a file; expected a folder to write, choose another --output")
    others = sorted(path.name for path in target.iterdir() if path.name != MODEL_CARD) if target.exists() else []
    if others and not _is_ours(target, kind):
        raise BundleError(
            f"{target} holds other files ({others[0]}, …) that publishing an {kind} would replace; choose another --output"
        )


def _make_staging(target: Path) -> tuple[Path, int]:
    """A new folder beside `target`, and the descriptor that holds its lock until this process ends, however it ends."""
    while True:
        staging = Path(tempfile.mkdtemp(prefix=f".{target.name}.", suffix=".partial", dir=target.parent))
        try:
            lock = os.open(staging, os.O_RDONLY)
        except FileNotFoundError:
            continue  # another process swept it away before it was locked
        if _try_lock(lock, otherwise=True) and staging.exists():
            return staging, lock
        os.close(lock)


def _sweep(target: Path) -> None:
    """Remove what publications that were killed have left beside `target`; living ones hold a lock."""
    for staging in target.parent.glob(f".{glob.escape(target.name)}.*.partial"):
        try:
            lock = os.open(staging, os.O_RDONLY)
        except OSError:
            continue
        if _try_lock(lock, otherwise=False):
            if staging.is_dir():
                shutil.rmtree(staging, ignore_errors=True)
            else:
                staging.unlink(missing_ok=True)
        os.close(lock)


def _try_lock(descriptor: int, otherwise: bool) -> bool:
    """Whether nobody else holds the lock, which is ours then; `otherwise` on a file system without locks."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return otherwise
    return True


def _is_ours(folder: Path, kind: Kind) -> bool:
    """Whether the folder says that it is of this kind; damaged files in it are no matter, it is to be replaced."""
    try:
        if (folder / MANIFEST).is_file():
            content = read_json(folder / MANIFEST)
            return isinstance(content, dict) and content.get("kind") == kind and "format" in content
        return kind is Kind.ADAPTER and "peft_type" in read_json(folder / "adapter_config.json")
    except (OSError, BundleError, TypeError):
        return False


def _share(written: Path) -> None:
    """Give a folder and its files, or a file, the rights a plain `mkdir` and `open` would have given them.

    Temporary folders and safetensors files come as private ones, which a server under another user could not read.
    """
    umask = os.umask(0)
    os.umask(umask)
    for path in (written, *written.rglob("*")):
        path.chmod((0o777 if path.is_dir() else 0o666) & ~umask)


def _move_into_place(staging: Path, target: Path) -> None:
    """Swap the two folders in one system call, so that there is no moment without a bundle at `target`."""
    if not target.exists():
        staging.rename(target)
        return
    if not _exchange(staging, target):
        retired = Path(tempfile.mkdtemp(prefix=f".{target.name}.", suffix=".old", dir=target.parent))
        target.rename(retired / target.name)
        staging.rename(target)
        shutil.rmtree(retired, ignore_errors=True)


def _exchange(first: Path, second: Path) -> bool:
    """renameat2(RENAME_EXCHANGE), which Python does not wrap; False where the system has no such call."""
    renameat2 = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None) if sys.platform == "linux" else None
    if renameat2 is None:
        return False
    current_directory, exchange = -100, 2  # AT_FDCWD, RENAME_EXCHANGE: linux/fcntl.h, linux/fs.h
    return bool(renameat2(current_directory, os.fsencode(first), current_directory, os.fsencode(second), exchange) == 0)
