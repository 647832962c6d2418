"""What several commands share: sections of options, those of a model, stdin, labels, a progress bar."""

import codecs
import json
import logging
import os
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, cast

import click

from toolkit.choices import Backend, Language, Precision, ProgressStyle, Readers, Truncation, choices
from toolkit.commands.redirection import refuse_own_stdin
from toolkit.formats.limits import printable, shown
from toolkit.formats.names import wanted_column
from toolkit.formats.parsing import unwritable
from toolkit.models.files import to_json
from toolkit.progress import style

if TYPE_CHECKING:
    from toolkit.datasets.labelling import LabelOptions
    from toolkit.formats.sources import RawReader
    from toolkit.prediction import Prediction, Predictor
    from toolkit.streaming.engine import Tally

Command = TypeVar("Command", bound=Callable[..., Any])
PATH = click.Path(path_type=Path)
INPUT_FILE = click.Path(path_type=Path, exists=True, dir_okay=False, allow_dash=True)

USUAL_COLUMNS = wanted_column(None)

_logger = logging.getLogger(__name__)

_COLOURS = ("red", "green", "blue", "magenta", "cyan")  # of the labels, in turn; a withheld verdict is yellow


def summary(command: click.Command) -> str:
    """The first sentence of a command's help, whole; click would cut it to a line."""
    return command.get_short_help_str(1000)


class SummaryGroup(click.Group):
    """A group whose help has the whole summary of each command."""

    def format_commands(self, context: click.Context, formatter: click.HelpFormatter) -> None:
        """One below the other."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, summary(self.commands[name])) for name in self.list_commands(context)])


class SectionOption(click.Option):
    """An option that says under which heading of the help it stands."""

    def __init__(self, *args: Any, section: str, **kwargs: Any) -> None:  # noqa: ANN401 - click's own
        super().__init__(*args, **kwargs)
        self.section = section


class SectionCommand(click.Command):
    """A command whose help has a heading for each section of its options."""

    def format_options(self, context: click.Context, formatter: click.HelpFormatter) -> None:
        """Sections in the order in which they first come up; the rest last, under `Options`."""
        sections: dict[str, list[tuple[str, str]]] = {}
        rest: list[tuple[str, str]] = []
        for parameter in self.get_params(context):
            if isinstance(parameter, click.Option) and (row := parameter.get_help_record(context)):
                section = getattr(parameter, "section", None)
                (sections.setdefault(section, []) if section else rest).append(row)
        for heading, rows in [*sections.items(), ("Options", rest)]:
            with formatter.section(heading):
                formatter.write_dl(rows)


def section_option(section: str, *names: str, **attributes: Any) -> Callable[[Command], Command]:  # noqa: ANN401
    """`click.option` under a heading of the help."""
    return click.option(*names, cls=SectionOption, section=section, **attributes)


def renamed_option(old: str, new: str) -> Callable[[Command], Command]:
    """A hidden option of an earlier name, with or without a value, that says what it is called now."""

    def refuse(context: click.Context, _parameter: click.Parameter, value: str | None) -> None:
        if value is not None:
            raise click.UsageError(f"{old} is now {new}", context)

    return click.option(
        old, is_flag=False, flag_value="", hidden=True, expose_value=False, is_eager=True, callback=refuse
    )


def check_writable(_context: click.Context, _parameter: click.Parameter, value: str) -> str:
    """Refuse what goes into a file and is no text: on the command line, bytes that are no UTF-8.

    Raises:
        BadParameter: It is none.
    """
    if why := unwritable(value):
        raise click.BadParameter(f"{shown(value)} {why}")
    return value


def prediction_options(command: Command) -> Command:
    """The options of every command that asks a model."""
    for option in (
        section_option("Truncation", "--truncation", type=click.Choice(choices(Truncation)), help="What is read of a review with more tokens: its first, its first and its last, or all in overlapping windows.  [default: the model's own]"),
        section_option("Truncation", "--max-length", type=click.IntRange(min=3), help="Tokens to read at a time; the model's own number by default."),
        renamed_option("--reading", "--truncation"),
        section_option("Model", "--readers", type=click.Choice(choices(Readers)), default="auto", show_default=True,
                       help="Of a model with an n-gram table: auto asks the transformer where n-grams do not suffice, both always, model it alone."),
        model_options,
    ):  # fmt: skip
        command = option(command)
    return command


def model_options(command: Command) -> Command:
    """The options that say which model."""
    for option in (
        section_option("Model", "--base-model", help="For torch, the base to use instead of the one the adapter names."),
        section_option("Model", "--adapter", type=PATH, help="Adapter folder for torch.  [default: $TOOLKIT_ADAPTER or ./lora_model]"),
        section_option("Model", "--onnx-model", type=PATH, help="ONNX bundle.  [default: $TOOLKIT_ONNX_MODEL, ./onnx_model or the installed one]"),
        section_option("Model", "--backend", type=click.Choice(choices(Backend)), default="auto", show_default=True,
                       help="auto: the kind of model that is named; else torch where it sees a GPU and an adapter, else ONNX."),
    ):  # fmt: skip
        command = option(command)
    return command


def precision_option(section: str) -> Callable[[Command], Command]:
    """`--precision`."""
    return section_option(
        section, "--precision", type=click.Choice(choices(Precision)),
        help="For torch, of its products; bf16 is faster where the hardware computes it.  [default: fp32]",
    )  # fmt: skip


def language_option(section: str) -> Callable[[Command], Command]:
    """`--lang`."""
    return section_option(
        section, "--lang", type=click.Choice(choices(Language)), default="en", show_default=True,
        help="Write labels by their names, as positive, or in Chinese where the model can, as 正面评论.",
    )  # fmt: skip


def uncertain_options(section: str) -> Callable[[Command], Command]:
    """`--uncertain-below`, `--target-accuracy` and `--any-text`, which `load` turns into the predictor's threshold."""
    below = section_option(
        section, "--uncertain-below", type=click.FloatRange(0, 1, min_open=True), metavar="P",
        help="Call a review uncertain if the score of its label is below P, of two labels 0.5 to 1.  [default: the model's own, as a rule 0.5]",
    )  # fmt: skip
    target = section_option(
        section, "--target-accuracy", type=click.FloatRange(0, 1, min_open=True), metavar="A",
        help="Choose P for me: the smallest with which A of the decided reviews were right when the model was exported.",
    )  # fmt: skip
    any_text = section_option(
        section, "--any-text", is_flag=True,
        help="Give verdicts too on texts unlike those that the model has learnt from, which are uncertain otherwise.",
    )  # fmt: skip
    return lambda command: below(target(any_text(command)))


