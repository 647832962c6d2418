"""`toolkit serve`."""

import logging
import sys
from functools import partial
from typing import Any

import click

from toolkit.commands.options import (
    SectionCommand,
    language_option,
    prediction_options,
    predictor_arguments,
    section_option,
    uncertain_options,
)


@click.command(cls=SectionCommand)
@section_option("Server", "--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@section_option(
    "Server", "--port", type=click.IntRange(1, 65535), default=8080, show_default=True, help="Port to listen on."
)
@section_option(
    "Server", "--name", "names", multiple=True, help="A name of this machine under which it is asked, where no key is."
)
@section_option(
    "Server",
    "--origin",
    "origins",
    multiple=True,
    help="An origin whose pages may ask, as https://reviews.example.org.",
)
@section_option(
    "Limits",
    "--queue",
    type=click.IntRange(min=1),
    default=4000,
    show_default=True,
    help="Reviews that may wait; above it, 429.",
)
@section_option(
    "Limits",
    "--most-texts",
    type=click.IntRange(min=1),
    default=1000,
    show_default=True,
    help="Reviews in one JSON body; above it, 413.",
)
@section_option(
    "Limits",
    "--deadline",
    type=click.FloatRange(min=0, min_open=True),
    default=30.0,
    show_default=True,
    help="Seconds for an answer; after them, 503.",
)
@section_option(
    "Limits",
    "--grace",
    type=click.IntRange(min=1),
    default=25,
    show_default=True,
    help="Seconds to finish what was accepted when told to end.",
)
@uncertain_options("Answers")
@language_option("Answers")
@prediction_options
def serve(
    host: str,
    port: int,
    names: tuple[str, ...],
    origins: tuple[str, ...],
    queue: int,
    most_texts: int,
    deadline: float,
    grace: int,
    lang: str,
    **model: Any,  # noqa: ANN401 - load's arguments
) -> None:
    """Answer over HTTP: as text-embeddings-inference, as the Hub's clients ask, and as predict --json.

    Clients are asked for a key where TOOLKIT_SERVE_KEY holds one. SIGHUP loads the model again, as does a replaced bundle.

    \b
    Examples:
      toolkit serve
      toolkit serve --host 0.0.0.0 --port 9000 --name films.lan
      curl -s --json '{"text": "A quiet film."}' localhost:8080/classify
    """  # fmt: skip
    from toolkit.errors import OptionError, needs_extra
    from toolkit.models.bundle import Kind
    from toolkit.prediction import load_predictor
    from toolkit.prediction.selection import choose_backend
    from toolkit.web.hosts import listen
    from toolkit.web.logs import log_plainly

    with needs_extra("serve", "toolkit serve"):
        from toolkit.server.models import Models
        from toolkit.server.running import run
        from toolkit.server.settings import ServerSettings, read_key

    settings = ServerSettings(
        host,
        port,
        queue,
        most_texts,
        deadline,
        grace,
        names,
        tuple(each.rstrip("/") for each in origins),
        lang,
        read_key(),
    )
    context = click.get_current_context()
    choice = choose_backend(model["backend"], onnx_model=model["onnx_model"], adapter=model["adapter"])
    load = partial(context.obj or load_predictor, **predictor_arguments(**model))
    try:
        models = Models(load, choice.folder, Kind.ONNX if choice.backend == "onnx" else Kind.ADAPTER)
    except OptionError as error:
        raise click.UsageError(str(error)) from error
    logging.basicConfig(stream=sys.stderr, level=logging.WARNING, format="%(message)s")  # uvicorn's errors, as ours
    log_plainly()
    run(settings, models, listen(host, port))
