"""When a model should rather not say: the one rule by which a prediction becomes a verdict."""

from dataclasses import dataclass
from typing import Self

from toolkit.errors import ToolkitError
from toolkit.models.bundle import Manifest
from toolkit.text.labels import Label

UNCERTAIN = "uncertain"
VERDICTS = (*(label.text for label in Label), UNCERTAIN)

_DISPLAY = {"en": UNCERTAIN, "zh": "不确定"}


@dataclass(frozen=True, slots=True)
class AbstentionPolicy:
    """Leaves a review undecided where the model is not sure enough.

    Attributes:
        uncertain_below: calibrated probability, 0.5 to 1, that a label needs to be given; 0.5 always gives one.
        accuracy: of the reviews decided, as measured when the threshold was chosen; None where nobody measured it.
        coverage: share of reviews decided, likewise.
    """

    uncertain_below: float = 0.5
    accuracy: float | None = None
    coverage: float | None = None

    def __post_init__(self) -> None:
        """Refuse a threshold that every score passes for another reason, or none does."""
        if not 0.5 <= self.uncertain_below <= 1:
            raise ValueError(
                f"uncertain_below is a probability of the likelier label: 0.5 to 1, not {self.uncertain_below}"
            )

    @classmethod
    def for_model(
        cls, manifest: Manifest, uncertain_below: float | None = None, target_accuracy: float | None = None
    ) -> Self:
        """What the user asked for, else what the model was exported with.

        Args:
            manifest: of the model; its `risk_coverage` was measured on the reviews that proved the export.
            uncertain_below: see the class.
            target_accuracy: the decided reviews are to be right this often, 0.5 to 1; decides as many as it may.

        Raises:
            ToolkitError: the model was not measured, or nothing it is sure of is right that often.
        """
        if uncertain_below is not None and target_accuracy is not None:
            raise ValueError("uncertain_below and target_accuracy are two ways to choose one threshold; give one")
        if target_accuracy is None:
            return cls(manifest.uncertain_below if uncertain_below is None else uncertain_below)
        if not manifest.risk_coverage:
            raise ToolkitError(
                "this model was never measured for a target accuracy; export it with --proof FILE of 2,000 reviews or "
                "more, or give --uncertain-below"
            )
        reached = [step for step in manifest.risk_coverage if step["accuracy"] >= target_accuracy]
        if not reached:
            best = max(manifest.risk_coverage, key=lambda step: step["accuracy"])
            raise ToolkitError(
                f"a target accuracy of {target_accuracy} is out of reach; expected at most {best['accuracy']:.4f}, for which "
                f"{1 - best['coverage']:.1%} of reviews are left undecided"
            )
        return cls(**max(reached, key=lambda step: step["coverage"]))

    def verdict(self, label: Label, score: float) -> str:
        """One of `VERDICTS`."""
        return label.text if score >= self.uncertain_below else UNCERTAIN


def display(verdict: str, language: str) -> str:
    """A verdict for a reader of `language` (`en` or `zh`)."""
    if verdict == UNCERTAIN:
        return _DISPLAY[language]
    return Label[verdict.upper()].display(language)
