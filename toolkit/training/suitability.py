"""What can be said of a run's data before its first step: what cannot work, and what its figures will not mean."""

from collections.abc import Mapping

from toolkit.datasets.balance import weak_labels
from toolkit.datasets.splits import Splits
from toolkit.errors import ToolkitError
from toolkit.text.labels import Label


def check_suitability(splits: Splits) -> tuple[str, ...]:
    """Look at `train`, `validation` and `test` together.

    Returns:
        Warnings, each a sentence for the log and the model card.

    Raises:
        ToolkitError: the train split has reviews of one label only.
    """
    labels = {split: {review.label for review in reviews} for split, reviews in splits.items()}
    if len(labels["train"]) < 2:
        (only,) = labels["train"]
        raise ToolkitError(
            f"every review of the train split is {only.name}, expected some of each label: "
            "a model would learn to say that whatever it reads; add reviews of the other label"
        )
    return (*_repetitions(splits), *(_one_sided(labels) if len(splits.labels) == 2 else weak_labels(splits)))


def _repetitions(splits: Splits) -> list[str]:
    seen = {review.text for review in splits["train"]}
    counts = {split: sum(review.text in seen for review in splits[split]) for split in ("validation", "test")}
    return [
        f"{count} of the {len(splits[split])} {split} reviews are in the train split too, "
        f"so the {split} figures tell in part what was remembered, not what was learnt."
        for split, count in counts.items()
        if count
    ]


def _one_sided(labels: Mapping[str, set[Label]]) -> list[str]:
    return [
        f"Every {split} review is {next(iter(labels[split])).name}, so the {split} figures say nothing of the other label."
        for split in ("validation", "test")
        if len(labels[split]) == 1
    ]
