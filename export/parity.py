"""The proof that two models are one: the same reviews, logit by logit."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from toolkit.splits import Review

WORST_SHOWN = 5


@dataclass(frozen=True)
class Gate:
    """How far a stage may stray from the adapter.

    Attributes:
        max_difference: the largest |Δlogit| allowed on any review; None for any.
        max_flips: the largest share of reviews whose label may change, 0 to 1.
    """

    max_difference: float | None
    max_flips: float


EXACT = Gate(max_difference=1e-3, max_flips=0.0)
QUANTIZED = Gate(max_difference=None, max_flips=0.01)


@dataclass(frozen=True)
class Parity:
    """How one stage compares with the adapter on the proof's reviews.

    Attributes:
        stage: `merged`, `onnx` or `int8`.
        reviews: compared.
        max_difference: of any logit, absolute.
        mean_difference: over all logits, absolute.
        flips: reviews whose label changed.
        accuracy: of the stage on the reviews' labels.
        worst: indices of the reviews that differ most, worst first.
    """

    stage: str
    reviews: int
    max_difference: float
    mean_difference: float
    flips: int
    accuracy: float
    worst: tuple[int, ...]

    def failures(self, gate: Gate) -> list[str]:
        """What the gate refuses, in words; empty when the stage passes."""
        problems = []
        if gate.max_difference is not None and not self.max_difference <= gate.max_difference:  # NaN fails too
            problems.append(f"max |Δlogit| is {self.max_difference:.2e}, expected at most {gate.max_difference:.0e}")
        if self.flips > gate.max_flips * self.reviews:
            problems.append(f"{self.flips} of {self.reviews} labels flip, expected at most {gate.max_flips:.1%}")
        return problems


def compare(stage: str, reference: np.ndarray, candidate: np.ndarray, reviews: Sequence[Review]) -> Parity:
    """Compare a stage's logits with the adapter's; both (n, 2), a row a review."""
    differences = np.abs(candidate.astype(np.float64) - reference)  # (n, 2)
    labels = np.array([int(review.label) for review in reviews])
    per_review = np.nan_to_num(differences.max(axis=1), nan=np.inf)
    return Parity(
        stage=stage,
        reviews=len(reviews),
        max_difference=float(differences.max()),
        mean_difference=float(differences.mean()),
        flips=int((candidate.argmax(axis=1) != reference.argmax(axis=1)).sum()),
        accuracy=float((candidate.argmax(axis=1) == labels).mean()),
        worst=tuple(int(index) for index in np.argsort(-per_review)[:WORST_SHOWN]),
    )
