"""What users say of the answers, one JSON object a line, in the form `toolkit dataset import` takes."""

import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path
from threading import Lock

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
    """Append one line whole or not at all; threads of this process take turns.

    Raises:
        OSError: it cannot be written; the file is as it was.
    """
    line = json.dumps(asdict(correction), ensure_ascii=False).encode(errors="replace") + b"\n"
    with _lock, path.open("a+b", buffering=0) as stream:
        end = stream.seek(0, os.SEEK_END)
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
