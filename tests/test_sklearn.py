"""`toolkit.sklearn.TextClassifier` goes wherever scikit-learn wants a classifier, and says what it cannot take."""

import copy
import pickle

import numpy as np
import pandas
import pytest
from sklearn.base import clone, is_classifier
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import VotingClassifier
from sklearn.exceptions import NotFittedError
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import RocCurveDisplay
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.utils import check_array
from sklearn.utils.estimator_checks import check_estimator

import toolkit.sklearn
from toolkit.errors import BundleError
from toolkit.prediction import load_predictor
from toolkit.sklearn import TextClassifier
from toolkit.text.labels import SENTIMENT

TEXTS = ["A joy from start to end.", "A bore and a waste.", "Fine acting, lovely music."]
FRAME = pandas.DataFrame({"text": TEXTS, "id": [1, 2, 3]})


@pytest.fixture(scope="module")
def classifier(tiny_bundle) -> TextClassifier:
    return TextClassifier("onnx", onnx_model=tiny_bundle, max_length=64, truncation="head").fit()


@pytest.fixture(scope="module")
def texts(demo_reviews):
    return [review.text for review in demo_reviews["test"]]


@pytest.fixture(scope="module")
def labels(demo_reviews):
    return np.array([int(review.label) for review in demo_reviews["test"]])


@pytest.fixture(scope="module")
def expected(tiny_bundle, texts):
    with load_predictor("onnx", onnx_model=tiny_bundle) as predictor:
        short = predictor.with_options(max_length=64, truncation="head")
        return list(short.predict_many(texts))


def test_labels_and_probabilities_are_those_of_the_predictions(classifier, texts, expected):
    assert classifier.predict(texts).tolist() == [int(each.label) for each in expected]
    assert classifier.predict_proba(np.array(texts)).tolist() == [
        [each.probabilities[label.name] for label in SENTIMENT] for each in expected
    ]
    assert classifier.predict_proba([]).shape == (0, 2)
    assert classifier.predict([]).shape == (0,)


def test_its_parameters_are_its_constructor_s(classifier):
    assert is_classifier(classifier)
    copied = clone(classifier)
    assert copied.get_params() == classifier.get_params()
    assert copied.get_params()["truncation"] == "head"
    with pytest.raises(NotFittedError):
        copied.predict(TEXTS)
    copied.set_params(max_length=8, truncation="window")
    assert copied.fit()._predictor.tokenizer.max_length == 8
    with pytest.raises(ValueError, match="truncation must be one of"):
        copied.set_params(truncation="tail").fit()
    with pytest.raises(BundleError, match="max_length is 513"):
        copied.set_params(truncation=None, max_length=513).fit()


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda each: pickle.loads(pickle.dumps(each))])
def test_a_copy_says_the_same(classifier, texts, copied):
    assert copied(classifier).predict(texts[:5]).tolist() == classifier.predict(texts[:5]).tolist()
    assert len(pickle.dumps(classifier)) < 10_000, "the model itself does not travel"


def test_searches_and_validation_take_it(classifier, texts, labels):
    accuracy = (classifier.predict(texts) == labels).mean()
    scores = cross_val_score(clone(classifier), texts, labels, cv=3)
    assert scores.mean() == pytest.approx(accuracy)
    search = GridSearchCV(clone(classifier), {"max_length": [8, 64]}, cv=2).fit(texts, labels)
    assert search.cv_results_["mean_test_score"][1] == pytest.approx(accuracy)
    assert 0 <= RocCurveDisplay.from_estimator(classifier, texts, labels).roc_auc <= 1


def test_several_processes_take_it(classifier, texts, labels):
    alone = cross_val_score(clone(classifier), texts, labels, cv=2)
    assert cross_val_score(clone(classifier), texts, labels, cv=2, n_jobs=2).tolist() == alone.tolist()


def test_it_votes_and_stands_in_a_pipeline(classifier, texts, labels):
    other = make_pipeline(TfidfVectorizer(), LogisticRegression())
    vote = VotingClassifier([("toolkit", clone(classifier)), ("words", other)], voting="soft").fit(texts, labels)
    expected = (classifier.predict_proba(texts) + vote.estimators_[1].predict_proba(texts)) / 2
    np.testing.assert_allclose(vote.predict_proba(texts), expected)
    assert FrozenEstimator(classifier).fit(texts, labels).score(texts, labels) == classifier.score(texts, labels)
    chosen = ColumnTransformer([("text", "passthrough", ["text"])])
    piped = make_pipeline(chosen, clone(classifier)).fit(FRAME, [1, 0, 1])
    assert piped.predict(FRAME).tolist() == classifier.predict(TEXTS).tolist()


@pytest.mark.parametrize(
    "X",
    [
        tuple(TEXTS),
        np.array(TEXTS),
        np.array(TEXTS, dtype=object),
        np.array(TEXTS)[:, np.newaxis],
        [[text] for text in TEXTS],
        FRAME["text"],
        FRAME["text"].astype("string"),
        FRAME[["text"]],
    ],
)
def test_texts_come_in_many_shapes(classifier, X):
    assert classifier.predict(X).tolist() == classifier.predict(TEXTS).tolist()


