"""The n-gram reader beside a trained adapter: fitted on train, tuned on validation, put into the adapter's folder."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from toolkit.datasets.soft_labels import SoftLabel, read_teacher, soft_label_files
from toolkit.datasets.splits import Review, Splits, read_splits
from toolkit.errors import ToolkitError, needs_extra
from toolkit.evaluation.calibration import calibration_metrics
from toolkit.evaluation.combining import calibrate_alone, fit_rule, fit_sum, fit_unfamiliar
from toolkit.models.bundle import MANIFEST, MODEL_CARD, NGRAM_TABLE, Kind, write_manifest
from toolkit.models.completion import read_model
from toolkit.models.files import sha256
from toolkit.models.publishing import replacing_files
from toolkit.prediction.combination import Combination, NgramReader, lengths
from toolkit.prediction.ngrams import NgramScores
from toolkit.text.tokenisation import ReviewTokenizer
from toolkit.text.truncation import DEFAULT_TRUNCATION
from toolkit.training.config import TrainingConfig
from toolkit.training.ngrams import NgramSettings, fit_ngrams

FEWEST_TEXTS = 2000  # to fit a table on; of fewer, most n-grams occur once
_HEADING = "## N-grams"
_logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class FittedReader:
    """An n-gram reader and what was measured of it.

    Attributes:
        reader: The table and the rule.
        metrics: By split, what `measure_reader` returns.
    """

    reader: NgramReader
    metrics: dict[str, dict[str, float]]


def fit_reader(
    config: TrainingConfig,
    tokenizer: ReviewTokenizer,
    splits: Splits,
    logits: Mapping[str, np.ndarray],
    soft: Sequence[SoftLabel] = (),
    temperature: float = 1.0,
) -> FittedReader | None:
    """Fit a table on the train split and the rule for it out of fold and on validation, then measure both readers.

    Validation is scored by tables that have learnt from none of its subjects, since its texts were drawn from the same ones as
    those of train: what is fitted and measured there would be too good for any other text.

    Args:
        config: The settings.
        tokenizer: The model's tokenizer.
        splits: The reviews of `train` and of those in `logits`.
        logits: The transformer's logits on `validation`, and on `test` where it is to be measured there, (n, k) each.
        soft: Texts with a teacher's probabilities, from which the table learns too; of a train text that is among them it learns
            from the mean of both, weighted by `config.soft_weight`.
        temperature: The number that calibrates the transformer's logits.

    Returns:
        The reader, or None where the settings want none or the train split is too small for one.
    """
    if not config.ngrams:
        return None
    if len(splits["train"]) < FEWEST_TEXTS:
        _logger.info("no n-gram table: %d texts in train, expected %d or more", len(splits["train"]), FEWEST_TEXTS)
        return None
    labels, taught = _labels(splits["train"]), {each.text: each.probabilities for each in soft}
    targets = np.eye(len(splits.labels))[labels]  # (n, k)
    for number, review in enumerate(splits["train"]):
        if (said := taught.pop(review.text, None)) is not None:
            targets[number] += config.soft_weight * (said - targets[number])
    _logger.info("fitting the n-gram table on %d texts", len(labels) + len(taught))
    sequences = tokenizer.encode_whole([*(review.text for review in splits["train"]), *taught])
    measured = {split: tokenizer.encode_whole([review.text for review in splits[split]]) for split in logits}
    settings = NgramSettings(
        smoothing=config.ngram_smoothing, regularisation=config.ngram_regularisation, buckets=config.ngram_buckets,
        seed=config.seed,
    )  # fmt: skip
    fitted = fit_ngrams(sequences, np.vstack([targets, *taught.values()]), settings, measured["validation"])
    labelled = np.arange(len(labels))
    tokens, out_of_fold = lengths(sequences[: len(labels)]), fitted.out_of_fold.of(labelled)
    unfitted = Combination(model_temperature=temperature)
    rule = fit_unfamiliar(calibrate_alone(unfitted, out_of_fold, tokens, labels), fitted.excerpts.of(labelled))
    scores = {"validation": fitted.unseen}
    scores |= {split: fitted.table.score(measured[split]) for split in logits if split not in scores}
    many, truth = lengths(measured["validation"]), _labels(splits["validation"])
    rule = fit_rule(fit_sum(rule, fitted.unseen, many, logits["validation"], truth), out_of_fold, tokens, labels)
    metrics = {
        split: measure_reader(rule, scores[split], lengths(measured[split]), logits[split], _labels(splits[split]))
        for split in logits
    }
    return FittedReader(NgramReader(fitted.table, rule), metrics)


def measure_reader(
    rule: Combination, scores: NgramScores, tokens: np.ndarray, logits: np.ndarray, labels: np.ndarray
) -> dict[str, float]:
    """How right both readers are on n texts.

    Args:
        rule: How much each counts.
        scores: What a table says of the texts.
        tokens: The number of tokens of each, (n,).
        logits: The transformer's logits, (n, k).
        labels: (n,)

    Returns:
        `accuracy_ngrams`, `accuracy_both` and `accuracy_auto` of the n-grams alone, of both readers, and of both where the
        n-grams do not suffice; `skipped`, the share of texts where they do; `ece_auto`, see `calibration_metrics`.
    """
    answers = rule.answers(scores, tokens, logits)
    ways = {"ngrams": answers.ngrams, "both": answers.both, "auto": answers.auto}
    return {
        **{f"accuracy_{name}": float((each.argmax(axis=1) == labels).mean()) for name, each in ways.items()},
        "skipped": float(answers.skipped.mean()),
        "ece_auto": calibration_metrics(answers.auto, labels, 1.0)["ece"],
    }


def add_reader(config: TrainingConfig, encoding: str | None = None) -> FittedReader:
    """Fit an n-gram reader for the adapter that is in `config.adapter_dir`, and put it there; nothing else changes.

    Args:
        config: The settings.
        encoding: The encoding of the data set's files; UTF-8 by default.

    Raises:
        ToolkitError: The adapter or the data cannot be used, or the data set is too small.
    """
    folder, base = Path(config.adapter_dir), _base_of(config)
    manifest = read_model(folder, Kind.ADAPTER, base)
    splits = read_splits(Path(config.dataset), encoding=encoding)
    if splits.labels.names != manifest.label_set.names:
        raise ToolkitError(
            f"{config.dataset} has the labels {', '.join(splits.labels.names)}, expected those of {folder}: "
            f"{', '.join(manifest.labels)}"
        )
    soft = read_teacher(soft_label_files(config.soft_labels), splits)
    with needs_extra("train", "asking the adapter"):
        from toolkit.models.adapter import adapter_tokenizer, load_adapter, merge_adapter
        from toolkit.training.measuring import whole_splits
    tokenizer = adapter_tokenizer(folder, manifest.max_length, DEFAULT_TRUNCATION, base)
    _logger.info("asking %s for the %d reviews of validation", folder, len(splits["validation"]))
    model = merge_adapter(load_adapter(folder, base)[0])
    validation = whole_splits(model, tokenizer, manifest, {"validation": splits["validation"]}, folder)
    fitted = fit_reader(config, tokenizer, splits, validation, soft, manifest.temperature)
    if fitted is None:
        raise ToolkitError(
            f"no n-gram table for {folder}: expected ngrams = true and {FEWEST_TEXTS:,} texts or more in train, "
            f"found {len(splits['train']):,}"
        )
    with replacing_files(folder, last=MANIFEST) as staging:
        added = write_reader(staging, fitted)
        if (card := folder / MODEL_CARD).is_file():
            (staging / MODEL_CARD).write_text(
                with_section(card.read_text(encoding="utf-8"), describe(fitted)), encoding="utf-8"
            )
        listed = {*manifest.files} or {path.name for path in folder.iterdir() if path.is_file()} - {MANIFEST}
        places = {
            name: staging / name if (staging / name).is_file() else folder / name for name in listed | {NGRAM_TABLE}
        }
        files = {
            name: {"sha256": sha256(place), "bytes": place.stat().st_size} for name, place in sorted(places.items())
        }
        metrics = {**manifest.metrics, "readers": fitted.metrics}
        write_manifest(staging / MANIFEST, replace(manifest, ngrams=added, metrics=metrics, files=files))
    return fitted


def _base_of(config: TrainingConfig) -> str | None:
    """The base that the settings name, where it is another than by default; else the adapter's own."""
    return None if config.base_model == TrainingConfig().base_model else config.base_model


