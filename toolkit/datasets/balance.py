"""What a data set's labels allow: which are too rare to learn from, and of which a split's figures say nothing."""

from toolkit.datasets.splits import Splits, count_labels
from toolkit.formats.limits import listed
from toolkit.text.labels import FEWEST_EXAMPLES, SENTIMENT


def weak_labels(splits: Splits) -> tuple[str, ...]:
    """A sentence for each label that is rare in the train split, and for each other split that lacks some.

    An import refuses the sentiment pair with a split that lacks one of them.
    """
    if splits.labels == SENTIMENT:
        return ()
    counts = {split: count_labels(reviews, splits.labels) for split, reviews in splits.items()}
    rare = [
        f"The train split has {count} reviews of the label {name}, expected {FEWEST_EXAMPLES} or more to learn it from."
        for name, count in counts["train"].items()
        if count < FEWEST_EXAMPLES
    ]
    lacking = {split: [name for name, count in each.items() if not count] for split, each in counts.items()}
    silent = [
        f"The {split} split has no review of the label {listed(names)}, so its figures say nothing of that."
        for split, names in lacking.items()
        if names and split != "train"
    ]
    return (*rare, *silent)
