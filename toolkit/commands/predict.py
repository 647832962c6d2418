"""`toolkit predict`."""

import json
import logging
import shutil
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from toolkit.choices import Engine, choices
from toolkit.commands.options import (
    SectionCommand,
    label_writer,
    language_option,
    load,
    open_stdin,
    prediction_options,
    predictor_arguments,
    progress_bar,
    read_all,
    section_option,
    uncertain_options,
)
from toolkit.formats.limits import printable

if TYPE_CHECKING:
    from toolkit.prediction import Prediction, Predictor

_logger = logging.getLogger(__name__)

_BAR_WIDTH = 10  # character cells


@click.command(cls=SectionCommand)
@click.argument("texts", metavar="TEXT...", nargs=-1)
@section_option("Output", "--json", "as_json", is_flag=True, help="Print one JSON object a review.")
@uncertain_options("Output")
@language_option("Output")
@section_option(
    "A file",
    "--file",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="Classify the rows of this CSV, JSONL or Parquet file instead.",
)
@section_option("A file", "--output", help="File for the rows and their answers; it appears when it is finished.")
@section_option("A file", "--column", default="text", show_default=True, help="The text's column.")
@section_option("A file", "--prefix", default="", help="Put before the names of the new columns.")
@section_option(
    "Many files",
    "--engine",
    type=click.Choice(choices(Engine)),
    default="local",
    show_default=True,
    help="ray: every core of this machine, or of a cluster, a predictor a core.",
)
@section_option(
    "Many files",
    "--input",
    "pattern",
    help="CSV, JSONL and Parquet files: a folder, or a path or URI with * in it; --output is a folder.",
)
@section_option(
    "Many files", "--address", help="Of a Ray cluster, or auto for the one of this machine; by default one is started."
)
@section_option(
    "Many files", "--concurrency", type=click.IntRange(min=1), help="Predictors at a time.  [default: every core]"
)
@section_option("Many files", "--resume", is_flag=True, help="Skip what an interrupted run has finished.")
@section_option("Many files", "--strict", is_flag=True, help="End at the first row or file that cannot be classified.")
@prediction_options  # fmt: skip
def predict(
    texts: tuple[str, ...],
    as_json: bool,
    lang: str,
    file: Path | None,
    output: str | None,
    column: str,
    prefix: str,
    engine: str,
    pattern: str | None,
    address: str | None,
    concurrency: int | None,
    resume: bool,
    strict: bool,
    **model: Any,  # noqa: ANN401 - load's arguments
) -> None:
    """Classify each TEXT, where - reads one review from stdin, or every row of a file.

    A file gets the columns label, score, probabilities, tokens, tokens_read, and error for a row that cannot be classified;
    if there was one, the exit code is 1.

    \b
    Examples:
      toolkit predict "A quiet film that stays with you."
      toolkit predict --json - < review.txt
      toolkit predict --file reviews.csv --output verdicts.csv
      toolkit predict --file reviews.parquet --output verdicts.parquet --column review
      toolkit predict --engine ray --input "reviews/**/*.parquet" --output verdicts
    """
    if engine == "ray":
        if not (pattern and output) or texts or file:
            raise click.UsageError("--engine ray needs --input FILES and --output FOLDER, and takes no other reviews")
        _classify_files(pattern, output, column, prefix, lang, address, concurrency, resume, strict, model)
        return
    if pattern or address or concurrency or resume or strict:
        raise click.UsageError("--input, --address, --concurrency, --resume and --strict go with --engine ray")
    if bool(texts) == bool(file):
        raise click.UsageError("name reviews to classify, or a --file of them")
    if bool(file) != bool(output):
        raise click.UsageError("--file and --output go together")

    from toolkit.text.normalisation import TEXT_LIMIT

    if file and output:
        label = label_writer(lang, on_terminal=False)
        _classify_file(file, Path(output), column, prefix, label, partial(load, **model))
        return
    reviews = [read_all(open_stdin()) if text == "-" else text for text in texts]
    on_terminal = sys.stdout.isatty() and not as_json
    label = label_writer(lang, on_terminal)
    for number, prediction in enumerate(load(**model).predict_many(reviews), start=1):
        review = reviews[number - 1]
        verdict = label(prediction)
        if as_json:
            click.echo(json.dumps({**prediction.to_dict(), "label": verdict}, ensure_ascii=False))
        elif on_terminal:
            click.echo(_drawn(verdict, prediction.score, printable(" ".join(review.split()))))
        else:
            # "In colour": click would drop from a pipe what looks like colours, of the review's own too.
            click.echo(f"{verdict}\t{prediction.score:.4f}\t{' '.join(review.split())}", color=True)
        if prediction.tokens_read < prediction.tokens:
            _logger.info(
                "%sread %d of %s%d tokens (%.0f%%)",
                f"review {number}: " if len(reviews) > 1 else "",
                prediction.tokens_read,
                "at least " if len(review) > TEXT_LIMIT else "",
                prediction.tokens,
                100 * prediction.tokens_read / prediction.tokens,
            )


def _classify_file(
    source: Path,
    target: Path,
    column: str,
    prefix: str,
    label: "Callable[[Prediction], str]",
    load_model: "Callable[[], Predictor]",
) -> None:
    from toolkit.streaming.files import FileJob

    with progress_bar(source.stat().st_size, "classifying") as bar:
        tally = FileJob(source, target, column, prefix, label, bar.update).run(load_model)
    _logger.info("%s: %s", target, tally.summary())
    if tally.problems:
        raise click.ClickException(f"rows that could not be classified: {tally.problems}; their column error says why")


def _classify_files(
    pattern: str,
    output: str,
    column: str,
    prefix: str,
    lang: str,
    address: str | None,
    concurrency: int | None,
    resume: bool,
    strict: bool,
    model: dict[str, Any],
) -> None:
    from toolkit.cluster.ray_engine import Job, classify_files
    from toolkit.prediction.selection import choose_backend

    choice = choose_backend(model.pop("backend"), onnx_model=model.pop("onnx_model"), adapter=model.pop("adapter"))
    if choice.backend != "onnx":
        raise click.UsageError(
            f"the engine ray runs the ONNX backend, found torch ({choice.reason}); give --backend onnx"
        )
    arguments = predictor_arguments(**model)
    job = Job(choice.folder, column, prefix, lang, arguments["options"], arguments["abstention"], strict)
    with progress_bar(1000, "classifying") as bar:
        try:
            totals = classify_files(
                pattern, output, job, address, concurrency, resume,
                lambda done, whole: bar.update(1000 * done // max(1, whole) - bar.pos),
            )  # fmt: skip
        except KeyboardInterrupt:
            _logger.warning("stopped; what was finished stays in %s, go on with --resume", output)
            raise
    _logger.info("%s: %s", output, totals.summary())
    if totals.problems or totals.failed:
        raise click.ClickException(
            f"rows that could not be classified: {totals.problems}, files: {totals.failed}; {output}/_errors says why"
        )


def _drawn(verdict: str, score: float, review: str) -> str:
    """Label, score as a bar from 0 to 1, score, and as much of the review as the line holds."""
    filled = round(score * _BAR_WIDTH)
    head = f"{verdict}  {'█' * filled}{'░' * (_BAR_WIDTH - filled)} {score:.4f}  "
    wide = 4  # more columns than characters, that a Chinese label takes
    room = max(20, shutil.get_terminal_size().columns - len(click.unstyle(head)) - wide)
    return head + (review if len(review) <= room else review[: room - 1] + "…")
