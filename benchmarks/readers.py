"""How right each choice of readers is, on any labelled files: prints a row of docs/distillation.md for each.

    python benchmarks/readers.py build/imdb/validation.csv build/imdb/test.csv ../shared/sentences/film.csv
    python benchmarks/readers.py ../shared/sentences/film.csv --apart-from build/imdb/train.csv --apart-from build/soft/reviews

One pass of the transformer for all of them; what `toolkit evaluate --readers auto|both|model` says, in a third of its time.
"""

import re
from collections.abc import Sequence
from pathlib import Path

import click

from ngrams import Texts
from toolkit.benchmark.report import as_markdown
from toolkit.datasets.soft_labels import soft_label_files
from toolkit.datasets.splits import read_reviews
from toolkit.evaluation.calibration import calibration_metrics
from toolkit.formats.names import find_column, format_of
from toolkit.formats.tables import read_rows
from toolkit.prediction import InferenceOptions, Predictor, load_predictor
from toolkit.prediction.combination import lengths
from toolkit.training.second_reader import measure_reader

_PHRASE = 4  # words from which on a part of a text is no common phrase


@click.command()
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--onnx-model", type=click.Path(path_type=Path), default="onnx_model", show_default=True)
@click.option(
    "--apart-from",
    multiple=True,
    type=click.Path(path_type=Path),
    help="Leave out what stands in the texts of this file or folder, as a model has learnt from them.",
)
def main(files: tuple[Path, ...], onnx_model: Path, apart_from: tuple[Path, ...]) -> None:
    """Print the table as Markdown."""
    learnt = _joined(apart_from)
    table = [
        ["texts", "", "n-grams", "the transformer", "both", "auto", "skipped", "ECE of auto", "ECE of the transformer"]
    ]
    with load_predictor("onnx", onnx_model=onnx_model, options=InferenceOptions(readers="model")) as predictor:
        for file in files:
            table.append(_row(file, predictor, learnt))
    click.echo(as_markdown(table))


def _joined(places: Sequence[Path]) -> str:
    """The words of all texts of files and folders, each text between bars."""
    texts = []
    for path in soft_label_files(places) if places else ():
        for _, row, _ in read_rows(path, format_of(path) or "", lambda names: [find_column(names, None) or ""]):
            texts += [_words(str(text)) for text in row.values()]
    return "".join(f"| {text} |" for text in texts)


def _words(text: str) -> str:
    return re.sub(r"[^a-z0-9]+", " ", text.lower()).strip()


def _stands_in(text: str, joined: str) -> bool:
    """Whether a text is one of those, or a part of one that is no common phrase."""
    words = _words(text)
    return f"| {words} |" in joined or (words.count(" ") + 1 >= _PHRASE and f" {words} " in joined)


def _row(file: Path, predictor: Predictor, learnt: str) -> list[str]:
    if predictor.ngrams is None:
        raise click.ClickException("the model has no n-gram table; toolkit train --only ngrams adds one")
    texts = Texts.of([review for review in read_reviews(file) if not _stands_in(review.text, learnt)], predictor)
    scores = predictor.ngrams.table.score(texts.sequences)
    found = measure_reader(predictor.ngrams.rule, scores, lengths(texts.sequences), texts.logits, texts.labels)
    model = calibration_metrics(texts.logits, texts.labels, predictor.manifest.temperature)
    accuracies = (found["accuracy_ngrams"], texts.right(texts.logits), found["accuracy_both"], found["accuracy_auto"])
    return [
        file.name, f"{len(texts.labels):,}", *(f"{each:.4f}" for each in accuracies), f"{found['skipped']:.1%}",
        f"{found['ece_auto']:.4f}", f"{model['ece']:.4f}",
    ]  # fmt: skip


if __name__ == "__main__":
    main()
