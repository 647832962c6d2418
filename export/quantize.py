"""Dynamic int8 quantisation of an ONNX graph, for CPUs."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from toolkit.bundle import read_json_object
from toolkit.errors import ExportError, needs_extra

MODES = ("none", "int8", "auto")
# Layers whose products stay in float32, by a piece of their nodes' names; docs/quantization.md has the measurements.
KEPT_FLOAT = ("layer.0/ffn", "layer.1/ffn", "layer.2/ffn")


def quantize_to_int8(source: Path, target: Path, kept_float: tuple[str, ...] = KEPT_FLOAT) -> Path:
    """Fuse the graph's layers, then quantise it.

    Weights become int8 per channel, activations uint8 as they come. The products in `kept_float` are computed in
    float32, but their weights are stored as int8 too, and widened when the graph is loaded.

    `reduce_range` leaves a bit of headroom: CPUs without VNNI add pairs of products in 16 bits, which would saturate.

    Args:
        source: a float graph beside its `config.json`.
        target: the file to write.
        kept_float: pieces of the names of nodes to leave in float.

    Raises:
        ExportError: the graph has no such layer.
    """
    with needs_extra("train", "quantising"):
        import onnx

    fused = target.with_suffix(".fused.onnx")
    fuse(source, fused)
    nodes = weight_nodes(fused)
    kept = [name for name in nodes if any(piece in name for piece in kept_float)]
    if kept_float and not kept:
        raise ExportError(f"the graph has no layer to keep in float: none is named {' or '.join(kept_float)}")
    quantize_nodes(fused, target, [name for name in nodes if name not in kept])
    fused.unlink()
    model = onnx.load(target)
    _store_as_int8(model, kept)
    onnx.save(model, target)
    return target


def weight_nodes(graph: Path) -> list[str]:
    """The names of the encoder's nodes that multiply by weights or look them up, in the graph's order."""
    import onnx

    model = onnx.load(graph, load_external_data=False).graph
    weights = {each.name for each in model.initializer if len(each.dims) == 2}
    return [
        node.name
        for node in model.node
        if node.op_type in ("MatMul", "Attention", "Gather", "EmbedLayerNormalization")  # the head, a Gemm, is tiny
        and weights & set(node.input)
    ]


def quantize_nodes(source: Path, target: Path, nodes: list[str]) -> Path:
    """Quantise the named nodes and leave the others as they are."""
    import onnx
    from onnxruntime.quantization import QuantType, quantize_dynamic

    with _quiet():
        quantize_dynamic(
            source,
            target,
            per_channel=True,
            reduce_range=True,
            weight_type=QuantType.QInt8,
            nodes_to_quantize=nodes,
            extra_options={"DefaultTensorType": onnx.TensorProto.FLOAT},
        )
    return target


def fuse(source: Path, target: Path) -> None:
    """Merge each attention, each residual sum with its normalisation, and each bias with its GELU, into one node.

    q, k and v become one product, whose input is then quantised once: int8 gains a fifth in speed by it.
    """
    from onnxruntime.transformers.optimizer import optimize_model

    config = read_json_object(source.parent / "config.json")
    with _quiet():
        optimize_model(
            str(source), model_type="bert", num_heads=config["n_heads"], hidden_size=config["dim"], opt_level=0
        ).save_model_to_file(str(target))


def _store_as_int8(model: Any, nodes: list[str]) -> None:  # noqa: ANN401 - onnx ships no types
    """Replace the weights of float products by int8 ones and a node that widens them, per output channel."""
    from onnx import helper, numpy_helper

    graph = model.graph
    weights = {each.name: each for each in graph.initializer}
    for node in [each for each in graph.node if each.name in nodes and each.op_type == "MatMul"]:
        weight = weights[node.input[1]]
        values = numpy_helper.to_array(weight)  # (in, out)
        scale = (np.abs(values).max(axis=0) / 127).astype(np.float32)  # (out,)
        scale[scale == 0] = 1
        narrow = np.round(values / scale).astype(np.int8)
        name = f"{weight.name}_int8"
        graph.initializer.extend([
            numpy_helper.from_array(narrow, name),
            numpy_helper.from_array(scale, f"{name}_scale"),
        ])  # fmt: skip
        graph.initializer.remove(weight)
        widen = helper.make_node(
            "DequantizeLinear", [name, f"{name}_scale"], [weight.name], name=f"{node.name}/widen", axis=1
        )
        graph.node.insert(0, widen)


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep onnxruntime's tools from telling the root logger how to use them."""
    root = logging.getLogger()
    before = root.level
    root.setLevel(logging.ERROR)
    try:
        yield
    finally:
        root.setLevel(before)
