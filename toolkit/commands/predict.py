"""`toolkit predict`."""

import json
import logging
from typing import Any

import click

from toolkit.commands.options import line, load, open_stdin, prediction_options, read_all

_logger = logging.getLogger(__name__)


@click.command()
@click.argument("texts", metavar="TEXT...", nargs=-1, required=True)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object a review.")
@prediction_options
def predict(texts: tuple[str, ...], as_json: bool, **model: Any) -> None:  # noqa: ANN401 - _load's arguments
    """Classify each TEXT; - reads one review from stdin.

    \b
    Examples:
      toolkit predict "A quiet film that stays with you."
      toolkit predict --json - < review.txt
    """
    reviews = [read_all(open_stdin()) if text == "-" else text for text in texts]
    for review, prediction in zip(reviews, load(**model).predict_many(reviews), strict=True):
        if as_json:
            click.echo(json.dumps(prediction.to_dict()))
            continue
        click.echo(line(prediction, " ".join(review.split())))
        if prediction.tokens_read < prediction.tokens:
            _logger.info("read %d of %d tokens", prediction.tokens_read, prediction.tokens)
