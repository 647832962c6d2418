import numpy as np
import pytest

from toolkit.datasets.splits import Review
from toolkit.errors import ToolkitError
from toolkit.evaluation.slices import by_column, by_length, by_score, find_columns, rates
from toolkit.text.labels import NEGATIVE, POSITIVE


def sizes(groups):
    return {group.name: int(group.members.sum()) for group in groups if group.members.any()}


def test_lengths_double_and_part_at_the_models_limit():
    tokens = np.array([3, 64, 65, 128, 200, 300, 301, 5000])
    assert sizes(by_length(tokens, 300)) == {
        "1–64": 2, "65–128": 2, "129–256": 1, "257–300": 1, "301–512": 1, "4097–8192": 1,
    }  # fmt: skip
    assert sizes(by_length(np.array([9, 70]), 64)) == {"1–64": 1, "65–128": 1}


def test_every_score_has_one_group():
    scores = np.array([0.5, 0.599, 0.6, 0.95, 0.99, 1.0])
    groups = by_score(scores)
    assert sizes(groups) == {"0.5–0.6": 2, "0.6–0.7": 1, "0.95–0.99": 1, "0.99–1": 2}
    assert (sum(group.members.astype(int) for group in groups) == 1).all()


def test_few_numbers_stand_in_their_order_and_gaps_apart():
    assert list(sizes(by_column(["10", "9", 9.0, None, "", float("nan"), "2"])).items()) == [
        ("2", 1), ("9", 2), ("10", 1), ("(none)", 3),
    ]  # fmt: skip


def test_many_numbers_make_quartiles():
    groups = by_column([*range(100), None])
    assert sizes(groups) == {"0 to 24": 25, "25 to 49": 25, "50 to 74": 25, "75 to 99": 25, "(none)": 1}


def test_numbers_that_are_mostly_one_value_lose_no_review():
    groups = by_column([0] * 90 + list(range(1, 30)))
    assert sum(sizes(groups).values()) == 119
    assert sizes(groups)["0"] == 90


def test_of_many_texts_the_most_frequent_are_shown():
    column = [f"title {index}" for index in range(30) for _ in range(30 - index)]
    groups = sizes(by_column([*column, ""]))
    assert len(groups) == 22
    assert groups["title 0"] == 30
    assert "title 25" not in groups
    assert groups["(other)"] == sum(range(1, 11))
    assert sum(groups.values()) == len(column) + 1


def test_numbers_among_texts_are_texts():
    assert list(sizes(by_column(["7", "seven", "inf"]))) == ["7", "inf", "seven"]


def test_rates_leave_out_the_empty():
    right, scores = np.array([True, True, False]), np.array([0.9, 0.8, 0.6])
    first, second = rates(by_column(["a", "a", "b"]), right, scores)
    assert (first["name"], first["reviews"], first["accuracy"]) == ("a", 2, 1)
    assert first["mean_score"] == pytest.approx(0.85)
    assert first["interval"][0] < 0.5
    assert second["accuracy"] == 0


def test_a_missing_column_names_those_there_are():
    reviews = [Review("a", POSITIVE, {"kind": "plain"}), Review("b", NEGATIVE, {"id": 3})]
    assert find_columns(reviews, ["id"], "x.jsonl") == {"id": [None, 3]}
    with pytest.raises(ToolkitError, match=r"x\.csv has no column 'stars' to slice by; expected one of kind, id$"):
        find_columns(reviews, ["kind", "stars"], "x.csv")
    with pytest.raises(ToolkitError, match="expected none, since it has only text and label"):
        find_columns([Review("a", POSITIVE)], ["stars"], "x.csv")