@pytest.mark.parametrize(
    ("X", "error", "message"),
    [
        ("Awful", TypeError, "expected one text for each review: .*; found str"),
        (b"Awful", TypeError, "found bytes"),
        ({"text": "Awful"}, TypeError, "found dict"),
        ({"Awful"}, TypeError, "found set"),
        (None, TypeError, "found NoneType"),
        (5, TypeError, "found int"),
        ((text for text in TEXTS), TypeError, "found generator"),
        ([{"text": "Awful"}], TypeError, "row 0: expected a text, found {'text'"),
        (["Good", None], TypeError, "row 1: expected a text, found None"),
        (["Good", float("nan")], TypeError, "row 1: expected a text, found nan"),
        (pandas.Series(["Good", None], dtype="string"), TypeError, "row 1: expected a text, found <NA>"),
        ([1, 2], TypeError, "row 0: expected a text, found 1"),
        (["Good", ""], ValueError, "row 1: the review is empty"),
        (FRAME, ValueError, r"found the shape \(3, 2\) \(text, id\)"),
        ([("Awful", "Great")], ValueError, r"found the shape \(1, 2\)"),
        (np.array("Awful"), ValueError, r"found the shape \(\)"),
        (np.array([[["Awful"]]]), ValueError, r"found the shape \(1, 1, 1\)"),
        (FRAME[[]], ValueError, r"found the shape \(3, 0\) \(no column\)"),
        (np.ma.array(["Good", "Bad"], mask=[False, True]), TypeError, "row 1: expected a text, found None"),
        (bytearray(b"Awful"), TypeError, "found bytearray"),
        ([b"Awful"], TypeError, "row 0: expected a text, found b'Awful'"),
    ],
)
def test_what_is_no_column_of_texts_is_refused(classifier, X, error, message):
    with pytest.raises(error, match=message):
        classifier.predict(X)


@pytest.mark.parametrize(
    ("y", "classes"),
    [
        ([1, 0, 1], [0, 1]),
        ([1.0, 0.0, 1.0], [0, 1]),
        (["pos", "neg", "pos"], ["neg", "pos"]),
        (np.array(["POS", "neg", "POS"]), ["neg", "POS"]),
        (pandas.Series(["positive", "negative", "positive"]), ["negative", "positive"]),
        (["pos", "negative", "positive"], ["negative", "positive"]),
        (["pos", "pos", "pos"], ["negative", "positive"]),
        ([1, 1, 1], [0, 1]),
        ([SENTIMENT[1], SENTIMENT[0], SENTIMENT[1]], ["negative", "positive"]),
    ],
)
def test_labels_are_understood_and_answered_in_their_spelling(classifier, y, classes):
    fitted = clone(classifier).fit(TEXTS, y)
    assert fitted.classes_.tolist() == classes
    assert fitted.predict(TEXTS).tolist() == [classes[label] for label in classifier.predict(TEXTS)]
    assert fitted.score(TEXTS, y) == np.mean(fitted.predict_proba(TEXTS).argmax(axis=1) == [
        str(label).lower() in ("1", "1.0", "pos", "positive") for label in y
    ])  # fmt: skip


def test_labels_of_another_kind_or_number_are_refused(classifier):
    for unknown in ("maybe", None, float("nan"), 2):
        with pytest.raises(ValueError, match="row 1: expected a label 0 or 1, neg or pos, negative or positive, found"):
            classifier.score(TEXTS, np.array([1, unknown, 0], dtype=object))
    for ask in (classifier.score, clone(classifier).fit):
        with pytest.raises(ValueError, match=r"inconsistent numbers of samples: \[3, 2\]"):
            ask(TEXTS, [1, 0])


class _OnNumbers(TextClassifier):
    """The same on rows of numbers, which are all that scikit-learn's checks have; `_as_texts` writes them out."""

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.string = tags.input_tags.one_d_array = False
        return tags


# Why some of scikit-learn's own checks are none for a model that comes trained and reads texts.
NOT_APPLICABLE = {
    **dict.fromkeys(
        ("check_n_features_in", "check_n_features_in_after_fitting", "check_fit2d_1feature"),
        "a text has no features that could be counted, as for CountVectorizer",
    ),
    **dict.fromkeys(
        ("check_classifiers_classes", "check_classifier_data_not_an_array", "check_estimators_dtypes"),
        "its y has labels that the model does not have",
    ),
    **dict.fromkeys(
        ("check_classifiers_train", "check_classifiers_one_label"),
        "expects that something is learnt from X and y",
    ),
    "check_classifier_not_supporting_multiclass": "a third label is refused, by its row, as every unknown one is",
}


@pytest.mark.filterwarnings("ignore")
def test_scikit_learn_s_own_checks(tiny_bundle, monkeypatch):
    real = toolkit.sklearn._texts

    def as_texts(X):
        return real([" ".join(f"{number:.2f}" for number in row) for row in check_array(X).tolist()])

    monkeypatch.setattr(toolkit.sklearn, "_texts", as_texts)
    results = check_estimator(
        _OnNumbers("onnx", onnx_model=tiny_bundle, max_length=16), expected_failed_checks=NOT_APPLICABLE, on_skip=None
    )
    statuses = {}
    for result in results:
        statuses.setdefault(result["status"], set()).add(result["check_name"])
    assert statuses["xfail"] == set(NOT_APPLICABLE), "each of them is still said for a reason"
    assert statuses["skipped"] == {"check_array_api_input"}
    assert len(statuses["passed"]) >= 30
