import numpy as np
import pytest

from toolkit.evaluation.calibration import (
    calibration_metrics,
    chance_calibration_error,
    describe_temperature,
    fit_temperature,
    risk_coverage,
    steps_of_risk_coverage,
)
from toolkit.evaluation.metrics import two_columns


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


def logits_of(margins):
    """Logits whose true label, always 1, is ahead by so much."""
    margins = np.asarray(margins, np.float64)
    return np.stack([-margins / 2, margins / 2], axis=1), np.ones(len(margins), int)


@pytest.mark.parametrize(("right", "wrong"), [(2483, 0), (1, 0), (0, 1), (2474, 9), (9, 300)])
def test_too_little_evidence_fits_no_temperature(right, wrong, caplog):
    """Without a wrong verdict the likeliest temperature is none at all: every score would be 1.0000."""
    logits, labels = logits_of([2.0] * right + [-2.0] * wrong)
    assert fit_temperature(logits, labels) == 1
    assert f"{wrong} wrong and {right} right verdicts are too few to fit one, expected at least 10" in caplog.text
    assert fit_temperature(logits, labels, otherwise=1.24) == 1.24


def test_ten_wrong_verdicts_are_enough(honest, caplog):
    logits, labels = honest
    margins = np.where(labels == 1, 1, -1) * (logits[:, 1] - logits[:, 0])
    wrong, right = margins[margins < 0][:10], margins[margins > 0][:40]
    assert fit_temperature(*logits_of([*3 * wrong, *3 * right])) == pytest.approx(3, rel=0.5)
    assert caplog.text == ""


def test_a_temperature_that_makes_held_out_scores_worse_is_not_applied(caplog):
    """Honest scores: what a fit finds in them is chance, which the next reviews do not share."""
    worse = 0
    for seed in range(20):
        rng = np.random.default_rng(seed)
        margins = rng.normal(0, 2, 200)
        margins = np.where(rng.random(200) < 1 / (1 + np.exp(-margins)), margins, -margins)
        worse += fit_temperature(*logits_of(margins)) == 1
    assert worse > 10
    assert "a fitted one makes the scores of held-out reviews no better (log loss 0." in caplog.text


def test_a_bound_that_is_reached_is_said(caplog):
    logits, labels = logits_of(np.tile([8.0, -8.0], 100))  # sure, and right by chance
    assert fit_temperature(logits, labels) == pytest.approx(20, rel=0.01)
    assert "The temperature 20 is at its bound of 20" in caplog.text
    assert describe_temperature(0.0501).startswith("The temperature 0.0501 is at its bound of 0.05")
    assert describe_temperature(1.24) == ""


def test_risk_and_coverage_by_hand():
    # Scores 0.9 (right), 0.75 (one right, one wrong, on either side), 0.625 (wrong), 0.5 (called negative, right).
    labels = np.array([0, 1, 0, 1, 1])
    coverage, accuracy, thresholds = risk_coverage(labels, two_columns(np.array([0.5, 0.9, 0.75, 0.375, 0.75])))
    assert thresholds == pytest.approx([0.9, 0.75, 0.625, 0.5])
    assert coverage == pytest.approx([1 / 5, 3 / 5, 4 / 5, 1])
    assert accuracy == pytest.approx([1, 2 / 3, 2 / 4, 3 / 5])


def test_every_threshold_decides_what_it_says(honest):
    logits, labels = honest
    positive = np.round(1 / (1 + np.exp(logits[:, 0] - logits[:, 1])), 2)[:500]  # with many ties
    coverage, accuracy, thresholds = risk_coverage(labels[:500], two_columns(positive))
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


def test_a_temperature_of_more_labels_makes_the_scores_honest():
    rng = np.random.default_rng(5)
    logits = rng.normal(size=(3000, 5))
    honest = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    labels = np.array([rng.choice(5, p=row) for row in honest])
    temperature = fit_temperature(3 * logits, labels)
    assert temperature == pytest.approx(3, rel=0.1)
    before, after = (calibration_metrics(3 * logits, labels, each) for each in (1.0, temperature))
    assert after["ece"] < 0.03 < before["ece"]
    assert after["brier"] < before["brier"]
    assert steps_of_risk_coverage(logits, labels)[0]["uncertain_below"] == 0.2
