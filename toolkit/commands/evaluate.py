"""`toolkit evaluate`."""

import json
from pathlib import Path
from typing import Any

import click

from toolkit.commands.options import PATH, SectionCommand, language_option, load, prediction_options, section_option


@click.command(cls=SectionCommand)
@section_option(
    "Reviews", "--dataset", "folder", type=PATH, default="dataset", show_default=True, help="Data set folder."
)
@section_option(
    "Reviews",
    "--split",
    type=click.Choice(["train", "validation", "test"]),
    default="test",
    show_default=True,
    help="Which of its splits.",
)
@section_option(
    "Reviews", "--file", "file", type=PATH, help="A CSV, JSONL or Parquet file of labelled reviews instead."
)
@section_option("Output", "--json", "as_json", is_flag=True, help="Print one JSON object.")
@language_option("Output")
@prediction_options
def evaluate(folder: Path, split: str, file: Path | None, as_json: bool, lang: str, **model: Any) -> None:  # noqa: ANN401
    """Measure a model on labelled reviews.

    \b
    Examples:
      toolkit evaluate --split test
      toolkit evaluate --file reviews.parquet --backend torch --json
    """
    from toolkit.evaluation import evaluate as run_evaluation
    from toolkit.labels import Label
    from toolkit.splits import read_reviews

    reviews = read_reviews(file or folder / f"{split}.csv")
    metrics = run_evaluation(load(**model), reviews)
    if as_json:
        click.echo(json.dumps(metrics))
        return
    low, high = metrics["accuracy_interval"]
    click.echo(f"accuracy   {metrics['accuracy']:.4f} (95%: {low:.4f} to {high:.4f})")
    for name in ("precision", "recall", "f1", "roc_auc", "ece", "brier"):
        click.echo(
            f"{name:<10} {metrics[name]:.4f}" if metrics[name] is not None else f"{name:<10} undefined: one class only"
        )
    (true_negative, false_positive), (false_negative, true_positive) = metrics["confusion_matrix"]
    negative, positive = (label.display(lang) for label in Label)
    noun = " reviews" if lang == "en" else ""  # the Chinese labels have it in them
    click.echo(f"{negative}{noun}: {true_negative} right, {false_positive} called {positive}")
    click.echo(f"{positive}{noun}: {true_positive} right, {false_negative} called {negative}")
    click.echo(f"{metrics['reviews']} reviews, {metrics['truncated']} truncated, {metrics['reviews_per_second']:.1f} reviews/s "
               f"with {metrics['backend']} on {metrics['device']}")  # fmt: skip
