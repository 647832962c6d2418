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

from toolkit.commands.options import (
    PATH,
    SectionCommand,
    label_writer,
    language_option,
    load,
    open_stdin,
    prediction_options,
    progress_bar,
    read_all,
    section_option,
    uncertain_options,
)

if TYPE_CHECKING:
    from toolkit.prediction import Predictor

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
@section_option(
    "A file", "--output", type=PATH, help="File for the rows and their answers; it appears when it is finished."
)
@section_option("A file", "--column", default="text", show_default=True, help="The text's column.")
@section_option("A file", "--prefix", default="", help="Put before the names of the new columns.")
@prediction_options  # fmt: skip
def predict(
    texts: tuple[str, ...],
    as_json: bool,
    lang: str,
    file: Path | None,
    output: Path | None,
    column: str,
    prefix: str,
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
    """
    if bool(texts) == bool(file):
        raise click.UsageError("name reviews to classify, or a --file of them")
    if bool(file) != bool(output):
        raise click.UsageError("--file and --output go together")

    from toolkit.text import TEXT_LIMIT

    if file and output:
        label = label_writer(lang, on_terminal=False)
        _classify_file(file, output, column, prefix, label, partial(load, **model))
        return
    reviews = [read_all(open_stdin()) if text == "-" else text for text in texts]
    on_terminal = sys.stdout.isatty() and not as_json
    label = label_writer(lang, on_terminal)
    for number, prediction in enumerate(load(**model).predict_many(reviews), start=1):
        review = reviews[number - 1]
        verdict = label(prediction.verdict)
        if as_json:
            click.echo(json.dumps({**prediction.to_dict(), "label": verdict}, ensure_ascii=False))
        elif on_terminal:
            click.echo(_drawn(verdict, prediction.score, " ".join(review.split())))
        else:
            click.echo(f"{verdict}\t{prediction.score:.4f}\t{' '.join(review.split())}")
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
    label: Callable[[str], str],
    load_model: "Callable[[], Predictor]",
) -> None:
    from toolkit.streaming.files import FileJob

    with progress_bar(source.stat().st_size, "classifying") as bar:
        tally = FileJob(source, target, column, prefix, label, bar.update).run(load_model)
    _logger.info("%s: %s", target, tally.summary())
    if tally.problems:
        raise click.ClickException(f"rows that could not be classified: {tally.problems}; their column error says why")


def _drawn(verdict: str, score: float, review: str) -> str:
    """Label, score as a bar from 0 to 1, score, and as much of the review as the line holds."""
    filled = round(score * _BAR_WIDTH)
    head = f"{verdict}  {'█' * filled}{'░' * (_BAR_WIDTH - filled)} {score:.4f}  "
    wide = 4  # more columns than characters, that a Chinese label takes
    room = max(20, shutil.get_terminal_size().columns - len(click.unstyle(head)) - wide)
    return head + (review if len(review) <= room else review[: room - 1] + "…")
