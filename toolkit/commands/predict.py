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
    uncertain_option,
)

if TYPE_CHECKING:
    from toolkit.prediction import AbstentionPolicy, Prediction

_logger = logging.getLogger(__name__)

_BAR_WIDTH = 10  # character cells


@click.command(cls=SectionCommand)
@click.argument("texts", metavar="TEXT...", nargs=-1)
@section_option("Output", "--json", "as_json", is_flag=True, help="Print one JSON object a review.")
@uncertain_option("Output")
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
    uncertain_below: float,
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

    from toolkit.prediction import AbstentionPolicy

    policy = AbstentionPolicy(uncertain_below)
    if file and output:
        from toolkit.streaming.files import FileJob

        with progress_bar(file.stat().st_size, "classifying") as bar:
            job = FileJob(file, output, column, prefix, policy, label_writer(lang, on_terminal=False), bar.update)
            tally = job.run(partial(load, **model))
        _logger.info("%s: %s", output, tally.summary())
        if tally.problems:
            raise click.ClickException(
                f"rows that could not be classified: {tally.problems}; their column error says why"
            )
        return

    reviews = [read_all(open_stdin()) if text == "-" else text for text in texts]
    on_terminal = sys.stdout.isatty()
    label = label_writer(lang, on_terminal and not as_json)
    for number, prediction in enumerate(load(**model).predict_many(reviews)):
        review = " ".join(reviews[number].split())
        if as_json:
            click.echo(
                json.dumps({**prediction.to_dict(), "label": label(policy.verdict(prediction))}, ensure_ascii=False)
            )
        elif on_terminal:
            click.echo(_drawn(prediction, policy, label, review))
        else:
            click.echo(f"{label(policy.verdict(prediction))}\t{prediction.score:.4f}\t{review}")
        if prediction.tokens_read < prediction.tokens:
            which = f"review {number + 1}: " if len(reviews) > 1 else ""
            share = prediction.tokens_read / prediction.tokens
            _logger.info(
                "%sread %d of %d tokens (%.0f%%)", which, prediction.tokens_read, prediction.tokens, 100 * share
            )


def _drawn(prediction: "Prediction", policy: "AbstentionPolicy", label: Callable[[str], str], review: str) -> str:
    """Label, score as a bar from 0 to 1, score, and as much of the review as the line holds."""
    filled = round(prediction.score * _BAR_WIDTH)
    bar = "█" * filled + "░" * (_BAR_WIDTH - filled)
    head = f"{label(policy.verdict(prediction))}  {bar} {prediction.score:.4f}  "
    room = max(
        20, shutil.get_terminal_size().columns - len(click.unstyle(head)) - 4
    )  # Chinese labels take twice their 4
    return head + (review if len(review) <= room else review[: room - 1] + "…")
