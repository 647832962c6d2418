"""What users say of the answers, one JSON object a line, in the form `toolkit dataset import` takes."""

import json
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
        model_hash: of the model that answered; see `Model`.
    """

    text: str
    predicted: str
    corrected: str
    score: float
    model_hash: str


def save_correction(path: Path, correction: Correction) -> None:
    """Append one line; threads of this process take turns."""
    line = json.dumps(asdict(correction), ensure_ascii=False)
    with _lock, path.open("a", encoding="utf-8", errors="replace") as stream:
        stream.write(f"{line}\n")
