"""From a merged model to an ONNX graph, with optimum."""

import logging
import warnings
from pathlib import Path
from typing import TYPE_CHECKING

from toolkit.errors import ExportError, needs_extra

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
