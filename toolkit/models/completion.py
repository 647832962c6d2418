"""An adapter as PEFT or transformers' Trainer saved it: what they leave out of its folder is its base's."""

from pathlib import Path
from typing import Any

from toolkit.errors import BundleError, needs_extra
from toolkit.models.base_models import resolve_base_model
from toolkit.models.bundle import ADAPTER_WEIGHTS, MANIFEST, Kind, Manifest, read_manifest
from toolkit.models.files import read_json_object, sha256
from toolkit.text.labels import SENTIMENT

RUN_FILE = "run.json"  # in a checkpoint of this toolkit's, what decides the run's result
_HEADS = ("classifier.weight", "classifier.out_proj.weight", "score.weight")  # by the family; (classes, dim)


def read_model(folder: Path, kind: Kind, base_model: str | None = None) -> Manifest:
    """As `read_manifest`, an adapter without its base's files included: a checkpoint, or what PEFT alone saves.

    Args:
        folder: The model's folder.
        kind: What it has to hold.
        base_model: The base to use instead of the one an adapter names.

    Raises:
        BundleError: See `read_manifest`; or the base that an adapter leaves its files to is not to be had.
        HubError: Likewise.
    """
    return read_manifest(folder, kind, lambda name: _base_config(folder, base_model or name))


def model_hash(folder: Path, kind: Kind) -> str:
    """The SHA-256 by which a model is named, wherever one is: of its manifest, which has that of every other file.

    `sha256sum manifest.json` prints it. A model without a manifest is named by its weights.
    """
    manifest = folder / MANIFEST
    return sha256(
        manifest if manifest.is_file() else folder / (ADAPTER_WEIGHTS if kind is Kind.ADAPTER else "model.onnx")
    )


def folder_with(names: tuple[str, ...], folder: Path, base_model: str | None = None) -> Path:
    """The folder that describes an adapter: its own, where it has one of these files or a manifest; else its base's."""
    if (folder / MANIFEST).is_file() or any((folder / name).is_file() for name in names):
        return folder
    return _base_folder(folder, base_model or read_model(folder, Kind.ADAPTER).base_model)


def _base_folder(folder: Path, name: str) -> Path:
    advice = f"Name a local copy of {name} with --base-model FOLDER: {folder} has neither configuration nor tokenizer."
    return resolve_base_model(name, advice, _classes(folder)).folder


def _base_config(folder: Path, name: str) -> tuple[Path, dict[str, Any]]:
    """Where the base's configuration lies, and what it says, but for the labels of another number of classes."""
    path = _base_folder(folder, name) / "config.json"
    config, classes = read_json_object(path), _classes(folder)
    named = config.get("id2label")
    if not isinstance(named, dict) or len(named) != classes:
        config["id2label"] = {str(index): f"LABEL_{index}" for index in range(classes)}
    if (folder / RUN_FILE).is_file():
        settings = read_json_object(folder / RUN_FILE).get("settings")
        config["max_length"] = settings.get("max_length") if isinstance(settings, dict) else None
    return path, config


def _classes(folder: Path) -> int:
    """The rows of an adapter's head; of one that has none, two."""
    with needs_extra("train", "reading an adapter that PEFT saved"):
        from safetensors import SafetensorError, safe_open

    try:
        with safe_open(folder / ADAPTER_WEIGHTS, framework="numpy") as tensors:
            heads = [name for name in tensors.keys() if name.endswith(_HEADS)]  # noqa: SIM118 - it is no mapping
            return int(tensors.get_slice(heads[0]).get_shape()[0]) if heads else len(SENTIMENT)
    except SafetensorError as error:
        raise BundleError(f"{folder / ADAPTER_WEIGHTS} is damaged ({error}); save the adapter again") from error
