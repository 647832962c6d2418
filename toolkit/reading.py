"""Which parts of a review a model reads, and how what it says of several parts becomes one answer."""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Self

POLICIES = ("head", "head-tail", "window")
EFFORTS = ("full", "auto")
DEFAULT_READING = "head-tail"  # costs as much as head and is never worse: docs/model.md
_OVERLAP = 1 / 4  # of neighbouring windows, in windows

Part = tuple[tuple[int, int], ...]  # stretches of a review's tokens, [CLS] and [SEP] apart, each as (start, stop)


def parts(policy: str, tokens: int, room: int) -> list[Part]:
    """The parts of a review that a policy reads; one with everything where it fits.

    `head` takes the first tokens; `head-tail` as many from the beginning as from the end; `window` everything, in
    windows spread evenly, neighbours overlapping by a quarter or more.

    Args:
        policy: one of `POLICIES`.
        tokens: in the review, [CLS] and [SEP] apart.
        room: tokens in one part, likewise; 1 or more.
    """
    if tokens <= room:
        return [((0, tokens),)]
    if policy == "head":
        return [((0, room),)]
    if policy == "head-tail":
        return [ends(tokens, room)]
    steps = math.ceil((tokens - room) / max(1, room * (1 - _OVERLAP)))
    starts = (round(step * (tokens - room) / steps) for step in range(steps + 1))
    return [((start, start + room),) for start in starts]


def ends(tokens: int, room: int) -> Part:
    """The beginning and the end of a review, `room` tokens together, which are fewer than `tokens`."""
    tail = room // 2
    return ((0, room - tail), (tokens - tail, tokens)) if tail else ((0, room),)


def combine(margins: Sequence[float], lengths: Sequence[int]) -> float:
    """One margin (positive less negative logit) from those of several windows: their mean, weighted by tokens read."""
    return sum(margin * length for margin, length in zip(margins, lengths, strict=True)) / sum(lengths)


@dataclass(frozen=True, slots=True)
class EarlyStop:
    """Adaptive reading: look at a review's ends, stop if they say enough, else read what lies between, and only that.

    With a and b the margins (positive less negative logit) of the ends and of the middle, and s the middle's share of the
    tokens read, a review read to the end has the calibrated margin w0 a + w1 a s + w2 b + w3 b s, and one that was
    stopped has a / temperature. All numbers are fitted on reviews held out from training, by `export.early_stop`.

    Attributes:
        first: tokens of the first look, [CLS] and [SEP] included.
        threshold: calibrated probability, 0.5 to 1, at which reading stops.
        temperature: of the first look.
        weights: (w0, w1, w2, w3).
    """

    first: int
    threshold: float
    temperature: float
    weights: tuple[float, float, float, float]

    def __post_init__(self) -> None:
        """Refuse numbers that nobody can have fitted."""
        sound = (
            type(self.first) is int
            and self.first >= 3
            and 0.5 <= self.threshold <= 1
            and self.temperature > 0
            and len(self.weights) == 4
            and all(map(math.isfinite, (self.temperature, *self.weights)))
        )
        if not sound:
            raise ValueError(f"not a rule for stopping early: {self}")

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Self:
        """From what a manifest holds.

        Raises:
            ValueError: it is something else.
        """
        try:
            return cls(**{**values, "weights": tuple(values["weights"])})
        except (KeyError, TypeError) as error:
            raise ValueError(f"not a rule for stopping early: {values}") from error

    def to_dict(self) -> dict[str, Any]:
        """For a manifest."""
        return asdict(self)

    def parts(self, tokens: int, room: int) -> list[Part]:
        """The first look, and the middle if there is one; arguments as those of `parts`.

        Together they hold `room` tokens at most, those nearest to the beginning, [CLS] and [SEP] of the middle counted.
        """
        first = min(self.first - 2, room)
        if tokens <= first:
            return [((0, tokens),)]
        look = ends(tokens, first)
        start = look[0][1]
        stop = min(tokens - first // 2, start + room - first - 2)
        return [look, ((start, stop),)] if stop > start else [look]

    def margin(self, margins: Sequence[float], lengths: Sequence[int]) -> float:
        """The calibrated margin of a review from the model's margin of one look or of both; see `combine`."""
        if len(margins) == 1:
            return margins[0] / self.temperature
        (a, b), share = margins, lengths[1] / sum(lengths)
        return sum(weight * term for weight, term in zip(self.weights, (a, a * share, b, b * share), strict=True))

    def stops(self, margin: float) -> bool:
        """Whether a first look of this calibrated margin is enough."""
        return 1 / (1 + math.exp(-abs(margin))) >= self.threshold
