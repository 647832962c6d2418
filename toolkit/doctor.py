"""What this installation is, what it would do here, and whether it can."""

import os
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from toolkit.compat import onnxruntime_telemetry_is_off
from toolkit.errors import ToolkitError
from toolkit.machine import available_cores, instruction_sets, package_versions, processor_name
from toolkit.models.bundle import Kind, read_manifest
from toolkit.models.files import sha256
from toolkit.prediction.selection import choose_backend, load_predictor, sees_gpu

PACKAGES = ("distilbert-review-toolkit", "onnxruntime", "tokenizers", "numpy", "click", "torch", "transformers", "peft",
            "optimum", "optimum-onnx", "chainlit", "ray")  # fmt: skip
HUB_SECONDS = 3.0
_MODEL_FILES = {Kind.ONNX: "model.onnx", Kind.ADAPTER: "adapter_model.safetensors"}
_PROBE = "A quiet film that stays with you."


def examine(**model: Any) -> dict[str, Any]:  # noqa: ANN401 - load_predictor's arguments
    """Look at everything and classify one review.

    Args:
        model: the arguments of `load_predictor`.

    Returns:
        `versions`, `cpu`, `gpu`, `backend` (the choice and its reason), `models` (found where, verified), `answer`
        (to one review, or the problem), `telemetry`, `hub`, and `healthy`: whether the answer came.
    """
    places = {name: model.get(name) for name in ("onnx_model", "adapter")}
    choice = choose_backend(model.get("backend", "auto"), **places)
    answer = _answer(model)
    return {
        "versions": package_versions(*PACKAGES),
        "cpu": {"processor": processor_name(), "instruction_sets": instruction_sets(), "cores": available_cores()},
        "gpu": _gpu(),
        "backend": {"name": choice.backend, "model": str(choice.folder), "reason": choice.reason},
        "models": [
            _model(Kind.ONNX, choose_backend("onnx", **places).folder),
            _model(Kind.ADAPTER, choose_backend("torch", **places).folder),
        ],
        "answer": answer,
        "telemetry": _telemetry(),
        "hub": _hub(os.environ),
        "healthy": "problem" not in answer,
    }


def _answer(model: Mapping[str, Any]) -> dict[str, Any]:
    started = time.perf_counter()
    try:
        with load_predictor(**model) as predictor:
            prediction = predictor.predict(_PROBE)
    except (ToolkitError, OSError) as error:
        return {"review": _PROBE, "problem": str(error)}
    seconds = time.perf_counter() - started
    return {"review": _PROBE, "label": prediction.label.name, "score": prediction.score, "seconds": seconds}


def _model(kind: Kind, folder: Path) -> dict[str, Any]:
    try:
        manifest = read_manifest(folder, kind)
    except (ToolkitError, OSError) as error:
        return {"kind": str(kind), "folder": str(folder), "problem": str(error)}
    weights = _MODEL_FILES[kind]
    return {
        "kind": str(kind),
        "folder": str(folder.resolve()),
        "sha256": manifest.files[weights]["sha256"] if manifest.files else sha256(folder / weights),
        "verified": bool(manifest.files),  # an adapter made elsewhere says nothing of its files
        "base_model": manifest.base_model,
        "max_length": manifest.max_length,
    }


def _gpu() -> str | None:
    try:
        if not sees_gpu():
            return None
    except ToolkitError:  # a driver, but no torch to ask
        return None
    import torch

    return torch.cuda.get_device_name()


def _telemetry() -> dict[str, str]:
    """Whether the libraries that report home by default are kept from it."""
    return {"onnxruntime": "off" if onnxruntime_telemetry_is_off() else "not loaded"}


def _hub(environment: Mapping[str, str]) -> dict[str, Any]:
    """Whether the model hub answers, within `HUB_SECONDS`; not asked where the user works offline."""
    endpoint = environment.get("HF_ENDPOINT", "https://huggingface.co")
    if environment.get("HF_HUB_OFFLINE", "0").lower() in ("1", "true", "yes", "on"):
        return {"endpoint": endpoint, "reachable": None, "reason": "not asked: HF_HUB_OFFLINE is set"}
    outcome: dict[str, Any] = {"endpoint": endpoint, "reachable": False, "reason": f"no answer in {HUB_SECONDS:.0f} s"}

    def ask() -> None:
        try:
            request = urllib.request.Request(endpoint, method="HEAD")  # noqa: S310 - the user's own variable
            urllib.request.urlopen(request, timeout=HUB_SECONDS).close()  # noqa: S310
        except urllib.error.HTTPError:
            pass  # it answered
        except (OSError, ValueError) as error:
            outcome["reason"] = str(getattr(error, "reason", error))
            return
        outcome.update(reachable=True, reason="it answers")

    thread = threading.Thread(target=ask, daemon=True)  # a resolver may hang for longer than any socket's timeout
    thread.start()
    thread.join(HUB_SECONDS)
    return dict(outcome)
