"""What a predictor promises beyond its backends: one type for an argument, views, an end."""

import copy
import pickle
import threading

import numpy as np
import pytest

from tests.conftest import FakePredictor
from tests.prediction.test_explanation import reader
from toolkit.models.bundle import Kind, Manifest
from toolkit.prediction import Abstention, InferenceOptions, Prediction, load_predictor
from toolkit.prediction.combination import Combination
from toolkit.text.tokenisation import ReviewTokenizer


@pytest.mark.parametrize("text", [["a film"], None, b"a film", 5, {"text": "a film"}])
def test_predict_takes_a_text_and_nothing_else(fake_predictor, text):
    with pytest.raises(TypeError, match=r"predict_many takes several, and in scikit-learn toolkit.sklearn.TextClassif"):
        fake_predictor.predict(text)


def test_predict_many_takes_an_iterable_of_texts_and_says_at_once_what_is_none(fake_predictor):
    pandas = pytest.importorskip("pandas")
    table = pandas.DataFrame({"text": ["a film", "a film"], "id": [1, 2]})
    wrong = ("a film", b"a film", bytearray(b"a film"), {"text": "a film"}, {"a film"}, {"a": 1}.keys(), 5, None)
    for texts in (*wrong, table, table[[]], table[["text"]].to_numpy(), np.array("a film")):
        with pytest.raises(
            TypeError, match=f"an iterable of reviews, found {type(texts).__name__}; predict takes a si"
        ):
            fake_predictor.predict_many(texts)
    predictions = fake_predictor.predict_many(["a film", "a film", "a film", "a film", "a film", None])
    assert isinstance(next(predictions), Prediction)
    with pytest.raises(TypeError, match="found NoneType at position 5: None"):
        list(predictions)
    with pytest.raises(TypeError, match="found float at position 1: nan"):
        list(fake_predictor.predict_many(["a film", float("nan")]))
    expected = list(fake_predictor.predict_many(["a film", "a film"]))
    for texts in (table["text"], table[["text"]], np.array(["a film", "a film"]), ("a film" for _ in range(2))):
        assert list(fake_predictor.predict_many(texts)) == expected


def test_scikit_learn_s_methods_say_where_they_went(fake_predictor):
    for name in ("score", "predict_proba", "fit", "classes_"):
        with pytest.raises(AttributeError, match=f"no {name}; scikit-learn's classifier is toolkit.sklearn.TextClass"):
            getattr(fake_predictor, name)
    with pytest.raises(AttributeError, match="has no attribute 'answers'"):
        fake_predictor.answers  # noqa: B018


def test_a_view_reads_otherwise_and_shares_the_model(tiny_bundle):
    with load_predictor("onnx", onnx_model=tiny_bundle, options=InferenceOptions(64, "head")) as predictor:
        text = "A quiet film. " * 100
        before = predictor.predict(text)
        view = predictor.with_options(max_length=16, truncation="head-tail", abstention=Abstention(1.0))
        short = view.predict(text)
        assert (short.tokens_read, short.verdict) == (16, "uncertain")
        assert predictor.predict(text) == before
        assert before.tokens_read == 64
        assert view._sessions is predictor._sessions
        assert view.tokenizer._tokenizer is predictor.tokenizer._tokenizer
        assert predictor.with_options().predict(text) == before


def test_closing_ends_threads_and_every_view(tiny_bundle):
    with load_predictor("onnx", onnx_model=tiny_bundle, options=InferenceOptions(workers=2)) as predictor:
        view = predictor.with_options(max_length=16)
        begun = predictor.predict_many(["a film"] * 200)
        next(begun)
        workers = set(predictor._sessions._pool._threads)
        assert workers <= set(threading.enumerate())
    assert not workers & set(threading.enumerate())
    assert not predictor._sessions._sessions
    for use in (
        lambda: predictor.predict("a film"),
        lambda: view.predict("a film"),
        lambda: predictor.predict_many(["a film"]),
        lambda: list(begun),
    ):
        with pytest.raises(RuntimeError, match="this predictor is closed; load another one with load_predictor"):
            use()
    predictor.close()
    view.close()


@pytest.mark.parametrize("duplicate", [copy.copy, copy.deepcopy, pickle.dumps])
def test_it_says_why_it_cannot_be_copied(fake_predictor, duplicate):
    with pytest.raises(TypeError, match="can be neither pickled nor copied"):
        duplicate(fake_predictor)


def test_options_that_nobody_could_follow_are_refused():
    with pytest.raises(ValueError, match="workers must be 1 or more, not 0"):
        InferenceOptions(workers=0)
    with pytest.raises(AttributeError):
        InferenceOptions().max_length = 5


def test_a_text_that_is_not_for_the_model_is_withheld_with_the_reason_and_still_scored(tiny_tokenizer):
    manifest = Manifest(Kind.ONNX, "minilm", 64)
    predictor = FakePredictor(manifest, ReviewTokenizer(tiny_tokenizer, 64))
    chinese = "a 这部电影很好看"  # of which the tiny vocabulary knows one letter
    prediction = predictor.predict(chinese)
    assert (prediction.verdict, prediction.reason) == ("uncertain", "script")
    assert prediction.to_dict()["reason"] == "script"
    answered = predictor.with_options(abstention=Abstention(any_text=True)).predict(chinese)
    assert (answered.verdict, answered.reason) == (prediction.label.name, None)
    assert answered.probabilities == prediction.probabilities
    assert "reason" not in answered.to_dict()
    mixed = [each.verdict == "uncertain" for each in predictor.predict_many(["A film.", chinese, "A film.", chinese])]
    assert mixed == [False, True, False, True]


def test_a_text_that_the_table_does_not_know_is_withheld(tiny_tokenizer):
    known = reader(tiny_tokenizer, Combination(unfamiliar_below=0.5))
    predictor = FakePredictor(Manifest(Kind.ONNX, "minilm", 64), ReviewTokenizer(tiny_tokenizer, 64), ngrams=known)
    good, strange = predictor.predict_many(["good", "zyx qwv jkq"])
    assert (good.verdict, good.reason, good.familiarity) == (good.label.name, None, 1)
    assert (strange.verdict, strange.reason, strange.familiarity) == ("uncertain", "unfamiliar", 0)
    view = predictor.with_options(abstention=Abstention(any_text=True))
    assert view.predict("zyx qwv jkq").verdict == strange.label.name
