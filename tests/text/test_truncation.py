from itertools import chain

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.conftest import FakePredictor
from toolkit.choices import Truncation, choices
from toolkit.models.bundle import Kind, Manifest
from toolkit.prediction import InferenceOptions
from toolkit.text.tokenisation import ReviewTokenizer
from toolkit.text.truncation import combine, windows

TRUNCATIONS = choices(Truncation)
TOKENS, ROOM = st.integers(1, 5000), st.integers(1, 510)


class Counting(FakePredictor):
    """Remembers what it was shown."""

    shown: list

    def logits(self, encodings):
        self.shown += [encoding.input_ids.tolist() for encoding in encodings]
        return np.tile(np.float32([-0.5, 0.5]), (len(encodings), 1))


@pytest.fixture
def counting(tiny_tokenizer):
    predictor = Counting(Manifest(Kind.ONNX, "fake", 40, temperature=1.5), ReviewTokenizer(tiny_tokenizer, 40))
    predictor.shown = []
    return predictor


def covered(chosen):
    return [token for spans in chosen for start, stop in spans for token in range(start, stop)]


@given(truncation=st.sampled_from(TRUNCATIONS), tokens=TOKENS, room=ROOM)
def test_every_window_fits_and_lies_in_the_review(truncation, tokens, room):
    chosen = windows(truncation, tokens, room)
    for spans in chosen:
        assert sum(stop - start for start, stop in spans) == min(tokens, room)
        assert all(0 <= start < stop <= tokens for start, stop in spans)
    assert (len(chosen) == 1) == (tokens <= room or truncation != "window")
    if truncation == "window":
        assert set(covered(chosen)) == set(range(tokens))


def test_each_truncation_reads_what_it_says():
    assert windows("head", 100, 10) == [((0, 10),)]
    assert windows("head-tail", 100, 11) == [((0, 6), (95, 100))]
    assert windows("window", 20, 10) == [((0, 10),), ((5, 15),), ((10, 20),)]


def test_windows_count_by_their_length():
    assert combine([3.0, -1.0], [10, 30]) == 0


@pytest.mark.parametrize("truncation", TRUNCATIONS)
def test_the_model_is_shown_the_review_s_own_tokens(tiny_tokenizer, truncation):
    text = " ".join(f"film {number}" for number in range(60))
    (whole,) = ReviewTokenizer(tiny_tokenizer, 512).encode([text])
    for encoding in ReviewTokenizer(tiny_tokenizer, 40, truncation).encode_windows([text])[0]:
        ids = whole.input_ids.tolist()
        stretches = [ids[1 + start : 1 + stop] for start, stop in encoding.spans]
        assert encoding.input_ids.tolist() == [ids[0], *chain(*stretches), ids[-1]]
        assert encoding.tokens == len(ids)


def test_windows_are_combined_and_the_deciding_one_is_named(counting):
    text = "film " * 100
    prediction = counting.with_options(truncation="window").predict(text)
    assert (prediction.tokens, prediction.tokens_read) == (102, 102)
    assert all(len(shown) <= 40 for shown in counting.shown)
    assert len(counting.shown) == 4
    assert prediction.window == (0, 38)
    assert prediction.to_dict()["window"] == [0, 38]
    assert "window" not in counting.predict("short").to_dict()


def test_another_truncation_is_refused(fake_predictor, tiny_tokenizer):
    for refuse in (
        lambda: fake_predictor.with_options(truncation="tail"),
        lambda: InferenceOptions(truncation="tail"),
        lambda: ReviewTokenizer(tiny_tokenizer, 40, "tail"),
    ):
        with pytest.raises(ValueError, match="truncation must be one of head, head-tail, window, not 'tail'"):
            refuse()
