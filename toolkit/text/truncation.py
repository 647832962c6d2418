"""Which tokens of a review a model reads, and how its outputs for several windows become one."""

import math
from collections.abc import Sequence

from toolkit.choices import Truncation

DEFAULT_TRUNCATION: Truncation = "head-tail"  # costs as much as head and is never worse: docs/model.md
_OVERLAP = 1 / 4  # of neighbouring windows, in windows

# What one window shows of a review: spans of its tokens, [CLS] and [SEP] apart, each as (start, stop).
Spans = tuple[tuple[int, int], ...]


def windows(truncation: Truncation, tokens: int, room: int) -> list[Spans]:
    """Cut a review into the windows that the model reads; a review that fits has one, with everything in it.

    `head` takes the first tokens; `head-tail` as many from the beginning as from the end; `window` everything, in
    windows spread evenly, neighbours overlapping by a quarter or more.

    Args:
        truncation: What is read of a review that does not fit.
        tokens: The number of tokens in the review, without [CLS] and [SEP].
        room: The number of tokens that one window holds, counted likewise; 1 or more.
    """
    if tokens <= room:
        return [((0, tokens),)]
    if truncation == "head":
        return [((0, room),)]
    if truncation == "head-tail":
        return [_ends(tokens, room)]
    steps = math.ceil((tokens - room) / max(1, room * (1 - _OVERLAP)))
    starts = (round(step * (tokens - room) / steps) for step in range(steps + 1))
    return [((start, start + room),) for start in starts]


def _ends(tokens: int, room: int) -> Spans:
    """The beginning and the end of a review, `room` tokens together, which are fewer than `tokens`."""
    tail = room // 2
    return ((0, room - tail), (tokens - tail, tokens)) if tail else ((0, room),)


def combine(margins: Sequence[float], lengths: Sequence[int]) -> float:
    """Average what a label has over another in several windows, weighted by the tokens read in each."""
    return sum(margin * length for margin, length in zip(margins, lengths, strict=True)) / sum(lengths)
