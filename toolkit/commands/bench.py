"""`toolkit bench`."""

import json
import statistics
from pathlib import Path
from typing import Any

import click

from toolkit.commands.options import PATH

_FIGURES = {
    "reviews_per_second": ("reviews/s", "{:.1f}"),
    "single_review_ms": ("ms a review alone", "{:.1f}"),
    "cold_start_seconds": ("s, one predict from start to end", "{:.2f}"),
    "peak_megabytes": ("MB, its peak", "{:.0f}"),
}


@click.command()
@click.option("--file", type=PATH, default="dataset/test.csv", show_default=True, help="Labelled reviews.")
@click.option("--limit", type=click.IntRange(min=1), default=200, show_default=True, help="Reviews used.")
@click.option("--rounds", type=click.IntRange(min=1), default=5, show_default=True, help="Measurements of each figure.")
@click.option("--onnx-model", type=PATH, help="ONNX bundle.  [default: as for predict]")
@click.option("--adapter", type=PATH, help="Adapter folder for torch.  [default: as for predict]")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object with every measurement.")
def bench(file: Path, limit: int, rounds: int, onnx_model: Path | None, adapter: Path | None, as_json: bool) -> None:
    """Time this machine: the ONNX backend, and torch where it is installed, in turn on the same reviews.

    \b
    Examples:
      toolkit bench
      toolkit bench --file build/imdb/test.csv --limit 500 --json
    """
    from toolkit.benchmark import compare_backends
    from toolkit.splits import read_reviews

    texts = [review.text for review in read_reviews(file)][:limit]
    report = compare_backends(texts, rounds, onnx_model, adapter)
    if as_json:
        click.echo(json.dumps(report))
        return
    machine = report["machine"]
    click.echo(f"{len(texts)} reviews of {file}, {rounds} rounds, {machine['cores']} cores ({machine['processor']}); "
               "median (least to most)")  # fmt: skip
    for figure, (title, number) in _FIGURES.items():
        for name, backend in report["backends"].items():
            click.echo(f"{title:<34} {name:<6} {_spread(backend[figure], number)}")
    if {"onnx", "torch"} <= report["backends"].keys():
        click.echo(f"onnx / torch, round by round: {_ratio(report['backends'])} in reviews/s")


def _spread(values: list[float], number: str) -> str:
    least, middle, most = (number.format(value) for value in (min(values), statistics.median(values), max(values)))
    return f"{middle:>8} ({least} to {most})"


def _ratio(backends: dict[str, Any]) -> str:
    pairs = zip(backends["onnx"]["reviews_per_second"], backends["torch"]["reviews_per_second"], strict=True)
    return f"median {statistics.median(onnx / torch for onnx, torch in pairs):.2f}"