def _checked_encoding(_context: click.Context, _parameter: click.Parameter, value: str | None) -> str | None:
    from toolkit.formats.encodings import check_encoding

    try:
        return None if value is None else check_encoding(value)
    except ValueError as error:
        raise click.BadParameter(str(error)) from error


def encoding_option(section: str | None = None) -> Callable[[Command], Command]:
    """`--encoding`, for whoever reads text that others wrote."""
    attributes: dict[str, Any] = {
        "callback": _checked_encoding,
        "metavar": "NAME",
        "help": "Of text without a byte order mark, as cp1252 or gb18030.  [default: UTF-8]",
    }
    return section_option(section, "--encoding", **attributes) if section else click.option("--encoding", **attributes)


def label_options(section: str | None = None) -> Callable[[Command], Command]:
    """What the values of a label's column mean, for `label_arguments`."""
    make = partial(section_option, section) if section else click.option
    options = (
        make("--label-map", metavar="VALUE=LABEL,…", help="What the values mean, as 1=negative,2=positive; rows of a value without a label are left out."),
        make("--rating-column", metavar="NAME", help="Take the label from a rating, with the next two options."),
        make("--negative-up-to", type=float, metavar="N", help="The highest rating that is negative; of IMDB's it is 4."),
        make("--positive-from", type=float, metavar="N", help="The lowest that is positive, as 7; rows between are left out."),
    )  # fmt: skip

    def decorate(command: Command) -> Command:
        for option in reversed(options):
            command = option(command)
        return command

    return decorate


def label_arguments(
    label_map: str | None, rating_column: str | None, negative_up_to: float | None, positive_from: float | None
) -> "LabelOptions":
    """What the options of `label_options` say.

    Raises:
        UsageError: They contradict each other.
    """
    from toolkit.datasets.labelling import LabelOptions
    from toolkit.errors import ToolkitError

    try:
        names = None if label_map is None else LabelOptions.parse_map(label_map)
        return LabelOptions(names, rating_column, negative_up_to, positive_from)
    except ToolkitError as error:
        raise click.UsageError(str(error)) from error


def predictor_arguments(
    max_length: int | None = None,
    truncation: Truncation | None = None,
    precision: Precision | None = None,
    uncertain_below: float | None = None,
    target_accuracy: float | None = None,
    any_text: bool = False,
    readers: Readers = "auto",
    **model: Any,  # noqa: ANN401 - which model, as load_predictor takes it
) -> dict[str, Any]:
    """The arguments of `load_predictor` that the options of a command mean.

    Raises:
        UsageError: The threshold is chosen in two ways.
    """
    from toolkit.prediction import Abstention, InferenceOptions

    if uncertain_below is not None and target_accuracy is not None:
        raise click.UsageError("--uncertain-below and --target-accuracy are two ways to choose one threshold; give one")
    options = InferenceOptions(max_length, truncation, precision=precision, readers=readers)
    return {**model, "options": options, "abstention": Abstention(uncertain_below, target_accuracy, any_text)}


