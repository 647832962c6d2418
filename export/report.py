"""The scorecard of an export: a table for the terminal, `report.json`, and a picture."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from export.comparison import Comparison
from export.parity import Gate, Parity
from export.readers import SKIPPING, Reading
from toolkit.evaluation.plots import blank_figure
from toolkit.machine import available_cores, processor_name
from toolkit.models.bundle import Manifest
from toolkit.models.files import sha256, write_json
from toolkit.text.labels import LabelSet

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_COLORS = {
    "adapter": "#555555",
    "merged": "#0072b2",
    "onnx": "#009e73",
    "fused": "#cc79a7",
    "int8": "#d55e00",
}  # Okabe and Ito's


def table(stages: Sequence[Parity]) -> str:
    """The scorecard in columns, one line a stage."""
    rows = [("stage", "reviews", "max |Δlogit|", "mean |Δlogit|", "flips", "accuracy (95%)", "MB", "reviews/s")]
    for stage in stages:
        low, high = stage.accuracy_interval
        rows.append((
            stage.stage, str(stage.reviews), f"{stage.max_difference:.1e}", f"{stage.mean_difference:.1e}", str(stage.flips),
            f"{stage.accuracy:.4f} ({low:.4f}–{high:.4f})", f"{stage.bytes / 1e6:.1f}", f"{stage.reviews_per_second:.1f}",
        ))  # fmt: skip
    return _columns(rows)


def table_of_readers(readers: Sequence[Reading]) -> str:
    """The choices of readers in columns, one line each."""
    rows = [("readers", "flips", "accuracy (95%)", "not asked", "wrong there", "ECE", "reviews/s")]
    for each in readers:
        low, high = each.accuracy_interval
        rows.append((
            each.readers, str(each.flips), f"{each.accuracy:.4f} ({low:.4f}–{high:.4f})", f"{each.skipped:.1%}",
            f"{each.wrong_skipped:.1%}", f"{each.ece:.4f}", f"{each.reviews_per_second:.1f}",
        ))  # fmt: skip
    return _columns(rows)


def _columns(rows: Sequence[tuple[str, ...]]) -> str:
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return "\n".join(
        "  ".join(cell.ljust(width) if column == 0 else cell.rjust(width) for column, (cell, width) in enumerate(zip(row, widths, strict=True)))
        for row in rows
    )  # fmt: skip


def write_report(
    folder: Path,
    comparisons: Sequence[Comparison],
    tokens_read: Sequence[int],
    parity_set: Path,
    manifest: Manifest,
    gates: Mapping[str, Gate],
    readers: Sequence[Reading],
    quantized: bool,
) -> None:
    """Write `report.json` and `report.png` into `folder`.

    Args:
        folder: The folder of the bundle.
        comparisons: The stages in order, the adapter first.
        tokens_read: The number of tokens read of each review of the parity set, those in two windows once.
        parity_set: The file of its reviews.
        manifest: The manifest of the bundle.
        gates: The gates that the stages had to pass, by stage.
        readers: The choices of readers, where there is an n-gram table.
        quantized: whether the int8 graph is the one that is published.
    """
    content: dict[str, Any] = {
        "proof": {  # the parity set, by the name it has had since the first report
            "file": parity_set.name,  # not its path, which is the machine's
            "sha256": sha256(parity_set),
            "reviews": len(tokens_read),
            "max_length": manifest.max_length,
            "tokens_read_quartiles": np.percentile(tokens_read, [0, 25, 50, 75, 100]).tolist(),
        },
        "machine": {"processor": processor_name(), "cores": available_cores()},
        "quantized": quantized,
        "temperature": manifest.temperature,
        "gates": {
            **{stage: asdict(gate) for stage, gate in gates.items()},
            **({"auto": asdict(SKIPPING)} if readers else {}),
        },
        "stages": [_describe(each.parity) for each in comparisons],
        **({"readers": [asdict(each) for each in readers]} if readers else {}),
    }
    write_json(folder / "report.json", content)
    _draw(folder / "report.png", comparisons, np.asarray(tokens_read), manifest.label_set)


def _describe(stage: Parity) -> dict[str, Any]:
    description = asdict(stage)
    del description["worst"]  # indices into somebody's reviews
    return description


def _draw(
    path: Path,
    comparisons: Sequence[Comparison],
    tokens_read: np.ndarray,
    labels: LabelSet,
) -> None:
    """Agreement of the margins, |Δlogit| against length, and bars of size and speed."""
    canvas = blank_figure(12, 9)
    agreement, length, size, speed = canvas.subplots(2, 2).flat
    stages = [each.parity for each in comparisons]
    for stage, comparison in zip(stages[1:], comparisons[1:], strict=True):
        reference, logits = comparison.reference, comparison.logits
        best = reference.argmax(axis=1)
        color = _COLORS[stage.stage]
        label = f"{stage.stage}: {stage.flips} of {stage.reviews} labels flip"
        agreement.scatter(
            _margin(reference, best), _margin(logits, best), s=8, alpha=0.5, color=color, label=label, linewidths=0
        )
        differences = np.maximum(np.abs(logits - reference).max(axis=1), 1e-8)  # a log axis has no place for 0
        length.scatter(
            tokens_read[comparison.places], differences, s=8, alpha=0.5, color=color, label=stage.stage, linewidths=0
        )
    compared = " less ".join(reversed(labels.names)) if len(labels) == 2 else "likeliest less next"
    agreement.axline((0, 0), slope=1, color="black", linewidth=0.8)
    agreement.axhline(0, color="black", linewidth=0.5, linestyle=":")
    agreement.axvline(0, color="black", linewidth=0.5, linestyle=":")
    agreement.set(
        title="Agreement", xlabel=f"adapter, of int8 the float graph: {compared} logit", ylabel="stage: the same"
    )
    length.set(title="Difference by length", xlabel="tokens read", ylabel="largest |Δlogit| of a review", yscale="log")
    for axes in (agreement, length):
        axes.legend(markerscale=2)
        axes.grid(alpha=0.3)
    names = [stage.stage for stage in stages]
    _bars(size, names, [stage.bytes / 1e6 for stage in stages], "Weights on disk, MB", "{:.1f}")
    _bars(speed, names, [stage.reviews_per_second for stage in stages], "Reviews a second, on the CPU", "{:.1f}")
    canvas.savefig(path, dpi=100)


def _margin(logits: np.ndarray, best: np.ndarray) -> np.ndarray:
    """(n,) of two labels the second's logit less the first's; of more, what the adapter's label has over every other."""
    if logits.shape[1] == 2:
        difference: np.ndarray = logits[:, 1] - logits[:, 0]
        return difference
    others = logits.copy()
    np.put_along_axis(others, best[:, None], -np.inf, axis=1)
    difference = np.take_along_axis(logits, best[:, None], axis=1)[:, 0] - others.max(axis=1)
    return difference


def _bars(axes: "Axes", names: Sequence[str], values: Sequence[float], title: str, number: str) -> None:
    bars = axes.bar(names, values, color=[_COLORS[name] for name in names])
    axes.bar_label(bars, [number.format(value) for value in values])
    axes.set_title(title)
    axes.margins(y=0.12)
