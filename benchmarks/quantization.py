"""What int8 costs and buys, layer by layer: prints the tables of docs/quantization.md.

    python benchmarks/quantization.py --adapter lora_model --proof build/imdb/validation.csv

Every model answers the same reviews in turn, chunk by chunk, on every core, one review at a time.
"""

import random
import re
import tempfile
from collections.abc import Mapping
from pathlib import Path

import click

from export.convert import convert_to_onnx
from export.parity import Parity, compare, measure
from export.quantize import KEPT_FLOAT, fuse, quantize_nodes, quantize_to_int8, weight_nodes
from toolkit.adapter import load_adapter, merge_adapter
from toolkit.prediction.onnx_backend import OnnxPredictor
from toolkit.splits import read_reviews
from toolkit.text import ReviewTokenizer

KINDS = {"embeddings": r"EmbedLayer|word_embeddings", "q, k, v": r"^Attention", "attention out": "out_lin", "ffn lin1": "ffn/lin1",
         "ffn lin2": "ffn/lin2"}  # fmt: skip


@click.command()
@click.option("--adapter", type=click.Path(path_type=Path), default="lora_model", show_default=True)
@click.option("--proof", type=click.Path(path_type=Path), default="build/imdb/validation.csv", show_default=True)
@click.option("--layer-reviews", default=600, show_default=True, help="Reviews for the table by layer.")
@click.option("--recipe-reviews", default=2483, show_default=True, help="Reviews for the table of recipes.")
@click.option("--seed", default=0, show_default=True)
def main(adapter: Path, proof: Path, layer_reviews: int, recipe_reviews: int, seed: int) -> None:
    """Print both tables as Markdown."""
    model, manifest = load_adapter(adapter)
    tokenizer = ReviewTokenizer.from_file(adapter / "tokenizer.json", manifest.max_length)
    reviews = read_reviews(proof)
    reviews = random.Random(seed).sample(reviews, len(reviews))
    encodings = tokenizer.encode([review.text for review in reviews])
    lengths = [len(encoding.input_ids) for encoding in encodings]

    def judge(graphs: Mapping[str, Path], count: int) -> dict[str, Parity]:
        predictors = {name: OnnxPredictor(graph, tokenizer, manifest) for name, graph in graphs.items()}
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
        fused = folder / "fused.onnx"
        fuse(source, fused)
        nodes = weight_nodes(fused)
        kinds = {kind: [node for node in nodes if re.search(pattern, node)] for kind, pattern in KINDS.items()}
        everything = [node for group in kinds.values() for node in group]

        alone = {"float": fused}
        for kind, group in kinds.items():
            alone[kind] = quantize_nodes(fused, folder / f"{len(alone)}.onnx", group)
            for number, node in enumerate(group if kind != "embeddings" else []):
                alone[f"{kind} {number}"] = quantize_nodes(fused, folder / f"{len(alone)}.onnx", [node])
        click.echo(
            "| in int8, all else float | mean \\|Δlogit\\| | max | flips | accuracy | MB | speed |\n|---|---|---|---|---|---|---|"
        )
        _print(judge(alone, layer_reviews))

        but_lin2 = [node for node in everything if node not in kinds["ffn lin2"]]
        recipes = {
            "float": source,
            "int8 throughout, without fusion": quantize_nodes(source, folder / "unfused.onnx", weight_nodes(source)),
            "int8 throughout": quantize_nodes(fused, folder / "throughout.onnx", everything),
            "all but ffn lin2": quantize_nodes(fused, folder / "but_lin2.onnx", but_lin2),
            f"**as exported**: all but {', '.join(KEPT_FLOAT)}": quantize_to_int8(source, folder / "exported.onnx"),
        }
        click.echo(
            "\n| recipe | mean \\|Δlogit\\| | max | flips | accuracy | MB | speed |\n|---|---|---|---|---|---|---|"
        )
        _print(judge(recipes, recipe_reviews))


def _print(judged: Mapping[str, Parity]) -> None:
    base = judged["float"].reviews_per_second
    for name, parity in judged.items():
        click.echo(
            f"| {name} | {parity.mean_difference:.4f} | {parity.max_difference:.3f} | {parity.flips} of {parity.reviews} | "
            f"{parity.accuracy:.4f} | {parity.bytes / 1e6:.1f} | {parity.reviews_per_second / base:.2f} × |"
        )


if __name__ == "__main__":
    main()
