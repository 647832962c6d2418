"""`toolkit predict`."""

import logging
import shlex
import shutil
import sys
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import click

from toolkit.commands.options import (
    Command,
    SectionCommand,
    encoding_option,
    hint_withheld,
    label_writer,
    language_option,
    load,
    open_stdin,
    prediction_options,
    say_json,
    section_option,
    uncertain_options,
)
from toolkit.formats.limits import printable, shown
from toolkit.formats.parsing import unwritable

if TYPE_CHECKING:
    from toolkit.prediction import Prediction, Predictor
    from toolkit.prediction.explanation import Explanation

_logger = logging.getLogger(__name__)

_BAR_WIDTH = 10  # character cells
# What was `toolkit predict` before files had a command of their own; those with a value, and those without.
_MOVED = ("--file", "--input", "--output", "--column", "--prefix", "--engine", "--address", "--concurrency")
_MOVED_FLAGS = ("--resume", "--strict")


def moved_options(command: Command) -> Command:
    """Hidden options of an earlier version, which the command refuses with what to write instead."""
    for name in _MOVED:
        command = click.option(name, is_flag=False, flag_value="", hidden=True, expose_value=False, callback=_collect)(
            command
        )
    for name in _MOVED_FLAGS:
        command = click.option(name, is_flag=True, hidden=True, expose_value=False, callback=_collect)(command)
    return command


def _collect(context: click.Context, parameter: click.Parameter, value: object) -> None:
    """Collect what was given; the command says it all at once."""
    if value not in (None, False):
        context.meta.setdefault(__name__, {})[parameter.opts[0]] = value


def _new_command(context: click.Context) -> str:
    """The command that does now what the options of the earlier version did."""
    given: dict[str, Any] = dict(context.meta[__name__])
    source = given.pop("--input", None) or given.pop("--file", None) or "INPUT"
    output = given.pop("--output", None) or "OUTPUT"
    words = ["toolkit", "predict-files"]
    for name, value in given.items():
        words += [name] if value is True else [name, str(value)]
    for parameter in context.command.params:
        if isinstance(parameter, click.Option) and parameter.name in context.params:
            value = context.params[parameter.name]
            if context.get_parameter_source(
                parameter.name
            ) is click.core.ParameterSource.COMMANDLINE and parameter.name not in ("as_json", "why"):
                words += [parameter.opts[-1]] if parameter.is_flag else [parameter.opts[-1], str(value)]
    return shlex.join([*words, source, output])


class _PredictCommand(SectionCommand):
    """Tells who gives a review that looks like an option how to give it."""

    def parse_args(self, context: click.Context, args: list[str]) -> list[str]:
        """As click does."""
        given = list(args)
        try:
            return super().parse_args(context, args)
        except click.NoSuchOption as error:
            name = error.option_name
            # Of -hello, click takes h and e for options, and names the first that is none.
            is_meant = (
                name.__eq__ if name.startswith("--") else lambda text: text[0] == "-" != text[1:2] and name[1] in text
            )
            meant = next(filter(is_meant, filter(None, given)), name)
            if name.startswith("--") and not any(map(str.isspace, name)):
                raise  # a slip in a name, for which click has a suggestion
            raise click.UsageError(
                f"{shown(meant)} begins with - and is no option; a review that does goes behind --, as in: "
                f"toolkit predict -- {shlex.quote(meant) if len(meant) < 60 else 'TEXT'}; or through stdin, for which - stands",
                context,
            ) from error


