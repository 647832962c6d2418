import numpy as np
import pytest

from toolkit.evaluation import evaluate
from toolkit.labels import Label
from toolkit.metrics import classification_metrics
from toolkit.splits import Review


def test_metrics_on_an_example_worked_by_hand():
    metrics = classification_metrics(np.array([1, 1, 1, 0, 0]), np.array([0.9, 0.8, 0.3, 0.6, 0.1]))
    assert metrics["accuracy"] == pytest.approx(3 / 5)
    assert metrics["precision"] == pytest.approx(2 / 3)
    assert metrics["recall"] == pytest.approx(2 / 3)
    assert metrics["f1"] == pytest.approx(2 / 3)
    assert metrics["roc_auc"] == pytest.approx(5 / 6)  # of the 6 pairs, only (0.3, 0.6) is in the wrong order
    assert metrics["confusion_matrix"] == [[1, 1], [1, 2]]


def test_one_class_has_no_roc_auc():
    assert classification_metrics(np.array([1, 1]), np.array([0.9, 0.2]))["roc_auc"] is None


def test_evaluate_counts_what_the_predictor_says(fake_predictor):
    texts = ["a great film", "a dull film " * 30, "what was that", "go and see it"]
    said = [prediction.label for prediction in fake_predictor.predict_many(texts)]
    right = [Review(text, label) for text, label in zip(texts, said, strict=True)]
    wrong = [Review(review.text, Label(1 - review.label)) for review in right]
    assert evaluate(fake_predictor, right)["accuracy"] == 1
    metrics = evaluate(fake_predictor, wrong)
    assert metrics["accuracy"] == 0
    assert (metrics["reviews"], metrics["truncated"], metrics["backend"]) == (4, 1, "fake")
    assert metrics["reviews_per_second"] > 0


def test_the_scores_are_judged_as_they_are_given(fake_predictor):
    reviews = [Review(f"film number {index}", Label(index % 2)) for index in range(40)]
    metrics = evaluate(fake_predictor, reviews)
    predictions = list(fake_predictor.predict_many(review.text for review in reviews))
    wrong_by = [
        each.probabilities[Label.POSITIVE] - review.label for each, review in zip(predictions, reviews, strict=True)
    ]
    assert metrics["brier"] == pytest.approx(np.mean(np.square(wrong_by)))
    assert 0 <= metrics["ece"] <= 1
    low, high = metrics["accuracy_interval"]
    assert 0 <= low < metrics["accuracy"] < high <= 1
