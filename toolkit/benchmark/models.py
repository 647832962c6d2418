"""The one model of a comparison, in every form that an engine opens."""

import shutil
from functools import cached_property
from pathlib import Path
from typing import Any

from toolkit.errors import ToolkitError, needs_extra
from toolkit.models.adapter import attach_adapter, load_adapter, load_classifier, merge_adapter
from toolkit.models.base_models import BaseModel
from toolkit.models.bundle import Kind, Manifest, read_manifest
from toolkit.models.files import read_json_object, sha256, write_json
from toolkit.models.publishing import publish

_TOKENIZER_FILES = ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "vocab.txt")


class Models:
    """A bundle and its adapter, and what is converted from them when somebody asks for it.

    Args:
        bundle: an ONNX bundle, `onnx_model/`.
        adapter: the adapter it was exported from, `lora_model/`; may be missing as long as nobody needs it.
        workspace: an empty folder for what is converted.
    """

    def __init__(self, bundle: Path, adapter: Path, workspace: Path) -> None:
        self.bundle = bundle
        self.adapter = adapter
        self.workspace = workspace

    @cached_property
    def max_length(self) -> int:
        """Tokens that every engine reads of a review."""
        return read_manifest(self.bundle, Kind.ONNX).max_length

    @cached_property
    def config(self) -> dict[str, Any]:
        """The model's `config.json`."""
        return read_json_object(self.bundle / "config.json")

    @cached_property
    def onnx(self) -> Path:
        """A folder with the float `model.onnx`, as optimum saves it, and the tokenizer."""
        if not self.adapter.is_dir():
            raise ToolkitError(
                f"there is no adapter at {self.adapter} to convert for the other engines; name one with --adapter, "
                "or choose --engines onnx"
            )
        with needs_extra("train", "converting the model"):
            from export.convert import convert_to_onnx
        folder = convert_to_onnx(merge_adapter(load_adapter(self.adapter)[0]), self.workspace).parent
        for name in _TOKENIZER_FILES:
            if (self.adapter / name).is_file():
                shutil.copyfile(self.adapter / name, folder / name)
                shutil.copyfile(self.adapter / name, self._merged / name)
        return folder

    @property
    def merged(self) -> Path:
        """A folder as `transformers` saves it, adapter merged, with the tokenizer."""
        _ = self.onnx  # the conversion saves both
        return self._merged

    @cached_property
    def float_bundle(self) -> Path:
        """A bundle of the float graph, as `toolkit export` makes it."""
        from export.restructure import fuse

        graph = fuse(self.onnx / "model.onnx", self.workspace / "model.fused.onnx")
        return _bundle(self.workspace / "float_bundle", graph, self.adapter)

    @property
    def _merged(self) -> Path:
        return self.workspace / "merged"


def random_models(bundle: Path, workspace: Path, **config: Any) -> Models:  # noqa: ANN401 - DistilBertConfig's own
    """A DistilBERT with random weights and a bundle's tokenizer: as fast as a trained one of its size.

    Args:
        bundle: whose tokenizer and length are used.
        workspace: an empty folder.
        config: DistilBertConfig's arguments; the 66 million parameters of the original by default.
    """
    with needs_extra("train", "a random DistilBERT"):
        import torch
        from peft import LoraConfig
        from transformers import DistilBertConfig, DistilBertModel, DistilBertTokenizerFast

        from export.quantize import quantize_to_int8

    max_length = read_manifest(bundle, Kind.ONNX).max_length
    base = workspace / "base"
    torch.manual_seed(0)
    DistilBertModel(DistilBertConfig(**config)).save_pretrained(base)
    tokenizer = DistilBertTokenizerFast(tokenizer_file=str(bundle / "tokenizer.json"), model_max_length=max_length)
    tokenizer.save_pretrained(base)
    classifier = load_classifier(BaseModel(str(base), base, sha256(base / "model.safetensors")))
    lora = LoraConfig(task_type="SEQ_CLS", target_modules=["q_lin", "v_lin"],
                      modules_to_save=["pre_classifier", "classifier"])  # fmt: skip
    adapter = workspace / "adapter"
    with publish(adapter, Manifest(Kind.ADAPTER, str(base), max_length)) as folder:
        attach_adapter(classifier, lora).save_pretrained(folder, save_embedding_layers=False)
        tokenizer.save_pretrained(folder)
        classifier.config.save_pretrained(folder)
    floating = Models(workspace / "float_bundle", adapter, workspace)
    graph = quantize_to_int8(floating.onnx / "model.onnx", workspace / "model.int8.onnx")
    _ = floating.float_bundle
    floating.bundle = _bundle(workspace / "int8_bundle", graph, adapter)
    return floating


def _bundle(target: Path, graph: Path, adapter: Path) -> Path:
    manifest = read_manifest(adapter, Kind.ADAPTER)
    with publish(target, Manifest(Kind.ONNX, manifest.base_model, manifest.max_length)) as folder:
        shutil.copyfile(graph, folder / "model.onnx")
        for name in ("tokenizer.json", "config.json"):
            shutil.copyfile(adapter / name, folder / name)
        write_json(folder / "report.json", {})  # nothing was compared; the folder ends with the comparison
    return target
