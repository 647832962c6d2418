import numpy as np
import pytest

from toolkit.evaluation.metrics import (
    bootstrap_intervals,
    classification_metrics,
    difference_interval,
    mcnemar,
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
