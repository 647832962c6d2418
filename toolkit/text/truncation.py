"""Which parts of a review a model reads, and how what it says of several parts becomes one answer."""

import math
from collections.abc import Sequence

POLICIES = ("head", "head-tail", "window")
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
