"""The project's pictures, drawn without a display."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from toolkit.errors import ToolkitError, needs_extra
from toolkit.models.publishing import refuse_no_file, replacing_file

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from toolkit.datasets.splits import SplitReport

_PICTURES = (".png", ".pdf", ".svg")


def plot_metrics(log_history: Sequence[Mapping[str, Any]], output_dir: str | Path = ".") -> tuple[Path, Path]:
    """Draw accuracy and loss over the training steps into `training_metrics.pdf` and `.png`.

    Args:
        log_history: the Trainer's `state.log_history`: `train_accuracy`, `eval_accuracy`, `loss` and `eval_loss`
            by `step`, each drawn where it occurs.
        output_dir: an existing folder.

    Returns:
        The paths of the PDF and the PNG.
    """
    figure = blank_figure(10, 10)
    accuracy, loss = figure.subplots(2, 1)
    _draw(accuracy, log_history, "train_accuracy", "Train Accuracy", "blue", "-")
    _draw(accuracy, log_history, "eval_accuracy", "Val Accuracy", "orange", "--")
    _draw(loss, log_history, "loss", "Train Loss", "blue", "-")
    _draw(loss, log_history, "eval_loss", "Val Loss", "orange", "--")
    for axes, label in ((accuracy, "Accuracy"), (loss, "Loss")):
        axes.set_xlabel("Training Steps")
        axes.set_ylabel(label)
        axes.grid(alpha=0.3)
        if axes.lines:
            axes.legend()
    pdf, png = Path(output_dir) / "training_metrics.pdf", Path(output_dir) / "training_metrics.png"
    figure.savefig(pdf, metadata={"CreationDate": None})  # the same run draws the same bytes
    figure.savefig(png, dpi=100)
    return pdf, png


def plot_token_lengths(reports: Mapping[str, "SplitReport"], max_length: int, path: Path) -> None:
    """Draw a histogram of each split's token lengths, with a line at `max_length`.

    Raises:
        ToolkitError: see `refuse_picture`.
        OSError: likewise.
    """
    figure = blank_figure(9, 5)
    axes = figure.subplots()
    longest = max(int(report.token_lengths.max()) for report in reports.values())
    upper = max(max_length, min(longest, 2 * max_length)) * 1.02  # a few very long reviews would flatten the rest
    for name, report in reports.items():
        axes.hist(
            report.token_lengths.clip(max=int(upper)), bins=30, range=(0, upper), histtype="step", linewidth=1.5,
            density=True, label=f"{name}: {report.rows} reviews, {report.over_length:.1%} over {max_length}",
        )  # fmt: skip
    axes.axvline(max_length, color="black", linestyle=":", label=f"max_length {max_length}")
    axes.set_xlabel(f"Tokens in a review (over {int(upper)} drawn at the right edge)")
    axes.set_ylabel("Density")
    axes.legend()
    save_picture(figure, path, dpi=120)


def refuse_picture(path: Path) -> None:
    """Refuse a place where no picture can be written, before the work of which it is to be one.

    Raises:
        ToolkitError: the path's ending names no format, or it is no place for a file.
        OSError: its folder cannot be written.
    """
    if path.suffix.lower() not in _PICTURES:
        raise ToolkitError(f"{path} cannot be drawn; choose a name ending in {', '.join(_PICTURES)}")
    refuse_no_file(path)


def save_picture(figure: "Figure", path: Path, dpi: int) -> None:
    """Write a figure, whole or not at all; see `refuse_picture`."""
    refuse_picture(path)
    with replacing_file(path) as stream:
        figure.savefig(stream, dpi=dpi, format=path.suffix.lower().removeprefix("."))


def blank_figure(width: float, height: float) -> "Figure":
    """A figure bound to no window system; pyplot would look for one."""
    with needs_extra("evaluate", "drawing a plot"):
        from matplotlib.figure import Figure
    return Figure(figsize=(width, height), layout="constrained")


def _draw(
    axes: "Axes", log_history: Sequence[Mapping[str, Any]], key: str, label: str, color: str, line_style: str
) -> None:
    points = [(entry["step"], entry[key]) for entry in log_history if key in entry]
    if points:
        steps, values = zip(*points, strict=True)
        axes.plot(steps, values, color=color, linestyle=line_style, marker="o", markersize=4, label=label)
