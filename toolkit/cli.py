"""The command line's entry: the group, its logging and its errors; the commands lie in `toolkit.commands`."""

import importlib
import logging
import os
import sys
from typing import Any

import click

from toolkit.errors import ToolkitError

# In their natural order: the module in `toolkit.commands`, and the name of the command in it.
COMMANDS = {
    "train": "train",
    "export": "export",
    "predict": "predict",
    "filter": "filter_command",
    "evaluate": "evaluate",
    "dataset": "dataset",
    "chat": "chat",
}


class _ToolkitGroup(click.Group):
    """Loads a command when it is asked for, and turns the library's errors into one message and exit code 1."""

    def invoke(self, context: click.Context) -> Any:  # noqa: ANN401 - click's own signature
        try:
            return super().invoke(context)
        except BrokenPipeError:
            raise  # click ends quietly
        except (ToolkitError, OSError) as error:  # a full disk or a forbidden folder is the user's to mend as well
            if context.params.get("debug"):
                raise
            raise click.ClickException(str(error)) from error

    def list_commands(self, context: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, context: click.Context, name: str) -> click.Command | None:
        if name not in COMMANDS:
            return None
        command: click.Command = getattr(importlib.import_module(f"toolkit.commands.{name}"), COMMANDS[name])
        return command


@click.group(cls=_ToolkitGroup, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(package_name="distilbert-review-toolkit", prog_name="toolkit")
@click.option("-v", "--verbose", is_flag=True, help="Say more on stderr.")
@click.option("-q", "--quiet", is_flag=True, help="Say nothing on stderr but errors.")
@click.option("--debug", is_flag=True, help="Show the traceback of an error.")
def cli(verbose: bool, quiet: bool, debug: bool) -> None:
    """Is this film review positive or negative? Train, export and ask a small classifier on your own machine."""
    level = logging.DEBUG if verbose else logging.ERROR if quiet else logging.INFO
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("%(message)s"))
    for name in ("toolkit", "export"):
        logger = logging.getLogger(name)
        logger.setLevel(level)
        logger.handlers = [handler]
        logger.propagate = False
    # Why this backend is told with -v, not on every call.
    logging.getLogger("toolkit.prediction").setLevel(level if verbose else max(level, logging.WARNING))
    # What the libraries below say of themselves is no news to a user; -v shows it.
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "info" if verbose else "error")
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "true")


def main() -> None:
    """Entry point of the `toolkit` command."""
    cli(prog_name="toolkit")
