"""What users say of the answers, one JSON object a line, in the form `toolkit dataset import` takes."""

import errno
import fcntl
import os
from dataclasses import asdict, dataclass
from pathlib import Path
from threading import Lock

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
    line = to_json(asdict(correction)).encode() + b"\n"
    flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
    with _lock, os.fdopen(os.open(path, flags, 0o600), "a+b", buffering=0) as stream:
        os.fchmod(stream.fileno(), 0o600)  # one that an older version made
        _lock_file(stream.fileno())
        end = stream.seek(0, os.SEEK_END)
        if end + len(line) > LARGEST_CORRECTIONS:
            raise OSError(errno.EFBIG, f"{path} is full: move it away, once it was imported")
        stream.seek(max(0, end - 1))
        if stream.read(1) not in (b"", b"\n"):  # of a server that was killed in the middle of a line
            line = b"\n" + line
        try:
            written = stream.write(line)
            while written < len(line):
                written += stream.write(line[written:])
        except OSError:
            stream.truncate(end)
            raise


def _lock_file(descriptor: int) -> None:
    """Until it is closed; a file system without locks has one server at a time."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
    except OSError as error:
        if error.errno not in (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP):
            raise
