"""A predictor goes where scikit-learn wants a classifier, with no wrapper around it."""

import numpy as np
import pytest
from sklearn.base import clone, is_classifier
from sklearn.calibration import CalibratedClassifierCV
from sklearn.ensemble import VotingClassifier
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import RocCurveDisplay
from sklearn.model_selection import cross_val_score
from sklearn.pipeline import make_pipeline

from toolkit.text.labels import Label


@pytest.fixture
def texts(demo_reviews):
    return [review.text for review in demo_reviews["test"]]


@pytest.fixture
def labels(demo_reviews):
    return np.array([int(review.label) for review in demo_reviews["test"]])


def test_labels_and_probabilities_are_those_of_the_predictions(fake_predictor, texts):
    predictions = list(fake_predictor.predict_many(texts))
    assert fake_predictor.predict(texts).tolist() == [int(each.label) for each in predictions]
    assert fake_predictor.predict(texts[0]) == predictions[0]
    probabilities = fake_predictor.predict_proba(np.array(texts))
    assert probabilities.tolist() == [[each.probabilities[label] for label in Label] for each in predictions]
    assert fake_predictor.predict_proba([]).shape == (0, 2)
    assert fake_predictor.predict([]).shape == (0,)


def test_scikit_learn_takes_it_for_a_fitted_classifier(fake_predictor, texts, labels):
    assert is_classifier(fake_predictor)
    assert clone(fake_predictor) is fake_predictor
    accuracy = (fake_predictor.predict(texts) == labels).mean()
    assert fake_predictor.fit(texts, labels).score(texts, labels) == pytest.approx(accuracy)
    assert len(cross_val_score(fake_predictor, texts, labels, cv=3)) == 3
    assert make_pipeline(fake_predictor).fit(texts, labels).score(texts, labels) == pytest.approx(accuracy)
    curve = RocCurveDisplay.from_estimator(fake_predictor, texts, labels)
    assert 0 <= curve.roc_auc <= 1


def test_it_votes_with_others_and_can_be_calibrated_anew(fake_predictor, texts, labels):
    other = make_pipeline(TfidfVectorizer(), LogisticRegression())
    vote = VotingClassifier([("toolkit", fake_predictor), ("words", other)], voting="soft").fit(texts, labels)
    expected = (fake_predictor.predict_proba(texts) + vote.estimators_[1].predict_proba(texts)) / 2
    np.testing.assert_allclose(vote.predict_proba(texts), expected)
    assert CalibratedClassifierCV(FrozenEstimator(fake_predictor)).fit(texts, labels).predict_proba(texts).shape == (
        66,
        2,
    )
