"""What this installation is, what it would do here, and whether it can."""

import os
import queue
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from toolkit.compat import onnxruntime_telemetry_is_off
from toolkit.errors import MissingModelError, ToolkitError
from toolkit.machine import available_cores, instruction_sets, package_versions, processor_name
from toolkit.models.bundle import Kind
from toolkit.models.completion import model_hash, read_model
from toolkit.prediction.selection import Choice as BackendChoice
from toolkit.prediction.selection import choose_backend, load_predictor, sees_gpu

PACKAGES = ("distilbert-review-toolkit", "onnxruntime", "tokenizers", "numpy", "click", "torch", "transformers", "peft",
            "optimum", "optimum-onnx", "chainlit", "starlette", "uvicorn", "prometheus-client", "ray")  # fmt: skip
HUB_SECONDS = 3.0
_PROBE = "A quiet film that stays with you."


@dataclass(frozen=True)
class Cpu:
    """The processor: its name, what it can compute with, and the cores this process may use."""

    processor: str
    instruction_sets: list[str]
    cores: int


@dataclass(frozen=True)
class Choice:
    """The backend that is chosen here, the model it would load, and the reason."""

    name: str
    model: str
    reason: str


@dataclass(frozen=True)
class Model:
    """A model folder; of one that is `missing` and not needed, or has a `problem`, nothing else is known.

    Its `sha256` is the one that `/health` of the app and its corrections name, see `model_hash`.
    """

    kind: str
    folder: str
    missing: bool | None = None
    problem: str | None = None
    sha256: str | None = None
    verified: bool | None = None
    base_model: str | None = None
    max_length: int | None = None


@dataclass(frozen=True)
class Answer:
    """What was said of one review, and the seconds it took with loading; or the `problem`."""

    review: str
    problem: str | None = None
    label: str | None = None
    score: float | None = None
    seconds: float | None = None


@dataclass(frozen=True)
class Hub:
    """The model hub, and whether it answers; None where nobody wanted it asked."""

    endpoint: str
    reachable: bool | None
    reason: str


@dataclass(frozen=True)
class Diagnosis:
    """Everything that was looked at.

    Attributes:
        versions: The versions of the packages that matter.
        cpu: The processor.
        gpu: The name of the GPU that torch sees, if any.
        backend: The choice of a backend and its reason.
        models: The ONNX bundle and the adapter, where they are looked for.
        answer: The answer to one review.
        telemetry: Whether the libraries that report home by default are kept from it.
        hub: The model hub.
    """

    versions: dict[str, str]
    cpu: Cpu
    gpu: str | None
    backend: Choice
    models: list[Model]
    answer: Answer
    telemetry: dict[str, str]
    hub: Hub

    @property
    def healthy(self) -> bool:
        """Whether the answer came."""
        return self.answer.problem is None

    def to_json(self) -> dict[str, object]:
        """As `toolkit doctor --json` prints it: of a model and of the answer, what is known."""
        return {
            **asdict(self),
            "models": [_known(model) for model in self.models],
            "answer": _known(self.answer),
            "healthy": self.healthy,
        }


def _known(part: Model | Answer) -> dict[str, object]:
    return {name: value for name, value in asdict(part).items() if value is not None}


def examine(ask_hub: bool = False, **model: Any) -> Diagnosis:  # noqa: ANN401 - load_predictor's arguments
    """Look at everything and classify one review.

    Args:
        ask_hub: Whether to ask the model hub whether it answers.
        model: The arguments of `load_predictor`.
    """
    places = {name: model.get(name) for name in ("onnx_model", "adapter")}
    choice = choose_backend(model.get("backend", "auto"), **places)
    answer = _answer(model)
    return Diagnosis(
        versions=package_versions(*PACKAGES),
        cpu=Cpu(processor_name(), instruction_sets(), available_cores()),
        gpu=_gpu(),
        backend=Choice(choice.backend, str(choice.folder), choice.reason),
        models=[
            _model(Kind.ONNX, choose_backend("onnx", **places).folder, choice),
            _model(Kind.ADAPTER, choose_backend("torch", **places).folder, choice),
        ],
        answer=answer,
        telemetry=_telemetry(),
        hub=_hub(os.environ, ask_hub),
    )


def _answer(model: Mapping[str, Any]) -> Answer:
    started = time.perf_counter()
    try:
        with load_predictor(**model) as predictor:
            prediction = predictor.predict(_PROBE)
    except (ToolkitError, OSError) as error:
        return Answer(_PROBE, problem=str(error))
    seconds = time.perf_counter() - started
    return Answer(_PROBE, label=prediction.label.name, score=prediction.score, seconds=seconds)


def _model(kind: Kind, folder: Path, choice: BackendChoice) -> Model:
    try:
        manifest = read_model(folder, kind)
    except MissingModelError as error:
        is_needed = folder == choice.folder
        return Model(str(kind), str(folder), problem=str(error)) if is_needed else Model(str(kind), str(folder), True)
    except (ToolkitError, OSError) as error:
        return Model(str(kind), str(folder), problem=str(error))
    return Model(
        str(kind),
        str(folder.resolve()),
        sha256=model_hash(folder, kind),
        verified=bool(manifest.files),  # an adapter made elsewhere says nothing of its files
        base_model=manifest.base_model,
        max_length=manifest.max_length,
    )


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


def _hub(environment: Mapping[str, str], ask: bool) -> Hub:
    """Whether the model hub answers, within `HUB_SECONDS`; not asked where the user works offline."""
    endpoint = environment.get("HF_ENDPOINT", "https://huggingface.co")
    if not ask:
        return Hub(endpoint, None, "not asked; toolkit doctor --network asks")
    if environment.get("HF_HUB_OFFLINE", "0").lower() in ("1", "true", "yes", "on"):
        return Hub(endpoint, None, "not asked: HF_HUB_OFFLINE is set")
    outcomes: queue.SimpleQueue[Hub] = queue.SimpleQueue()
    # A resolver may hang for longer than any socket's timeout.
    threading.Thread(target=lambda: outcomes.put(_ask(endpoint)), daemon=True).start()
    try:
        return outcomes.get(timeout=HUB_SECONDS)
    except queue.Empty:
        return Hub(endpoint, False, f"no answer in {HUB_SECONDS:.0f} s")


def _ask(endpoint: str) -> Hub:
    try:
        request = urllib.request.Request(endpoint, method="HEAD")  # noqa: S310 - the user's own variable
        urllib.request.urlopen(request, timeout=HUB_SECONDS).close()  # noqa: S310
    except urllib.error.HTTPError:
        pass  # it answered
    except (OSError, ValueError) as error:
        return Hub(endpoint, False, str(getattr(error, "reason", error)))
    return Hub(endpoint, True, "it answers")
