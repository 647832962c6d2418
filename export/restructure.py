"""The float graph in the shape that suits a CPU: few large products, and for int8 the first token on a way of its own."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from toolkit.compat import fuse_attention
from toolkit.errors import ExportError
from toolkit.models.files import read_json_object

WHOLE, FIRST, OTHERS = "", "/first", "/others"  # endings of the names of a (1, T, n) tensor and of its parts


def restructure(source: Path, first_token_apart: bool = True) -> Any:  # noqa: ANN401 - onnx ships no types
    """Fuse a DistilBERT classifier's graph and rearrange it; its logits stay the same but for float rounding.

    - q, k and v are one product, so that their input is quantised once, and attention is one node without a mask:
      a review that runs unpadded and alone hides no token. The graph must never be fed a padded batch.
    - Residual sums are `Sum` nodes: onnxruntime 1.32 would join an `Add` with the normalisation behind it, on
      loading the graph, into one node that takes twice the time of the two.
    - The first token, [CLS], goes through each layer beside the others, not among them: it has activations several
      times as large as any other token's (arXiv:2402.17762), and int8 has one scale a tensor.
    - Of the last layer only the first token is computed: the classifier reads no other.

    Args:
        source: a float graph beside its `config.json`.
        first_token_apart: False leaves the tokens together, for comparison.

    Returns:
        An `onnx.ModelProto` with `input_ids` (1, T) as its only input.

    Raises:
        ExportError: the graph is not a DistilBERT's.
    """
    from onnx.helper import make_opsetid

    config = read_json_object(source.parent / "config.json")
    model = fuse_attention(source, config["n_heads"], config["dim"])
    attentions = sum(node.op_type == "MultiHeadAttention" for node in model.graph.node)
    if attentions != config["n_layers"]:
        raise ExportError(
            f"expected a DistilBERT's graph with {config['n_layers']} attentions, one a layer, found {attentions}; "
            "train on a DistilBERT, with the versions of constraints.txt"
        )
    model.opset_import.append(make_opsetid("com.microsoft", 1))
    _rearrange(model.graph, [FIRST, OTHERS] if first_token_apart else [WHOLE])
    declare_one_text(model.graph)
    return model


def fuse(source: Path, target: Path) -> Path:
    """Write the restructured float graph, tokens together: the same logits in less time.

    Args:
        source: a float graph beside its `config.json`.
        target: the file to write; its only input is `input_ids`, one review unpadded.

    Raises:
        ExportError: the graph is not a DistilBERT's.
    """
    import onnx

    onnx.save(restructure(source, first_token_apart=False), target)
    return target


def declare_one_text(graph: Any) -> None:  # noqa: ANN401
    """Say in the shapes of inputs and outputs that a batch has one text, so that onnxruntime refuses a padded batch.

    A graph without a mask would read the padding, and one in int8 with a scale a tensor would give a text another score in other
    company, both without a word.
    """
    for each in (*graph.input, *graph.output):
        each.type.tensor_type.shape.dim[0].dim_value = 1  # which clears the name that stood there


def keep_used_weights(graph: Any) -> None:  # noqa: ANN401
    """Drop the weights that no node reads any more."""
    used = {name for node in graph.node for name in node.input}
    kept = [weight for weight in graph.initializer if weight.name in used]
    del graph.initializer[:]
    graph.initializer.extend(kept)


def _rearrange(graph: Any, parts: Sequence[str]) -> None:  # noqa: ANN401
    """Write the nodes anew: of every tensor between the first attention and the classifier, only the named parts."""
    writer = _Writer(graph)
    nodes = list(graph.node)
    makers = {node.output[0]: node for node in nodes}
    attentions = [node for node in nodes if node.op_type == "MultiHeadAttention"]
    projections = {name for attention in attentions for name in attention.input[:3]}
    hidden: set[str] = set()  # (1, T, n) tensors
    for node in nodes:
        if node.output[0] in projections:
            continue  # written with its attention
        if node.op_type == "MultiHeadAttention":
            source = makers[node.input[0]].input[0]
            weights = [writer.values(makers[name].input[1]) for name in node.input[:3]]  # (n, n) each
            biases = np.split(writer.values(node.input[3]), 3)  # (n,) each
            projected = list(zip(node.input[:3], weights, biases, strict=True))
            if node is attentions[-1]:
                parts = [FIRST]
                writer.project(f"{node.name}/q", writer.part(source, FIRST), projected[:1])
                writer.project(f"{node.name}/kv", writer.part(source, WHOLE), projected[1:])
            else:
                writer.project(f"{node.name}/qkv", writer.part(source, WHOLE), projected)
            del node.input[3:]
            writer.add(node, FIRST if node is attentions[-1] else WHOLE)
            hidden |= {source, node.output[0]}
        elif hidden.isdisjoint(node.input):
            writer.add(node)
        elif node.op_type == "Gather":  # of the first token, for the classifier
            node.input[0] = writer.part(node.input[0], FIRST)
            writer.add(node)
        else:
            for part in parts:
                writer.add_part(node, part, hidden)
            hidden.add(node.output[0])
    writer.finish()


class _Writer:
    """Nodes for a graph, in order; the parts of a tensor, and a tensor from its parts, are made when first needed."""

    def __init__(self, graph: Any) -> None:  # noqa: ANN401
        from onnx import helper, numpy_helper

        self._graph = graph
        self._make_node, self._to_array, self._from_array = (
            helper.make_node,
            numpy_helper.to_array,
            numpy_helper.from_array,
        )
        self._weights = {weight.name: weight for weight in graph.initializer}
        self._nodes: list[Any] = []
        self._made: set[str] = set()

    def values(self, weight: str) -> np.ndarray:
        array: np.ndarray = self._to_array(self._weights[weight])
        return array

    def add(self, node: Any, ending: str = WHOLE) -> None:  # noqa: ANN401
        copy = type(node).FromString(node.SerializeToString())
        copy.output[0] += ending
        self._nodes.append(copy)
        self._made.update(copy.output)

    def add_part(self, node: Any, part: str, hidden: set[str]) -> None:  # noqa: ANN401
        """A node that treats every token alike, for some of them."""
        copy = type(node).FromString(node.SerializeToString())
        copy.name += part
        for number, name in enumerate(copy.input):
            if name in hidden:
                copy.input[number] = self.part(name, part)
        if copy.op_type == "Add" and hidden.issuperset(node.input):
            copy.op_type = "Sum"  # the residual's; see `restructure`
        self.add(copy, part)

    def part(self, tensor: str, part: str) -> str:
        """The name of a part of a tensor, or of the whole."""
        name = tensor + part
        if name not in self._made and part == WHOLE:
            self.add(self._make_node("Concat", [tensor + FIRST, tensor + OTHERS], [name], name=name, axis=1))
        elif name not in self._made:
            start, end = (0, 1) if part == FIRST else (1, np.iinfo(np.int64).max)
            bounds = [self._store(f"token/{bound}", np.array([bound])) for bound in (start, end, 1)]
            self.add(self._make_node("Slice", [self.part(tensor, WHOLE), *bounds], [name], name=name))
        return name

    def project(self, name: str, source: str, projected: Sequence[tuple[str, np.ndarray, np.ndarray]]) -> None:
        """One product of `source` with several weights side by side, and the pieces of it.

        Args:
            name: The name of the product.
            source: The tensor that is multiplied.
            projected: The name, weights (n, n) and bias (n,) of each piece.
        """
        outputs, weights, biases = zip(*projected, strict=True)
        weight = self._store(f"{name}/weight", np.concatenate(weights, axis=1))
        bias = self._store(f"{name}/bias", np.concatenate(biases))
        self.add(self._make_node("MatMul", [source, weight], [f"{name}/product"], name=name))
        pieces = f"{name}/pieces" if len(outputs) > 1 else outputs[0]
        self.add(self._make_node("Add", [f"{name}/product", bias], [pieces], name=f"{name}/add"))
        if len(outputs) > 1:
            self.add(self._make_node("Split", [pieces], outputs, name=pieces, axis=-1, num_outputs=len(outputs)))

    def finish(self) -> None:
        del self._graph.node[:], self._graph.value_info[:]
        self._graph.node.extend(self._nodes)
        keep_used_weights(self._graph)

    def _store(self, name: str, values: np.ndarray) -> str:
        if name not in self._weights:
            self._weights[name] = self._from_array(values, name)
            self._graph.initializer.append(self._weights[name])
        return name
