import numpy as np
import pytest

from toolkit.evaluation.calibration import calibration_metrics, chance_calibration_error, fit_temperature, risk_coverage


@pytest.fixture
def honest():
    """Logits whose softmax is the very probability by which the labels were drawn."""
    rng = np.random.default_rng(0)
    margins = rng.normal(0, 2, 40_000)
    labels = (rng.random(40_000) < 1 / (1 + np.exp(-margins))).astype(int)
    return np.stack([-margins / 2, margins / 2], axis=1), labels


@pytest.mark.parametrize("factor", [0.25, 1, 3])
def test_the_temperature_undoes_what_made_the_model_too_sure(honest, factor):
    logits, labels = honest
    assert fit_temperature(logits * factor, labels) == pytest.approx(factor, rel=0.03)


def test_calibration_shrinks_the_error_on_reviews_it_was_not_fitted_on(honest):
    logits, labels = honest
    logits = logits * 3
    temperature = fit_temperature(logits[:20_000], labels[:20_000])
    before = calibration_metrics(logits[20_000:], labels[20_000:], 1.0)
    after = calibration_metrics(logits[20_000:], labels[20_000:], temperature)
    assert before["ece"] > 0.1
    assert after["ece"] < 0.01
    assert after["brier"] < before["brier"]


def test_the_metrics_by_hand():
    logits = np.log(np.array([[0.2, 0.8], [0.2, 0.8], [0.1, 0.9]]))
    metrics = calibration_metrics(logits, np.array([1, 0, 1]), 1.0)
    # Bins of 1/15: both 0.8 share one, half right; 0.9 stands alone, right.
    assert metrics["ece"] == pytest.approx((2 * abs(0.5 - 0.8) + abs(1 - 0.9)) / 3)
    assert metrics["brier"] == pytest.approx((0.2**2 + 0.8**2 + 0.1**2) / 3)


def test_a_model_that_is_always_right_gets_a_finite_temperature():
    logits = np.array([[-5.0, 5.0], [5.0, -5.0]])
    assert fit_temperature(logits, np.array([1, 0])) == pytest.approx(0.05, rel=0.05)


def test_risk_and_coverage_by_hand():
    # Scores 0.9 (right), 0.75 (one right, one wrong, on either side), 0.625 (wrong), 0.5 (called negative, right).
    labels = np.array([0, 1, 0, 1, 1])
    coverage, accuracy, thresholds = risk_coverage(labels, np.array([0.5, 0.9, 0.75, 0.375, 0.75]))
    assert thresholds == pytest.approx([0.9, 0.75, 0.625, 0.5])
    assert coverage == pytest.approx([1 / 5, 3 / 5, 4 / 5, 1])
    assert accuracy == pytest.approx([1, 2 / 3, 2 / 4, 3 / 5])


def test_every_threshold_decides_what_it_says(honest):
    logits, labels = honest
    positive = np.round(1 / (1 + np.exp(logits[:, 0] - logits[:, 1])), 2)[:500]  # with many ties
    coverage, accuracy, thresholds = risk_coverage(labels[:500], positive)
    scores = np.maximum(positive, 1 - positive)
    for share, right, threshold in zip(coverage, accuracy, thresholds, strict=True):
        decided = scores >= threshold
        assert share == decided.mean()
        assert right == pytest.approx(((positive > 0.5) == labels[:500])[decided].mean())
    assert coverage[-1] == 1
    assert (np.diff(thresholds) < 0).all()


def test_honest_scores_stay_under_the_error_of_chance_and_others_do_not(honest):
    logits, labels = honest
    logits, labels = logits[:2000], labels[:2000]
    scores = 1 / (1 + np.exp(-np.abs(logits[:, 1] - logits[:, 0])))
    chance = chance_calibration_error(scores, resamples=200)
    assert 0 < chance < 0.05
    assert calibration_metrics(logits, labels, 1.0)["ece"] < chance < calibration_metrics(logits, labels, 0.5)["ece"]
