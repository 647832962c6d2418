"""`toolkit evaluate`."""

import json
from pathlib import Path
from typing import Any

import click

from toolkit.commands.options import PATH, load, prediction_options


@click.command()
@click.option("--dataset", "folder", type=PATH, default="dataset", show_default=True, help="Data set folder.")
@click.option(
    "--split",
    type=click.Choice(["train", "validation", "test"]),
    default="test",
    show_default=True,
    help="Which of its splits.",
)
@click.option("--file", "file", type=PATH, help="A CSV, JSONL or Parquet file of labelled reviews instead.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@prediction_options
def evaluate(folder: Path, split: str, file: Path | None, as_json: bool, **model: Any) -> None:  # noqa: ANN401
    """Measure a model on labelled reviews.

    \b
    Examples:
      toolkit evaluate --split test
      toolkit evaluate --file reviews.parquet --backend torch --json
    """
    from toolkit.evaluation import evaluate as run_evaluation
    from toolkit.splits import read_reviews

    reviews = read_reviews(file or folder / f"{split}.csv")
    metrics = run_evaluation(load(**model), reviews)
    if as_json:
        click.echo(json.dumps(metrics))
        return
    for name in ("accuracy", "precision", "recall", "f1", "roc_auc"):
        click.echo(
            f"{name:<10} {metrics[name]:.4f}" if metrics[name] is not None else f"{name:<10} undefined: one class only"
        )
    (true_negative, false_positive), (false_negative, true_positive) = metrics["confusion_matrix"]
    click.echo(f"negative reviews: {true_negative} right, {false_positive} called positive")
    click.echo(f"positive reviews: {true_positive} right, {false_negative} called negative")
    click.echo(f"{metrics['reviews']} reviews, {metrics['truncated']} truncated, {metrics['reviews_per_second']:.1f} reviews/s "
               f"with {metrics['backend']} on {metrics['device']}")  # fmt: skip
