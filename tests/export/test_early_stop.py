import numpy as np
import pytest

from export.early_stop import LOSS, fit_early_stop
from tests.conftest import FakePredictor
from toolkit.bundle import Kind, Manifest
from toolkit.calibration import steps_of_risk_coverage
from toolkit.labels import Label
from toolkit.splits import Review
from toolkit.text import ReviewTokenizer


class Counts(FakePredictor):
    """Believes the words: `good` for, `bad` against."""

    def logits(self, encodings):
        good, bad = (self.tokenizer.encode([word])[0].input_ids[1:-1] for word in ("good", "bad"))
        margins = [
            float(np.isin(each.input_ids, good).sum() - np.isin(each.input_ids, bad).sum()) for each in encodings
        ]
        return np.array([[-margin / 2, margin / 2] for margin in margins], np.float32).reshape(-1, 2)


@pytest.fixture
def model(tiny_tokenizer):
    return Counts(Manifest(Kind.ONNX, "fake", 512), ReviewTokenizer(tiny_tokenizer, 512))


def reviews(count=400):
    """Half say at both ends what they mean, half only in the middle, after a hint of the contrary."""
    made = []
    for number in range(count):
        label = Label(number % 2)
        word, other = ("good", "bad") if label else ("bad", "good")
        middle = "it is what it is " * 50
        clear = f"{word} " * 5 + middle + f"{word} " * 5
        late = f"{other} " + middle + f"{word} " * 5 + middle
        made.append(Review(clear if number % 4 < 2 else late, label))
    return made


def test_the_rule_reads_less_and_loses_nothing(model):
    cases = reviews()
    texts, labels = [each.text for each in cases], np.array([int(each.label) for each in cases])
    full = list(model.predict_many(texts))
    rule = fit_early_stop(model, model.logits(model.tokenizer.encode(texts)), 1.0, cases)
    model.manifest = Manifest(Kind.ONNX, "fake", 512, early_stop=rule.to_dict())
    model.read(effort="auto")
    quick = list(model.predict_many(texts))
    accuracy = np.mean([each.label == label for each, label in zip(quick, labels, strict=True)])
    assert (
        accuracy >= np.mean([each.label == label for each, label in zip(full, labels, strict=True)]) - LOSS == 1 - LOSS
    )
    read = [each.tokens_read for each in quick]
    assert {count < 200 for count in read[:2]} == {True}
    assert {count > 200 for count in read[2:4]} == {True}


def test_no_rule_where_nothing_is_gained(model):
    short = [Review("good" if number % 2 else "bad", Label(number % 2)) for number in range(100)]
    assert (
        fit_early_stop(model, model.logits(model.tokenizer.encode([each.text for each in short])), 1.0, short) is None
    )


def test_the_steps_of_risk_and_coverage_rise_from_everything():
    rng = np.random.default_rng(0)
    margins = rng.normal(0, 3, 4000)
    labels = (rng.random(4000) < 1 / (1 + np.exp(-margins))).astype(int)
    steps = steps_of_risk_coverage(np.stack([-margins / 2, margins / 2], axis=1), labels)
    assert steps[0]["coverage"] == 1
    assert steps[0]["uncertain_below"] == 0.5
    for name, sign in (("accuracy", 1), ("uncertain_below", 1), ("coverage", -1)):
        values = [sign * step[name] for step in steps]
        assert values == sorted(values)
    assert len(steps) > 20
    scores = 1 / (1 + np.exp(-np.abs(margins)))
    for step in steps:
        decided = scores >= step["uncertain_below"]
        assert decided.mean() == pytest.approx(step["coverage"])
        assert ((margins > 0) == labels)[decided].mean() == pytest.approx(step["accuracy"])
        assert decided.sum() >= 200
