"""`toolkit bench`."""

import json
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import click

from toolkit.commands.options import PATH

if TYPE_CHECKING:
    from toolkit.benchmark.models import Models


def _split(_context: click.Context, _parameter: click.Parameter, value: str | None) -> tuple[str, ...]:
    return tuple(name.strip() for name in (value or "").split(",") if name.strip())


@click.command()
@click.option("--file", type=PATH, default="dataset/test.csv", show_default=True, help="Labelled reviews.")
@click.option("--limit", type=click.IntRange(min=1), default=200, show_default=True, help="Reviews used.")
@click.option("--rounds", type=click.IntRange(min=1), default=3, show_default=True, help="Measurements of each figure.")
@click.option("--onnx-model", type=PATH, help="ONNX bundle.  [default: as for predict]")
@click.option("--adapter", type=PATH, help="Adapter folder for torch and the peers.  [default: as for predict]")
@click.option("--peers", is_flag=True, help="Every engine: also what people would pick instead, as far as installed.")
@click.option("--engines", metavar="NAME,…", callback=_split, help="Exactly these.")
@click.option("--size", type=click.Choice(["bundle", "distilbert"]), default="bundle", show_default=True,
              help="distilbert: random weights in the size of distilbert-base-uncased, 66 million; for speed alone.")  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object with every measurement.")
@click.option("--markdown", is_flag=True, help="Print the table as Markdown.")
@click.option("--chart", type=PATH, help="Draw the figures into this PNG, PDF or SVG.")
def bench(
    file: Path,
    limit: int,
    rounds: int,
    onnx_model: Path | None,
    adapter: Path | None,
    peers: bool,
    engines: tuple[str, ...],
    size: str,
    as_json: bool,
    markdown: bool,
    chart: Path | None,
) -> None:
    """Time this machine: the ONNX backend, and torch where it is installed, in turn on the same reviews.

    With --peers also the same model without quantisation, the transformers and optimum pipelines, CTranslate2 and
    OpenVINO, each converted from the adapter, each with the batch size that is fastest here.

    \b
    Engines:
      onnx, onnx-fp32, torch
      pipeline, optimum-fp32, optimum-int8, ctranslate2, ctranslate2-workers, openvino

    \b
    Examples:
      toolkit bench
      toolkit bench --file build/imdb/test.csv --limit 500 --json
      toolkit bench --peers --file build/imdb/test.csv --markdown --chart bench.png
    """
    if as_json and markdown:
        raise click.UsageError("--json and --markdown are two kinds of output; name one")
    if peers and engines:
        raise click.UsageError("--peers means every engine and --engines some; name one")

    from toolkit.benchmark.compare import choose_engines, compare_engines
    from toolkit.benchmark.report import as_markdown, as_text, draw, heading, remarks, rows
    from toolkit.datasets.splits import read_reviews

    texts = [review.text for review in read_reviews(file, others=())][:limit]
    with tempfile.TemporaryDirectory(prefix="bench.") as workspace:
        models = _models(onnx_model, adapter, size, Path(workspace))
        report = compare_engines(models, choose_engines(models, engines, peers), texts, rounds, _tell)
    _tell("")
    if size == "distilbert":
        for engine in report["engines"].values():
            engine["agreement"] = None  # random weights have no opinion to agree with
    if chart:
        draw(report, chart, heading(report))
    if as_json:
        click.echo(json.dumps(report))
        return
    click.echo(f"{file}: {heading(report)}\n")
    click.echo((as_markdown if markdown else as_text)(rows(report)))
    click.echo("")
    for line in remarks(report):
        click.echo(f"- {line}" if markdown else line)


def _models(onnx_model: Path | None, adapter: Path | None, size: str, workspace: Path) -> "Models":
    from toolkit.benchmark.models import Models, random_models
    from toolkit.prediction.selection import choose_backend

    bundle = choose_backend("onnx", onnx_model=onnx_model).folder
    if size == "distilbert":
        return random_models(bundle, workspace)
    return Models(bundle, choose_backend("torch", adapter=adapter).folder, workspace)


def _tell(step: str) -> None:
    """What is going on, on one line of a terminal."""
    import sys

    quiet = click.get_current_context().find_root().params.get("quiet")
    if sys.stderr.isatty() and not quiet:
        click.echo(f"\r\033[K{step}", nl=False, err=True)
