"""Where work for a file or folder is done: beside it or in it, locked, and taken up by the next run after a kill."""

import fcntl
import glob
import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from fnmatch import fnmatchcase
from pathlib import Path

from toolkit.errors import BundleError, ToolkitError
from toolkit.models.bundle import UNFINISHED, is_inside
from toolkit.models.files import read_json_object, write_json

NEW = "new"  # the folder or files to come
_JOURNAL = "journal.json"
_NOBODYS = "lost+found"  # of an ext4 file system's own root


@contextmanager
def workspace(target: Path, inside: bool = False) -> Iterator[Path]:
    """Yield an empty folder where work for `target` can be done, on its file system; it is removed at the end.

    It lies beside `target`, or in it where nothing can be moved there from beside. What a killed process has left behind
    is removed by the next that works for the same target; living ones hold a lock.
    """
    target = followed(target)
    parent = target if inside or stays(target) else target.parent
    with _made(parent):
        sweep(target)
        while True:
            room = Path(tempfile.mkdtemp(prefix=f".{target.name}.", suffix=".partial", dir=parent))
            try:
                lock = os.open(room, os.O_RDONLY)
            except FileNotFoundError:
                continue  # another process swept it away before it was locked
            if try_lock(lock, otherwise=True) and room.exists():
                break
            os.close(lock)
        try:
            yield room
        finally:
            _leave(room, target)
            os.close(lock)


@contextmanager
def _made(folder: Path) -> Iterator[None]:
    """Make a folder and those above it; where the block fails, those that were made for it and are empty go again."""
    made = [each for each in (folder, *folder.parents) if not each.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    try:
        yield
    except BaseException:
        with suppress(OSError):  # something is in one by now
            for each in made:
                each.rmdir()
        raise


def sweep(target: Path) -> None:
    """Complete what killed processes have half published at `target`, and remove what they left beside it and in it."""
    target = followed(target)
    pattern = f".{glob.escape(target.name)}{UNFINISHED}"
    for room in (*target.parent.glob(pattern), *target.glob(pattern)):
        try:
            lock = os.open(room, os.O_RDONLY)
        except OSError:
            continue
        if try_lock(lock, otherwise=False):
            if room.is_dir():
                _leave(room, target)
            else:
                room.unlink(missing_ok=True)
        os.close(lock)


def _leave(room: Path, target: Path) -> None:
    """Remove a workspace; what was half published from it is completed first."""
    if old_place(room, target).exists() and not target.exists():  # killed between two renames
        old_place(room, target).rename(target)
    if room.parent == target and (room / _JOURNAL).exists():
        with _alone(target):
            _complete(target, room)
    shutil.rmtree(room, ignore_errors=True)


def old_place(room: Path, target: Path) -> Path:
    """Where what stood at `target` lies for the moment in which two renames are needed."""
    return room / f"old-{target.name}"


def fill(target: Path, room: Path, last: str, keep_others: bool) -> None:
    """Move a workspace's files into the folder that it lies in; the journal is for the run after one that is killed."""
    with _alone(target):
        new = files_below(room / NEW)
        remove = [] if keep_others else [name for name in files_below(target) if name not in new]
        write_json(room / _JOURNAL, {"last": last, "remove": remove})
        _complete(target, room)


def _complete(target: Path, room: Path) -> None:
    """Do what a journal says, as far as it is not done yet."""
    staging = room / NEW
    try:
        journal = read_json_object(room / _JOURNAL)
    except BundleError:
        return  # the process was killed while it wrote this; nothing was moved yet
    last, remove = journal.get("last", "."), journal.get("remove")
    if not (isinstance(remove, list) and all(map(is_inside, [last, *remove]))):
        return  # not one that `fill` wrote
    if not (staging / last).is_file():
        return  # all is done
    (target / last).unlink(missing_ok=True)
    for name in remove:
        (target / name).unlink(missing_ok=True)
        if "/" in name:
            with suppress(OSError):  # others are left in it
                (target / name).parent.rmdir()
    for name in sorted(files_below(staging), key=lambda name: name == last):
        (target / name).parent.mkdir(parents=True, exist_ok=True)
        (staging / name).replace(target / name)


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Wait until no other process moves files into `folder`."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        with suppress(OSError):  # a file system without locks
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def followed(path: Path) -> Path:
    """The place that a path means, links followed.

    Raises:
        ToolkitError: they go round in a circle.
    """
    try:
        return path.resolve()
    except RuntimeError as error:  # Python 3.11's word for a loop
        raise ToolkitError(f"{path} is a link that leads to itself; choose another --output") from error


def stays(target: Path) -> bool:
    """Whether a folder cannot be renamed, so that only its files can be replaced."""
    return target.is_dir() and (is_mount_point(target) or not os.access(target.parent, os.W_OK))


def is_mount_point(path: Path) -> bool:
    """Also one that is bound to another place of the same file system, which `os.path.ismount` cannot see."""
    try:
        lines = Path("/proc/self/mountinfo").read_text(encoding="utf-8", errors="surrogateescape").splitlines()
    except OSError:
        return os.path.ismount(path)
    places = (re.sub(r"\\(\d{3})", lambda octal: chr(int(octal[1], 8)), line.split()[4]) for line in lines)
    return os.path.ismount(path) or str(path) in places


def is_leaf(path: Path) -> bool:
    """Whether it is anything but a folder; a link is never followed."""
    return path.is_symlink() or not path.is_dir()


def files_below(folder: Path) -> list[str]:
    """The paths below `folder` of everything that is no folder, workspaces for it apart."""
    found = (path.relative_to(folder) for path in folder.rglob("*") if is_leaf(path))
    return sorted(name.as_posix() for name in found if not is_passing(name.parts[0], folder))


def is_passing(name: str, folder: Path) -> bool:
    """Whether something in `folder` is a workspace for it, or the file system's own."""
    return name == _NOBODYS or fnmatchcase(name, f".{glob.escape(folder.name)}{UNFINISHED}")


def try_lock(descriptor: int, otherwise: bool) -> bool:
    """Whether nobody else holds the lock, which is ours then; `otherwise` on a file system without locks."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return otherwise
    return True
