"""How right each choice of readers is, on any labelled files: prints a row of docs/distillation.md for each.

    python benchmarks/readers.py build/imdb/validation.csv build/imdb/test.csv ../shared/sentences/film.csv

One pass of the transformer for all of them; what `toolkit evaluate --readers auto|both|model` says, in a third of its time.
"""

from pathlib import Path

import click
import numpy as np

from toolkit.benchmark.report import as_markdown
from toolkit.datasets.splits import read_reviews
from toolkit.evaluation.calibration import calibration_metrics
from toolkit.prediction import InferenceOptions, Predictor, load_predictor
from toolkit.prediction.combination import lengths
from toolkit.progress import track

_CHUNK = 512  # reviews between two reports


@click.command()
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--onnx-model", type=click.Path(path_type=Path), default="onnx_model", show_default=True)
def main(files: tuple[Path, ...], onnx_model: Path) -> None:
    """Print the table as Markdown."""
    table = [
        ["texts", "", "n-grams", "the transformer", "both", "auto", "skipped", "ECE of auto", "ECE of the transformer"]
    ]
    with load_predictor("onnx", onnx_model=onnx_model, options=InferenceOptions(readers="model")) as predictor:
        for file in files:
            table.append(_row(file, predictor))
    click.echo(as_markdown(table))


def _row(file: Path, predictor: Predictor) -> list[str]:
    if predictor.ngrams is None:
        raise click.ClickException("the model has no n-gram table; toolkit train --only ngrams adds one")
    reviews = read_reviews(file)
    labels = np.array([int(review.label) for review in reviews])
    sequences = predictor.tokenizer.encode_whole([review.text for review in reviews])
    logits = []
    with track(file.name, "reviews", len(reviews)) as progress:
        for start in range(0, len(reviews), _CHUNK):
            windows = [predictor.tokenizer.windows(ids) for ids in sequences[start : start + _CHUNK]]
            logits += [output.logits for output in predictor.raw_outputs(windows)]
            progress.advance(len(windows))
    model = np.stack(logits)
    answers = predictor.ngrams.rule.answers(predictor.ngrams.table.score(sequences), lengths(sequences), model)
    accuracies = [
        (each.argmax(axis=1) == labels).mean() for each in (answers.ngrams, model, answers.both, answers.auto)
    ]
    errors = [
        calibration_metrics(each, labels, temperature)["ece"]
        for each, temperature in ((answers.auto, 1.0), (model, predictor.manifest.temperature))
    ]
    return [
        file.name, f"{len(reviews):,}", *(f"{each:.4f}" for each in accuracies), f"{answers.skipped.mean():.1%}",
        *(f"{each:.4f}" for each in errors),
    ]  # fmt: skip


if __name__ == "__main__":
    main()
