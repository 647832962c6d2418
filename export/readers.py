"""The n-gram reader beside an exported graph, measured on the parity set."""

import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from export.parity import CHUNK, QUANTIZED, Measurement
from toolkit.datasets.splits import Review
from toolkit.evaluation.calibration import calibration_metrics
from toolkit.evaluation.combining import ERROR_BOUND
from toolkit.evaluation.metrics import accuracy_interval
from toolkit.prediction import Predictor
from toolkit.prediction.combination import NEVER, NgramReader, lengths
from toolkit.text.tokenisation import ReviewTokenizer

_logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class SkippingGate:
    """How far `auto` may fall behind `both`.

    Attributes:
        reviews: The fewest on which it can be judged.
        wrong: The largest share that may be wrong of the reviews on which the transformer is not asked; chosen for 0.035 out
            of fold, of which 2,000 reviews have a standard error of 0.004.
        wrong_in_group: The same of those with one label, and of the shorter and the longer half, where there are 200.
        accuracy_loss: The accuracy that `auto` may lose to `both`.
    """

    reviews: int = QUANTIZED.reviews
    wrong: float = ERROR_BOUND + 0.005
    wrong_in_group: float = 1.5 * ERROR_BOUND + 0.015
    accuracy_loss: float = 0.002


SKIPPING = SkippingGate()
_FEWEST_IN_GROUP = 200


@dataclass(frozen=True)
class Reading:
    """How right a choice of readers is on the parity set, and how fast.

    Attributes:
        readers: `model`, `both` or `auto`, see `toolkit.prediction.InferenceOptions`.
        accuracy: On the reviews' labels.
        accuracy_interval: Wilson's 95% interval of it.
        flips: The number of labels other than the row's before: `both` than `model`, `auto` than `both`.
        skipped: The share of reviews on which the transformer was not asked.
        wrong_skipped: The share of these that are wrong; 0 where there are none.
        ece: See `calibration_metrics`.
        reviews_per_second: Tokenisation left out.
    """

    readers: str
    accuracy: float
    accuracy_interval: tuple[float, float]
    flips: int
    skipped: float
    wrong_skipped: float
    ece: float
    reviews_per_second: float


@dataclass(frozen=True)
class ReadersProof:
    """What came of it.

    Attributes:
        reader: The reader with the rule that is published.
        rows: One for each choice of readers.
        logits: What `auto` answers, calibrated, (n, k).
    """

    reader: NgramReader
    rows: tuple[Reading, ...]
    logits: np.ndarray


def prove_readers(
    reader: NgramReader,
    predictor: Predictor,
    tokenizer: ReviewTokenizer,
    reviews: Sequence[Review],
    measured: Measurement,
    temperature: float,
) -> ReadersProof:
    """Measure each choice of readers.

    Where `auto` does not pass its gate, the published rule never skips the transformer, and a warning says so.

    Args:
        reader: The adapter's reader, with the rule for the chosen stage.
        predictor: The chosen stage.
        tokenizer: The model's tokenizer.
        reviews: The n reviews of the parity set.
        measured: The chosen stage's logits on them.
        temperature: The number by which these are divided where the transformer reads alone.
    """
    labels = np.array([int(review.label) for review in reviews])
    sequences = tokenizer.encode_whole([review.text for review in reviews])
    scores, tokens = reader.table.score(sequences), lengths(sequences)
    _, both, auto, skipped = reader.rule.answers(scores, tokens, measured.logits)
    problems = _failures(auto, both, labels, skipped, tokens) if len(reviews) >= SKIPPING.reviews else []
    if problems:
        _logger.warning("auto fails its gate (%s); both readers will read every review", "; ".join(problems))
        reader = NgramReader(reader.table, replace(reader.rule, certain=NEVER))
        skipped, auto = np.zeros(len(reviews), bool), both
    seconds = _time(reader, predictor, tokenizer, sequences)
    answers = {"model": measured.logits / temperature, "both": both, "auto": auto}
    times = {"model": measured.seconds, "both": measured.seconds + seconds["ngrams"], "auto": seconds["auto"]}
    rows: list[Reading] = []
    before = answers["model"]
    for readers, logits in answers.items():
        said = logits.argmax(axis=1)
        of_readers = skipped & (readers == "auto")
        right = int((said == labels).sum())
        rows.append(
            Reading(
                readers=readers,
                accuracy=right / len(labels),
                accuracy_interval=accuracy_interval(right, len(labels)),
                flips=int((said != before.argmax(axis=1)).sum()),
                skipped=float(of_readers.mean()),
                wrong_skipped=float((said != labels)[of_readers].mean()) if of_readers.any() else 0.0,
                ece=calibration_metrics(logits, labels, 1.0)["ece"],
                reviews_per_second=len(labels) / max(times[readers], 1e-9),
            )
        )
        before = logits
    return ReadersProof(reader, tuple(rows), auto)


def _failures(
    auto: np.ndarray, both: np.ndarray, labels: np.ndarray, skipped: np.ndarray, tokens: np.ndarray
) -> list[str]:
    """What the gate refuses, in words; empty where `auto` passes."""
    said, wrong = auto.argmax(axis=1), auto.argmax(axis=1) != labels
    longer = tokens >= np.median(tokens[skipped]) if skipped.any() else skipped
    groups = {
        "": (skipped, SKIPPING.wrong),
        **{
            f" of label {label}": (skipped & (said == label), SKIPPING.wrong_in_group) for label in range(auto.shape[1])
        },
        " of the shorter half": (skipped & ~longer, SKIPPING.wrong_in_group),
        " of the longer half": (skipped & longer, SKIPPING.wrong_in_group),
    }
    problems = [
        f"{wrong[group].mean():.1%} of the {group.sum()} reviews{name} on which the transformer is not asked are wrong, "
        f"expected at most {bound:.1%}"
        for name, (group, bound) in groups.items()
        if group.sum() >= _FEWEST_IN_GROUP and wrong[group].mean() > bound
    ]
    loss = float((both.argmax(axis=1) == labels).mean() - (said == labels).mean())
    if loss > SKIPPING.accuracy_loss + 1e-12:
        problems.append(
            f"accuracy falls by {100 * loss:.2f} points from both to auto, expected at most {100 * SKIPPING.accuracy_loss:.1f}"
        )
    return problems


def _time(
    reader: NgramReader, predictor: Predictor, tokenizer: ReviewTokenizer, sequences: Sequence[np.ndarray]
) -> Mapping[str, float]:
    """Seconds that the n-grams take, and that `auto` does, for all texts, chunk by chunk."""
    seconds = {"ngrams": 0.0, "auto": 0.0}
    for start in range(0, len(sequences), CHUNK):
        chunk = sequences[start : start + CHUNK]
        windows = [tokenizer.windows(ids) for ids in chunk]
        started = time.perf_counter()
        asked = ~reader.rule.suffices(reader.table.score(chunk), lengths(chunk))
        seconds["ngrams"] += time.perf_counter() - started
        if asked.any():
            predictor.raw_outputs([windows[index] for index in asked.nonzero()[0].tolist()])
        seconds["auto"] += time.perf_counter() - started
    return seconds
