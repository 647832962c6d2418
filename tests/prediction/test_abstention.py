import pytest

from toolkit.labels import Label
from toolkit.prediction import Prediction
from toolkit.prediction.abstention import VERDICTS, AbstentionPolicy, display


def prediction(score, label=Label.POSITIVE):
    return Prediction(label, score, {label: score, Label(1 - label): 1 - score}, 3, 3)


def test_a_score_at_the_threshold_is_a_verdict_and_below_it_is_none():
    policy = AbstentionPolicy(0.8)
    assert policy.verdict(prediction(0.8)) == "positive"
    assert policy.verdict(prediction(0.8, Label.NEGATIVE)) == "negative"
    assert policy.verdict(prediction(0.799)) == "uncertain"
    assert AbstentionPolicy().verdict(prediction(0.5)) == "positive"


@pytest.mark.parametrize("threshold", [0.49, 1.01, -1, float("nan")])
def test_an_impossible_threshold_is_refused(threshold):
    with pytest.raises(ValueError, match=r"0\.5 to 1"):
        AbstentionPolicy(threshold)


def test_verdicts_in_both_languages():
    assert [display(verdict, "zh") for verdict in VERDICTS] == ["负面评论", "正面评论", "不确定"]
    assert [display(verdict, "en") for verdict in VERDICTS] == list(VERDICTS)
