import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from toolkit.errors import BundleError, EmptyReviewError
from toolkit.text.normalisation import TEXT_LIMIT, normalise
from toolkit.text.tokenisation import ReviewTokenizer


@pytest.mark.parametrize(
    ("raw", "clean"),
    [
        ("one<br />two<br/><BR>three", "one two three"),
        ("  a\t\tb\r\nc\u00a0d ", "a b c d"),
        ("bad \ud83d half", "bad \ufffd half"),
        ("5 < 6 > 4 <b>bold</b>", "5 < 6 > 4 <b>bold</b>"),
        ("<br /> \n", ""),
    ],
)
def test_normalise(raw, clean):
    assert normalise(raw) == clean


@given(st.text())
def test_normalise_is_idempotent_and_encodable(text):
    clean = normalise(text)
    assert normalise(clean) == clean
    clean.encode()


def test_counts_and_cuts_like_transformers(tiny_base, tiny_tokenizer, demo_reviews):
    from transformers import AutoTokenizer

    reference = AutoTokenizer.from_pretrained(tiny_base)
    texts = [review.text for review in demo_reviews["test"]]
    for encoding, text in zip(ReviewTokenizer(tiny_tokenizer, 40).encode(texts), texts, strict=True):
        assert encoding.input_ids.tolist() == reference(text, truncation=True, max_length=40)["input_ids"]
        assert encoding.tokens == len(reference(text)["input_ids"])
        assert encoding.input_ids.dtype == np.int64


def test_a_short_review_is_not_padded(tiny_tokenizer):
    tiny = ReviewTokenizer(tiny_tokenizer, 512).encode(["good"])[0]
    assert tiny.tokens == len(tiny.input_ids) < 10


def test_padding_and_truncation_stored_in_the_file_are_ignored(tmp_path, tiny_tokenizer):
    from tokenizers import Tokenizer

    stored = Tokenizer.from_str(tiny_tokenizer.to_str())
    stored.enable_padding(length=64)
    stored.enable_truncation(8)
    stored.save(str(tmp_path / "tokenizer.json"))
    encoding = ReviewTokenizer.from_file(tmp_path / "tokenizer.json", 512).encode(["a film " * 20])[0]
    assert encoding.tokens == len(encoding.input_ids) > 40
    assert 0 not in encoding.input_ids  # [PAD]


@pytest.mark.parametrize("blank", ["", "   ", "\n\t", "<br /><br />"])
def test_blank_text_is_an_error(tiny_tokenizer, blank):
    with pytest.raises(EmptyReviewError, match="the review is empty"):
        ReviewTokenizer(tiny_tokenizer, 64).encode(["fine", blank])


def test_a_damaged_tokenizer_names_its_file(tmp_path):
    (tmp_path / "tokenizer.json").write_text("{")
    with pytest.raises(BundleError, match=r"tokenizer\.json is not a readable tokenizer"):
        ReviewTokenizer.from_file(tmp_path / "tokenizer.json", 64)


def test_a_length_without_room_for_text_is_refused(tiny_tokenizer):
    with pytest.raises(ValueError, match="3 or more"):
        ReviewTokenizer(tiny_tokenizer, 2)


def test_wrap_takes_a_fast_tokenizer_and_refuses_others(tiny_base):
    from transformers import AutoTokenizer

    assert ReviewTokenizer.wrap(AutoTokenizer.from_pretrained(tiny_base), 64).encode(["good"])
    with pytest.raises(TypeError, match="expected a fast tokenizer"):
        ReviewTokenizer.wrap(str.split, 64)


def test_a_huge_text_costs_and_counts_no_more_than_its_beginning(tiny_tokenizer):
    tokenizer = ReviewTokenizer(tiny_tokenizer, 64)
    start = ("a film " * TEXT_LIMIT)[:TEXT_LIMIT]
    beginning, whole = tokenizer.encode([start, start + "a film " * 1_000_000])
    assert whole.tokens == beginning.tokens > TEXT_LIMIT / 7
    assert whole.input_ids.tolist() == beginning.input_ids.tolist()
    just_below = tokenizer.encode([start[:-7]])[0]
    assert just_below.tokens < beginning.tokens  # up to the limit the count is exact


def test_long_texts_are_tokenised_like_short_ones(tiny_tokenizer):
    tokenizer = ReviewTokenizer(tiny_tokenizer, 64)
    texts = ["film " * size for size in (30_000, 1, 30_000, 5, 39_999)]
    alone = [tokenizer.encode([text])[0].tokens for text in texts]
    assert [each.tokens for each in tokenizer.encode(texts)] == alone


@pytest.mark.parametrize("text", ["\0", "\u200b\u200d", "\ud800", "\N{REPLACEMENT CHARACTER} \x07", "\u0301", "\ufe0f"])
def test_a_text_that_nobody_sees_is_empty(tiny_tokenizer, text):
    """BERT's cleaning leaves nothing of it; it was classified from nothing once."""
    assert normalise(text) == ""
    assert normalise(f"{text}a") != ""
    with pytest.raises(EmptyReviewError):
        ReviewTokenizer(tiny_tokenizer, 64).encode([text])


def test_every_visible_character_is_a_token(tiny_tokenizer):
    reader = ReviewTokenizer(tiny_tokenizer, 64)
    visible = [chr(code) for code in range(0x20000) if not 0xD800 <= code < 0xE000 and normalise(chr(code))]
    assert len(visible) > 90_000
    assert min(map(len, reader._ids(visible))) - 2 >= 1


@pytest.mark.parametrize("text", ["👍👍 😀", "这部电影", "\u0416"])
def test_a_text_of_which_the_vocabulary_knows_nothing_is_empty(tiny_tokenizer, text):
    """Such reviews all came out positive with 0.5593."""
    reader = ReviewTokenizer(tiny_tokenizer, 64)
    with pytest.raises(EmptyReviewError, match="unknown to the model"):
        reader.encode(["a film", text])
    assert [len(ids) for ids in reader.encode_whole(["a film", text])] == [4, 2]
    assert reader.encode([f"a film {text}"])[0].tokens > 4


def test_another_length_shares_the_vocabulary(tiny_tokenizer):
    """A copy a message cost the app 6 MB and more for each of those who waited."""
    reader = ReviewTokenizer(tiny_tokenizer, 64, "head-tail")
    shorter = ReviewTokenizer.wrap(reader, 8)
    assert shorter._tokenizer is reader._tokenizer
    assert (reader.max_length, shorter.max_length, shorter.truncation) == (64, 8, "head-tail")
    with pytest.raises(ValueError, match="3 or more"):
        ReviewTokenizer.wrap(reader, 2)
