"""What to say when a model is measured on the corpus of this project, whose figures are no measure of a model."""

import hashlib
from pathlib import Path

DEMO_NOTE = (
    "These are reviews of this project's own corpus in dataset/: short ones, written to be hard, for demonstrations and tests. "
    "Accuracy on them says little about reviews that people write; docs/evaluation.md measures a model on IMDB."
)
# By the SHA-256 of the files as they are shipped; a data set imported over them is another.
DEMO_FILES = {  # bytes: SHA-256
    160427: "46fe241cb01c75fac6265d8249e7572489d4e1cb0d6456da412f8a871dd3c354",  # train.csv
    40407: "c3ecf3c5c63adeff6ac40daade6a7cbab8be8fb0cd485a8a7c321288fd08e3ba",  # validation.csv
    41116: "82203683009b0ea4677644bb0e3b76f30d55c4dc214208097ba748335c903f3a",  # test.csv
}


def demo_note(path: Path) -> str | None:
    """The note for a file of reviews that is one of the demo corpus; None for every other."""
    if not path.is_file() or path.stat().st_size not in DEMO_FILES:
        return None
    return DEMO_NOTE if hashlib.sha256(path.read_bytes()).hexdigest() == DEMO_FILES[path.stat().st_size] else None
