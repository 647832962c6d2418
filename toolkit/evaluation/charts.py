"""The report's pictures, each saying in a sentence how to read it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from toolkit.errors import needs_extra
from toolkit.evaluation.calibration import BINS, risk_coverage
from toolkit.evaluation.measuring import EvaluationResult
from toolkit.evaluation.metrics import accuracy_interval
from toolkit.evaluation.plots import blank_figure
from toolkit.evaluation.slices import mean_rate

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.ticker import Formatter

_BLUE, _ORANGE, _GREY = "#0072b2", "#d55e00", "#888888"  # Okabe and Ito's
CONFUSION = "confusion.png"
_LONGEST = 16  # characters of a label in a picture
_FEWEST = 20  # reviews; the accuracy of fewer jumps about
_MAPPED = 5  # labels, from which on the confusion matrix is a picture
_WRITTEN = 20  # labels, up to which the picture has the numbers in it
_MARKED = (0.6, 0.7, 0.8, 0.9, 0.95, 0.99)  # thresholds named on the risk-coverage curve


@dataclass(frozen=True)
class Chart:
    """A picture in the report's folder.

    Attributes:
        file: its name.
        title: The title of its section.
        reading: How to read it.
        rows: the figures behind it, as `rates` has them; none where they are no groups.
    """

    file: str
    title: str
    reading: str
    rows: Sequence[Mapping[str, Any]] = ()


def draw_charts(
    folder: Path,
    result: EvaluationResult,
    lengths: Sequence[Mapping[str, Any]],
    scores: Sequence[Mapping[str, Any]],
    uncertain_below: float | None,
) -> list[Chart]:
    """Draw all charts into `folder`; there is no ROC curve where only one class occurs, or more than two can.

    Args:
        folder: an existing one.
        result: What the model said of labelled reviews.
        lengths: `rates` by length.
        scores: `rates` by score.
        uncertain_below: A threshold to mark.
    """
    charts = [
        _reliability(folder, result),
        _risk_coverage(folder, result, uncertain_below),
        _by_length(folder, lengths),
        _by_score(folder, scores),
    ]
    if len(result.label_set) >= _MAPPED:
        return [_confusion(folder, result), *charts]
    is_curve = len(result.label_set) == 2 and len(set(result.labels.tolist())) == 2
    return [_roc(folder, result), *charts] if is_curve else charts


def _confusion(folder: Path, result: EvaluationResult) -> Chart:
    names = [_shortened(name) for name in result.label_set.names]
    classes = len(names)
    counts = np.bincount(result.labels * classes + result.verdicts, minlength=classes**2).reshape(classes, classes)
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    figure = blank_figure(7, 6)
    axes = figure.subplots()
    image = axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    places = range(classes) if classes <= 2 * _WRITTEN else range(0, classes, classes // _WRITTEN)
    axes.set_xticks(places, [names[place] for place in places], rotation=90 if max(map(len, names)) > 3 else 0)
    axes.set_yticks(places, [names[place] for place in places])
    axes.set(xlabel="called", ylabel="label")
    for row, column in np.ndindex(counts.shape) if classes <= _WRITTEN else ():
        color = "white" if shares[row, column] > 0.5 else "black"
        axes.text(column, row, str(counts[row, column]), ha="center", va="center", fontsize=8, color=color)
    figure.colorbar(image, label="share of the label's reviews", format=_percent_formatter())
    return _save(
        figure, folder, CONFUSION, "Confusion matrix",
        "A row is a label, a column what its reviews were called; the shade is the share of the row. Right verdicts are on the "
        "diagonal; what is dark beside it is taken for something else.",
    )  # fmt: skip


def _shortened(name: str) -> str:
    return name if len(name) <= _LONGEST else f"{name[: _LONGEST - 1]}…"


def _roc(folder: Path, result: EvaluationResult) -> Chart:
    with needs_extra("evaluate", "drawing a plot"):
        from sklearn.metrics import roc_curve

    false_positives, true_positives, _ = roc_curve(result.labels, result.probabilities[:, 1])
    figure = blank_figure(5.2, 4.2)
    axes = figure.subplots()
    axes.plot([0, 1], [0, 1], color=_GREY, linestyle=":", label="guessing")
    axes.plot(false_positives, true_positives, color=_BLUE, label="this model")
    first, second = result.label_set.names
    axes.set(xlabel=f"{first} reviews called {second}", ylabel=f"{second} reviews called {second}")
    _shares(axes, x=True)
    _legend(axes)
    return _save(
        figure, folder, "roc.png", "ROC curve",
        f"Each point is a threshold: how many {second} reviews are found (up) for how many {first} ones that are taken for "
        f"{second} (right). The nearer the curve to the upper left corner, the better; the dotted line is guessing.",
    )  # fmt: skip


def _reliability(folder: Path, result: EvaluationResult) -> Chart:
    """Of two labels by the probability of the second, of more by that of the label that was given."""
    if len(result.label_set) == 2:
        second = result.label_set.names[1]
        scores, hits = result.probabilities[:, 1], result.labels == 1
        on_y, on_x, should = f"truly {second}", f"probability of {second}", f"be {second}"
    else:
        scores, hits = result.scores, result.right
        on_y, on_x, should = "verdicts that are right", "score of the verdict", "have that verdict rightly"
    figure = blank_figure(5.2, 4.8)
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1))
    upper.plot([0, 1], [0, 1], color=_GREY, linestyle=":", label="scores that mean what they say")
    bins = np.minimum((scores * BINS).astype(int), BINS - 1)
    means, shares, below, above = [], [], [], []
    for each in np.unique(bins):
        members = bins == each
        count, positives = int(members.sum()), int(hits[members].sum())
        low, high = accuracy_interval(positives, count)
        share = positives / count
        means.append(scores[members].mean())
        shares.append(share)
        below.append(max(0.0, share - low))
        above.append(max(0.0, high - share))
    upper.errorbar(
        means,
        shares,
        (below, above),
        color=_BLUE,
        marker="o",
        markersize=4,
        linestyle="",
        elinewidth=1,
        label="this model",
    )
    upper.set(ylabel=on_y)
    _shares(upper)
    _legend(upper)
    lower.hist(scores, bins=BINS, range=(0, 1), color=_BLUE)
    lower.set(xlabel=on_x, ylabel="reviews", yscale="log")
    _shares(lower, x=True, y=False)
    return _save(
        figure, folder, "reliability.png", "Reliability diagram",
        f"Of the reviews that were given a probability of 70%, 70% should {should}: points on the dotted line. Bars are "
        f"95% intervals, {BINS} bins; below, how many reviews each bin has (the axis is logarithmic).",
    )  # fmt: skip


def _risk_coverage(folder: Path, result: EvaluationResult, uncertain_below: float | None) -> Chart:
    coverage, accuracy, thresholds = risk_coverage(result.labels, result.probabilities)
    drawn = coverage * len(result.labels) >= min(_FEWEST, len(result.labels))
    figure = blank_figure(5.2, 4.2)
    axes = figure.subplots()
    axes.plot(coverage[drawn], accuracy[drawn], color=_BLUE)
    for threshold in sorted({*_MARKED, *([uncertain_below] if uncertain_below else [])}):
        reached = np.flatnonzero(drawn & (thresholds >= threshold))
        if len(reached):
            place, chosen = reached[-1], threshold == uncertain_below
            color = _ORANGE if chosen else _BLUE
            axes.plot(coverage[place], accuracy[place], marker="o", markersize=7 if chosen else 4, color=color)
            axes.annotate(f"{threshold:g}", (coverage[place], accuracy[place]), (0, 6), textcoords="offset points",
                          color=color, fontsize=9, bbox={"facecolor": "white", "edgecolor": "none", "alpha": 0.7, "pad": 1})  # fmt: skip
    axes.set(xlabel="reviews decided", ylabel="accuracy of those")
    axes.margins(y=0.12)
    _shares(axes, x=True)
    axes.set_ylim(top=min(axes.get_ylim()[1], 1.02))
    return _save(
        figure, folder, "risk_coverage.png", "Risk and coverage",
        "If the model may leave its least sure reviews undecided, how right is it on the rest? What is missing to 100% is the risk. The marks are thresholds for "
        "--uncertain-below; at the right edge everything is decided.",
    )  # fmt: skip


def _by_length(folder: Path, rows: Sequence[Mapping[str, Any]]) -> Chart:
    figure = blank_figure(5.2, 4.2)
    axes = figure.subplots()
    _points(axes, rows)
    axes.set(xlabel="tokens in the review (below: how many reviews)", ylabel="accuracy")
    _legend(axes)
    return _save(
        figure, folder, "accuracy_by_length.png", "Accuracy by length",
        "Accuracy on short and long reviews, with 95% intervals: where they overlap widely, no difference is shown. "
        "What a review has beyond the model's limit is not read.", rows,
    )  # fmt: skip


def _by_score(folder: Path, rows: Sequence[Mapping[str, Any]]) -> Chart:
    figure = blank_figure(5.2, 4.2)
    axes = figure.subplots()
    _points(axes, rows)
    axes.plot([row["mean_score"] for row in rows], linestyle="", marker="_", markersize=18, markeredgewidth=2,
              color=_ORANGE, label="what the scores promise")  # fmt: skip
    axes.set(xlabel="score of the verdict (below: how many reviews)", ylabel="accuracy")
    _legend(axes)
    return _save(
        figure, folder, "accuracy_by_score.png", "Accuracy by score",
        "How often the verdict is right when the model is this sure. Honest scores put each point on its orange dash.", rows,
    )  # fmt: skip


def _points(axes: "Axes", rows: Sequence[Mapping[str, Any]]) -> None:
    """A point and its interval for each row, and a line at the accuracy of all."""
    accuracies = np.array([row["accuracy"] for row in rows])
    intervals = np.array([row["interval"] for row in rows])  # (rows, 2)
    spread = np.maximum(np.abs(intervals.T - accuracies), 0)
    average = mean_rate(rows)
    axes.axhline(average, color=_GREY, linestyle=":", label=f"all: {average:.1%}")
    axes.errorbar(range(len(rows)), accuracies, spread, color=_BLUE, marker="o", linestyle="", capsize=3)
    axes.set_xticks(range(len(rows)), [f"{row['name']}\n{row['reviews']}" for row in rows], fontsize=8)
    _shares(axes)


def _legend(axes: "Axes") -> None:
    """Above the picture, where no point can lie under it."""
    axes.legend(loc="lower center", bbox_to_anchor=(0.5, 1), ncols=2, frameon=False)


def _shares(axes: "Axes", x: bool = False, y: bool = True) -> None:
    """Percent on the axes that are shares."""
    for axis, wanted in ((axes.xaxis, x), (axes.yaxis, y)):
        if wanted:
            axis.set_major_formatter(_percent_formatter())
    axes.grid(alpha=0.3)


def _percent_formatter() -> "Formatter":
    from matplotlib.ticker import PercentFormatter

    return PercentFormatter(1)


def _save(
    figure: "Figure", folder: Path, file: str, title: str, reading: str, rows: Sequence[Mapping[str, Any]] = ()
) -> Chart:
    figure.savefig(folder / file, dpi=150)
    return Chart(file, title, reading, rows)
