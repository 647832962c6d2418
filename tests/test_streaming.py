import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from toolkit.streaming import classify_lines


class Reads(io.RawIOBase):
    """A stream whose reads bring exactly the given blocks, as a slow pipe's do."""

    def __init__(self, *blocks):
        self.blocks = list(blocks)

    def read1(self, size):
        return self.blocks.pop(0) if self.blocks else b""


def classified(predictor, *blocks):
    return [record for records in classify_lines(Reads(*blocks), predictor) for record in records]


def test_one_record_a_line_in_order(fake_predictor):
    records = classified(fake_predictor, b"first\nsecond\nthird")
    assert [(record.number, record.text) for record in records] == [(1, "first"), (2, "second"), (3, "third")]
    assert [record.prediction for record in records] == list(fake_predictor.predict_many(["first", "second", "third"]))


def test_a_typed_line_is_answered_before_the_next_is_read(fake_predictor):
    stream = Reads(b"first\n", b"second\n")
    answers = classify_lines(stream, fake_predictor)
    assert [record.text for record in next(answers)] == ["first"]
    assert stream.blocks == [b"second\n"]


@pytest.mark.parametrize(
    "blocks", [(b"ab", b"cd\nef", b"\n"), (b"abcd\n", b"ef"), tuple(bytes([byte]) for byte in b"abcd\nef\n")]
)
def test_lines_may_come_in_pieces(fake_predictor, blocks):
    assert [record.text for record in classified(fake_predictor, *blocks)] == ["abcd", "ef"]


def test_bad_lines_are_named_and_stop_nothing(fake_predictor):
    records = classified(fake_predictor, b"fine\n\n  \ncaf\xe9\ncrlf\r\nlast\n")
    assert [record.problem for record in records] == [
        None, "empty review", "empty review", "not valid UTF-8 at byte 3", None, None,
    ]  # fmt: skip
    assert [record.number for record in records] == [1, 2, 3, 4, 5, 6]
    assert all((record.prediction is None) == (record.problem is not None) for record in records)
    assert records[4].text == "crlf"


def test_no_input_no_records(fake_predictor):
    assert classified(fake_predictor) == []


LINES = st.lists(st.text(st.characters(exclude_characters="\n\r", exclude_categories=["Cs"]), min_size=1))


@given(LINES, st.integers(1, 7))
def test_any_lines_give_exactly_one_record_each(fake_predictor_factory, lines, size):
    data = "".join(line + "\n" for line in lines).encode()
    blocks = [data[start : start + size] for start in range(0, len(data), size)]
    records = classified(fake_predictor_factory, *blocks)
    assert [record.text for record in records] == lines
    assert all((record.prediction is None) != (record.problem is None) for record in records)


@pytest.fixture(scope="module")
def fake_predictor_factory(tiny_tokenizer):
    """The fake predictor for a whole module, as hypothesis wants it."""
    from tests.conftest import FakePredictor
    from toolkit.bundle import Kind, Manifest
    from toolkit.text import ReviewTokenizer

    return FakePredictor(Manifest(Kind.ONNX, "fake", 64), ReviewTokenizer(tiny_tokenizer, 64))