def write_reader(folder: Path, fitted: FittedReader) -> dict[str, object]:
    """Write the table; returns what the manifest says of it."""
    fitted.reader.table.save(folder / NGRAM_TABLE)
    return fitted.reader.describe()


def describe(fitted: FittedReader) -> str:
    """A section of the model card."""
    rows = "\n".join(
        f"| {split} | {each['accuracy_ngrams']:.4f} | {each['accuracy_both']:.4f} | {each['accuracy_auto']:.4f} | "
        f"{each['skipped']:.1%} | {each['ece_auto']:.4f} |"
        for split, each in fitted.metrics.items()
    )
    rule = fitted.reader.rule
    return f"""\
{_HEADING}

Beside the transformer stands a linear model on n-grams of one to three word pieces, fitted on the same texts
(`{NGRAM_TABLE}`). It reads every review whole. Where its calibrated score is at least {rule.certain:.3f}, in a review of
{rule.fewest_tokens} tokens or more that is familiar to it, the transformer is not asked; elsewhere the answer is the calibrated sum of both.

| split | n-grams alone | both | n-grams where they suffice, both elsewhere | transformer not asked | calibration error |
|---|---|---|---|---|---|
{rows}

The threshold was chosen on out-of-fold scores of train, the sum was fitted on validation. In these and in validation's row a review
was scored by a table that has learnt from no review that shares names with it, as reviews of one film do. A text whose familiarity is below
{rule.unfamiliar_below:.3f}, as one sentence in a hundred of the train split has it, is answered `uncertain`.
"""


def with_section(card: str, section: str) -> str:
    """A model card with a section about n-grams: in the place of an earlier one, else before the limits, else at the end."""
    before, heading, rest = card.partition(f"{_HEADING}\n")
    if heading:
        after = rest[rest.find("\n## ") + 1 :] if "\n## " in rest else ""
        return f"{before}{section}\n{after}".rstrip() + "\n"
    before, heading, rest = card.partition("## Limits\n")
    return f"{before.rstrip()}\n\n{section}\n{heading}{rest}".rstrip() + "\n"


def _labels(reviews: Sequence[Review]) -> np.ndarray:
    return np.array([int(review.label) for review in reviews])
