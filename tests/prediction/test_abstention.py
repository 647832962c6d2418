import pytest

from toolkit.errors import ToolkitError
from toolkit.models.bundle import Kind, Manifest
from toolkit.prediction.abstention import Abstention, Threshold, display
from toolkit.text.labels import POSITIVE, SENTIMENT

STEPS = (
    {"accuracy": 0.90, "uncertain_below": 0.5, "coverage": 1.0},
    {"accuracy": 0.96, "uncertain_below": 0.8, "coverage": 0.7},
    {"accuracy": 0.98, "uncertain_below": 0.95, "coverage": 0.4},
    {"accuracy": 0.97, "uncertain_below": 0.99, "coverage": 0.1},
)


def manifest(**values):
    return Manifest(**{"kind": Kind.ONNX, "base_model": "fake", "max_length": 64, **values})


def test_a_score_at_the_threshold_is_a_verdict_and_below_it_is_none():
    threshold = Threshold(0.8)
    assert threshold.reason(0.8) is None
    assert threshold.reason(0.799) == "unsure"
    assert Threshold().reason(0.5) is None


def test_a_text_unlike_any_that_was_learnt_from_has_no_verdict_however_sure_it_is():
    threshold = Threshold(0.8, unfamiliar_below=0.5)
    assert threshold.reason(0.99, 0.49) == "unfamiliar"
    assert threshold.reason(0.7, 0.49) == "unfamiliar"
    assert threshold.reason(0.99, 0.5) is None
    assert threshold.reason(0.99) is None, "nothing is known of its familiarity"
    assert Abstention().threshold(manifest(), 0.5).unfamiliar_below == 0.5
    assert Abstention(any_text=True).threshold(manifest(), 0.5).unfamiliar_below == 0


def test_a_model_without_a_measure_of_familiarity_that_reads_english_gives_no_verdict_on_another_script():
    chinese, english = "这部电影很好看。", "A fine film."
    for base in ("minilm", "mpnet", "distilbert-base-uncased", "distilbert/distilbert-base-uncased"):
        threshold = Abstention(0.8).threshold(manifest(base_model=base))
        assert threshold.reason(0.99, None, chinese) == threshold.reason(0.6, None, chinese) == "script"
        assert threshold.reason(0.99, None, english) is None
        assert threshold.reason(0.6, None, english) == "unsure"
        assert Abstention(any_text=True).threshold(manifest(base_model=base)).reason(0.99, None, chinese) is None
        assert Abstention().threshold(manifest(base_model=base), 0.5).reason(0.99, 0.6, chinese) is None, (
            "its table knows the text"
        )
    assert Abstention().threshold(manifest(base_model="bert-base-chinese")).reason(0.99, None, chinese) is None
    target = Abstention(target_accuracy=0.9).threshold(manifest(base_model="minilm", risk_coverage=STEPS))
    assert target.reason(0.99, None, chinese) == "script"


def test_what_withholds_a_verdict_at_all():
    assert not Threshold(0.5).withholds(0.5)
    assert Threshold(0.51).withholds(0.5)
    assert Threshold(unfamiliar_below=0.1).withholds(0.5)
    assert Threshold(latin_only=True).withholds(0.5)


@pytest.mark.parametrize("threshold", [0, 1.01, -1, float("nan")])
def test_an_impossible_threshold_is_refused(threshold):
    with pytest.raises(ValueError, match="over 0, at most 1"):
        Threshold(threshold)
    with pytest.raises(ValueError, match=r"uncertain_below .* over 0, at most 1"):
        Abstention(threshold)
    with pytest.raises(ValueError, match=r"target_accuracy .* over 0, at most 1"):
        Abstention(target_accuracy=threshold)


def test_a_threshold_that_every_score_reaches_is_refused_for_a_model_of_so_many_labels():
    three = {"labels": ("a", "b", "c"), "uncertain_below": 0.333333}
    for name in ("uncertain_below", "target_accuracy"):
        with pytest.raises(
            ToolkitError, match=rf"{name} is a probability of the likeliest label: 0\.5 to 1, not 0\.49"
        ):
            Abstention(**{name: 0.49}).threshold(manifest())
        with pytest.raises(
            ToolkitError, match=rf"{name} is a probability of the likeliest label: 0\.333333 to 1, not 0\.3"
        ):
            Abstention(**{name: 0.3}).threshold(manifest(**three))
    assert Abstention(0.49).threshold(manifest(**three)).uncertain_below == 0.49
    assert Abstention().threshold(manifest(**three)).uncertain_below == 0.333333


def test_a_model_brings_its_own_threshold_and_the_user_overrides_it():
    assert Abstention().threshold(manifest()).uncertain_below == 0.5
    assert Abstention().threshold(manifest(uncertain_below=0.7)).uncertain_below == 0.7
    assert Abstention(0.6).threshold(manifest(uncertain_below=0.7)).uncertain_below == 0.6


def test_a_target_accuracy_decides_as_many_reviews_as_it_may():
    threshold = Abstention(target_accuracy=0.97).threshold(manifest(risk_coverage=STEPS))
    assert (threshold.uncertain_below, threshold.accuracy, threshold.coverage) == (0.95, 0.98, 0.4)
    assert Abstention(target_accuracy=0.5).threshold(manifest(risk_coverage=STEPS)).coverage == 1
    with pytest.raises(ToolkitError, match=r"out of reach; expected at most 0\.9800, for which 60\.0% of reviews"):
        Abstention(target_accuracy=0.99).threshold(manifest(risk_coverage=STEPS))


def test_a_target_needs_a_model_that_was_measured_and_no_second_threshold():
    with pytest.raises(ToolkitError, match="never measured for a target accuracy; export it with --parity-set"):
        Abstention(target_accuracy=0.9).threshold(manifest())
    with pytest.raises(ValueError, match="give one"):
        Abstention(0.6, 0.9)


def test_verdicts_in_both_languages():
    verdicts = ("positive", "negative", "uncertain")
    shown = {
        language: [display(SENTIMENT.named(verdict) or POSITIVE, verdict, language) for verdict in verdicts]
        for language in ("zh", "en")
    }
    assert shown == {"zh": ["正面评论", "负面评论", "不确定"], "en": list(verdicts)}
