"""What several commands share: the options of a model, stdin, a line of output."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, cast

import click

from toolkit.errors import ToolkitError

if TYPE_CHECKING:
    from toolkit.prediction import Prediction, Predictor
    from toolkit.streaming import BinaryReader

Command = TypeVar("Command", bound=Callable[..., Any])
PATH = click.Path(path_type=Path)


def prediction_options(command: Command) -> Command:
    """The options of every command that asks a model."""
    for option in (
        click.option("--max-length", type=click.IntRange(min=3), help="Tokens to read of a review; the model's own number by default."),
        click.option("--base-model", help="For torch, the base to use instead of the one the adapter names."),
        click.option("--adapter", type=PATH, help="Adapter folder for torch.  [default: $TOOLKIT_ADAPTER or ./lora_model]"),
        click.option("--onnx-model", type=PATH, help="ONNX bundle.  [default: $TOOLKIT_ONNX_MODEL or ./onnx_model]"),
        click.option("--backend", type=click.Choice(["auto", "onnx", "torch"]), default="auto", show_default=True,
                     help="auto: the kind of model that is named; else torch where it sees a GPU and an adapter, else ONNX."),
    ):  # fmt: skip
        command = option(command)
    return command


def load(**model: Any) -> "Predictor":  # noqa: ANN401 - load_predictor's arguments
    """The predictor that the options name."""
    from toolkit.prediction import load_predictor

    return load_predictor(**model)


def read_all(stream: "BinaryReader") -> str:
    """Everything that is left in `stream`, bad bytes replaced."""
    return b"".join(iter(stream.read1, b"")).decode(errors="replace")


def open_stdin() -> "BinaryReader":
    """Stdin as bytes.

    Raises:
        ToolkitError: it is closed.
    """
    if sys.stdin is None:
        raise ToolkitError("stdin is closed; pipe reviews in, or redirect a file with <")
    return cast("BinaryReader", sys.stdin.buffer)


def line(prediction: "Prediction", text: str) -> str:
    """A prediction as the shell gets it: label, score and text between tabs."""
    return f"{prediction.label.text}\t{prediction.score:.4f}\t{text}"
