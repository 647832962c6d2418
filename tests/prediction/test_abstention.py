import pytest

from toolkit.errors import ToolkitError
from toolkit.models.bundle import Kind, Manifest
from toolkit.prediction.abstention import VERDICTS, AbstentionPolicy, display
from toolkit.text.labels import Label

STEPS = (
    {"accuracy": 0.90, "uncertain_below": 0.5, "coverage": 1.0},
    {"accuracy": 0.96, "uncertain_below": 0.8, "coverage": 0.7},
    {"accuracy": 0.98, "uncertain_below": 0.95, "coverage": 0.4},
    {"accuracy": 0.97, "uncertain_below": 0.99, "coverage": 0.1},
)


def manifest(**values):
    return Manifest(Kind.ONNX, "fake", 64, **values)


def test_a_score_at_the_threshold_is_a_verdict_and_below_it_is_none():
    policy = AbstentionPolicy(0.8)
    assert policy.verdict(Label.POSITIVE, 0.8) == "positive"
    assert policy.verdict(Label.NEGATIVE, 0.8) == "negative"
    assert policy.verdict(Label.POSITIVE, 0.799) == "uncertain"
    assert AbstentionPolicy().verdict(Label.POSITIVE, 0.5) == "positive"


@pytest.mark.parametrize("threshold", [0.49, 1.01, -1, float("nan")])
def test_an_impossible_threshold_is_refused(threshold):
    with pytest.raises(ValueError, match=r"0\.5 to 1"):
        AbstentionPolicy(threshold)


def test_a_model_brings_its_own_threshold_and_the_user_overrides_it():
    assert AbstentionPolicy.for_model(manifest()).uncertain_below == 0.5
    assert AbstentionPolicy.for_model(manifest(uncertain_below=0.7)).uncertain_below == 0.7
    assert AbstentionPolicy.for_model(manifest(uncertain_below=0.7), 0.6).uncertain_below == 0.6


def test_a_target_accuracy_decides_as_many_reviews_as_it_may():
    policy = AbstentionPolicy.for_model(manifest(risk_coverage=STEPS), target_accuracy=0.97)
    assert (policy.uncertain_below, policy.accuracy, policy.coverage) == (0.95, 0.98, 0.4)
    assert AbstentionPolicy.for_model(manifest(risk_coverage=STEPS), target_accuracy=0.5).coverage == 1
    with pytest.raises(ToolkitError, match=r"out of reach; expected at most 0\.9800, for which 60\.0% of reviews"):
        AbstentionPolicy.for_model(manifest(risk_coverage=STEPS), target_accuracy=0.99)


def test_a_target_needs_a_model_that_was_measured_and_no_second_threshold():
    with pytest.raises(ToolkitError, match="never measured for a target accuracy; export it with --proof"):
        AbstentionPolicy.for_model(manifest(), target_accuracy=0.9)
    with pytest.raises(ValueError, match="give one"):
        AbstentionPolicy.for_model(manifest(risk_coverage=STEPS), 0.6, 0.9)


def test_verdicts_in_both_languages():
    assert [display(verdict, "zh") for verdict in VERDICTS] == ["负面评论", "正面评论", "不确定"]
    assert [display(verdict, "en") for verdict in VERDICTS] == list(VERDICTS)
