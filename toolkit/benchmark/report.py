"""A comparison as text, as Markdown and as a picture."""

import statistics
import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from toolkit.benchmark.engines import OWN
from toolkit.errors import needs_extra
from toolkit.evaluation.plots import blank_figure, save_picture

_COLORS = {True: "tab:orange", False: "tab:gray"}  # this toolkit's, others'
_OWN = {engine.name for engine in OWN}
_COLUMNS = {
    "reviews/s": ("reviews_per_second", "{:.1f}"),
    "tokens/s": ("tokens_per_second", "{:,.0f}"),
    "p50 ms": ("p50_ms", "{:.1f}"),
    "p95 ms": ("p95_ms", "{:.1f}"),
    "cold start s": ("cold_start_seconds", "{:.2f}"),
    "peak MB": ("peak_megabytes", "{:.0f}"),
}


def rows(report: Mapping[str, Any]) -> list[list[str]]:
    """The table, headings first: a row an engine, medians, the spread of reviews/s beside it."""
    table = [["engine", "reviews/s", "least to most", *list(_COLUMNS)[1:], "of peak", "as torch", "settings"]]
    for name, engine in report["engines"].items():
        cells = [number.format(statistics.median(engine[key])) for key, number in _COLUMNS.values()]
        speeds = engine["reviews_per_second"]
        agreement = "" if engine["agreement"] is None else f"{engine['agreement']:.1%}"
        table.append([
            name, cells[0], f"{min(speeds):.1f} to {max(speeds):.1f}", *cells[1:],
            f"{statistics.median(engine['share_of_peak']):.0%}", agreement, engine["settings"],
        ])  # fmt: skip
    return table


def as_text(table: Sequence[Sequence[str]]) -> str:
    """Columns, the first and the last to the left, numbers to the right."""
    widths = [max(len(row[column]) for row in table) for column in range(len(table[0]))]
    last = len(widths) - 1
    return "\n".join(
        "  ".join(
            cell.ljust(width) if column in (0, last) else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in table
    )


def as_markdown(table: Sequence[Sequence[str]]) -> str:
    """The same as Markdown."""
    heading, *body = (f"| {' | '.join(row)} |" for row in table)
    return "\n".join([heading, "|" + "---|" * len(table[0]), *body])


def heading(report: Mapping[str, Any]) -> str:
    """What was measured, and on what."""
    machine = report["machine"]
    return (
        f"{report['reviews']} reviews of {report['tokens']:,} tokens (up to {report['max_length']} read), "
        f"{report['rounds']} rounds; {machine['cores']} cores, {machine['processor']} "
        f"({', '.join(machine['instruction_sets'])}); medians"
    )


def remarks(report: Mapping[str, Any]) -> list[str]:
    """What the table does not say: the peak, where the time goes, the fastest of each side, what is not installed."""
    peak = report["machine"]["peak_gflops"]
    lines = [
        "matrix-multiply peak, float32: "
        + ", ".join(f"{statistics.median(values):.0f} GFLOP/s ({library})" for library, values in peak.items())
    ]
    if shares := report["time_shares"]:
        parts = ", ".join(f"{part} {statistics.median(values):.1%}" for part, values in shares.items())
        lines.append(f"time of a stream through {next(name for name in report['engines'] if name in _OWN)}: {parts}")
    lines += _ratios(report["engines"])
    for name, absent in report["not_installed"].items():
        lines.append(
            f"{name}: not installed; in a checkout: python -m pip install -c constraints.txt '.[{absent['extra']}]'"
        )
    return lines


def _ratios(engines: Mapping[str, Any]) -> list[str]:
    """The ratios of `onnx` to torch, and to the peer that is best at each figure."""
    if "onnx" not in engines:
        return []
    lines = []
    if "torch" in engines:
        lines.append(f"onnx / torch, round by round: {_by_round(engines, 'onnx', 'torch'):.2f} x the reviews/s")
    peers = {name: engine for name, engine in engines.items() if name not in _OWN}
    if not peers:
        return lines

    def middle(name: str, key: str) -> float:
        return float(statistics.median(engines[name][key]))

    fastest = max(peers, key=lambda name: middle(name, "reviews_per_second"))
    quickest = min(peers, key=lambda name: middle(name, "p50_ms"))
    lines.append(
        f"onnx / {fastest} (the fastest peer), round by round: {_by_round(engines, 'onnx', fastest):.2f} x the reviews/s"
    )
    lines.append(
        f"onnx / {quickest} (the quickest peer): {middle('onnx', 'p50_ms') / middle(quickest, 'p50_ms'):.2f} x the p50 latency"
    )
    if "pipeline" in peers:
        start = middle("pipeline", "cold_start_seconds") / middle("onnx", "cold_start_seconds")
        memory = middle("onnx", "peak_megabytes") / middle("pipeline", "peak_megabytes")
        lines.append(f"onnx / pipeline: starts {start:.1f} x as fast, with {memory:.2f} of the memory")
    return lines


def _by_round(engines: Mapping[str, Any], first: str, second: str) -> float:
    pairs = zip(engines[first]["reviews_per_second"], engines[second]["reviews_per_second"], strict=True)
    return float(statistics.median(one / other for one, other in pairs))


def draw(report: Mapping[str, Any], path: Path, title: str) -> None:
    """Four panels of bars, an engine a bar, this toolkit's in another colour; whiskers from least to most.

    Raises:
        ToolkitError: see `refuse_picture`.
        OSError: likewise.
    """
    with needs_extra("evaluate", "drawing a plot"):
        from matplotlib.patches import Patch

    names = list(report["engines"])[::-1]  # the first on top
    figure = blank_figure(11, 1.8 + 0.6 * len(names))
    panels = (
        ("reviews/s (more is better)", "reviews_per_second", "{:.1f}"),
        ("p50 of one review alone, ms (less is better)", "p50_ms", "{:.1f}"),
        ("cold start to first answer, s (less is better)", "cold_start_seconds", "{:.2f}"),
        ("memory at the peak of that, MB (less is better)", "peak_megabytes", "{:.0f}"),
    )
    for axes, (label, key, number) in zip(figure.subplots(2, 2, sharey=True).flat, panels, strict=True):
        values = [report["engines"][name][key] for name in names]
        middles = [statistics.median(each) for each in values]
        axes.barh(names, middles, color=[_COLORS[name in _OWN] for name in names])
        whiskers = [[middle - min(each) for middle, each in zip(middles, values, strict=True)],
                    [max(each) - middle for middle, each in zip(middles, values, strict=True)]]  # fmt: skip
        axes.errorbar(middles, range(len(names)), xerr=whiskers, fmt="none", ecolor="black", elinewidth=0.8)
        for place, (middle, each) in enumerate(zip(middles, values, strict=True)):
            beside = {"xytext": (5, 0), "textcoords": "offset points", "va": "center", "fontsize": 8}
            axes.annotate(number.format(middle), (max(each), place), **beside)  # clear of the whisker
        axes.set_title(label, fontsize=10)
        axes.margins(x=0.15)
        axes.grid(axis="x", alpha=0.3)
        axes.set_axisbelow(True)
    kinds = [("this toolkit", True), ("others", False)] if {*names} - {*_OWN} else []
    if kinds:
        handles = [Patch(color=_COLORS[own], label=kind) for kind, own in kinds]
        figure.legend(handles=handles, loc="outside lower center", ncols=2, fontsize=9)
    figure.suptitle(textwrap.fill(title, 120), fontsize=10)
    save_picture(figure, path, dpi=110)
