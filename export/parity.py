"""How alike two models are: the same reviews, logit by logit, and the gates that a stage has to pass."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from toolkit.datasets.splits import Review
from toolkit.evaluation.metrics import accuracy_interval
from toolkit.prediction import Predictor
from toolkit.text.tokenisation import Encoding

WORST_SHOWN = 5
CHUNK = 64  # reviews a model gets at a time; small enough that a busy moment of the machine meets all of them


@dataclass(frozen=True)
class Gate:
    """How far a stage may differ from the adapter.

    Attributes:
        reviews: the fewest on which the gate can be judged.
        relative_difference: the largest |Δlogit| allowed on any review, in units of the adapter's mean |logit|; None
            for any.
        flips: the largest share of reviews whose label may change, 0 to 1.
        accuracy_loss: The accuracy that may be lost, 0 to 1.
    """

    reviews: int
    relative_difference: float | None
    flips: float
    accuracy_loss: float


EXACT = Gate(reviews=500, relative_difference=1e-4, flips=0.0, accuracy_loss=0.0)
QUANTIZED = Gate(reviews=2000, relative_difference=None, flips=0.01, accuracy_loss=0.003)


@dataclass(frozen=True)
class Measurement:
    """What a model answered, and in what time.

    Attributes:
        logits: (n, k) float32, a row a review.
        seconds: The time spent in the model.
    """

    logits: np.ndarray
    seconds: float


@dataclass(frozen=True)
class Parity:
    """How one stage compares with the adapter on the parity set.

    Attributes:
        stage: `adapter`, `merged`, `onnx` or `int8`.
        reviews: The number of reviews compared.
        max_difference: The largest absolute difference of any logit.
        mean_difference: The mean absolute difference over all logits.
        relative_difference: `max_difference` over the adapter's mean |logit|.
        flips: The number of reviews whose label changed.
        flips_by_quartile: the same in each quarter of the reviews, by tokens read, shortest first.
        accuracy: The accuracy on the reviews' labels.
        accuracy_interval: Wilson's 95% interval of it.
        accuracy_loss: the adapter's accuracy less this one.
        reviews_per_second: tokenisation left out.
        bytes: The size of the model's weights on disk.
        worst: indices of the reviews that differ most, those that flipped first.
    """

    stage: str
    reviews: int
    max_difference: float
    mean_difference: float
    relative_difference: float
    flips: int
    flips_by_quartile: tuple[int, ...]
    accuracy: float
    accuracy_interval: tuple[float, float]
    accuracy_loss: float
    reviews_per_second: float
    bytes: int
    worst: tuple[int, ...]

    def failures(self, gate: Gate) -> list[str]:
        """What the gate refuses, in words; empty when the stage passes."""
        problems = []
        if self.reviews < gate.reviews:
            problems.append(f"compared on {self.reviews} reviews, expected at least {gate.reviews:,}")
        if gate.relative_difference is not None and not self.relative_difference <= gate.relative_difference:  # NaN too
            problems.append(
                f"max |Δlogit| is {self.relative_difference:.1e} of the mean |logit|, "
                f"expected at most {gate.relative_difference:.0e}"
            )
        if self.flips > gate.flips * self.reviews:
            problems.append(
                f"{self.flips} of {self.reviews} labels flip ({self.flips / self.reviews:.2%}), expected at most {gate.flips:.1%}"
            )
        if not self.accuracy_loss <= gate.accuracy_loss + 1e-12:  # a quotient's rounding is no loss
            problems.append(
                f"accuracy falls by {100 * self.accuracy_loss:.2f} points, expected at most {100 * gate.accuracy_loss:.1f}"
            )
        return problems


def measure(
    models: Mapping[str, Predictor],
    reviews: Sequence[Sequence[Encoding]],
    advance: Callable[[int], None] = lambda reviews: None,
) -> dict[str, Measurement]:
    """Ask every model every review, chunk by chunk in turn, so that their speeds compare.

    Args:
        models: The models, by name.
        reviews: The n reviews, as `ReviewTokenizer.encode_windows` cut them.
        advance: Takes the number of outputs as they come, for a progress bar.
    """
    logits: dict[str, list[np.ndarray]] = {name: [] for name in models}
    seconds = dict.fromkeys(models, 0.0)
    for start in range(0, len(reviews), CHUNK):
        chunk = reviews[start : start + CHUNK]
        for name, model in models.items():
            started = time.perf_counter()
            logits[name].append(np.stack([output.logits for output in model.raw_outputs(chunk)]))
            seconds[name] += time.perf_counter() - started
            advance(len(chunk))
    return {name: Measurement(np.concatenate(logits[name]), seconds[name]) for name in models}


def compare(
    stage: str,
    reference: np.ndarray,
    candidate: Measurement,
    reviews: Sequence[Review],
    tokens_read: Sequence[int],
    size: int = 0,
) -> Parity:
    """Compare a stage's logits with the adapter's.

    Args:
        stage: The stage's name.
        reference: The adapter's logits, (n, k).
        candidate: The outputs of the stage on the same reviews.
        reviews: The reviews with their labels.
        tokens_read: The number of tokens read of each review.
        size: The size in bytes of the stage's weights on disk.
    """
    differences = np.abs(candidate.logits.astype(np.float64) - reference)  # (n, k)
    per_review = np.nan_to_num(differences.max(axis=1), nan=np.inf)
    flipped = candidate.logits.argmax(axis=1) != reference.argmax(axis=1)
    labels = np.array([int(review.label) for review in reviews])
    right = int((candidate.logits.argmax(axis=1) == labels).sum())
    quartiles = np.array_split(np.argsort(np.asarray(tokens_read), kind="stable"), 4)
    return Parity(
        stage=stage,
        reviews=len(reviews),
        max_difference=float(differences.max()),
        mean_difference=float(differences.mean()),
        relative_difference=float(differences.max() / np.abs(reference.astype(np.float64)).mean()),
        flips=int(flipped.sum()),
        flips_by_quartile=tuple(int(flipped[quartile].sum()) for quartile in quartiles),
        accuracy=right / len(reviews),
        accuracy_interval=accuracy_interval(right, len(reviews)),
        accuracy_loss=float((reference.argmax(axis=1) == labels).mean()) - right / len(reviews),
        reviews_per_second=len(reviews) / max(candidate.seconds, 1e-9),
        bytes=size,
        worst=tuple(int(index) for index in np.lexsort((-per_review, ~flipped))[:WORST_SHOWN]),
    )