@click.command(cls=_PredictCommand)
@click.argument("texts", metavar="TEXT...", nargs=-1)
@section_option("Output", "--json", "as_json", is_flag=True, help="Print one JSON object a review.")
@section_option(
    "Output",
    "--why",
    is_flag=True,
    help="Show what words, phrases and sentences the verdict comes from; up to 16 times the work.",
)
@uncertain_options("Output")
@language_option("Output")
@encoding_option("Input")
@moved_options
@prediction_options
def predict(
    texts: tuple[str, ...],
    as_json: bool,
    why: bool,
    lang: str,
    encoding: str | None,
    **model: Any,  # noqa: ANN401 - load's arguments
) -> None:
    """Classify each TEXT, where - reads one review from stdin.

    \b
    Examples:
      toolkit predict "A quiet film that stays with you."
      toolkit predict --json - < review.txt
      toolkit predict --why "Fine music, but the plot makes no sense."
    """
    context = click.get_current_context()
    if __name__ in context.meta:
        raise click.UsageError(f"files have a command of their own now: {_new_command(context)}")
    if not texts:
        raise click.UsageError("name reviews to classify; for files of them: toolkit predict-files INPUT... OUTPUT")

    from toolkit.formats.hints import hint_at_arguments
    from toolkit.formats.limits import MAX_VALUE
    from toolkit.formats.sources import Source
    from toolkit.prediction.explanation import answer_to_dict
    from toolkit.text.normalisation import TEXT_LIMIT

    for number, text in enumerate(texts, start=1):
        if problem := unwritable(text):
            raise click.UsageError(
                f"review {number} {problem}: {shown(text)}; convert it, as with: iconv -f CP1252 -t UTF-8 review.txt | toolkit predict -"
            )
    hint_at_arguments(texts)
    reviews = [
        Source("", open_stdin(), most=MAX_VALUE, encoding=encoding).text() if text == "-" else text for text in texts
    ]
    on_terminal = sys.stdout.isatty() and not as_json
    label = label_writer(lang, on_terminal)
    for number, (prediction, explanation) in enumerate(_answers(load(**model), reviews, why), start=1):
        review = reviews[number - 1]
        verdict = label(prediction)
        if as_json:
            say_json(answer_to_dict(explanation or prediction, lang))
        elif on_terminal:
            beside = "" if explanation else printable(" ".join(review.split()))
            click.echo(_drawn(verdict, prediction.score, beside).rstrip())
        else:
            # "In colour": click would drop from a pipe what looks like colours, of the review's own too.
            click.echo(f"{verdict}\t{prediction.score:.4f}\t{' '.join(review.split())}", color=True)
        if explanation and not as_json:
            _explain(explanation, lang, on_terminal)
        which = f"review {number}: " if len(reviews) > 1 else ""
        hint_withheld(prediction, lang, which)
        if prediction.tokens_read < prediction.tokens:
            _logger.info(
                "%sread %d of %s%d tokens (%.0f%%)",
                which,
                prediction.tokens_read,
                "at least " if len(review) > TEXT_LIMIT else "",
                prediction.tokens,
                100 * prediction.tokens_read / prediction.tokens,
            )


def _answers(
    predictor: "Predictor", reviews: Sequence[str], why: bool
) -> "Iterator[tuple[Prediction, Explanation | None]]":
    if why:
        return ((explanation.prediction, explanation) for explanation in map(predictor.explain, reviews))
    return ((prediction, None) for prediction in predictor.predict_many(reviews))


def _explain(explanation: "Explanation", lang: str, on_terminal: bool) -> None:
    from toolkit.commands.why import drawn, listed

    if on_terminal and click.get_current_context().color is not False:
        for line in drawn(explanation, lang, shutil.get_terminal_size().columns):
            click.echo(line)
    else:
        for line in listed(explanation, lang):
            click.echo(printable(line) if on_terminal else line, color=True)


def _drawn(verdict: str, score: float, review: str) -> str:
    """Label, score as a bar from 0 to 1, score, and as much of the review as the line holds."""
    filled = round(score * _BAR_WIDTH)
    head = f"{verdict}  {'█' * filled}{'░' * (_BAR_WIDTH - filled)} {score:.4f}  "
    wide = 4  # more columns than characters, that a Chinese label takes
    room = max(20, shutil.get_terminal_size().columns - len(click.unstyle(head)) - wide)
    return head + (review if len(review) <= room else review[: room - 1] + "…")
