"""What words, phrases and sentences weigh, on a table of a few n-grams made by hand."""

import json

import numpy as np
import pytest

from tests.conftest import FakePredictor
from toolkit.errors import EmptyReviewError
from toolkit.models.bundle import Kind, Manifest
from toolkit.prediction import load_predictor
from toolkit.prediction.combination import Combination, NgramReader, lengths
from toolkit.prediction.ngrams import NgramTable, ngram_keys
from toolkit.text.tokenisation import ReviewTokenizer

WEIGHTS = {"good": 1.27, "bad": -1.0, "not good": -0.8, "the film": 0.3, "of the film": -0.2}
RULE = Combination(slope=1.5, exponent=0.4, temperature=2.0, weight=0.6, evidence=60.0)
ALONE = Combination(slope=1.5, exponent=0.4, certain=0.5)
TEXT = "It is not good, not good of the film. But good acting! A bad zyx end of the film."
THREE = ("sport", "money", "science")


def table(tokenizer, weights):
    """The n-grams that a tokenizer makes of some phrases, with their weights."""
    bodies = ReviewTokenizer(tokenizer, 64).encode_whole(list(weights))
    keys = [list(ngram_keys([ids]))[len(ids) - 3][2][0] for ids in bodies]
    rows = np.array(list(weights.values()), np.float64)
    return NgramTable.build(np.array(keys, np.uint64), rows, np.ones(len(keys)), 1 << 12)


def reader(tokenizer, rule=RULE, weights=WEIGHTS):
    return NgramReader(table(tokenizer, weights), rule)


@pytest.fixture
def make(tiny_tokenizer):
    """A predictor whose transformer counts even ids, beside the table above."""

    def predictor(rule=RULE, length=64, truncation="head-tail", **options):
        manifest = Manifest(Kind.ONNX, "fake", length, temperature=1.7)
        return FakePredictor(
            manifest,
            ReviewTokenizer(tiny_tokenizer, length, truncation),
            ngrams=reader(tiny_tokenizer, rule),
            **options,
        )

    return predictor


def difference(predictor, text, read_by):
    """What the n-grams add to the difference of the two labels' logits in an answer."""
    ids = predictor.tokenizer.encode_whole([text])
    logits = predictor.ngrams.table.score(ids).logits[0]
    return (logits[1] - logits[0]) * predictor.ngrams.rule.factors(lengths(ids), read_by)[0]


@pytest.mark.parametrize(("rule", "read_by"), [(RULE, "both"), (ALONE, "ngrams")])
def test_the_pushes_of_words_sum_to_what_the_n_grams_say(make, rule, read_by):
    predictor = make(rule)
    explanation = predictor.explain(TEXT)
    assert explanation.prediction == predictor.predict(TEXT)
    assert explanation.prediction.read_by == read_by
    assert explanation.label.name == "positive"
    assert sum(word.push for word in explanation.words) == pytest.approx(difference(predictor, TEXT, read_by), abs=1e-9)
    assert [word.text for word in explanation.words] == TEXT.split()
    assert all(TEXT[word.start : word.end] == word.text for word in explanation.words)
    if read_by == "ngrams":
        logits = explanation.prediction.logits
        assert logits[1] - logits[0] == pytest.approx(sum(word.push for word in explanation.words), abs=1e-9)


def test_an_n_gram_is_shared_by_its_occurrences_and_their_words(make):
    predictor = make(ALONE)
    words = predictor.explain(TEXT).words
    factor = 1.5 * (len(predictor.tokenizer.encode_whole([TEXT])[0]) / 100) ** -0.4
    not_good, good = -0.8 / 2 / 2, 1.27 / 3  # twice, of two words; three times, of one
    the_film, of_the_film = 0.3 / 2 / 2, -0.2 / 2 / 3
    expected = {
        2: not_good,
        3: not_good + good,
        4: not_good,
        5: not_good + good,
        6: of_the_film,
        7: the_film + of_the_film,
        10: good,
        13: -1.0,
        0: 0,
        14: 0,
    }
    for place, push in expected.items():
        assert words[place].push == pytest.approx(push * factor, abs=0.01 * factor), words[place].text


