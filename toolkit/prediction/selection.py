"""Which backend serves a review on this machine, and why."""

import ctypes
import importlib.util
import logging
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from toolkit.choices import Backend, check_choice
from toolkit.errors import needs_extra
from toolkit.prediction.abstention import Abstention
from toolkit.prediction.answers import InferenceOptions
from toolkit.prediction.base import Predictor

DEFAULT_ONNX_MODEL = Path("onnx_model")
DEFAULT_ADAPTER = Path("lora_model")
_PACKAGE = Path(__file__).parents[1]

_logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Choice:
    """A backend, the folder it loads and the reason in words."""

    backend: Literal["onnx", "torch"]
    folder: Path
    reason: str


def load_predictor(
    backend: Backend = "auto",
    *,
    onnx_model: Path | str | None = None,
    adapter: Path | str | None = None,
    base_model: str | None = None,
    options: InferenceOptions = InferenceOptions(),
    abstention: Abstention | None = None,
) -> Predictor:
    """Load the predictor that suits this machine.

    Args:
        backend: `onnx`, `torch`, or `auto`: torch where torch, a GPU and an adapter are there, else ONNX. A model that
            is named, while the other kind is not, is taken.
        onnx_model: The ONNX bundle; else `$TOOLKIT_ONNX_MODEL`, else `./onnx_model`, else the one that was installed
            with the toolkit.
        adapter: The adapter folder; else `$TOOLKIT_ADAPTER`, else `./lora_model`.
        base_model: For torch, the base to use instead of the one the adapter names.
        options: How reviews are read and run: `InferenceOptions(max_length=256, truncation="window")`.
        abstention: Which verdicts are withheld, as `Abstention(uncertain_below=0.9)`; by default those that the model
            withholds.

    Returns:
        A predictor, which is a context manager: `with load_predictor() as predictor:` frees its threads at the end.

    Raises:
        BundleError: The folder is missing or damaged, or lacks what was asked for.
        MissingExtraError: The backend's packages are not installed.
    """
    choice = choose_backend(backend, onnx_model=onnx_model, adapter=adapter)
    _logger.info("backend %s from %s: %s", choice.backend, choice.folder, choice.reason)
    if choice.backend == "torch":
        from toolkit.prediction.torch_backend import TorchPredictor

        return TorchPredictor.load(choice.folder, options, abstention, base_model)
    from toolkit.prediction.onnx_backend import OnnxPredictor

    return OnnxPredictor.load(choice.folder, options, abstention)


def choose_backend(
    backend: Backend = "auto", *, onnx_model: Path | str | None = None, adapter: Path | str | None = None
) -> Choice:
    """Decide without loading anything; the arguments are those of `load_predictor`."""
    check_choice("backend", backend, Backend)
    onnx_folder = Path(onnx_model or os.environ.get("TOOLKIT_ONNX_MODEL") or _default_onnx_model())
    adapter_folder = Path(adapter or os.environ.get("TOOLKIT_ADAPTER") or DEFAULT_ADAPTER)
    if backend == "onnx":
        return Choice("onnx", onnx_folder, "asked for")
    if backend == "torch":
        return Choice("torch", adapter_folder, "asked for")
    if onnx_model and not adapter:
        return Choice("onnx", onnx_folder, "an ONNX model was named and no adapter")
    if adapter and not onnx_model:
        return Choice("torch", adapter_folder, "an adapter was named and no ONNX model")
    if not (adapter_folder / "adapter_config.json").is_file():
        return Choice("onnx", onnx_folder, f"no adapter at {adapter_folder}")
    if importlib.util.find_spec("torch") is None:
        return Choice("onnx", onnx_folder, "torch is not installed")
    if not sees_gpu():
        return Choice("onnx", onnx_folder, "torch sees no GPU")
    return Choice("torch", adapter_folder, "torch sees a GPU and an adapter is there")


def _default_onnx_model() -> Path:
    """The folder's own model, else the one that came with the toolkit; the former's name where there is neither."""
    if not DEFAULT_ONNX_MODEL.is_dir():
        for installed in _installed_onnx_models():
            if installed.is_dir():
                return installed
    return DEFAULT_ONNX_MODEL


def _installed_onnx_models() -> list[Path]:
    """Where an installation keeps its model: inside the package in a wheel, beside it in an editable checkout."""
    beside = [_PACKAGE.parent / "onnx_model"] if (_PACKAGE.parent / "pyproject.toml").is_file() else []
    return [_PACKAGE / "onnx_model", *beside]


def sees_gpu() -> bool:
    """Whether torch sees a GPU.

    Ask torch, but only where a CUDA driver is there: importing torch takes seconds, a CPU's answer is known.
    """
    try:
        ctypes.CDLL("nvcuda.dll" if os.name == "nt" else "libcuda.so.1")
    except OSError:
        return False
    with needs_extra("train", "the torch backend"):
        import torch

    return bool(torch.cuda.is_available())
