"""`toolkit predict-files`."""

import logging
from pathlib import Path
from typing import Any

import click

from toolkit.choices import Engine, choices
from toolkit.commands.options import (
    USUAL_COLUMNS,
    SectionCommand,
    hint_many_withheld,
    language_option,
    load,
    permille,
    prediction_options,
    predictor_arguments,
    progress_bar,
    section_option,
    uncertain_options,
)
from toolkit.formats.names import format_of

_logger = logging.getLogger(__name__)


@click.command("predict-files", cls=SectionCommand)
@click.argument("inputs", metavar="INPUT...", nargs=-1, required=True)
@click.argument("output", metavar="OUTPUT")
@section_option("Rows", "--column", help=f"The text's column.  [default: {USUAL_COLUMNS}]")
@section_option("Rows", "--prefix", default="", help="Put before the names of the new columns.")
@uncertain_options("Rows")
@language_option("Rows")
@section_option("Work", "--resume", is_flag=True, help="Skip the files that an interrupted run has finished.")
@section_option("Work", "--strict", is_flag=True, help="End at the first row or file that cannot be classified.")
@section_option(
    "Work",
    "--engine",
    type=click.Choice(choices(Engine)),
    default="local",
    show_default=True,
    help="ray: every core of this machine, or of a cluster, a predictor a core.",
)
@section_option(
    "Work", "--address", help="Of a Ray cluster, or auto for the one of this machine; by default one is started."
)
@section_option(
    "Work", "--concurrency", type=click.IntRange(min=1), help="Predictors of Ray at a time.  [default: every core]"
)
@prediction_options
def predict_files(
    inputs: tuple[str, ...],
    output: str,
    column: str | None,
    prefix: str,
    lang: str,
    resume: bool,
    strict: bool,
    engine: Engine,
    address: str | None,
    concurrency: int | None,
    **model: Any,  # noqa: ANN401 - load's arguments
) -> None:
    """Classify every row of CSV, JSONL and Parquet files, here or on a cluster.

    INPUT is a file, a folder, or a path or URI with * in it. OUTPUT is a file for a single input that is one; else it is a
    folder, where each input becomes a file of the same name, and _errors lists what could not be classified.

    A file gets the columns label, score, probabilities, tokens, tokens_read, and error for a row that cannot be classified;
    if there was one, the exit code is 1.

    \b
    Examples:
      toolkit predict-files reviews.csv verdicts.csv
      toolkit predict-files reviews.parquet verdicts.parquet --column body
      toolkit predict-files "reviews/**/*.parquet" verdicts --resume
      toolkit predict-files --engine ray "s3://bucket/reviews/*.parquet" s3://bucket/verdicts
    """
    if engine != "ray" and (address or concurrency):
        raise click.UsageError("--address and --concurrency go with --engine ray")
    if _is_file(inputs, output, engine):
        if resume:
            raise click.UsageError(
                "--resume goes on with a folder of outputs; for a single file name a folder as OUTPUT"
            )
        _classify_file(Path(inputs[0]), Path(output), column, prefix, lang, strict, model)
    else:
        _classify_files(inputs, output, column, prefix, lang, strict, engine, address, concurrency, resume, model)


def _is_file(inputs: tuple[str, ...], output: str, engine: str) -> bool:
    """Whether a single file goes into a single file.

    Raises:
        UsageError: an input is not there, or several would go into one file.
    """
    from toolkit.cluster.partitions import is_pattern

    for name in inputs:
        if "://" not in name and not is_pattern(name) and not Path(name).exists():
            raise click.UsageError(f"{name} does not exist; expected a file, a folder, or a path with * in it")
    is_folder = "://" in output or output.endswith("/") or Path(output).is_dir()
    if len(inputs) == 1 and engine == "local" and not is_folder and Path(inputs[0]).is_file():
        return bool(Path(output).suffix)
    if not is_folder and format_of(output):
        raise click.UsageError(
            f"expected a folder as OUTPUT, found {output}: only a single file goes into a file, without Ray"
        )
    return False


def _classify_file(
    source: Path,
    target: Path,
    column: str | None,
    prefix: str,
    lang: str,
    strict: bool,
    model: dict[str, Any],
) -> None:
    from toolkit.errors import ToolkitError
    from toolkit.formats.places import RecordError
    from toolkit.streaming.files import FileJob

    def note(error: RecordError) -> None:
        if strict:
            raise ToolkitError(str(error))

    with progress_bar(source.stat().st_size, "classifying") as bar:
        tally = FileJob(source, target, column, prefix, lang).run(lambda: load(**model), bar.update, note)
    _logger.info("%s: %s", target, tally.summary())
    hint_many_withheld(tally, lang)
    if tally.problems:
        raise click.ClickException(f"rows that could not be classified: {tally.problems}; their column error says why")


def _classify_files(
    inputs: tuple[str, ...],
    output: str,
    column: str | None,
    prefix: str,
    lang: str,
    strict: bool,
    engine: str,
    address: str | None,
    concurrency: int | None,
    resume: bool,
    model: dict[str, Any],
) -> None:
    from toolkit.cluster.jobs import Job

    given = predictor_arguments(**model)
    job = Job(column, prefix, lang, given["options"], given["abstention"], strict)
    with progress_bar(1000, "classifying") as bar:
        try:
            if engine == "ray":
                from toolkit.cluster import ray_engine

                bundle = _find_bundle(model)
                totals = ray_engine.classify_files(
                    inputs, output, bundle, job, address, concurrency, resume, permille(bar)
                )
            else:
                from toolkit.cluster.engine import classify_files

                totals = classify_files(inputs, output, load(**model), job, resume, permille(bar))
        except KeyboardInterrupt:
            _logger.warning("stopped; what was finished stays in %s, go on with --resume", output)
            raise
    _logger.info("%s: %s", output, totals.summary())
    if totals.problems or totals.failed:
        raise click.ClickException(
            f"rows that could not be classified: {totals.problems}, files: {totals.failed}; {output}/_errors says why"
        )


def _find_bundle(model: dict[str, Any]) -> Path:
    from toolkit.prediction.selection import choose_backend

    choice = choose_backend(model["backend"], onnx_model=model["onnx_model"], adapter=model["adapter"])
    if choice.backend != "onnx":
        raise click.UsageError(
            f"the engine ray runs the ONNX backend, found torch ({choice.reason}); give --backend onnx"
        )
    return Path(choice.folder)
