import numpy as np
import pytest

from toolkit.evaluation.metrics import (
    bootstrap_intervals,
    classification_metrics,
    difference_interval,
    mcnemar,
    softmax,
    squared_errors,
    two_columns,
)


@pytest.fixture
def scored():
    rng = np.random.default_rng(3)
    labels = (rng.random(400) < 0.4).astype(int)
    return labels, np.round(np.clip(0.3 + 0.4 * labels + rng.normal(0, 0.25, 400), 0, 1), 2)  # with ties


def test_samples_are_measured_as_the_whole_is(scored):
    """Drawn thinly, each sample's figures agree with scikit-learn's of the same sample."""
    labels, scores = scored
    rng = np.random.default_rng(7)
    drawn = [rng.integers(400, size=400) for _ in range(5)]
    expected = [classification_metrics(labels[rows], two_columns(scores[rows])) for rows in drawn]
    intervals = bootstrap_intervals(labels, two_columns(scores), resamples=5, seed=7)
    for name in ("precision", "recall", "f1", "roc_auc"):
        low, high = np.percentile([each[name] for each in expected], [2.5, 97.5])
        assert intervals[name] == pytest.approx((low, high)), name
    low, high = np.percentile([((scores - labels)[rows] ** 2).mean() for rows in drawn], [2.5, 97.5])
    assert intervals["brier"] == pytest.approx((low, high))


def test_the_seed_decides_and_the_interval_is_as_wide_as_theory_has_it(scored):
    labels, scores = scored
    intervals = bootstrap_intervals(labels, two_columns(scores))
    assert (
        intervals
        == bootstrap_intervals(labels, two_columns(scores))
        != bootstrap_intervals(labels, two_columns(scores), seed=1)
    )
    low, high = intervals["recall"]
    recall = classification_metrics(labels, two_columns(scores))["recall"]
    assert high - low == pytest.approx(2 * 1.96 * np.sqrt(recall * (1 - recall) / labels.sum()), rel=0.15)


def test_one_class_has_no_interval_of_roc_auc():
    intervals = bootstrap_intervals(np.array([1, 1, 1]), two_columns(np.array([0.9, 0.2, 0.7])))
    assert intervals["roc_auc"] is None


def test_mcnemar_by_hand():
    # 1 of 6: two-sided 2 * (1 + 6) / 64; the mid-p counts the 6/64 of exactly 1 by half on either side.
    assert mcnemar(1, 5) == {"exact": pytest.approx(14 / 64), "mid_p": pytest.approx(8 / 64)}
    assert mcnemar(5, 1) == mcnemar(1, 5)
    assert mcnemar(4, 4) == mcnemar(0, 0) == {"exact": 1, "mid_p": 1}


def test_the_difference_of_two_models():
    low, high = difference_interval(30, 50, 1000)
    deviation = np.sqrt((30 + 50) / 1000 - (20 / 1000) ** 2) / np.sqrt(1000)
    assert (low, high) == (
        pytest.approx(0.02 - 1.96 * deviation, abs=2e-3),
        pytest.approx(0.02 + 1.96 * deviation, abs=2e-3),
    )
    assert difference_interval(0, 0, 10) == (0, 0)


def test_figures_of_more_labels_are_scikit_learns():
    from sklearn import metrics

    rng = np.random.default_rng(3)
    labels = rng.integers(4, size=400)
    probabilities = rng.dirichlet(np.ones(4), size=400)
    probabilities[np.arange(400), labels] += 0.4
    probabilities /= probabilities.sum(axis=1, keepdims=True)
    found, called = classification_metrics(labels, probabilities), probabilities.argmax(axis=1)
    assert found["accuracy"] == pytest.approx(metrics.accuracy_score(labels, called))
    expected = metrics.precision_recall_fscore_support(labels, called, average="macro")
    assert [found[name] for name in ("precision", "recall", "f1")] == pytest.approx(expected[:3])
    each = metrics.precision_recall_fscore_support(labels, called)
    rows = [[row[name] for row in found["per_label"]] for name in ("precision", "recall", "f1", "reviews")]
    assert rows == [pytest.approx(column) for column in each]
    assert found["confusion_matrix"] == metrics.confusion_matrix(labels, called).tolist()
    errors = squared_errors(labels, probabilities)
    assert errors[0] == pytest.approx(sum((p - (index == labels[0])) ** 2 for index, p in enumerate(probabilities[0])))
    intervals = bootstrap_intervals(labels, probabilities, resamples=200)
    assert intervals.keys() == {"precision", "recall", "f1", "brier"}
    assert all(low < value < high for (low, high), value in
               ((intervals[name], found[name]) for name in ("precision", "recall", "f1")))  # fmt: skip


def test_two_columns_of_softmax_are_the_sigmoid_to_the_last_bit():
    logits = np.random.default_rng(0).normal(scale=20, size=(1000, 2))
    positive = 1 / (1 + np.exp(logits[:, 0] - logits[:, 1]))
    assert (softmax(logits)[:, 1] == positive).all()
    assert (softmax(logits)[:, 0] == 1 - positive).all()
    assert softmax(np.array([[0.0, 1000.0, 0.0]])).tolist() == [[0, 1, 0]]
