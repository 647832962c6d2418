"""When a model should rather not say: the one rule by which a prediction becomes a verdict."""

from dataclasses import dataclass

from toolkit.errors import OptionError, ToolkitError
from toolkit.models.bundle import Manifest
from toolkit.text.labels import UNCERTAIN, Label

UNSURE, UNFAMILIAR = "unsure", "unfamiliar"  # why a verdict is withheld
_DISPLAY = {"en": "uncertain", "zh": "不确定"}


@dataclass(frozen=True, slots=True)
class Threshold:
    """The score below which a review is left undecided.

    Attributes:
        uncertain_below: The calibrated probability that a label needs to be given, of two 0.5 to 1; 0.5 always gives one.
        accuracy: The accuracy on the decided reviews, as measured when the threshold was chosen; None where it was not.
        coverage: The share of reviews that were decided then; None where it was not measured.
        unfamiliar_below: The familiarity below which a text is left undecided whatever its score; 0 decides any text.
    """

    uncertain_below: float = 0.5
    accuracy: float | None = None
    coverage: float | None = None
    unfamiliar_below: float = 0.0

    def __post_init__(self) -> None:
        """Refuse a threshold that every score passes for another reason, or none does."""
        _check_probability("uncertain_below", self.uncertain_below)

    def reason(self, score: float, familiarity: float | None = None) -> str | None:
        """Why a verdict is withheld, see `Prediction`; None where it is given."""
        if familiarity is not None and familiarity < self.unfamiliar_below:
            return UNFAMILIAR
        return UNSURE if score < self.uncertain_below else None


@dataclass(frozen=True, slots=True)
class Abstention:
    """Which verdicts a predictor withholds; without arguments, those that its model withholds.

    Attributes:
        uncertain_below: The threshold itself, of k labels 1/k to 1.
        target_accuracy: How often the decided reviews are to be right, likewise; the threshold is the one that decides
            the most reviews with that accuracy, as measured when the model was exported.
        any_text: Whether verdicts are given on texts too that are unlike those that the model has learnt from.

    Raises:
        ValueError: Both are given, or one is no such probability.
    """

    uncertain_below: float | None = None
    target_accuracy: float | None = None
    any_text: bool = False

    def __post_init__(self) -> None:
        """Refuse what no model could do."""
        for name, value in (("uncertain_below", self.uncertain_below), ("target_accuracy", self.target_accuracy)):
            if value is not None:
                _check_probability(name, value)
        if self.uncertain_below is not None and self.target_accuracy is not None:
            raise ValueError("uncertain_below and target_accuracy are two ways to choose one threshold; give one")

    def threshold(self, manifest: Manifest, unfamiliar_below: float = 0.0) -> Threshold:
        """The threshold for a model, from what was measured on its parity set and stands in its manifest.

        Args:
            manifest: The model's manifest.
            unfamiliar_below: The familiarity below which the model withholds its verdicts.

        Raises:
            ToolkitError: The model was not measured, or nothing it is sure of is right as often as it should be.
            OptionError: A probability is lower than that of any likeliest label.
        """
        lowest = manifest.label_set.lowest_score
        for name, value in (("uncertain_below", self.uncertain_below), ("target_accuracy", self.target_accuracy)):
            if value is not None and value < lowest:
                raise OptionError(f"{name} is a probability of the likeliest label: {lowest:g} to 1, not {value}")
        familiar = 0.0 if self.any_text else unfamiliar_below
        if self.target_accuracy is None:
            below = manifest.uncertain_below if self.uncertain_below is None else self.uncertain_below
            return Threshold(below, unfamiliar_below=familiar)
        if not manifest.risk_coverage:
            raise ToolkitError(
                "this model was never measured for a target accuracy; export it with --parity-set FILE of 2,000 reviews or "
                "more, or give --uncertain-below"
            )
        reached = [step for step in manifest.risk_coverage if step["accuracy"] >= self.target_accuracy]
        if not reached:
            best = max(manifest.risk_coverage, key=lambda step: step["accuracy"])
            raise ToolkitError(
                f"a target accuracy of {self.target_accuracy} is out of reach; expected at most {best['accuracy']:.4f}, "
                f"for which {1 - best['coverage']:.1%} of reviews are left undecided"
            )
        return Threshold(**max(reached, key=lambda step: step["coverage"]), unfamiliar_below=familiar)


def display(label: Label, verdict: str, language: str) -> str:
    """A verdict in the words of its reader's language: the label, or that it is withheld."""
    return _DISPLAY[language] if verdict == UNCERTAIN else label.display(language)


def _check_probability(name: str, value: float) -> None:
    if not 0 < value <= 1:
        raise ValueError(f"{name} is a probability of the likeliest label: over 0, at most 1, not {value}")
