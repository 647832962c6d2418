"""What stopping early would cost, by rule: prints the table of docs/performance.md.

python benchmarks/early_stop.py --onnx-model onnx_model --proof build/imdb/validation.csv
"""

from pathlib import Path

import click
import numpy as np

from export.early_stop import FIRST_LOOKS, THRESHOLDS, _Looks, _margins
from toolkit.prediction import load_predictor
from toolkit.splits import read_reviews


@click.command()
@click.option("--onnx-model", type=click.Path(path_type=Path), default="onnx_model", show_default=True)
@click.option("--proof", type=click.Path(path_type=Path), default="build/imdb/validation.csv", show_default=True)
def main(onnx_model: Path, proof: Path) -> None:
    """Print every rule's tokens, the accuracy it gives, and the loss that calibrated scores promise."""
    reviews = read_reviews(proof)
    predictor = load_predictor("onnx", onnx_model=onnx_model)
    labels = np.array([int(review.label) for review in reviews])
    encodings = predictor.tokenizer.encode([review.text for review in reviews])
    full_tokens = sum(len(encoding.input_ids) for encoding in encodings)
    full = _margins(predictor, encodings) / predictor.manifest.temperature
    print(f"full: accuracy {((full > 0) == labels).mean():.4f}")  # noqa: T201
    click.echo(
        "| first look | enough at | stopped | tokens read | accuracy | points lost | promised |\n|---|---|---|---|---|---|---|"
    )
    for first in FIRST_LOOKS:
        looks = _Looks(predictor, first, reviews, labels)
        for threshold in (*THRESHOLDS, 1.1):
            loss, tokens = looks.judge(threshold, full)
            sure = 1 / (1 + np.exp(-np.abs(looks.first / looks.rule.temperature))) >= threshold
            stopped = sure | ~looks.has_rest
            right = ((np.where(stopped, looks.first, looks._combined) > 0) == labels).mean()
            lost = 100 * (((full > 0) == labels).mean() - right)
            click.echo(
                f"| {first} | {threshold} | {(sure & looks.has_rest).sum() / looks.has_rest.sum():.0%} "
                f"| {tokens / full_tokens:.0%} | {right:.4f} | {lost:+.2f} | {100 * loss:.2f} |"
            )


if __name__ == "__main__":
    main()
