"""A report's folder: what may be replaced, its predictions, and reading it back."""

import csv
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from toolkit.errors import BundleError, ToolkitError
from toolkit.evaluation.measuring import EvaluationResult
from toolkit.models.files import read_json_object
from toolkit.models.publishing import refuse_other_files
from toolkit.models.workspaces import sweep

FORMAT = 1
REPORT, PAGE, PREDICTIONS = "report.json", "report.html", "predictions.csv"
EVALUATION, COMPARISON = "evaluation", "comparison"

_PICTURES = ("roc.png", "reliability.png", "risk_coverage.png", "accuracy_by_length.png", "accuracy_by_score.png")
_FILES = {EVALUATION: {REPORT, PAGE, PREDICTIONS, *_PICTURES}, COMPARISON: {REPORT, PAGE}}
_COLUMNS = ("row", "label", "probability", "tokens", "tokens_read", "text_sha256", "excerpt")
_HASH = 16  # hexadecimal digits: two of a million texts share theirs in fewer than 1 of 10 million cases
_EXCERPT = 240  # characters


@dataclass(frozen=True)
class Predictions:
    """What a report says of its N reviews, in their order.

    Attributes:
        hashes: The SHA-256 of their texts, shortened.
        labels: (N,) 0 or 1.
        positive: (N,) probabilities of positive.
        excerpts: The beginning of each text; empty where the report has no texts.
    """

    hashes: list[str]
    labels: np.ndarray
    positive: np.ndarray
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
    """Write a row for each review: its place (the first is 1), label, probability of positive, tokens, hash and beginning."""
    with path.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(_COLUMNS)
        columns = (result.labels, result.positive, result.tokens, result.tokens_read)
        for row, (text, label, positive, tokens, read) in enumerate(
            zip(texts, *(column.tolist() for column in columns), strict=True), start=1
        ):
            digest = hashlib.sha256(text.encode()).hexdigest()[:_HASH]
            writer.writerow([row, label, positive, tokens, read, digest, shorten(text) if with_texts else ""])


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
        predictions = Predictions(
            hashes=[row["text_sha256"] for row in rows],
            labels=np.array([int(row["label"]) for row in rows]),
            positive=np.array([float(row["probability"]) for row in rows]),
            excerpts=[row["excerpt"] for row in rows],
        )
        if len(rows) != content["figures"]["reviews"]:
            raise ValueError(f"{len(rows)} rows for {content['figures']['reviews']} reviews")
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ToolkitError(
            f"{folder} is damaged ({error}); evaluate again with: toolkit evaluate --output {folder}"
        ) from error
    return content, predictions


def shorten(text: str) -> str:
    """How a text begins."""
    return text if len(text) <= _EXCERPT else text[: _EXCERPT - 1] + "…"


def _kind(folder: Path) -> object:
    try:
        return read_json_object(folder / REPORT).get("kind")
    except (BundleError, OSError):
        return None
