"""What int8 costs and buys: prints the tables of docs/quantization.md.

    python benchmarks/quantization.py --kind-reviews 400

Every model answers the same reviews in turn, chunk by chunk, on every core, one review at a time.
"""

import random
import re
import tempfile
from collections.abc import Mapping
from functools import partial
from pathlib import Path

import click
import numpy as np
import onnx

from export.convert import convert_to_onnx
from export.parity import Parity, compare, measure
from export.quantize import quantize, quantize_to_int8
from export.restructure import restructure
from toolkit.compat import quiet_root_logger
from toolkit.datasets.splits import read_reviews
from toolkit.models.adapter import load_adapter, merge_adapter
from toolkit.prediction.onnx_backend import OnnxPredictor
from toolkit.text.tokenisation import ReviewTokenizer

KINDS = {"embeddings": "word_embeddings", "q, k, v": "^Attention", "attention out": "out_lin", "ffn lin1": "ffn/lin1",
         "ffn lin2": "ffn/lin2"}  # fmt: skip


@click.command()
@click.option("--adapter", type=click.Path(path_type=Path), default="lora_model", show_default=True)
@click.option("--parity-set", type=click.Path(path_type=Path), default="build/imdb/validation.csv", show_default=True)
@click.option("--kind-reviews", default=600, show_default=True, help="Reviews for the table by kind of layer.")
@click.option("--recipe-reviews", default=2483, show_default=True, help="Reviews for the table of recipes.")
@click.option("--seed", default=0, show_default=True)
def main(adapter: Path, parity_set: Path, kind_reviews: int, recipe_reviews: int, seed: int) -> None:
    """Print both tables as Markdown."""
    model, manifest = load_adapter(adapter)
    tokenizer = ReviewTokenizer.from_file(adapter / "tokenizer.json", manifest.max_length)
    reviews = read_reviews(parity_set)
    reviews = random.Random(seed).sample(reviews, len(reviews))
    encodings = tokenizer.encode_windows([review.text for review in reviews])
    lengths = [len(windows[0].input_ids) for windows in encodings]

    def judge(graphs: Mapping[str, Path], count: int) -> dict[str, Parity]:
        predictors = {name: OnnxPredictor.of_graph(graph, tokenizer, manifest) for name, graph in graphs.items()}
        count = min(count, len(reviews))
        measured = measure(predictors, encodings[:count])
        reference = measured["float"].logits
        return {
            name: compare(name, reference, measured[name], reviews[:count], lengths[:count], graph.stat().st_size)
            for name, graph in graphs.items()
        }

    with tempfile.TemporaryDirectory(prefix="quantization.") as name:
        folder = Path(name)
        source = convert_to_onnx(merge_adapter(model), folder)
        graphs = {"float": folder / "float.onnx"}
        onnx.save(restructure(source), graphs["float"])
        for number, (kind, pattern) in enumerate(KINDS.items()):
            graphs[kind] = folder / f"{number}.onnx"
            onnx.save(quantize(restructure(source), partial(_matches, pattern)), graphs[kind])
        _print("in int8, all else float", judge(graphs, kind_reviews))

        recipes = {
            "float": source,
            "float, restructured": graphs["float"],
            "int8 by onnxruntime's tool": folder / "tool.onnx",
            "restructured, 7-bit weights": folder / "seven_bits.onnx",
            "restructured, all tokens together": folder / "together.onnx",
            "**as exported**": folder / "exported.onnx",
        }
        _quantize_with_the_tool(source, recipes["int8 by onnxruntime's tool"])
        onnx.save(quantize(restructure(source), narrow=_seven_bits), recipes["restructured, 7-bit weights"])
        onnx.save(quantize(restructure(source, False)), recipes["restructured, all tokens together"])
        quantize_to_int8(source, recipes["**as exported**"])
        click.echo()
        _print("recipe", judge(recipes, recipe_reviews))


def _quantize_with_the_tool(source: Path, target: Path) -> None:
    from onnxruntime.quantization import QuantType, quantize_dynamic

    with quiet_root_logger():
        quantize_dynamic(
            source, target, per_channel=True, reduce_range=True, weight_type=QuantType.QInt8,
            extra_options={"DefaultTensorType": onnx.TensorProto.FLOAT},
        )  # fmt: skip


def _matches(pattern: str, name: str) -> bool:
    return re.search(pattern, name) is not None


def _seven_bits(weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """What `reduce_range` makes of weights."""
    scale = (np.abs(weights).max(axis=0) / 64).astype(np.float32)
    return np.rint(weights / scale).astype(np.int8), scale


def _print(heading: str, judged: Mapping[str, Parity]) -> None:
    click.echo(
        f"| {heading} | mean \\|Δlogit\\| | max | flips | accuracy | MB | speed |\n|---|---|---|---|---|---|---|"
    )
    base = judged["float"].reviews_per_second
    for name, parity in judged.items():
        click.echo(
            f"| {name} | {parity.mean_difference:.4f} | {parity.max_difference:.3f} | {parity.flips} of {parity.reviews} | "
            f"{parity.accuracy:.4f} | {parity.bytes / 1e6:.1f} | {parity.reviews_per_second / base:.2f} × |"
        )


if __name__ == "__main__":
    main()
