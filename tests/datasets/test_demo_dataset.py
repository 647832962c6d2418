"""The demo corpus in dataset/ is what its README says."""

from collections import Counter
from itertools import combinations

import pytest
from click.testing import CliRunner

from tests.conftest import ROOT
from toolkit.cli import cli
from toolkit.datasets.demo import demo_note
from toolkit.datasets.splits import count_labels


@pytest.fixture(scope="module")
def texts(demo_reviews):
    return [review.text for reviews in demo_reviews.values() for review in reviews]


def five_grams(text):
    words = "".join(character if character.isalnum() else " " for character in text.lower()).split()
    return {tuple(words[start : start + 5]) for start in range(len(words) - 4)}


def test_sizes_and_balance(demo_reviews):
    assert {split: len(reviews) for split, reviews in demo_reviews.items()} == {
        "train": 308,
        "validation": 66,
        "test": 66,
    }
    for reviews in demo_reviews.values():
        counts = count_labels(reviews)
        assert counts["negative"] == counts["positive"]


def test_lengths_vary_from_a_line_to_three_hundred_words(texts):
    lengths = [len(text.split()) for text in texts]
    assert min(lengths) < 10
    assert 250 < max(lengths) <= 300
    for low, high in ((1, 25), (25, 60), (60, 130), (130, 301)):
        assert sum(low <= length < high for length in lengths) >= 40, (low, high)


def test_no_near_duplicates(texts):
    grams = [five_grams(text) for text in texts]
    for left, right in combinations(range(len(texts)), 2):
        smaller = min(len(grams[left]), len(grams[right]))
        if smaller:
            shared = len(grams[left] & grams[right]) / smaller
            assert shared <= 0.5, (texts[left][:60], texts[right][:60])
    assert len({text.lower() for text in texts}) == len(texts)


def test_no_template_shows_in_how_reviews_begin_and_end(texts):
    for part in (slice(0, 4), slice(-4, None)):
        repeated = Counter(tuple(text.lower().split()[part]) for text in texts)
        assert repeated.most_common(1)[0][1] <= 4, repeated.most_common(3)


def test_every_kind_is_in_every_split():
    import csv

    for split in ("train", "validation", "test"):
        with (ROOT / "dataset" / f"{split}.csv").open(encoding="utf-8", newline="") as stream:
            kinds = {row["kind"] for row in csv.DictReader(stream)}
        assert kinds == {"plain", "sarcasm", "mixed", "negation", "plot", "comparison", "short"}


def test_evaluating_it_says_what_it_is(tmp_path):
    for split in ("train", "validation", "test"):
        assert "written to be hard" in demo_note(ROOT / "dataset" / f"{split}.csv")
    other = tmp_path / "test.csv"
    other.write_bytes((ROOT / "dataset" / "test.csv").read_bytes()[::-1])
    assert demo_note(other) is None
    assert demo_note(tmp_path / "none.csv") is None
    result = CliRunner().invoke(cli, ["evaluate", "--dataset", str(ROOT / "dataset"), "--onnx-model", str(tmp_path)])
    assert "written to be hard" in result.stderr
