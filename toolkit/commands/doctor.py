"""`toolkit doctor`."""

import sys
from typing import TYPE_CHECKING, Any

import click

from toolkit.commands.options import prediction_options, predictor_arguments, say, say_json

if TYPE_CHECKING:
    from toolkit.doctor import Answer, Diagnosis, Model


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@click.option("--network", is_flag=True, help="Ask the model hub whether it answers.")
@prediction_options
def doctor(as_json: bool, network: bool, **model: Any) -> None:  # noqa: ANN401 - which model
    """Say what is installed, which model answers here and why; exit 1 if none does.

    \b
    Examples:
      toolkit doctor
      toolkit doctor --network
      toolkit doctor --json --onnx-model build/demo/onnx_model
    """
    from toolkit.doctor import examine

    found = examine(network, **predictor_arguments(**model))
    if as_json:
        say_json(found.to_json())
    else:
        say("\n".join(_lines(found)))
    sys.exit(0 if found.healthy else 1)


def _lines(found: "Diagnosis") -> list[str]:
    rows = [
        ("versions", ", ".join(f"{name} {version}" for name, version in found.versions.items())),
        ("processor", f"{found.cpu.processor}; {found.cpu.cores} cores for this process"),
        ("instructions", ", ".join(found.cpu.instruction_sets) or "unknown"),
        ("gpu", found.gpu or "none that torch sees"),
        *((f"{model.kind} model", _model(model)) for model in found.models),
        ("backend", f"{found.backend.name}: {found.backend.reason}"),
        ("telemetry", ", ".join(f"{name} {state}" for name, state in found.telemetry.items())),
        ("hub", f"{found.hub.endpoint}: {found.hub.reason}"),
        ("answer", _answer(found.answer)),
    ]
    return [f"{name:<14}{value}" for name, value in rows]


def _answer(answer: "Answer") -> str:
    if answer.problem is not None:
        return answer.problem
    return f'{answer.label} {answer.score:.4f} for "{answer.review}", {answer.seconds:.2f} s with loading'


def _model(model: "Model") -> str:
    if model.problem is not None:
        return model.problem
    if model.missing:
        return f"none at {model.folder}, and none needed"
    state = "verified" if model.verified else "made elsewhere, nothing to verify it by"
    digest = (model.sha256 or "")[:12]
    return f"{model.folder}: {state}, {digest}, on {model.base_model}, reads {model.max_length} tokens"