def test_the_phrases_that_weigh_most_stand_as_in_the_text(make):
    predictor = make(ALONE)
    phrases = predictor.explain(f"Well: GOOD! {TEXT}").phrases
    assert [phrase.text for phrase in phrases] == ["GOOD", "bad", "not good", "the film"]
    factor = predictor.ngrams.rule.factors(lengths(predictor.tokenizer.encode_whole([f"Well: GOOD! {TEXT}"])), "ngrams")
    assert [phrase.push for phrase in phrases] == pytest.approx(np.array([1.27, -1, -0.8, 0.3]) * factor, rel=0.03)


def test_pieces_of_words_are_shown_as_the_words(tiny_tokenizer):
    """The vocabulary knows no `zyx`, so that its first letter is an n-gram."""
    manifest = Manifest(Kind.ONNX, "fake", 64)
    ngrams = reader(tiny_tokenizer, ALONE, {"z": 1.0, "film. z": -0.7})
    predictor = FakePredictor(manifest, ReviewTokenizer(tiny_tokenizer, 64), ngrams=ngrams)
    explanation = predictor.explain("(zyx-qwv) A film. zyx")
    assert [phrase.text for phrase in explanation.phrases] == ["zyx", "film. zyx"]
    assert [word.push > 0 for word in explanation.words] == [True, False, False, True]


@pytest.mark.parametrize(("rule", "read_by"), [(RULE, "both"), (ALONE, "ngrams")])
def test_a_sentence_is_left_out_of_what_both_readers_read(make, rule, read_by):
    predictor = make(rule)
    explanation = predictor.explain(TEXT)
    sentences = ["It is not good, not good of the film.", "But good acting!", "A bad zyx end of the film."]
    assert [segment.text for segment in explanation.segments] == sentences
    whole = lengths(predictor.tokenizer.encode_whole([TEXT]))

    def calibrated(text):
        ids = predictor.tokenizer.encode_whole([text])
        scores = predictor.ngrams.table.score(ids)
        if read_by == "ngrams":
            return np.diff(rule.alone(scores, whole)[0])[0]
        return np.diff(rule.together(scores, whole, predictor.logits(predictor.tokenizer.windows(ids[0])))[0])[0]

    for number, segment in enumerate(explanation.segments):
        rest = " ".join(sentences[:number] + sentences[number + 1 :])
        assert segment.push == pytest.approx(calibrated(TEXT) - calibrated(rest), abs=1e-5)


def test_what_n_grams_decide_costs_no_reading(make):
    predictor = make(ALONE)
    predictor.logits = lambda encodings: pytest.fail("the transformer was asked") if encodings else np.empty((0, 2))
    assert len(predictor.explain(TEXT).segments) == 3


@pytest.mark.parametrize("options", [{"readers": "model"}, {"ngrams": False}])
def test_without_n_grams_sentences_alone_are_explained(make, options, fake_predictor):
    predictor = fake_predictor if "ngrams" in options else make(**options)
    explanation = predictor.explain(TEXT)
    assert explanation.prediction.read_by == "model"
    assert (explanation.words, explanation.phrases) == ((), ())
    first, rest = explanation.segments[0], TEXT.partition("film. ")[2]
    whole, without = (predictor.predict(text).probabilities for text in (TEXT, rest))
    expected = np.log(whole["positive"] / whole["negative"]) - np.log(without["positive"] / without["negative"])
    assert first.push == pytest.approx(expected, abs=1e-5)


def test_the_unread_middle_of_a_long_text_is_read_by_n_grams(make):
    long = "Fine. " * 30 + "A bad film. " + "Fine. " * 30
    explanation = make(length=32).explain(long)
    assert explanation.prediction.read_by == "both"
    assert explanation.unread_words == len(long.split()) - sum(len(each.text.split()) for each in explanation.segments)
    assert explanation.unread_words > 30
    assert 0 < explanation.unread_after < len(explanation.segments)
    predictor = make(length=32)
    bad = sum(word.push for word in explanation.words)
    assert bad == pytest.approx(difference(predictor, long, "both"), abs=1e-9)
    assert explanation.unread_push == pytest.approx(bad, abs=1e-9), "nothing else weighs anything for the n-grams"
    assert explanation.unread_push < -0.1
    alone = make(length=32, readers="model").explain(long)
    assert (alone.unread_words, alone.unread_push) == (explanation.unread_words, None)
    assert make(ALONE, length=32).explain(long).unread_words == 0, "n-grams read all of it"


