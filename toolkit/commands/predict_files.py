"""`toolkit predict-files`."""

import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from toolkit.choices import Engine, choices
from toolkit.commands.options import (
    USUAL_COLUMNS,
    SectionCommand,
    check_writable,
    encoding_option,
    hint_many_withheld,
    language_option,
    load,
    precision_option,
    prediction_options,
    predictor_arguments,
    progress_option,
    section_option,
    uncertain_options,
)
from toolkit.commands.redirection import refuse_own_output
from toolkit.formats.names import format_of
from toolkit.progress import track

if TYPE_CHECKING:
    from toolkit.cluster.jobs import Job
    from toolkit.formats.places import RecordError
    from toolkit.streaming.files import FileJob

_logger = logging.getLogger(__name__)


@click.command("predict-files", cls=SectionCommand)
@click.argument("inputs", metavar="INPUT...", nargs=-1, required=True)
@click.argument("output", metavar="OUTPUT")
@section_option("Rows", "--column", help=f"The text's column.  [default: {USUAL_COLUMNS}]")
@encoding_option("Rows")
@section_option(
    "Rows", "--prefix", default="", callback=check_writable, help="Put before the names of the new columns."
)
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
@progress_option("Work")
@precision_option("Work")
@prediction_options
def predict_files(
    inputs: tuple[str, ...],
    output: str,
    column: str | None,
    encoding: str | None,
    prefix: str,
    lang: str,
    resume: bool,
    strict: bool,
    engine: Engine,
    address: str | None,
    concurrency: int | None,
    **model: Any,  # noqa: ANN401 - load's arguments
) -> None:
    """Classify every row of CSV, TSV, JSON, JSONL and Parquet files, here or on a cluster.

    INPUT is a file, a folder, or a path or URI with * in it. OUTPUT is a file for a single input that is one; else it is a
    folder, where each input becomes a file of the same name, and _errors lists what could not be classified.

    A file gets the columns label, score, probabilities, tokens, tokens_read, and error for a row that cannot be classified;
    if there was one, the exit code is 1.

    \b
    Examples:
      toolkit predict-files reviews.csv verdicts.csv
      toolkit predict-files reviews.parquet verdicts.parquet --column body
      toolkit predict-files "reviews/**/*.parquet" verdicts --resume
      toolkit predict-files --engine ray "s3://bucket/*.parquet" s3://bucket/out
    """
    refuse_own_output(*inputs)
    if engine != "ray" and (address or concurrency):
        raise click.UsageError("--address and --concurrency go with --engine ray")
    from toolkit.cluster.jobs import Job
    from toolkit.streaming.files import FileJob

    if _is_file(inputs, output, engine):
        if resume:
            raise click.UsageError(
                "--resume goes on with a folder of outputs; for a single file name a folder as OUTPUT"
            )
        job = FileJob(Path(inputs[0]), Path(output), column, prefix, lang, encoding=encoding)
        _classify_file(job, strict, model)
    else:
        given = predictor_arguments(**model)
        many = Job(column, prefix, lang, given["options"], given["abstention"], strict, encoding)
        _classify_files(inputs, output, many, engine, address, concurrency, resume, model)


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


def _classify_file(job: "FileJob", strict: bool, model: dict[str, Any]) -> None:
    from toolkit.errors import ToolkitError

    def note(error: "RecordError") -> None:
        if strict:
            raise ToolkitError(str(error))

    with track("classifying", "bytes", job.source.stat().st_size) as progress:
        tally = job.run(lambda: load(**model), progress.advance, note)
    _logger.info("%s: %s", job.target, tally.summary())
    hint_many_withheld(tally, job.lang)
    if tally.problems:
        raise click.ClickException(f"rows that could not be classified: {tally.problems}; their column error says why")


def _classify_files(
    inputs: tuple[str, ...],
    output: str,
    job: "Job",
    engine: str,
    address: str | None,
    concurrency: int | None,
    resume: bool,
    model: dict[str, Any],
) -> None:
    with track("classifying", "bytes", 1) as progress:
        try:
            if engine == "ray":
                from toolkit.cluster import ray_engine

                bundle = _find_bundle(model)
                totals = ray_engine.classify_files(
                    inputs, output, bundle, job, address, concurrency, resume, progress.reach
                )
            else:
                from toolkit.cluster.engine import classify_files

                totals = classify_files(inputs, output, load(**model), job, resume, progress.reach)
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
