from dataclasses import replace

import numpy as np
import pytest

from tests.conftest import FakePredictor
from toolkit.datasets.splits import Review
from toolkit.evaluation.measuring import EvaluationResult, evaluate, measure, run_evaluation
from toolkit.evaluation.metrics import classification_metrics, two_columns
from toolkit.models.bundle import Kind, Manifest
from toolkit.prediction.abstention import Abstention, Threshold
from toolkit.text.labels import POSITIVE, SENTIMENT
from toolkit.text.tokenisation import ReviewTokenizer


def test_metrics_on_an_example_worked_by_hand():
    metrics = classification_metrics(np.array([1, 1, 1, 0, 0]), two_columns(np.array([0.9, 0.8, 0.3, 0.6, 0.1])))
    assert metrics["accuracy"] == pytest.approx(3 / 5)
    assert metrics["precision"] == pytest.approx(2 / 3)
    assert metrics["recall"] == pytest.approx(2 / 3)
    assert metrics["f1"] == pytest.approx(2 / 3)
    assert metrics["roc_auc"] == pytest.approx(5 / 6)  # of the 6 pairs, only (0.3, 0.6) is in the wrong order
    assert metrics["confusion_matrix"] == [[1, 1], [1, 2]]


def test_one_class_has_no_roc_auc():
    assert classification_metrics(np.array([1, 1]), two_columns(np.array([0.9, 0.2])))["roc_auc"] is None


def test_evaluate_counts_what_the_predictor_says(fake_predictor):
    texts = ["a great film", "a dull film " * 30, "what was that", "go and see it"]
    said = [prediction.label for prediction in fake_predictor.predict_many(texts)]
    right = [Review(text, label) for text, label in zip(texts, said, strict=True)]
    wrong = [Review(review.text, SENTIMENT[1 - review.label.index]) for review in right]
    assert evaluate(fake_predictor, right)["accuracy"] == 1
    metrics = evaluate(fake_predictor, wrong)
    assert metrics["accuracy"] == 0
    assert (metrics["reviews"], metrics["truncated"], metrics["backend"]) == (4, 1, "fake")
    assert metrics["reviews_per_second"] > 0


def test_the_scores_are_judged_as_they_are_given(fake_predictor):
    reviews = [Review(f"film number {index}", SENTIMENT[index % 2]) for index in range(40)]
    metrics = evaluate(fake_predictor, reviews)
    predictions = list(fake_predictor.predict_many(review.text for review in reviews))
    wrong_by = [
        each.probabilities["positive"] - review.label.index for each, review in zip(predictions, reviews, strict=True)
    ]
    assert metrics["brier"] == pytest.approx(np.mean(np.square(wrong_by)))
    assert 0 <= metrics["ece"] <= 1
    low, high = metrics["accuracy_interval"]
    assert 0 <= low < metrics["accuracy"] < high <= 1


def test_the_temperature_is_taken_out_for_the_figures_before_it(fake_predictor):
    reviews = [Review(f"film number {index}", SENTIMENT[index % 2]) for index in range(40)]
    plain = evaluate(fake_predictor, reviews)
    fake_predictor.manifest = replace(fake_predictor.manifest, temperature=2.5)
    warm = evaluate(fake_predictor, reviews)
    assert warm["brier"] != pytest.approx(plain["brier"])
    before = warm["calibration"]["before"]
    assert (before["ece"], before["brier"]) == (pytest.approx(plain["ece"]), pytest.approx(plain["brier"]))
    assert plain["calibration"]["before"] == {"ece": plain["ece"], "brier": plain["brier"]}


class Sure:
    """A model that is sure, and rightly so, of 39 of 40 reviews, behind a temperature that makes its scores 1.0000."""

    backend, device, readers, ngrams = "fake", "nowhere", "model", None

    def __init__(self, predictor, temperature):
        self.manifest = replace(predictor.manifest, temperature=temperature)
        self.predictor = type(predictor)(self.manifest, predictor.tokenizer)
        self.labels = self.predictor.labels

    def predict_many(self, texts):
        margins = [3.0 if index else -3.0 for index, _ in enumerate(texts)]
        for margin in margins:
            (answer,) = self.predictor.raw_outputs(self.predictor.tokenizer.encode_windows(["a film"]))
            yield self.predictor._of_transformer(replace(answer, logits=np.float32([-margin / 2, margin / 2])))


def test_figures_without_the_temperature_are_of_the_logits_themselves(fake_predictor):
    """exp(60) is beyond what a probability can hold: figures made from it said that the model was wrong by itself."""
    reviews = [Review("a film", POSITIVE)] * 40
    calibration = evaluate(Sure(fake_predictor, 0.05), reviews)["calibration"]
    plain = evaluate(Sure(fake_predictor, 1.0), reviews)
    assert calibration["before"] == {"ece": plain["ece"], "brier": plain["brier"]}
    assert plain["ece"] == pytest.approx(abs(39 / 40 - 1 / (1 + np.exp(-3))))
    assert calibration["note"].startswith("The temperature 0.05 is at its bound")
    assert plain["calibration"]["note"].startswith("The temperature is 1, so the scores are those of the bare logits")
    assert evaluate(Sure(fake_predictor, 1.3), reviews)["calibration"]["note"] == ""


def test_a_threshold_gives_coverage_and_the_accuracy_of_what_it_decides():
    result = EvaluationResult(
        labels=np.array([1, 1, 0, 0]), logits=np.array([[0, 3], [0, 0.85], [0, 2.2], [3, 0]]),
        probabilities=two_columns(np.array([0.95, 0.7, 0.9, 0.05])), tokens=np.full(4, 9),
        tokens_read=np.full(4, 9), temperature=1.0, seconds=1.0, backend="fake", device="nowhere",
    )  # fmt: skip
    abstention = measure(result, Threshold(0.9))["abstention"]
    assert abstention["coverage"] == 3 / 4
    assert abstention["accuracy"] == pytest.approx(2 / 3)
    assert abstention["interval"][0] < 2 / 3 < abstention["interval"][1]
    assert measure(result, Threshold(0.99))["abstention"]["accuracy"] is None
    assert measure(result, Threshold(0.5))["abstention"] is None


def test_texts_that_are_not_for_the_model_are_undecided_unless_any_text_is_given(tiny_tokenizer):
    predictor = FakePredictor(Manifest(Kind.ONNX, "minilm", 64), ReviewTokenizer(tiny_tokenizer, 64))
    reviews = [Review("a film", POSITIVE)] * 6 + [Review("a 这部电影很好看", POSITIVE)] * 2
    result = run_evaluation(predictor, reviews)
    figures = measure(result, predictor.threshold)
    assert figures["abstention"]["unfamiliar"] == 2
    assert figures["abstention"]["coverage"] == 6 / 8
    assert figures["reviews"] == 8
    anything = predictor.with_options(abstention=Abstention(any_text=True))
    assert measure(run_evaluation(anything, reviews), anything.threshold)["abstention"] is None


def test_progress_counts_every_review(fake_predictor):
    done = []
    run_evaluation(fake_predictor, [Review("a film", POSITIVE)] * 9, done.append)
    assert sum(done) == 9
