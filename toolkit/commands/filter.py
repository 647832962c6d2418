"""`toolkit filter`."""

import sys
from typing import Any

import click

from toolkit.commands.options import line, load, open_stdin, prediction_options


@click.command("filter")
@prediction_options
def filter_command(**model: Any) -> None:  # noqa: ANN401 - _load's arguments
    """Classify stdin, one review a line, as label, score and text between tabs.

    A line that cannot be classified is named on stderr and the exit code is 2; 1 means there was nothing to classify.

    \b
    Examples:
      toolkit filter < reviews.txt > verdicts.tsv
      tail -f reviews.log | toolkit filter | grep ^negative
    """
    from toolkit.streaming import classify_lines

    stdin = open_stdin()
    predictor = load(**model)
    written = problems = 0
    for records in classify_lines(stdin, predictor):
        for record in records:
            if record.prediction is None:
                problems += 1
                click.echo(f"line {record.number}: {record.problem}", err=True)
            else:
                written += 1
                sys.stdout.buffer.write(f"{line(record.prediction, record.text)}\n".encode(errors="replace"))
        sys.stdout.buffer.flush()
    sys.exit(2 if problems else 0 if written else 1)