def test_windows_are_read_without_the_sentence(make):
    predictor = make(length=16, truncation="window", readers="model")
    text = "It is a good film. " * 10 + "A bad end."
    explanation = predictor.explain(text)
    assert explanation.unread_words == 0
    cut = predictor.tokenizer.windows(predictor.tokenizer.encode_whole([text])[0])
    assert len(cut) > 2
    assert len(explanation.segments) == 11
    assert all(np.isfinite(segment.push) for segment in explanation.segments)
    asked = []
    logits = predictor.logits
    predictor.logits = lambda encodings: asked.append(len(encodings)) or logits(encodings)
    predictor.explain(text)
    assert asked[0] == len(cut)
    assert asked[1] <= 3 * len(cut), "a window without the sentence is read once for all"


def test_a_lone_sentence_is_explained_by_clauses_and_a_lone_clause_by_words(make):
    predictor = make()
    assert [each.text for each in predictor.explain("A good start, but a bad end.").segments] == [
        "A good start,",
        "but a bad end.",
    ]
    assert [each.text for each in predictor.explain("A good film.").segments] == ["A", "good", "film."]
    texts = ("A good start. A bad end.", "A good start, but a bad end.", "A good film.")
    assert [predictor.explain(text).unit for text in texts] == ["sentences", "clauses", "words"]
    lone = predictor.explain("Good!")
    assert [(each.text, each.push) for each in lone.segments] == [("Good!", None)]
    assert lone.words[0].push > 0
    with pytest.raises(EmptyReviewError):
        predictor.explain(" ")
    with pytest.raises(TypeError, match="one review as a str"):
        predictor.explain(["Good!"])


def test_three_labels_push_towards_the_answer(tiny_tokenizer):
    weights = {"good": (2.0, -1.0, 0.0), "bad": (-1.0, 0.5, 0.25), "film": (0.0, 0.5, -1.0)}
    manifest = Manifest(Kind.ONNX, "fake", 64, THREE, uncertain_below=0.333333)

    class Three(FakePredictor):
        def logits(self, encodings):
            return np.array([[0.3, 0.1, len(each.input_ids) / 20] for each in encodings], np.float32)

    predictor = Three(manifest, ReviewTokenizer(tiny_tokenizer, 64), ngrams=reader(tiny_tokenizer, RULE, weights))
    text = "A good film. A bad end, good."
    explanation = predictor.explain(text)
    prediction = explanation.prediction
    assert explanation.label == prediction.label
    ids = predictor.tokenizer.encode_whole([text])
    logits = predictor.ngrams.table.score(ids).logits[0] * predictor.ngrams.rule.factors(lengths(ids), "both")[0]
    others = np.array([p * (name != prediction.label.name) for name, p in prediction.probabilities.items()])
    expected = logits[prediction.label.index] - (others / others.sum()) @ logits
    assert sum(word.push for word in explanation.words) == pytest.approx(expected, abs=1e-9)
    assert {word.text: word.push > 0 for word in explanation.words if word.text in ("good", "bad")} == {
        "good": True,
        "bad": False,
    }


def test_json_has_the_numbers(make):
    explanation = make(length=32).explain("Fine. " * 30 + "A bad film. " + "Fine. " * 30)
    why = json.loads(json.dumps(explanation.to_dict()))
    assert list(why) == ["towards", "unit", "parts", "phrases", "words", "unread"]
    assert why["towards"] == "positive"
    assert why["unread"]["words"] == explanation.unread_words
    assert len(why["words"]) == 63
    assert why["phrases"] == [{"text": "bad", "push": round(explanation.phrases[0].push, 6)}]
    assert "unread" not in make().explain(TEXT).to_dict()


def test_both_backends_give_the_same_reasons(tiny_bundle, tiny_adapter, tiny_tokenizer):
    explanations = []
    for backend, where in (("onnx", {"onnx_model": tiny_bundle}), ("torch", {"adapter": tiny_adapter})):
        with load_predictor(backend, **where) as predictor:
            predictor.ngrams, predictor.readers = reader(tiny_tokenizer), "both"
            explanations.append(predictor.explain(TEXT))
    onnx, torch = explanations
    assert onnx.words == torch.words
    assert onnx.phrases == torch.phrases
    assert any(word.push for word in onnx.words)
    for one, other in zip(onnx.segments, torch.segments, strict=True):
        assert one.text == other.text
        assert one.push == pytest.approx(other.push, abs=1e-3)
