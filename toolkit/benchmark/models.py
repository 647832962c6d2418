"""The one model of a comparison, in every form that an engine opens."""

import shutil
from functools import cached_property
from pathlib import Path
from typing import Any

from toolkit.errors import ToolkitError, needs_extra
from toolkit.models.adapter import adapter_tokenizer, load_adapter, merge_adapter
from toolkit.models.bundle import Kind, Manifest, read_manifest
from toolkit.models.completion import folder_with, read_model
from toolkit.models.files import read_json_object, write_json
from toolkit.models.publishing import publish


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
    def float_graph(self) -> Path:
        """The float `model.onnx`, in a folder as optimum saves it."""
        if not self.adapter.is_dir():
            raise ToolkitError(
                f"there is no adapter at {self.adapter} to convert for the other engines; name one with --adapter, "
                "or choose --engines onnx"
            )
        with needs_extra("train", "converting the model"):
            from export.convert import convert_to_onnx
        return convert_to_onnx(merge_adapter(load_adapter(self.adapter)[0]), self.workspace)

    @property
    def merged(self) -> Path:
        """A folder as `transformers` saves it, adapter merged."""
        _ = self.float_graph  # the conversion saves both
        return self.workspace / "merged"

    @cached_property
    def float_bundle(self) -> Path:
        """A bundle of the float graph, as `toolkit export` makes it."""
        from export.restructure import fuse

        graph = fuse(self.float_graph, self.workspace / "model.fused.onnx")
        return make_bundle(self.workspace / "float_bundle", graph, self.adapter)


def make_bundle(target: Path, graph: Path, adapter: Path) -> Path:
    """A bundle at `target` of a graph and its adapter's tokenizer, for the time of a comparison."""
    manifest = read_model(adapter, Kind.ADAPTER)
    with publish(target, Manifest(Kind.ONNX, manifest.base_model, manifest.max_length)) as folder:
        shutil.copyfile(graph, folder / "model.onnx")
        adapter_tokenizer(adapter, manifest.max_length, manifest.truncation).save(folder / "tokenizer.json")
        shutil.copyfile(folder_with(("config.json",), adapter) / "config.json", folder / "config.json")
        write_json(folder / "report.json", {})  # nothing was compared; the folder ends with the comparison
    return target
