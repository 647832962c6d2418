"""`toolkit bench`, and what it shares with `benchmarks/peers.py`: options, the comparison, how it is printed."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from toolkit.commands.options import PATH, encoding_option, progress_option, say_json
from toolkit.commands.redirection import refuse_own_output
from toolkit.progress import announce, style

if TYPE_CHECKING:
    from toolkit.benchmark.engines import Engine
    from toolkit.benchmark.models import Models
    from toolkit.commands.options import Command

PEERS_COMMAND = "python benchmarks/peers.py"  # in a checkout; no wheel carries it


def comparison_options(command: "Command") -> "Command":
    """The options of every comparison of engines."""
    for option in (
        progress_option(),
        click.option("--chart", type=PATH, help="Draw the figures into this PNG, PDF or SVG."),
        click.option("--markdown", is_flag=True, help="Print the table as Markdown."),
        click.option("--json", "as_json", is_flag=True, help="Print one JSON object with every measurement."),
        click.option("--engines", metavar="NAME,…", callback=_split, help="Exactly these."),
        click.option("--adapter", type=PATH, help="Adapter folder for every engine but onnx.  [default: as for predict]"),
        click.option("--onnx-model", type=PATH, help="ONNX bundle.  [default: as for predict]"),
        click.option("--rounds", type=click.IntRange(min=1), default=3, show_default=True, help="Measurements of each figure."),
        encoding_option(),
        click.option("--limit", type=click.IntRange(min=1), default=200, show_default=True, help="Reviews used."),
        click.option("--file", type=PATH, default="dataset/test.csv", show_default=True, help="Labelled reviews."),
    ):  # fmt: skip
        command = option(command)
    return command


def _split(_context: click.Context, _parameter: click.Parameter, value: str | None) -> tuple[str, ...]:
    return tuple(name.strip() for name in (value or "").split(",") if name.strip())


def _elsewhere(context: click.Context, parameter: click.Parameter, value: object) -> None:
    if context.resilient_parsing or not value:
        return
    size = f" --size {value}" if parameter.name == "size" else ""
    raise click.UsageError(
        f"toolkit bench times this toolkit's own engines and has no {parameter.opts[0]}; "
        f"beside other libraries, in a checkout of the project: {PEERS_COMMAND}{size}"
    )


@click.command()
@comparison_options
@click.option("--peers", is_flag=True, hidden=True, expose_value=False, callback=_elsewhere)
@click.option("--size", hidden=True, expose_value=False, callback=_elsewhere)
def bench(onnx_model: Path | None, adapter: Path | None, engines: tuple[str, ...], **comparison: Any) -> None:  # noqa: ANN401
    """Time this machine: the ONNX backend, and torch where it is installed, in turn on the same reviews.

    onnx reads n-grams first where the bundle has them; onnx-both reads every review with both,
    onnx-model and the engines below with the transformer alone. onnx-fp32 is not quantised, converted from the adapter. In a checkout of the project,
    `python benchmarks/peers.py` times other libraries beside these.

    \b
    Engines:
      onnx, onnx-both, onnx-model, onnx-fp32, torch

    \b
    Examples:
      toolkit bench
      toolkit bench --file build/imdb/test.csv --limit 500 --json
    """
    from toolkit.benchmark.engines import OWN, Onnx, OnnxBoth, OnnxModel, Torch
    from toolkit.models.bundle import NGRAM_TABLE

    hint = f"; other libraries, in a checkout of the project: {PEERS_COMMAND} --engines {','.join(engines)}"
    chosen = select_engines(OWN, engines, hint)
    folders = find_models(onnx_model, adapter)
    if not engines:
        with_ngrams = (folders[0] / NGRAM_TABLE).is_file()
        chosen = [
            Onnx,
            *([OnnxBoth, OnnxModel] if with_ngrams else []),
            *([Torch] if not Torch.missing() and folders[1].is_dir() else []),
        ]
    compare(lambda workspace: _models(*folders, workspace), chosen, **comparison)


def _models(bundle: Path, adapter: Path, workspace: Path) -> "Models":
    from toolkit.benchmark.models import Models

    return Models(bundle, adapter, workspace)


def find_models(onnx_model: Path | None, adapter: Path | None) -> tuple[Path, Path]:
    """The folders of the bundle and of the adapter, as `toolkit predict` finds them; either may be missing."""
    from toolkit.prediction.selection import choose_backend

    return choose_backend("onnx", onnx_model=onnx_model).folder, choose_backend("torch", adapter=adapter).folder


def select_engines(engines: Sequence[type["Engine"]], names: Sequence[str], hint: str = "") -> list[type["Engine"]]:
    """The engines of these names, in their order.

    Args:
        engines: The engines that there are.
        names: The names that were asked for.
        hint: ends the message about an unknown one.

    Raises:
        UsageError: a name is unknown.
    """
    known = {engine.name: engine for engine in engines}
    for name in names:
        if name not in known:
            raise click.UsageError(f"there is no engine '{name}'; expected some of {', '.join(known)}{hint}")
    return [known[name] for name in names]


def compare(
    make_models: Callable[[Path], "Models"],
    engines: Sequence[type["Engine"]],
    *,
    file: Path,
    limit: int,
    rounds: int,
    as_json: bool,
    markdown: bool,
    chart: Path | None,
    encoding: str | None = None,
    agreement: bool = True,
) -> None:
    """Measure `engines` and print what `comparison_options` ask for.

    Args:
        make_models: makes the models of the comparison, given an empty folder for what is converted.
        engines: The engines to compare.
        file: labelled reviews.
        limit: reviews used.
        rounds: measurements of each figure.
        as_json: print every measurement as JSON.
        markdown: print the table as Markdown.
        chart: a picture to draw.
        encoding: The encoding of the reviews' file.
        agreement: say how many labels are torch's; random weights have no opinion to agree with.

    Raises:
        UsageError: two kinds of output are asked for.
    """
    import tempfile

    from toolkit.benchmark.compare import compare_engines
    from toolkit.benchmark.report import as_markdown, as_text, draw, heading, remarks, rows
    from toolkit.datasets.splits import read_reviews
    from toolkit.evaluation.plots import refuse_picture
    from toolkit.models.workspaces import workspace

    if as_json and markdown:
        raise click.UsageError("--json and --markdown are two kinds of output; name one")
    refuse_own_output(file)
    if chart:
        refuse_picture(chart)  # what cannot be drawn is said before the work
    texts = [review.text for review in read_reviews(file, others=(), encoding=encoding)][:limit]
    with workspace(Path(tempfile.gettempdir()) / "toolkit-bench") as room:
        report = compare_engines(make_models(room), engines, texts, rounds, _tell)
    _tell("")
    if not agreement:
        for engine in report["engines"].values():
            engine["agreement"] = None
    if chart:
        draw(report, chart, heading(report))
    if as_json:
        say_json(report)
        return
    click.echo(f"{file}: {heading(report)}\n")
    click.echo((as_markdown if markdown else as_text)(rows(report)))
    click.echo("")
    for line in remarks(report):
        click.echo(f"- {line}" if markdown else line)


def _tell(step: str) -> None:
    """What is going on, on one line of a terminal, or for a program that reads along."""
    import sys

    if style.get() == "json" and step:
        announce(step)
    elif style.get() == "auto" and sys.stderr.isatty():
        click.echo(f"\r\033[K{step}", nl=False, err=True)
