"""The study behind the n-gram table: its settings, how much it weighs in short texts, and when it decides alone.

    python benchmarks/ngrams.py --dataset build/imdb --onnx-model onnx_model [--sentences ../shared/sentences/film.csv]

prints the three tables of docs/model.md. Everything is judged on validation and out of fold; the test split is not read.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from random import Random
from typing import Any
from unittest.mock import patch

import click
import numpy as np

from toolkit.datasets.splits import Review, read_reviews
from toolkit.evaluation import combining
from toolkit.evaluation.calibration import calibration_metrics
from toolkit.prediction import InferenceOptions, Predictor, load_predictor
from toolkit.prediction.combination import Combination, lengths
from toolkit.prediction.ngrams import NgramScores, NgramTable
from toolkit.progress import track
from toolkit.training.ngrams import FittedNgrams, NgramSettings, fit_ngrams

_SENTENCE_END = re.compile(r"(?<=[.!?])\s")
_VARIANTS: tuple[tuple[str, tuple[int, ...], dict[str, Any]], ...] = (
    ("the settings", (1, 2, 3), {}),
    ("orders 1 and 2", (1, 2), {"minimum_counts": (3, 3)}),
    ("orders 1 to 4", (1, 2, 3, 4), {"minimum_counts": (3, 3, 5, 5)}),
    ("minimum counts 2, 2, 3", (1, 2, 3), {"minimum_counts": (2, 2, 3)}),
    ("minimum counts 5, 5, 8", (1, 2, 3), {"minimum_counts": (5, 5, 8)}),
    ("C 0.03", (1, 2, 3), {"regularisation": 0.03}),
    ("C 0.3", (1, 2, 3), {"regularisation": 0.3}),
    ("2^18 rows, 0.5 MB", (1, 2, 3), {"buckets": 1 << 18}),
    ("2^19 rows, 1.0 MB", (1, 2, 3), {"buckets": 1 << 19}),
    ("2^21 rows, 4.2 MB", (1, 2, 3), {"buckets": 1 << 21}),
)
_EVIDENCE = (1, 20, 40, 60, 100, 200)
_CHUNK = 512  # reviews between two reports
_BOUNDS = (0.02, 0.025, 0.03, 0.035, 0.04, 0.05)


@dataclass(frozen=True)
class Texts:
    """Texts of one kind: token ids, labels (n,) and the transformer's logits (n, k)."""

    sequences: list[np.ndarray]
    labels: np.ndarray
    logits: np.ndarray

    @classmethod
    def of(cls, reviews: Sequence[Review], predictor: Predictor) -> "Texts":
        """Ask the transformer for all of them."""
        sequences = predictor.tokenizer.encode_whole([review.text for review in reviews])
        logits = []
        with track("reading", "reviews", len(sequences)) as progress:
            for start in range(0, len(sequences), _CHUNK):
                windows = [predictor.tokenizer.windows(ids) for ids in sequences[start : start + _CHUNK]]
                logits += [output.logits for output in predictor.raw_outputs(windows)]
                progress.advance(len(windows))
        return cls(sequences, _labels(reviews), np.stack(logits))

    def right(self, logits: np.ndarray) -> float:
        """The accuracy of some logits."""
        return float((logits.argmax(axis=1) == self.labels).mean())


@click.command()
@click.option("--dataset", type=click.Path(path_type=Path), default="build/imdb", show_default=True)
@click.option("--onnx-model", type=click.Path(path_type=Path), default="onnx_model", show_default=True)
@click.option("--sentences", type=click.Path(path_type=Path), help="Labelled sentences, to measure on.")
@click.option("--seed", type=int, default=0, show_default=True, help="Of the sentences that are drawn from validation.")
def main(dataset: Path, onnx_model: Path, sentences: Path | None, seed: int) -> None:
    """Print the three tables."""
    predictor = load_predictor("onnx", onnx_model=onnx_model, options=InferenceOptions(readers="model"))
    train = read_reviews(dataset / "train.csv")
    reviews = read_reviews(dataset / "validation.csv")
    kinds = {"whole reviews": reviews, **_pieces(reviews, Random(seed))}
    if sentences:
        kinds[sentences.name] = read_reviews(sentences)
    texts = {kind: Texts.of(each, predictor) for kind, each in kinds.items()}
    sequences, labels = predictor.tokenizer.encode_whole([review.text for review in train]), _labels(train)
    unfitted = Combination(model_temperature=predictor.manifest.temperature)
    fitted = _study_settings(unfitted, sequences, labels, texts)
    tokens = lengths(sequences)
    rule = combining.calibrate_alone(unfitted, fitted.out_of_fold, tokens, labels)
    _study_evidence(rule, fitted.table, texts)
    _study_bound(rule, fitted, tokens, labels, texts["whole reviews"])


def _labels(reviews: Sequence[Review]) -> np.ndarray:
    return np.array([int(review.label) for review in reviews])


