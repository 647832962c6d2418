from itertools import chain

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.conftest import FakePredictor
from toolkit.bundle import Kind, Manifest
from toolkit.errors import BundleError
from toolkit.reading import POLICIES, EarlyStop, combine, parts
from toolkit.text import ReviewTokenizer

RULE = EarlyStop(first=12, threshold=0.9, temperature=2.0, weights=(1.0, 0.5, 2.0, -0.5))
TOKENS, ROOM = st.integers(1, 5000), st.integers(1, 510)


class Counting(FakePredictor):
    """Remembers what it was shown, and says what it is told to."""

    shown: list
    margins: dict

    def logits(self, encodings):
        self.shown += [encoding.input_ids.tolist() for encoding in encodings]
        margins = [self.margins.get(len(encoding.input_ids), 1.0) for encoding in encodings]
        return np.array([[-margin / 2, margin / 2] for margin in margins], np.float32).reshape(-1, 2)


@pytest.fixture
def counting(tiny_tokenizer):
    predictor = Counting(
        Manifest(Kind.ONNX, "fake", 40, temperature=1.5, early_stop=RULE.to_dict()), ReviewTokenizer(tiny_tokenizer, 40)
    )
    predictor.shown, predictor.margins = [], {}
    return predictor


def covered(chosen):
    return [token for part in chosen for start, stop in part for token in range(start, stop)]


@given(policy=st.sampled_from(POLICIES), tokens=TOKENS, room=ROOM)
def test_every_part_fits_and_lies_in_the_review(policy, tokens, room):
    chosen = parts(policy, tokens, room)
    for part in chosen:
        assert sum(stop - start for start, stop in part) == min(tokens, room)
        assert all(0 <= start < stop <= tokens for start, stop in part)
    assert (len(chosen) == 1) == (tokens <= room or policy != "window")
    if policy == "window":
        assert set(covered(chosen)) == set(range(tokens))


def test_the_policies_read_what_they_say():
    assert parts("head", 100, 10) == [((0, 10),)]
    assert parts("head-tail", 100, 11) == [((0, 6), (95, 100))]
    assert parts("window", 20, 10) == [((0, 10),), ((5, 15),), ((10, 20),)]


@given(tokens=TOKENS, room=ROOM, first=st.integers(3, 200))
def test_early_stopping_reads_no_token_twice_and_no_more_than_there_is_room_for(tokens, room, first):
    chosen = EarlyStop(first, 0.9, 1.0, (1.0, 0.0, 0.0, 0.0)).parts(tokens, room)
    read = covered(chosen)
    assert len(read) == len(set(read))
    assert set(read) <= set(range(tokens))
    assert len(read) + 2 * (len(chosen) - 1) <= room
    if tokens + 2 <= room:
        assert set(read) == set(range(tokens))


def test_windows_count_by_their_length():
    assert combine([3.0, -1.0], [10, 30]) == 0


@pytest.mark.parametrize("policy", POLICIES)
def test_the_model_is_shown_the_review_s_own_tokens(tiny_tokenizer, policy):
    text = " ".join(f"film {number}" for number in range(60))
    (whole,) = ReviewTokenizer(tiny_tokenizer, 512).encode([text])
    for encoding in ReviewTokenizer(tiny_tokenizer, 40, policy).encode_parts([text])[0]:
        ids = whole.input_ids.tolist()
        stretches = [ids[1 + start : 1 + stop] for start, stop in encoding.part]
        assert encoding.input_ids.tolist() == [ids[0], *chain(*stretches), ids[-1]]
        assert encoding.tokens == len(ids)


def test_windows_are_combined_and_the_deciding_one_is_named(counting):
    counting.read("window")
    text = "film " * 100
    prediction = counting.predict(text)
    assert (prediction.tokens, prediction.tokens_read) == (102, 102)
    assert all(len(shown) <= 40 for shown in counting.shown)
    assert len(counting.shown) == 4
    assert prediction.window == (0, 38)
    assert prediction.to_dict()["window"] == [0, 38]
    assert "window" not in counting.predict("short").to_dict()


def test_a_sure_first_look_is_enough(counting):
    counting.read(effort="auto")
    counting.margins = {12: 10.0}
    prediction = counting.predict("film " * 30)
    assert len(counting.shown) == 1
    assert (prediction.tokens, prediction.tokens_read) == (32, 12)
    assert prediction.score == pytest.approx(1 / (1 + np.exp(-10.0 / RULE.temperature)))  # calibrated by the rule alone


def test_doubt_reads_the_middle_and_only_that(counting):
    counting.read(effort="auto")
    counting.margins = {12: -1.0, 22: 3.0}
    together = list(counting.predict_many(["film " * 30, "film", "film " * 30]))
    assert sorted(map(len, counting.shown)) == [3, 12, 12, 22, 22]
    assert together[0] == together[2]
    prediction = counting.predict("film " * 30)
    assert prediction == together[0]
    assert prediction.tokens == prediction.tokens_read == 32
    share = 22 / 34
    margin = 1.0 * -1 + 0.5 * -1 * share + 2.0 * 3 - 0.5 * 3 * share
    assert prediction.score == pytest.approx(1 / (1 + np.exp(-margin)))


def test_a_model_without_a_rule_says_so(fake_predictor):
    with pytest.raises(BundleError, match="no rule for stopping early; export it with --proof"):
        fake_predictor.read(effort="auto")
    with pytest.raises(ValueError, match="reading must be one of head, head-tail, window"):
        fake_predictor.read("tail")


@pytest.mark.parametrize(
    "values", [{}, {"first": 2}, {"threshold": 0.4}, {"weights": [1, 2, 3]}, {"temperature": float("nan")}]
)
def test_a_damaged_rule_is_refused(values):
    with pytest.raises(ValueError, match="not a rule for stopping early"):
        EarlyStop.from_dict({**RULE.to_dict(), **values} if values else {})


def test_a_rule_survives_a_manifest():
    assert EarlyStop.from_dict({**RULE.to_dict(), "weights": list(RULE.weights)}) == RULE
