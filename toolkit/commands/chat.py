"""`toolkit chat`."""

import logging
import os
import sys
from pathlib import Path
from typing import Any

import click

from toolkit.chat.texts import LANGUAGES
from toolkit.choices import Backend
from toolkit.commands.options import PATH, model_options

_logger = logging.getLogger(__name__)


@click.command()
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option("--port", type=click.IntRange(1, 65535), default=8000, show_default=True, help="Port to listen on.")
@click.option(
    "--lang", type=click.Choice(LANGUAGES), help="Language of the app.  [default: the browser's, zh unless English]"
)
@click.option("--language", type=click.Choice(LANGUAGES), hidden=True)  # its earlier name
@click.option(
    "--uncertain-below",
    type=click.FloatRange(0.5, 1),
    help="Score below which an answer is uncertain until the user chooses.",
)
@click.option("--state", type=PATH, help="The only folder written to.  [default: $TOOLKIT_STATE or one in your home]")
@click.option(
    "--max-length",
    type=click.IntRange(min=3),
    help="Tokens of a review that are read until the user chooses.  [default: the model's own, as in the shell]",
)
@model_options
def chat(host: str, port: int, state: Path | None, **options: Any) -> None:  # noqa: ANN401 - load's arguments
    """Serve the chat app, for browsers.

    A password is asked for where TOOLKIT_CHAT_PASSWORD holds one.

    \b
    Examples:
      toolkit chat
      toolkit chat --port 9000 --onnx-model build/demo/onnx_model
    """
    from toolkit.chat.settings import ServerSettings
    from toolkit.chat.state import prepare
    from toolkit.web.hosts import listen

    variables = {
        "TOOLKIT_STATE": state,
        "TOOLKIT_CHAT_LANGUAGE": options["lang"] or options["language"],
        "TOOLKIT_CHAT_UNCERTAIN_BELOW": options["uncertain_below"],
        "TOOLKIT_CHAT_MAX_LENGTH": options["max_length"],
        "TOOLKIT_CHAT_BACKEND": _backend(**options),
        "TOOLKIT_ONNX_MODEL": options["onnx_model"],
        "TOOLKIT_ADAPTER": options["adapter"],
        "TOOLKIT_BASE_MODEL": options["base_model"],
    }
    os.environ.update({name: str(value) for name, value in variables.items() if value is not None})
    settings = ServerSettings.from_environment()
    _check_model(settings)
    listen(host, port).close()
    os.environ.update(prepare(settings, port))
    os.environ.update(CHAINLIT_HOST=host, CHAINLIT_PORT=str(port))
    # Chainlit would log to stdout, and every request of its libraries; what goes wrong is enough.
    logging.basicConfig(stream=sys.stderr, level=logging.WARNING, format="%(message)s")

    from chainlit.cli import run_chainlit

    _logger.info("http://%s:%d, state in %s; Ctrl-C ends it", host, port, settings.state)
    run_chainlit(str(Path(__file__).parent.parent / "app.py"))


def _backend(backend: Backend, onnx_model: Path | None, adapter: Path | None, **_: object) -> str:
    """The backend to serve: of the kind of model that is named, as everywhere, before names become variables."""
    from toolkit.prediction.selection import choose_backend

    return choose_backend(backend, onnx_model=onnx_model, adapter=adapter).backend


def _check_model(settings: Any) -> None:  # noqa: ANN401
    """Say now, not in the first answer, that there is no model.

    Raises:
        BundleError: it is missing or damaged.
    """
    from toolkit.models.bundle import Kind
    from toolkit.models.completion import read_model
    from toolkit.prediction.selection import choose_backend

    choice = choose_backend(settings.backend, onnx_model=settings.onnx_model, adapter=settings.adapter)
    read_model(choice.folder, Kind.ONNX if choice.backend == "onnx" else Kind.ADAPTER, settings.base_model)