def _pieces(reviews: Sequence[Review], random: Random) -> dict[str, list[Review]]:
    """First, last and any sentences of the reviews, with the label of the whole, and any three in a row."""
    pieces: dict[str, list[Review]] = {
        "first sentences": [],
        "last sentences": [],
        "any sentences": [],
        "three sentences": [],
    }
    for review in reviews:
        parts = [part for part in _SENTENCE_END.split(review.text) if len(part.split()) > 3]
        if parts:
            start = random.randrange(max(1, len(parts) - 2))
            chosen = (parts[0], parts[-1], random.choice(parts), " ".join(parts[start : start + 3]))
            for kind, text in zip(pieces, chosen, strict=True):
                pieces[kind].append(replace(review, text=text))
    return pieces


def _study_settings(
    unfitted: Combination, sequences: list[np.ndarray], labels: np.ndarray, texts: dict[str, Texts]
) -> FittedNgrams:
    """Fit every variant, out of fold too, and print what it is worth; returns the settings' own."""
    kinds = [kind for kind in texts if kind in ("whole reviews", *list(texts)[5:])]
    click.echo(
        "| changed | rows used | out of fold | "
        + " | ".join(f"{kind}, alone | with the transformer" for kind in kinds)
        + " |"
    )
    click.echo("|---|---|---|" + "---|---|" * len(kinds))
    every = []
    for name, orders, settings in _VARIANTS:
        with patch("toolkit.prediction.ngrams.ORDERS", orders):
            fitted = fit_ngrams(sequences, np.eye(2)[labels], NgramSettings(**settings))
            tokens = lengths(sequences)
            rule = combining.calibrate_alone(unfitted, fitted.out_of_fold, tokens, labels)
            rule, _ = _sum(rule, fitted.table, texts["whole reviews"], texts["whole reviews"])
            cells = []
            for kind in kinds:
                scores, each = fitted.table.score(texts[kind].sequences), texts[kind]
                both = rule.together(scores, lengths(each.sequences), each.logits)
                cells += [f"{each.right(scores.logits):.4f}", f"{each.right(both):.4f}"]
        out_of_fold = float((fitted.out_of_fold.logits.argmax(axis=1) == labels).mean())
        click.echo(f"| {name} | {fitted.table.occupied:,} | {out_of_fold:.4f} | {' | '.join(cells)} |")
        every.append(fitted)
    return every[0]


def _sum(rule: Combination, table: NgramTable, fitted_on: Texts, asked: Texts) -> tuple[Combination, np.ndarray]:
    """The rule with its sum fitted, and what both readers say then."""
    scores = table.score(fitted_on.sequences)
    rule = combining.fit_sum(rule, scores, lengths(fitted_on.sequences), fitted_on.logits, fitted_on.labels)
    return rule, rule.together(table.score(asked.sequences), lengths(asked.sequences), asked.logits)


def _study_evidence(rule: Combination, table: NgramTable, texts: dict[str, Texts]) -> None:
    """What the sum gains, in points, by the number of tokens from which on n-grams have their full weight."""
    click.echo("\n| full weight from | " + " | ".join(texts) + " |\n|---|" + "---|" * len(texts))
    click.echo(
        "| the transformer alone | " + " | ".join(f"{each.right(each.logits):.4f}" for each in texts.values()) + " |"
    )
    for evidence in _EVIDENCE:
        gains = []
        for each in texts.values():
            _, both = _sum(replace(rule, evidence=float(evidence)), table, texts["whole reviews"], each)
            gains.append(f"{100 * (each.right(both) - each.right(each.logits)):+.1f}")
        click.echo(f"| {evidence} tokens | {' | '.join(gains)} |")


def _study_bound(
    rule: Combination, fitted: FittedNgrams, tokens: np.ndarray, labels: np.ndarray, reviews: Texts
) -> None:
    """How much is skipped, and at what price, by the share of errors that is allowed out of fold."""
    rule, both = _sum(rule, fitted.table, reviews, reviews)
    scores: NgramScores = fitted.table.score(reviews.sequences)
    many = lengths(reviews.sequences)
    click.echo(
        "\n| wrong out of fold, at most | certain from | skipped out of fold | skipped | wrong there | there, by both | auto | both |"
    )
    click.echo("|---|---|---|---|---|---|---|---|")
    for bound in _BOUNDS:
        with patch.multiple("toolkit.evaluation.combining", ERROR_BOUND=bound, _GROUP_BOUND=1.5 * bound):
            chosen = combining.fit_rule(rule, fitted.out_of_fold, tokens, labels)
        skipped = chosen.suffices(scores, many)
        auto = np.where(skipped[:, np.newaxis], chosen.alone(scores, many), both)
        wrong = [float((each.argmax(axis=1) != reviews.labels)[skipped].mean()) for each in (auto, both)]
        click.echo(
            f"| {bound:.1%} | {chosen.certain:.3f} | {chosen.suffices(fitted.out_of_fold, tokens).mean():.1%} | {skipped.mean():.1%} | "
            f"{wrong[0]:.1%} | {wrong[1]:.1%} | {reviews.right(auto):.4f} | {reviews.right(both):.4f} |"
        )
    ece = calibration_metrics(both, reviews.labels, 1.0)["ece"]
    click.echo(f"\nexpected calibration error of both readers on validation, where the sum was fitted: {ece:.4f}")


if __name__ == "__main__":
    main()
