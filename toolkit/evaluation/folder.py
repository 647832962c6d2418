"""A report's folder: what may be replaced, its predictions, and reading it back."""

import csv
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from toolkit.errors import BundleError, ToolkitError
from toolkit.evaluation.measuring import EvaluationResult
from toolkit.evaluation.metrics import two_columns
from toolkit.models.files import read_json_object
from toolkit.models.publishing import refuse_other_files
from toolkit.models.workspaces import sweep

FORMAT = 1
REPORT, PAGE, PREDICTIONS = "report.json", "report.html", "predictions.csv"
EVALUATION, COMPARISON = "evaluation", "comparison"

_PICTURES = (
    "roc.png", "confusion.png", "reliability.png", "risk_coverage.png", "accuracy_by_length.png", "accuracy_by_score.png",
)  # fmt: skip
_FILES = {EVALUATION: {REPORT, PAGE, PREDICTIONS, *_PICTURES}, COMPARISON: {REPORT, PAGE}}
_PLACE, _READ = ("row", "label"), ("tokens", "tokens_read", "text_sha256", "excerpt")
_PROBABILITY, _SAID = "probability", ("verdict", "score")
_HASH = 16  # hexadecimal digits: two of a million texts share theirs in fewer than 1 of 10 million cases
_EXCERPT = 240  # characters


@dataclass(frozen=True)
class Predictions:
    """What a report says of its N reviews, in their order.

    Attributes:
        hashes: The SHA-256 of their texts, shortened.
        labels: (N,) the true labels, 0 to k - 1.
        verdicts: (N,) the labels that were given.
        scores: (N,) the probabilities of those.
        excerpts: The beginning of each text; empty where the report has no texts.
    """

    hashes: list[str]
    labels: np.ndarray
    verdicts: np.ndarray
    scores: np.ndarray
    excerpts: list[str]


def refuse_foreign_folder(folder: Path, kind: str) -> None:
    """Refuse a folder that holds anything but an earlier report of this kind.

    Raises:
        ToolkitError: see `refuse_other_files`.
        OSError: likewise.
    """
    sweep(folder)
    refuse_other_files(folder, _FILES[kind] if _kind(folder) == kind else (), kind)


def write_predictions(path: Path, texts: Sequence[str], result: EvaluationResult, with_texts: bool) -> None:
    """Write a row for each review: its place (the first is 1), label, what the model said, tokens, hash and beginning.

    Of two labels, what it said is the probability of the second; of more, the label that was given and its score.
    """
    two = len(result.label_set) == 2
    said = [result.probabilities[:, 1]] if two else [result.verdicts, result.scores]
    with path.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow([*_PLACE, *((_PROBABILITY,) if two else _SAID), *_READ])
        columns = (result.labels, *said, result.tokens, result.tokens_read)
        for row, (text, *figures) in enumerate(
            zip(texts, *(column.tolist() for column in columns), strict=True), start=1
        ):
            digest = hashlib.sha256(text.encode()).hexdigest()[:_HASH]
            writer.writerow([row, *figures, digest, shorten(text) if with_texts else ""])


def read_report(folder: Path) -> tuple[dict[str, Any], Predictions]:
    """An evaluation's `report.json` and its predictions.

    Raises:
        ToolkitError: the folder is none, or damaged.
    """
    if not (folder / REPORT).is_file() or _kind(folder) != EVALUATION:
        raise ToolkitError(f"{folder} holds no evaluation; make one with: toolkit evaluate --output {folder}")
    content = read_json_object(folder / REPORT)
    if content.get("format") != FORMAT:
        raise ToolkitError(
            f"{folder / REPORT} has format {content.get('format')!r}, expected {FORMAT}; evaluate again with this toolkit"
        )
    try:
        with (folder / PREDICTIONS).open(encoding="utf-8", newline="") as stream:
            rows = list(csv.DictReader(stream))
        verdicts, scores = _said(rows)
        predictions = Predictions(
            hashes=[row["text_sha256"] for row in rows],
            labels=np.array([int(row["label"]) for row in rows]),
            verdicts=verdicts,
            scores=scores,
            excerpts=[row["excerpt"] for row in rows],
        )
        if len(rows) != content["figures"]["reviews"]:
            raise ValueError(f"{len(rows)} rows for {content['figures']['reviews']} reviews")
    except (OSError, ValueError, KeyError, TypeError, IndexError) as error:
        raise ToolkitError(
            f"{folder} is damaged ({error}); evaluate again with: toolkit evaluate --output {folder}"
        ) from error
    return content, predictions


def now() -> str:
    """The time at which a report is made, in UTC, as `2026-11-25T23:36:56+00:00`."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def shorten(text: str) -> str:
    """How a text begins."""
    return text if len(text) <= _EXCERPT else text[: _EXCERPT - 1] + "…"


def _said(rows: Sequence[dict[str, str]]) -> tuple[np.ndarray, np.ndarray]:
    """The labels that were given, and their scores."""
    if _PROBABILITY in rows[0]:
        probabilities = two_columns(np.array([float(row[_PROBABILITY]) for row in rows]))
        return probabilities.argmax(axis=1), probabilities.max(axis=1)
    verdict, score = _SAID
    return np.array([int(row[verdict]) for row in rows]), np.array([float(row[score]) for row in rows])


def _kind(folder: Path) -> object:
    try:
        return read_json_object(folder / REPORT).get("kind")
    except (BundleError, OSError):
        return None