def load(**model: Any) -> "Predictor":  # noqa: ANN401 - a command's options
    """The predictor that the options name, closed at the end of the command; what a target accuracy means is logged.

    The context's object is what loads it where there is one: a test gives its own.

    Raises:
        UsageError: The threshold is chosen in two ways, or is none for this model.
    """
    from toolkit.chat.texts import TEXTS
    from toolkit.errors import MissingModelError, OptionError, ToolkitError
    from toolkit.prediction import load_predictor

    context = click.get_current_context()
    load_model = context.obj or load_predictor
    try:
        predictor: Predictor = context.with_resource(load_model(**predictor_arguments(**model)))
    except OptionError as error:
        raise click.UsageError(str(error)) from error
    except MissingModelError as error:
        if _reader_s_language(context) != "zh":
            raise
        raise ToolkitError(TEXTS["zh"].describe(error)) from error
    if (threshold := predictor.threshold).accuracy is not None and threshold.coverage is not None:
        _logger.info(
            "uncertain below %.4f: when the model was exported, %.4f of the decided reviews were right and %.1f%% undecided",
            threshold.uncertain_below, threshold.accuracy, 100 * (1 - threshold.coverage),
        )  # fmt: skip
    return predictor


def _reader_s_language(context: click.Context) -> str:
    """Of messages: what --lang says, or where nobody gave it the locale; what goes to stdout depends on no locale."""
    if context.get_parameter_source("lang") is click.core.ParameterSource.COMMANDLINE:
        return str(context.params["lang"])
    locale = next(filter(None, map(os.environ.get, ("LC_ALL", "LC_MESSAGES", "LANG"))), "")
    return "zh" if locale.lower().startswith("zh") else "en"


def say(text: str, err: bool = False) -> None:
    """A line for people, with names or reviews in it, whose control characters are spelt out."""
    click.echo(printable(text), err=err)


def say_json(value: object) -> None:
    """One JSON object on stdout: where that has another encoding than UTF-8, in ASCII, which is the same in all of them."""
    in_utf8 = codecs.lookup(getattr(sys.stdout, "encoding", None) or "utf-8").name == "utf-8"
    click.echo(to_json(value) if in_utf8 else json.dumps(value))


def open_stdin() -> "RawReader":
    """Stdin as bytes, without a buffer between.

    Raises:
        ClickException: it is closed, or a file that the output goes to.
    """
    if sys.stdin is None:
        raise click.ClickException("stdin is closed; pipe reviews in, or redirect a file with <")
    refuse_own_stdin()
    return cast("RawReader", getattr(sys.stdin.buffer, "raw", sys.stdin.buffer))


def label_writer(language: str, on_terminal: bool) -> "Callable[[Prediction], str]":
    """How a verdict is written: in the reader's language, and in colour on a terminal that shows any."""
    from toolkit.text.labels import UNCERTAIN

    colourful = on_terminal and click.get_current_context().color is not False

    def write(prediction: "Prediction") -> str:
        text = prediction.display(language)
        if not colourful:
            return text
        of_label = _COLOURS[prediction.label.index % len(_COLOURS)]
        return click.style(text, fg="yellow" if prediction.verdict == UNCERTAIN else of_label)

    return write


def hint_withheld(prediction: "Prediction", language: str, which: str = "") -> None:
    """Say on stderr why a text got no verdict whatever its score, and how to have one."""
    from toolkit.chat.texts import TEXTS
    from toolkit.prediction.abstention import FOREIGN
    from toolkit.text.labels import LabelSet

    if prediction.reason in FOREIGN:
        texts = TEXTS[language]
        sentence = texts.withheld(prediction.reason, LabelSet.of_model(prediction.probabilities))
        _logger.info("%s%s %s", which, sentence, texts.any_text_option)


def hint_many_withheld(tally: "Tally", language: str) -> None:
    """Say it once, of many texts."""
    from toolkit.chat.texts import TEXTS

    if tally.foreign:
        texts = TEXTS[language]
        _logger.info("%s %s", texts.unfamiliar_rows.format(count=tally.foreign), texts.any_text_option)


def progress_option(section: str | None = None) -> Callable[[Command], Command]:
    """`--progress`, of a command that may take more than two seconds.

    Args:
        section: The help's heading, in a command that has some.
    """

    def choose(context: click.Context, _: click.Parameter, value: ProgressStyle) -> None:
        quiet = context.find_root().params.get("quiet")
        before = style.set("none" if quiet and value == "auto" else value)
        context.call_on_close(lambda: style.reset(before))

    option = partial(section_option, section) if section else click.option
    return option(
        "--progress", type=click.Choice(choices(ProgressStyle)), default="auto", show_default=True, callback=choose,
        expose_value=False, help="On stderr: a bar or a line a minute, an object a second for programs, nothing.",
    )  # fmt: skip
