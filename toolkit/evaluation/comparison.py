"""Two evaluations of the same reviews, side by side."""

from pathlib import Path
from typing import Any

import numpy as np

from toolkit.errors import ToolkitError
from toolkit.evaluation.folder import (
    COMPARISON,
    FORMAT,
    PAGE,
    REPORT,
    Predictions,
    now,
    read_report,
    refuse_foreign_folder,
)
from toolkit.evaluation.metrics import difference_interval, mcnemar
from toolkit.evaluation.page import render
from toolkit.models.files import write_json, write_text
from toolkit.models.publishing import replacing
from toolkit.text.labels import SENTIMENT, LabelSet


def compare(first: Path, second: Path) -> dict[str, Any]:
    """Compare two report folders; no model is run.

    Returns:
        `a` and `b`: each report's folder `name`, `data`, `model` and `figures`; `reviews`; `both_right`, `only_a`, `only_b`
        and `neither`, which count them; `difference`: B's accuracy less A's, and its 95% `interval` (paired bootstrap);
        `mcnemar` (see `toolkit.evaluation.metrics`); and `changed`: the reviews whose verdicts differ, those first of
        which both are surest, each with `row` (in A), `label`, `a` and `b` (`verdict` and `score`) and `excerpt`.

    Raises:
        ToolkitError: a folder is no report, or they judge different reviews.
    """
    (content_a, a), (content_b, b) = read_report(first), read_report(second)
    order_a, order_b = _order(a), _order(b)
    if [a.hashes[index] for index in order_a] != [b.hashes[index] for index in order_b]:
        shared = len(set(a.hashes) & set(b.hashes))
        raise ToolkitError(
            f"{first} and {second} judge different reviews ({len(a.hashes)} and {len(b.hashes)}, {shared} in both); "
            "evaluate both models on the same file"
        )
    label_set = _label_set(content_a)
    if _label_set(content_b) != label_set:
        raise ToolkitError(
            f"{first} and {second} are of models with other labels, {label_set.listed()} and {_label_set(content_b).listed()}; "
            "expected two models of the same labels"
        )
    labels, said_a, said_b = a.labels[order_a], a.verdicts[order_a], b.verdicts[order_b]
    scores_a, scores_b = a.scores[order_a], b.scores[order_b]
    differing = int((labels != b.labels[order_b]).sum())
    if differing:
        raise ToolkitError(
            f"{first} and {second} have different labels for {differing} reviews; evaluate both models on the same file"
        )
    right_a, right_b = said_a == labels, said_b == labels
    only_a, only_b = int((right_a & ~right_b).sum()), int((right_b & ~right_a).sum())
    changed = np.flatnonzero(said_a != said_b)
    surest = changed[np.argsort(-(scores_a + scores_b)[changed], kind="stable")]
    name_a, name_b = _names(first.resolve(), second.resolve())
    return {
        "kind": COMPARISON,
        "format": FORMAT,
        "made": now(),
        "a": {"name": name_a, **{key: content_a[key] for key in ("data", "model", "figures")}},
        "b": {"name": name_b, **{key: content_b[key] for key in ("data", "model", "figures")}},
        "reviews": len(labels),
        "both_right": int((right_a & right_b).sum()),
        "only_a": only_a,
        "only_b": only_b,
        "neither": int((~right_a & ~right_b).sum()),
        "difference": (only_b - only_a) / len(labels),
        "interval": difference_interval(only_a, only_b, len(labels)),
        "mcnemar": mcnemar(only_a, only_b),
        "changed": [
            {
                "row": order_a[index] + 1,
                "label": label_set[labels[index]].name,
                "a": {"verdict": label_set[said_a[index]].name, "score": float(scores_a[index])},
                "b": {"verdict": label_set[said_b[index]].name, "score": float(scores_b[index])},
                "excerpt": a.excerpts[order_a[index]] or b.excerpts[order_b[index]],
            }
            for index in surest.tolist()
        ],
    }


def write_comparison(folder: Path, content: dict[str, Any]) -> None:
    """Write what `compare` returns as `report.json` and `report.html`, in the place of an earlier comparison.

    Raises:
        ToolkitError: the folder holds something else.
    """
    refuse_foreign_folder(folder, COMPARISON)
    with replacing(folder, last=REPORT) as staging:
        write_json(staging / REPORT, content)
        write_text(staging / PAGE, render("comparison.html", comparison=content))


def _order(predictions: Predictions) -> list[int]:
    """By hash, so that the order of the rows is no matter; equal texts stay in theirs."""
    return sorted(
        range(len(predictions.hashes)), key=lambda index: (predictions.hashes[index], predictions.labels[index])
    )


def _label_set(content: dict[str, Any]) -> LabelSet:
    """Of a report made before models had labels of their own, the sentiment pair."""
    return LabelSet.of_model(content["model"].get("labels", SENTIMENT.names))


def _names(first: Path, second: Path) -> tuple[str, str]:
    """What tells the folders apart, without the machine's paths."""
    if first.name != second.name:
        return first.name, second.name
    return f"{first.parent.name}/{first.name}", f"{second.parent.name}/{second.name}"
