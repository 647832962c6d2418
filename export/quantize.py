"""Dynamic int8 quantisation of a DistilBERT classifier, for CPUs."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from export.restructure import keep_used_weights, restructure
from toolkit.errors import needs_extra


def quantize_to_int8(source: Path, target: Path) -> Path:
    """Restructure the graph, then compute every product of the encoder in int8.

    Weights become int8, a scale a column; activations uint8 as they come, a scale a tensor; biases, attention's own
    products, normalisations and the classifier stay float32. docs/quantization.md has the measurements.

    Args:
        source: a float graph beside its `config.json`.
        target: the file to write; its only input is `input_ids`, one review unpadded.

    Raises:
        ExportError: the graph is not a DistilBERT's.
    """
    with needs_extra("train", "quantising"):
        import onnx

    onnx.save(quantize(restructure(source)), target)
    return target


def to_int8(weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Round weights to int8, such that a CPU without VNNI cannot overflow.

    Such a CPU adds a0 w0 + a1 w1, two neighbours of a column times activations of 0 to 255, in a signed 16-bit
    integer (`vpmaddubsw`, which saturates at 32,767 = 128.5 * 255). So of each pair, neither the positive weights nor
    the negative ones may add up to more than 128. The usual remedy, a bit less for every weight (`reduce_range`), pays
    for the rare pair of two large ones with twice the rounding error; here the column's scale is widened by what its
    worst pair needs.

    Args:
        weights: (in, out) float32.

    Returns:
        (in, out) int8 and (out,) float32 scales: `weights` is about their product.
    """
    scale = np.maximum(np.abs(weights).max(axis=0) / 127, _pair_sums(weights).max(axis=0) / 128).astype(np.float32)
    scale[scale == 0] = 1
    nearest = np.rint(weights / scale)
    over = np.repeat(_pair_sums(nearest) > 128, 2, axis=0)[: len(weights)]  # by the rounding of both, at most
    return np.where(over, np.trunc(weights / scale), nearest).astype(np.int8), scale


def quantize(
    model: Any,  # noqa: ANN401 - onnx ships no types
    chosen: Callable[[str], bool] = lambda name: True,
    narrow: Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]] = to_int8,
) -> Any:  # noqa: ANN401
    """Quantise a restructured model in place.

    Args:
        model: The model that `restructure` returned.
        chosen: Says, given the name of a product or of the embedding, whether to quantise it.
        narrow: Turns (in, out) weights into int8 and their (out,) scales.
    """
    from onnx import helper, numpy_helper

    graph = model.graph
    weights = {each.name: numpy_helper.to_array(each) for each in graph.initializer}
    readers = {name: node for node in graph.node for name in node.input}
    stored: set[str] = set()

    def store(weight: str, narrowed: np.ndarray, scale: np.ndarray) -> list[str]:
        names = [f"{weight}/int8", f"{weight}/scale"]
        if weight not in stored:  # the first token's product and the others' share their weights
            stored.add(weight)
            graph.initializer.extend(map(numpy_helper.from_array, (narrowed, scale), names))
        return names

    nodes, done = [], set()
    for node in graph.node:
        if node.output[0] in done:
            continue
        weight = next((name for name in node.input[:2] if name in weights and weights[name].ndim == 2), None)
        if weight is None or node.op_type not in ("MatMul", "Gather") or not chosen(node.name):
            nodes.append(node)
        elif node.op_type == "Gather":
            nodes += look_up_int8(node, store(weight, *rows_to_int8(weights[weight])))
        else:
            add = readers[node.output[0]]
            bias = next(name for name in add.input if name in weights)
            done.add(add.output[0])
            nodes.append(helper.make_node(
                "DynamicQuantizeMatMul", [node.input[0], *store(weight, *narrow(weights[weight])), "", bias],
                [add.output[0]], name=node.name, domain="com.microsoft",
            ))  # fmt: skip
    nodes = [type(node).FromString(node.SerializeToString()) for node in nodes]  # the graph frees its own below
    del graph.node[:]
    graph.node.extend(nodes)
    keep_used_weights(graph)
    return model


def look_up_int8(node: Any, table: list[str]) -> list[Any]:  # noqa: ANN401
    """The embeddings of tokens, widened after they are looked up: the whole table never is."""
    from onnx import TensorProto, helper

    narrowed, scale, widened, found = (f"{node.name}/{name}" for name in ("int8", "scale", "float", "rows"))
    return [
        helper.make_node("Gather", [table[0], node.input[1]], [narrowed], name=narrowed),
        helper.make_node("Gather", [table[1], node.input[1]], [scale], name=scale),
        helper.make_node("Cast", [narrowed], [widened], name=widened, to=TensorProto.FLOAT),
        helper.make_node("Mul", [widened, scale], [node.output[0]], name=found),
    ]


def rows_to_int8(table: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """A table (rows, n) as int8 and its (rows, 1) scales."""
    scale = (np.abs(table).max(axis=1, keepdims=True) / 127).astype(np.float32)
    scale[scale == 0] = 1
    return np.rint(table / scale).astype(np.int8), scale


def _pair_sums(weights: np.ndarray) -> np.ndarray:
    """Of rows 2i and 2i + 1, the sum of what is positive or of what is negative, the larger; (in / 2, out)."""
    padded = np.concatenate([weights, np.zeros_like(weights[: len(weights) % 2])])
    positive, negative = (np.maximum(part[0::2], 0) + np.maximum(part[1::2], 0) for part in (padded, -padded))
    sums: np.ndarray = np.maximum(positive, negative)
    return sums
