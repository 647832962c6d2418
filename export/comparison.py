"""Which stage is asked which reviews, and what it has to be the same as."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from export.parity import EXACT, Measurement, Parity, compare, measure
from toolkit.datasets.splits import Review
from toolkit.prediction import Predictor
from toolkit.progress import track
from toolkit.text.tokenisation import Encoding

ADAPTER = "adapter"


@dataclass(frozen=True)
class Comparison:
    """A stage beside what it has to be the same as.

    Attributes:
        parity: The figures.
        reference: (n, k) the logits that it is compared with.
        logits: (n, k) its own.
        places: (n,) which reviews of the parity set both were asked.
    """

    parity: Parity
    reference: np.ndarray
    logits: np.ndarray
    places: np.ndarray


def compare_stages(
    models: Mapping[str, Predictor],
    float_stage: str,
    quantized: Collection[str],
    windows: Sequence[Sequence[Encoding]],
    reviews: Sequence[Review],
    tokens_read: Sequence[int],
    sizes: Mapping[str, int],
) -> tuple[list[Comparison], dict[str, Measurement]]:
    """Ask every stage as much as its proof needs.

    What is computed alike is the same on every review or visibly not, so `EXACT.reviews` of them are enough, of every length alike. What is
    rounded may flip a rare label, and is asked all. Its reference is the float graph that it was made from, itself compared with the
    adapter on the sample, in a third of the time of torch.

    Args:
        models: The stages in order, the adapter first.
        float_stage: The float graph that is asked all reviews.
        quantized: The stages that are rounded.
        windows: The n reviews of the parity set as `ReviewTokenizer.encode_windows` cut them.
        reviews: The reviews with their labels.
        tokens_read: The number of tokens read of each.
        sizes: The size of each stage's weights on disk, in bytes.

    Returns:
        The comparisons in the stages' order, and the measurements of those that were asked all reviews.
    """
    every, sample = np.arange(len(reviews)), spread(tokens_read, EXACT.reviews)
    whole = {name: model for name, model in models.items() if name == float_stage or name in quantized}
    sampled = {name: model for name, model in models.items() if name not in whole}
    with track("comparing", "outputs", len(whole) * len(every) + len(sampled) * len(sample)) as progress:
        by_sample = measure(sampled, [windows[place] for place in sample.tolist()], progress.advance)
        by_all = measure(whole, windows, progress.advance)
    floats = by_all[float_stage]
    by_sample[float_stage] = Measurement(floats.logits[sample], floats.seconds * len(sample) / len(every))
    comparisons = []
    for stage in models:
        places = every if stage in quantized else sample
        measured, reference = (
            (by_all[stage], floats.logits) if stage in quantized else (by_sample[stage], by_sample[ADAPTER].logits)
        )
        asked = [reviews[place] for place in places.tolist()]
        tokens = [tokens_read[place] for place in places.tolist()]
        parity = compare(stage, reference, measured, asked, tokens, sizes[stage])
        comparisons.append(Comparison(parity, reference, measured.logits, places))
    return comparisons, by_all


def spread(tokens_read: Sequence[int], count: int) -> np.ndarray:
    """The places of `count` reviews, or of all where there are no more, in order: from the shortest to the longest, evenly."""
    by_length = np.argsort(np.asarray(tokens_read), kind="stable")
    if len(by_length) <= count:
        return np.arange(len(by_length))
    chosen: np.ndarray = np.sort(by_length[np.linspace(0, len(by_length) - 1, count).round().astype(int)])
    return chosen
