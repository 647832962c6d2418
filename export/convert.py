"""From a merged model to an ONNX graph, with optimum."""

import logging
import warnings
from pathlib import Path
from typing import TYPE_CHECKING

from export.plain import fix_token_types, for_one_text
from export.restructure import fuse
from toolkit.errors import ExportError, needs_extra
from toolkit.models.architectures import DISTILBERT
from toolkit.models.files import read_json_object

if TYPE_CHECKING:
    from transformers import PreTrainedModel


def convert_to_onnx(model: "PreTrainedModel", folder: Path) -> Path:
    """Save `model` under `folder` and convert it; optimum chooses the opset.

    Returns:
        The path of `model.onnx`, in a folder with the model's `config.json`.

    Raises:
        ExportError: the conversion failed or gave no graph.
    """
    with needs_extra("train", "exporting"):
        from optimum.onnxruntime import ORTModelForSequenceClassification

    merged, converted = folder / "merged", folder / "onnx"
    model.save_pretrained(merged, safe_serialization=True)
    with warnings.catch_warnings():
        warnings.simplefilter(
            "ignore"
        )  # the tracer's notes on constants; the comparison with the adapter is what counts
        logging.getLogger("optimum").setLevel(logging.ERROR)
        ORTModelForSequenceClassification.from_pretrained(merged, export=True, trust_remote_code=False).save_pretrained(
            converted
        )
    graph = converted / "model.onnx"
    if not graph.is_file():
        raise ExportError(f"optimum wrote no model.onnx (found {', '.join(path.name for path in converted.iterdir())})")
    return graph


def float_graph(converted: Path, room: Path) -> Path:
    """The float graph of one text at a time that is fastest here: rearranged for a DistilBERT, plain for the others.

    Args:
        converted: What `convert_to_onnx` returned.
        room: The folder to write into.
    """
    if read_json_object(converted.with_name("config.json")).get("model_type") == DISTILBERT.name:
        return fuse(converted, room / "model.fused.onnx")
    return for_one_text(fix_token_types(converted, room / "model.plain.onnx"), room / "model.alone.onnx")
