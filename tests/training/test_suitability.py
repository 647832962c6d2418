import pytest

from toolkit.datasets.splits import Review, Splits
from toolkit.errors import ToolkitError
from toolkit.text.labels import POSITIVE, SENTIMENT
from toolkit.training.suitability import check_suitability


def reviews(*texts, label=None):
    return [Review(text, SENTIMENT[number % 2] if label is None else label) for number, text in enumerate(texts)]


TRAIN = reviews("a", "b", "c", "d")


def test_splits_apart_have_no_warnings():
    assert check_suitability(Splits({"train": TRAIN, "validation": reviews("e", "f"), "test": reviews("g", "h")})) == ()


def test_a_train_split_of_one_label_is_refused():
    with pytest.raises(ToolkitError, match="every review of the train split is positive, expected some of each label"):
        check_suitability(Splits({"train": reviews("a", label=POSITIVE), "validation": TRAIN, "test": TRAIN}))


def test_train_reviews_among_those_that_judge():
    warnings = check_suitability(Splits({"train": TRAIN, "validation": TRAIN, "test": reviews("d", "h")}))
    assert [warning.partition(",")[0] for warning in warnings] == [
        "4 of the 4 validation reviews are in the train split too", "1 of the 2 test reviews are in the train split too",
    ]  # fmt: skip


def test_judges_of_one_label():
    (warning,) = check_suitability(Splits({"train": TRAIN, "validation": reviews("e", "f"), "test": reviews("x")}))
    assert warning.startswith("Every test review is negative")
