"""The graph of an encoder other than DistilBERT: as it was converted, and in onnxruntime's own dynamic int8."""

from pathlib import Path

from toolkit.compat import import_onnxruntime, quiet_root_logger
from toolkit.errors import needs_extra

_TOKEN_TYPES = "token_type_ids"  # noqa: S105 - no secret; a review has one segment, of type 0


def fix_token_types(graph: Path) -> Path:
    """Let a graph that asks for token types make them itself, all 0, as a review alone has them.

    Returns:
        The same file, whose inputs are ids and mask.
    """
    with needs_extra("train", "exporting"):
        import onnx

    model = onnx.load(graph)
    kept = [each for each in model.graph.input if each.name != _TOKEN_TYPES]
    if len(kept) < len(model.graph.input):
        zeros = onnx.helper.make_node("Sub", ["input_ids", "input_ids"], [_TOKEN_TYPES], name=_TOKEN_TYPES)
        del model.graph.input[:]
        model.graph.input.extend(kept)
        model.graph.node.insert(0, zeros)
        onnx.save(model, graph)
    return graph


def quantize_plainly(source: Path, target: Path) -> Path:
    """Quantise a graph that is not rearranged: int8 weights, a scale a column, activations as they come.

    A bit less than eight for weights (`reduce_range`) keeps CPUs without VNNI from overflowing.

    Args:
        source: a float graph.
        target: the file to write; its inputs are those of `source`.
    """
    import_onnxruntime()
    from onnxruntime.quantization import QuantType, quantize_dynamic

    with quiet_root_logger():
        quantize_dynamic(source, target, per_channel=True, reduce_range=True, weight_type=QuantType.QInt8)
    return target
