"""Dynamic int8 quantisation of an ONNX graph, for CPUs."""

import logging
from pathlib import Path

from toolkit.errors import needs_extra

MODES = ("none", "int8", "auto")
KEPT_FLOAT = "lin2"  # the feed-forward's second layer: leaving it in fp32 halves the label flips (1.0% to 0.5%)


def quantize_to_int8(source: Path, target: Path) -> Path:
    """Quantise weights to int8 per channel and activations to uint8 as they come, but for the layers kept in float.

    `reduce_range` leaves a bit of headroom: CPUs without VNNI add pairs of products in 16 bits, which would saturate.
    """
    with needs_extra("train", "quantising"):
        import onnx
        from onnxruntime.quantization import QuantType, quantize_dynamic

    graph = onnx.load(source).graph
    kept = [node.name for node in graph.node if node.op_type == "MatMul" and KEPT_FLOAT in node.name]
    logging.getLogger().addFilter(_is_not_preprocessing_advice)
    try:
        quantize_dynamic(
            source,
            target,
            per_channel=True,
            reduce_range=True,
            weight_type=QuantType.QInt8,
            nodes_to_exclude=kept,
            extra_options={"DefaultTensorType": onnx.TensorProto.FLOAT},
        )
    finally:
        logging.getLogger().removeFilter(_is_not_preprocessing_advice)
    return target


def _is_not_preprocessing_advice(record: logging.LogRecord) -> bool:
    return "pre-processing before quantization" not in record.getMessage()
