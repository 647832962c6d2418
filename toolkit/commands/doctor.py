"""`toolkit doctor`."""

import json
import sys
from typing import Any

import click

from toolkit.commands.options import prediction_options, predictor_arguments
from toolkit.formats.limits import printable


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@prediction_options
def doctor(as_json: bool, **model: Any) -> None:  # noqa: ANN401 - which model
    """Say what is installed, which model answers here and why; exit 1 if none does.

    HF_HUB_OFFLINE=1 keeps it from asking whether the model hub answers.

    \b
    Examples:
      toolkit doctor
      toolkit doctor --json --onnx-model build/demo/onnx_model
    """
    from toolkit.doctor import examine

    report = examine(**predictor_arguments(**model))
    click.echo(json.dumps(report, ensure_ascii=False) if as_json else printable("\n".join(_lines(report))))
    sys.exit(0 if report["healthy"] else 1)


def _lines(report: dict[str, Any]) -> list[str]:
    cpu, backend, answer, hub = report["cpu"], report["backend"], report["answer"], report["hub"]
    rows = [
        ("versions", ", ".join(f"{name} {version}" for name, version in report["versions"].items())),
        ("processor", f"{cpu['processor']}; {cpu['cores']} cores for this process"),
        ("instructions", ", ".join(cpu["instruction_sets"]) or "unknown"),
        ("gpu", report["gpu"] or "none that torch sees"),
        *((f"{model['kind']} model", _model(model)) for model in report["models"]),
        ("backend", f"{backend['name']}: {backend['reason']}"),
        ("telemetry", ", ".join(f"{name} {state}" for name, state in report["telemetry"].items())),
        ("hub", f"{hub['endpoint']}: {hub['reason']}"),
        ("answer", answer.get("problem") or
         f"{answer['label']} {answer['score']:.4f} for \"{answer['review']}\", {answer['seconds']:.2f} s with loading"),
    ]  # fmt: skip
    return [f"{name:<14}{value}" for name, value in rows]


def _model(model: dict[str, Any]) -> str:
    if "problem" in model:
        return str(model["problem"])
    state = "verified" if model["verified"] else "made elsewhere, nothing to verify it by"
    return f"{model['folder']}: {state}, {model['sha256'][:12]}, on {model['base_model']}, reads {model['max_length']} tokens"
