"""An evaluation in a folder: `report.json`, `report.html`, its pictures and `predictions.csv`."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from toolkit.datasets.splits import INFO_FILE, Review, count_labels
from toolkit.errors import BundleError
from toolkit.evaluation.charts import draw_charts
from toolkit.evaluation.folder import (
    EVALUATION,
    FORMAT,
    PAGE,
    PREDICTIONS,
    REPORT,
    now,
    refuse_foreign_folder,
    write_predictions,
)
from toolkit.evaluation.measuring import EvaluationResult, measure
from toolkit.evaluation.page import render
from toolkit.evaluation.slices import by_column, by_length, by_score, find_columns, rates
from toolkit.machine import package_versions
from toolkit.models.bundle import Manifest
from toolkit.models.files import read_json_object, sha256, write_json, write_text
from toolkit.models.publishing import replacing
from toolkit.prediction import Predictor
from toolkit.prediction.abstention import Threshold

MISTAKES = 20


def describe(
    predictor: Predictor,
    source: Path,
    reviews: Sequence[Review],
    result: EvaluationResult,
    threshold: Threshold,
    columns: Sequence[str] = (),
    with_texts: bool = True,
) -> dict[str, Any]:
    """The content of `report.json`.

    Args:
        predictor: The predictor that was evaluated.
        source: The file of the reviews.
        reviews: The reviews, in the order in which they were classified.
        result: What the predictor said of them.
        threshold: The score below which a review counts as undecided.
        columns: The columns of the reviews to slice by.
        with_texts: Whether the texts of the mistakes are in the report.

    Raises:
        ToolkitError: no review has such a column.
    """
    values = find_columns(reviews, columns, str(source))
    right, scores = result.right, result.scores
    max_length = predictor.tokenizer.max_length
    return {
        "kind": EVALUATION,
        "format": FORMAT,
        "made": now(),
        "data": {
            "file": source.name,
            "sha256": sha256(source),
            "labels": count_labels(reviews, predictor.labels),
            "imdb": _is_imdb(source),
        },
        "model": {
            "backend": predictor.backend,
            "device": predictor.device,
            "base_model": Path(predictor.manifest.base_model).name,  # of a folder, its path is the machine's
            "max_length": max_length,
            "labels": list(predictor.labels.names),
            "weights_sha256": _weights(predictor.manifest),
        },
        "toolkit": package_versions("distilbert-review-toolkit").get("distilbert-review-toolkit"),
        "figures": measure(result, threshold),
        "mean_score": float(scores.mean()),
        "by_length": rates(by_length(result.tokens, max_length), right, scores),
        "by_score": rates(by_score(scores), right, scores),
        "slices": {name: rates(by_column(values[name]), right, scores) for name in columns},
        "texts": with_texts,
        "mistakes": _mistakes(reviews, result, values, with_texts),
    }


def write_report(folder: Path, content: dict[str, Any], reviews: Sequence[Review], result: EvaluationResult) -> None:
    """Write a report in the place of an earlier one, whole or not at all.

    Args:
        folder: a new one, or an earlier report's.
        content: What `describe` returns.
        reviews: The reviews, in the order in which they were classified.
        result: What the predictor said of them.

    Raises:
        ToolkitError: the folder holds something else.
    """
    refuse_foreign_folder(folder, EVALUATION)
    abstention = content["figures"]["abstention"]
    with replacing(folder, last=REPORT) as staging:
        charts = draw_charts(
            staging,
            result,
            content["by_length"],
            content["by_score"],
            abstention["uncertain_below"] if abstention else None,
        )
        write_predictions(staging / PREDICTIONS, [review.text for review in reviews], result, content["texts"])
        write_json(staging / REPORT, content)
        page = render("report.html", staging, report=content, charts=charts, right=int(result.right.sum()))
        write_text(staging / PAGE, page)


def _is_imdb(source: Path) -> bool:
    """Whether reviews are IMDB's, by the name of their file or of what it was imported from."""
    try:
        info = read_json_object(source.parent / INFO_FILE)
    except (OSError, BundleError):
        info = {}
    imported = source.name in info.get("sha256", ()) and str(info.get("source"))
    return "imdb" in f"{source.name} {imported}".lower()


def _weights(manifest: Manifest) -> str | None:
    """The SHA-256 of the model's weights, where its manifest has it."""
    files = [manifest.files.get(name) for name in ("model.onnx", "adapter_model.safetensors")]
    return next((str(entry["sha256"]) for entry in files if entry), None)


def _mistakes(
    reviews: Sequence[Review], result: EvaluationResult, columns: dict[str, list[Any]], with_texts: bool
) -> list[dict[str, Any]]:
    """The wrong verdicts with the highest scores."""
    wrong = np.flatnonzero(~result.right)
    surest = wrong[np.argsort(-result.scores[wrong], kind="stable")][:MISTAKES].tolist()
    return [
        {
            "row": index + 1,
            "label": reviews[index].label.name,
            "verdict": result.label_set[result.verdicts[index]].name,
            "score": float(result.scores[index]),
            "tokens": int(result.tokens[index]),
            "tokens_read": int(result.tokens_read[index]),
            "columns": {name: str(values[index]) for name, values in columns.items()},
            "text": reviews[index].text if with_texts else None,
        }
        for index in surest
    ]
