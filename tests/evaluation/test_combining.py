"""The rule for two readers, fitted on scores whose truth is known."""

from dataclasses import replace

import numpy as np
import pytest

from toolkit.evaluation.calibration import calibration_metrics
from toolkit.evaluation.combining import ERROR_BOUND, calibrate_alone, fit_rule, fit_sum, fit_unfamiliar
from toolkit.prediction.combination import NEVER, Combination
from toolkit.prediction.ngrams import NgramScores


@pytest.fixture(scope="module")
def world():
    """20,000 texts; both readers see the truth through noise of their own, n-grams twice as sure as they should be."""
    random = np.random.default_rng(0)
    labels = random.integers(2, size=20_000)
    tokens = np.exp(random.normal(5.3, 0.6, size=20_000)).round()
    signs = 2 * labels - 1

    def reader(strength):
        margins = random.normal(strength * signs, np.sqrt(2 * strength))  # the log-odds themselves: N(±m, 2m)
        return np.stack([-margins / 2, margins / 2], axis=1)

    scores = NgramScores(2 * reader(3.0), random.beta(8, 2, size=20_000))
    return scores, tokens, 1.5 * reader(4.0), labels


def test_n_grams_alone_come_to_mean_what_they_say(world):
    scores, tokens, _, labels = world
    rule = calibrate_alone(Combination(), scores, tokens, labels)
    assert rule.slope == pytest.approx(0.5, rel=0.05)
    assert rule.exponent == pytest.approx(0, abs=0.05)
    assert calibration_metrics(rule.alone(scores, tokens), labels, 1.0)["ece"] < 0.01


def test_the_sum_of_independent_readers_is_the_sum_of_their_log_odds(world):
    scores, tokens, logits, labels = world
    rule = fit_sum(calibrate_alone(Combination(evidence=1.0), scores, tokens, labels), scores, tokens, logits, labels)
    assert rule.temperature == pytest.approx(1.5, rel=0.05)
    assert rule.weight == pytest.approx(1.0, rel=0.05)
    both = rule.together(scores, tokens, logits)
    right = [(each.argmax(axis=1) == labels).mean() for each in (scores.logits, logits, both)]
    assert right[2] > max(right) - 1e-12
    assert calibration_metrics(both, labels, 1.0)["ece"] < 0.01


def test_n_grams_decide_as_much_as_the_bound_on_their_errors_allows(world):
    scores, tokens, _, labels = world
    rule = fit_rule(calibrate_alone(Combination(), scores, tokens, labels), scores, tokens, labels)
    decided = rule.suffices(scores, tokens)
    wrong = scores.logits.argmax(axis=1) != labels
    assert 0.5 < decided.mean() < 0.95
    assert wrong[decided].mean() <= ERROR_BOUND + 1e-9
    assert tokens[decided].min() >= rule.fewest_tokens
    assert scores.familiarity[decided].min() >= rule.least_familiar == np.quantile(scores.familiarity, 0.005)
    looser = replace(rule, certain=rule.certain - 0.03).suffices(scores, tokens)
    groups = [np.ones(len(labels), bool), *(scores.logits.argmax(axis=1) == label for label in (0, 1))]
    assert max(wrong[looser & group].mean() for group in groups) > ERROR_BOUND, "a lower threshold breaks the bound"


def test_a_label_that_n_grams_confuse_keeps_the_others_from_hiding_it(world):
    scores, tokens, _, labels = world
    random = np.random.default_rng(1)
    said = scores.logits.argmax(axis=1)
    liars = (said == 1) & (random.random(len(labels)) < 0.12)  # of what is called positive, an eighth is not
    rule = fit_rule(calibrate_alone(Combination(), scores, tokens, labels), scores, tokens, np.where(liars, 0, labels))
    decided = rule.suffices(scores, tokens)
    wrong = said != np.where(liars, 0, labels)
    assert not decided.any() or wrong[decided & (said == 1)].mean() <= 1.5 * ERROR_BOUND + 1e-9


@pytest.mark.parametrize("kind", ["guesses", "few"])
def test_n_grams_that_know_nothing_or_too_few_never_decide(world, kind):
    scores, tokens, _, labels = world
    chosen = slice(150) if kind == "few" else slice(None)
    truth = np.random.default_rng(2).integers(2, size=len(labels)) if kind == "guesses" else labels
    rule = fit_rule(Combination(slope=0.5), scores.of(np.arange(20_000)[chosen]), tokens[chosen], truth[chosen])
    assert rule.certain == NEVER
    assert not rule.suffices(scores, tokens).any()


def test_one_excerpt_in_a_hundred_is_called_unfamiliar(world):
    scores = world[0]
    rule = fit_unfamiliar(Combination(), scores)
    assert (scores.familiarity < rule.unfamiliar_below).mean() == pytest.approx(0.01, abs=0.001)
