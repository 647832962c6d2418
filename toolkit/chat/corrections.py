"""What users say of the answers, one JSON object a line, in the form `toolkit dataset import` takes; and take back."""

import errno
import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from threading import Lock
from typing import Any

from toolkit.chat.limits import LARGEST_CORRECTIONS
from toolkit.models.files import to_json

_lock = Lock()


@dataclass(frozen=True, slots=True)
class Correction:
    """A user's word on one answer.

    Attributes:
        text: the review.
        predicted: the label that was given, or `uncertain`.
        corrected: the label it has, the same one where the answer was right.
        score: calibrated probability of the likelier label, 0.5 to 1.
        model_hash: The hash of the model that answered; see `Model`.
    """

    text: str
    predicted: str
    corrected: str
    score: float
    model_hash: str


def save_correction(path: Path, correction: Correction) -> None:
    """Append one line whole or not at all; threads take turns, and so do the servers that share the file.

    The file is its owner's alone, since it holds what users wrote.

    Raises:
        OSError: it cannot be written, is a link, or is full; it is as it was.
    """
    line = _line(correction)
    with _opened(path, os.O_RDWR | os.O_APPEND | os.O_CREAT, "a+b") as stream:
        os.fchmod(stream.fileno(), 0o600)  # one that an older version made
        end = stream.seek(0, os.SEEK_END)
        if end + len(line) > LARGEST_CORRECTIONS:
            raise OSError(errno.EFBIG, f"{path} is full: move it away, once it was imported")
        stream.seek(max(0, end - 1))
        if stream.read(1) not in (b"", b"\n"):  # of a server that was killed in the middle of a line
            line = b"\n" + line
        try:
            _write(stream, line)
        except OSError:
            stream.truncate(end)
            raise


def take_back_correction(path: Path, correction: Correction) -> bool:
    """Remove the latest line that says this.

    Returns:
        Whether there was one; not where somebody has moved the file away, to import it.

    Raises:
        OSError: The file cannot be read or written.
    """
    line = _line(correction)
    try:
        with _opened(path, os.O_RDWR, "r+b") as stream:
            content = stream.readall()
            start = content.rfind(line)
            while start > 0 and content[start - 1 : start] != b"\n":  # the end of another line
                start = content.rfind(line, 0, start)
            if start < 0:
                return False
            rest = content[start + len(line) :]
            stream.seek(start)
            _write(stream, rest)
            stream.truncate(start + len(rest))
            return True
    except FileNotFoundError:
        return False


def _line(correction: Correction) -> bytes:
    return to_json(asdict(correction)).encode() + b"\n"


@contextmanager
def _opened(path: Path, flags: int, mode: str) -> Iterator[Any]:
    """The file, for this thread and this server alone."""
    with _lock, os.fdopen(os.open(path, flags | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600), mode, buffering=0) as stream:
        _lock_file(stream.fileno())
        yield stream


def _write(stream: Any, content: bytes) -> None:  # noqa: ANN401 - a raw file
    written = 0
    while written < len(content):
        written += stream.write(content[written:])


def _lock_file(descriptor: int) -> None:
    """Until it is closed; a file system without locks has one server at a time."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
    except OSError as error:
        if error.errno not in (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP):
            raise
