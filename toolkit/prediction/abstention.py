"""When a model should rather not say: the one rule by which a prediction becomes a verdict."""

from dataclasses import dataclass, replace

from toolkit.choices import Reason
from toolkit.errors import OptionError, ToolkitError
from toolkit.models.bundle import Manifest
from toolkit.text.labels import UNCERTAIN, Label
from toolkit.text.normalisation import TEXT_LIMIT
from toolkit.text.script import is_mostly_foreign

FOREIGN: tuple[Reason, ...] = ("unfamiliar", "script")  # withheld whatever the score: the text is not for the model
# Bases that have read English alone, by the names under which an adapter may know them.
_ENGLISH_BASES = {
    "minilm",
    "mpnet",
    "distilbert-base-uncased",
    "distilbert/distilbert-base-uncased",
    "sentence-transformers/all-MiniLM-L6-v2",
    "sentence-transformers/all-mpnet-base-v2",
}
_DISPLAY = {"en": "uncertain", "zh": "不确定"}


@dataclass(frozen=True, slots=True)
class Threshold:
    """Which reviews are left undecided: those with a low score, and texts that are not for this model.

    Attributes:
        uncertain_below: The calibrated probability that a label needs to be given, of two 0.5 to 1; 0.5 always gives one.
        accuracy: The accuracy on the decided reviews, as measured when the threshold was chosen; None where it was not.
        coverage: The share of reviews that were decided then; None where it was not measured.
        unfamiliar_below: The familiarity below which a text is left undecided whatever its score; 0 decides any text.
        latin_only: Whether a text most of whose letters are in no Latin script is left undecided likewise: what is known of
            it where the model has no n-gram table, and so no measure of familiarity.
    """

    uncertain_below: float = 0.5
    accuracy: float | None = None
    coverage: float | None = None
    unfamiliar_below: float = 0.0
    latin_only: bool = False

    def __post_init__(self) -> None:
        """Refuse a threshold that every score passes for another reason, or none does."""
        _check_probability("uncertain_below", self.uncertain_below)

    def reason(self, score: float, familiarity: float | None = None, text: str = "") -> Reason | None:
        """Why a verdict is withheld, see `Prediction`; None where it is given."""
        if familiarity is not None and familiarity < self.unfamiliar_below:
            return "unfamiliar"
        if self.latin_only and is_mostly_foreign(text[:TEXT_LIMIT]):
            return "script"
        return "unsure" if score < self.uncertain_below else None

    def withholds(self, lowest_score: float) -> bool:
        """Whether there are verdicts that it withholds from a model whose likeliest label has `lowest_score` at least."""
        return self.uncertain_below > lowest_score or self.unfamiliar_below > 0 or self.latin_only


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
        if self.target_accuracy is None:
            below = manifest.uncertain_below if self.uncertain_below is None else self.uncertain_below
            return self._about_texts(Threshold(below), manifest, unfamiliar_below)
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
        step = max(reached, key=lambda step: step["coverage"])
        chosen = Threshold(step["uncertain_below"], step["accuracy"], step["coverage"])
        return self._about_texts(chosen, manifest, unfamiliar_below)

    def _about_texts(self, threshold: Threshold, manifest: Manifest, unfamiliar_below: float) -> Threshold:
        """With what texts are not for the model, by their familiarity, or else their script, if it has read English."""
        if self.any_text:
            return threshold
        latin_only = not unfamiliar_below and manifest.base_model in _ENGLISH_BASES
        return replace(threshold, unfamiliar_below=unfamiliar_below, latin_only=latin_only)


def display(label: Label, verdict: str, language: str) -> str:
    """A verdict in the words of its reader's language: the label, or that it is withheld."""
    return _DISPLAY[language] if verdict == UNCERTAIN else label.display(language)


def _check_probability(name: str, value: float) -> None:
    if not 0 < value <= 1:
        raise ValueError(f"{name} is a probability of the likeliest label: over 0, at most 1, not {value}")
