"""The command line's entry: the group, its logging and its errors; the commands lie in `toolkit.commands`."""

import errno
import importlib
import io
import logging
import os
import sys
from typing import Any

import click

from toolkit.commands.options import summary
from toolkit.compat import quiet_libraries
from toolkit.errors import ToolkitError
from toolkit.formats.limits import printable

# In their natural order: the module in `toolkit.commands`, and the name of the command in it.
COMMANDS = {
    "train": "train",
    "export": "export",
    "predict": "predict",
    "predict-files": "predict_files",
    "filter": "filter_command",
    "evaluate": "evaluate",
    "dataset": "dataset",
    "doctor": "doctor",
    "bench": "bench",
    "chat": "chat",
    "serve": "serve",
    "completion": "completion",
}


# The help's headings; a command that is in none of them stands under the last.
SECTIONS = {
    "Ask a model": ("predict", "predict-files", "filter", "chat", "serve"),
    "Make a model": ("dataset", "train", "export", "evaluate"),
    "Know your machine": ("doctor", "bench", "completion"),
}

FAILURE_CODES = {"filter": 2}  # as grep; 1 says there that nothing was kept. Of every other command it is 1.

_INTERRUPTED, _CLOSED_PIPE = 130, 141  # 128 plus SIGINT, SIGPIPE: what a shell reports of a program that they end


class _Failure(click.ClickException):
    def __init__(self, message: str, exit_code: int) -> None:
        super().__init__(message)
        self.exit_code = exit_code  # type: ignore[misc]  # click means it as a default


_ADVICE = {
    errno.ENOSPC: "free some space and run it again",
    errno.EDQUOT: "free some of your quota and run it again",
    errno.EFBIG: "raise the limit (ulimit -f) and run it again",
    errno.EROFS: "choose a place that can be written",
    errno.EACCES: "choose a place that you may use, or ask for the right to",
    errno.EPERM: "choose a place that you may use, or ask for the right to",
    errno.EMFILE: "raise the limit (ulimit -n) and run it again",
}


def _in_words(error: Exception) -> str:
    """What happened, where, and what to do next; the toolkit's own errors say it themselves."""
    if not isinstance(error, OSError) or not error.strerror:
        return str(error)
    places = " and ".join(str(name) for name in (error.filename, error.filename2) if name)
    message = f"{places}: {error.strerror}" if places else error.strerror
    return f"{message}; {advice}" if (advice := _ADVICE.get(error.errno or 0)) else message


class _PrintableFormatter(logging.Formatter):
    """Lets no control character of a name or a review reach the terminal."""

    def format(self, record: logging.LogRecord) -> str:
        return printable(super().format(record))


class _ToolkitGroup(click.Group):
    """Loads a command when it is asked for, and turns the library's errors into one message and exit code 1."""

    def main(self, *args: Any, **kwargs: Any) -> Any:  # noqa: ANN401 - click's own signature
        """Before anything can be written, the help included."""
        show_every_text()
        return super().main(*args, **kwargs)

    def invoke(self, context: click.Context) -> Any:  # noqa: ANN401 - click's own signature
        try:
            return super().invoke(context)
        except KeyboardInterrupt as error:
            raise click.exceptions.Exit(_INTERRUPTED) from error
        except BrokenPipeError as error:
            # Whoever read stdout is gone; what is left in its buffer goes nowhere, without a word at the end.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            raise click.exceptions.Exit(_CLOSED_PIPE) from error
        except click.ClickException as error:
            # It may quote names of files, which a shell filled in.
            error.message = printable(error.message)  # type: ignore[misc]  # click means it as a default
            raise
        except (ToolkitError, OSError) as error:  # a full disk or a forbidden folder is the user's to mend as well
            if context.params.get("debug"):
                raise
            raise _Failure(
                printable(_in_words(error)), FAILURE_CODES.get(context.invoked_subcommand or "", 1)
            ) from error

    def format_commands(self, context: click.Context, formatter: click.HelpFormatter) -> None:
        """The commands under `SECTIONS`."""
        known = {name for names in SECTIONS.values() for name in names}
        sections = {heading: [name for name in names if name in COMMANDS] for heading, names in SECTIONS.items()}
        sections[list(SECTIONS)[-1]] += [name for name in COMMANDS if name not in known]
        for heading, names in sections.items():
            commands = [(name, self.get_command(context, name)) for name in names]
            if commands:
                with formatter.section(heading):
                    formatter.write_dl([(name, summary(each)) for name, each in commands if each])

    def resolve_command(
        self, context: click.Context, arguments: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Of a name that there is not, say which was meant; click knows the commands that are loaded alone."""
        try:
            return super().resolve_command(context, arguments)
        except click.exceptions.NoSuchCommand as error:
            raise click.exceptions.NoSuchCommand(error.command_name, possibilities=COMMANDS, ctx=context) from error

    def list_commands(self, context: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, context: click.Context, name: str) -> click.Command | None:
        if name not in COMMANDS:
            return None
        command: click.Command = getattr(
            importlib.import_module(f"toolkit.commands.{name.replace('-', '_')}"), COMMANDS[name]
        )
        return command


@click.group(cls=_ToolkitGroup, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(package_name="distilbert-review-toolkit", prog_name="toolkit")
@click.option("-v", "--verbose", is_flag=True, help="Say more on stderr.")
@click.option("-q", "--quiet", is_flag=True, help="Say nothing on stderr but errors.")
@click.option("--debug", is_flag=True, help="Show the traceback of an error.")
@click.pass_context
def cli(context: click.Context, verbose: bool, quiet: bool, debug: bool) -> None:
    """Say whether an English film review is positive or negative: train, export and ask a small model on your own machine.

    \b
    Examples:
      toolkit predict "A quiet film that stays with you."
      toolkit filter --keep negative < reviews.txt
      eval "$(toolkit completion bash)"
    """
    if os.environ.get("NO_COLOR"):
        context.color = False
    level = logging.DEBUG if verbose else logging.ERROR if quiet else logging.INFO
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_PrintableFormatter("%(message)s"))
    for name in ("toolkit", "export"):
        logger = logging.getLogger(name)
        logger.setLevel(level)
        logger.handlers = [handler]
        logger.propagate = False
    # Why this backend is logged with -v, not on every call.
    logging.getLogger("toolkit.prediction").setLevel(level if verbose else max(level, logging.WARNING))
    quiet_libraries(verbose)  # what they say of themselves is no news to a user; -v shows it


def show_every_text() -> None:
    """Let stdout and stderr spell what their encoding lacks, as `\\u4e00`, where they would raise an error.

    Python is strict about stdout, which has an old encoding on some terminals and pipes, and about names of files that
    are no UTF-8, which no encoding holds.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def main() -> None:
    """Entry point of the `toolkit` command."""
    cli(prog_name="toolkit")
