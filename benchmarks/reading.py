"""What reading less or otherwise costs the transformer: prints the table of docs/model.md.

    python benchmarks/reading.py --onnx-model onnx_model --parity-set build/imdb/validation.csv

Every way of reading answers the same reviews with the same graph; scores are not compared, labels are.
"""

import time
from pathlib import Path
from typing import get_args

import click
import numpy as np

from toolkit.choices import Truncation
from toolkit.datasets.splits import Review, read_reviews
from toolkit.prediction import InferenceOptions, Predictor, load_predictor

LENGTHS = (120, 256, 512)


@click.command()
@click.option("--onnx-model", type=click.Path(path_type=Path), default="onnx_model", show_default=True)
@click.option("--parity-set", type=click.Path(path_type=Path), default="build/imdb/validation.csv", show_default=True)
@click.option("--reviews", default=0, help="How many of them, from the first; 0 for all.")
def main(onnx_model: Path, parity_set: Path, reviews: int) -> None:
    """Print the table as Markdown."""
    chosen = read_reviews(parity_set)
    chosen = chosen[:reviews] if reviews else chosen
    tokens = [
        each.tokens for each in load_predictor("onnx", onnx_model=onnx_model).tokenizer.encode([r.text for r in chosen])
    ]
    quartiles = np.array_split(np.argsort(tokens, kind="stable"), 4)
    spans = [f"{tokens[each[0]]}–{tokens[each[-1]]}" for each in quartiles]
    columns = f"| tokens read | reviews/s | accuracy | {' | '.join(f'of {span} tokens' for span in spans)} |"
    click.echo(f"| reading | at most {columns}\n|---|{'---|' * 8}")
    for length in LENGTHS:
        for truncation in get_args(Truncation):
            predictor = load_predictor(
                "onnx", onnx_model=onnx_model, options=InferenceOptions(length, truncation, readers="model")
            )
            click.echo(f"| {truncation} | {length} | {_row(predictor, chosen, quartiles)} |")


def _row(predictor: Predictor, reviews: list[Review], quartiles: list[np.ndarray]) -> str:
    list(predictor.predict_many(["Ready.", "Set."]))  # opens the session
    started = time.perf_counter()
    predictions = list(predictor.predict_many(review.text for review in reviews))
    seconds = time.perf_counter() - started
    right = np.array(
        [prediction.label == review.label for prediction, review in zip(predictions, reviews, strict=True)]
    )
    read = sum(prediction.tokens_read for prediction in predictions)
    cells = [f"{read:,}", f"{len(reviews) / seconds:.1f}", f"{right.mean():.4f}"]
    return " | ".join(cells + [f"{right[quartile].mean():.4f}" for quartile in quartiles])


if __name__ == "__main__":
    main()
