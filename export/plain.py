"""Graphs of standard operators: as they were converted, and in int8 with a scale a token."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from export.quantize import look_up_int8, rows_to_int8, to_int8
from export.restructure import declare_one_text, keep_used_weights
from toolkit.errors import needs_extra

_TOKEN_TYPES = "token_type_ids"  # noqa: S105 - no secret; a review has one segment, of type 0
_OPSET = 18  # ReduceMax takes its axes as an input from then on
_ZERO = 128  # of activations in uint8, whose 1 to 255 stand for -127 to 127
_SMALLEST = 1e-12  # scale of a row of zeros


def fix_token_types(source: Path, target: Path) -> Path:
    """Let a graph that asks for token types make them itself, all 0, as a review alone has them.

    Args:
        source: A float graph.
        target: The file to write, whose inputs are ids and mask.
    """
    with needs_extra("train", "exporting"):
        import onnx

    model = onnx.load(source)
    kept = [each for each in model.graph.input if each.name != _TOKEN_TYPES]
    if len(kept) < len(model.graph.input):
        zeros = onnx.helper.make_node("Sub", ["input_ids", "input_ids"], [_TOKEN_TYPES], name=_TOKEN_TYPES)
        del model.graph.input[:]
        model.graph.input.extend(kept)
        model.graph.node.insert(0, zeros)
    onnx.save(model, target)
    return target


def for_one_text(source: Path, target: Path) -> Path:
    """The same graph for one text at a time, see `declare_one_text`.

    Args:
        source: A float graph.
        target: The file to write.
    """
    with needs_extra("train", "exporting"):
        import onnx

    model = onnx.load(source)
    declare_one_text(model.graph)
    onnx.save(model, target)
    return target


def quantize_rows(source: Path, target: Path) -> Path:
    """Compute every product with weights in int8, each row of the activations, a token's, with a scale of its own.

    Other dynamic quantisation has a scale a tensor: a token with large activations spends the precision of all others, and
    in a padded batch a text's score depends on its neighbours. With a scale a row it does not. Every operator is one of the
    standard's, so that other runtimes than onnxruntime run the graph. Weights have a scale a column, see `to_int8`.

    Args:
        source: A float graph.
        target: The file to write; its inputs are those of `source`.
    """
    with needs_extra("train", "quantising"):
        import onnx
        from onnx import numpy_helper, version_converter

    model = onnx.load(source)
    if next(each.version for each in model.opset_import if each.domain in ("", "ai.onnx")) < _OPSET:
        model = version_converter.convert_version(model, _OPSET)
    weights = {each.name: numpy_helper.to_array(each) for each in model.graph.initializer}
    writer = _Rows(model.graph)
    for node in list(model.graph.node):
        weight = next((name for name in node.input[:2] if name in weights and weights[name].ndim == 2), None)
        if node.op_type == "MatMul" and weight == node.input[1]:
            writer.multiply(node, weights[weight])
        elif node.op_type == "Gather" and weight == node.input[0] and min(weights[weight].shape) > 1:
            writer.nodes += look_up_int8(node, writer.store(weight, *rows_to_int8(weights[weight])))
        else:
            writer.nodes.append(node)
    writer.finish()
    onnx.save(model, target)
    return target


class _Rows:
    """Nodes for a quantised graph, in order; the rows of an activation are quantised once, however many products read them."""

    def __init__(self, graph: Any) -> None:  # noqa: ANN401 - onnx ships no types
        from onnx import helper, numpy_helper

        self._graph = graph
        self._make, self._from_array = helper.make_node, numpy_helper.from_array
        self._stored: set[str] = set()
        self._quantized: dict[str, tuple[str, str]] = {}
        self.nodes: list[Any] = []

    def store(self, weight: str, narrowed: np.ndarray, scale: np.ndarray) -> list[str]:
        """Names of int8 weights and their scales."""
        return [self._constant(f"{weight}/int8", narrowed), self._constant(f"{weight}/scale", scale)]

    def multiply(self, node: Any, weights: np.ndarray) -> None:  # noqa: ANN401
        """A product of activations (…, in) with weights (in, out)."""
        rows, row_scale = self._rows(node.input[0])
        narrowed, column_scale = self.store(node.input[1], *to_int8(weights))
        product, widened, scaled = (f"{node.output[0]}/{name}" for name in ("int32", "float", "scaled"))
        self._add("MatMulInteger", [rows, narrowed, self._constant("rows/zero", np.uint8(_ZERO))], product)
        self._add("Cast", [product], widened, to=1)
        self._add("Mul", [widened, row_scale], scaled)
        self._add("Mul", [scaled, column_scale], node.output[0])

    def finish(self) -> None:
        """Put the nodes in the place of the graph's own."""
        copies = [
            type(node).FromString(node.SerializeToString()) for node in self.nodes
        ]  # the graph frees its own below
        del self._graph.node[:], self._graph.value_info[:]
        self._graph.node.extend(copies)
        keep_used_weights(self._graph)

    def _rows(self, tensor: str) -> tuple[str, str]:
        """Names of the rows of an activation in uint8, and of their scales (…, 1)."""
        if tensor not in self._quantized:
            names: Iterator[str] = (
                f"{tensor}/rows/{name}"
                for name in ("abs", "max", "over", "scale", "divided", "rounded", "moved", "uint8")
            )
            absolute, largest, over, scale, divided, rounded, moved, narrowed = names
            self._add("Abs", [tensor], absolute)
            self._add("ReduceMax", [absolute, self._constant("rows/axes", np.array([-1]))], largest, keepdims=1)
            self._add("Max", [largest, self._constant("rows/smallest", np.float32(_SMALLEST))], over)
            self._add("Mul", [over, self._constant("rows/step", np.float32(1 / 127))], scale)
            self._add("Div", [tensor, scale], divided)
            self._add("Round", [divided], rounded)
            self._add("Add", [rounded, self._constant("rows/middle", np.float32(_ZERO))], moved)
            self._add("Cast", [moved], narrowed, to=2)
            self._quantized[tensor] = (narrowed, scale)
        return self._quantized[tensor]

    def _add(self, kind: str, inputs: list[str], output: str, **attributes: int) -> None:
        self.nodes.append(self._make(kind, inputs, [output], name=output, **attributes))

    def _constant(self, name: str, values: "np.ndarray | np.number[Any]") -> str:
        if name not in self._stored:
            self._stored.add(name)
            self._graph.initializer.append(self._from_array(np.asarray(values), name))
        return name
