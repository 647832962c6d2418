"""When a model should rather not say: the one rule by which a prediction becomes a verdict."""

from dataclasses import dataclass

from toolkit.labels import Label
from toolkit.prediction.base import Prediction

UNCERTAIN = "uncertain"
VERDICTS = (*(label.text for label in Label), UNCERTAIN)

_DISPLAY = {"en": UNCERTAIN, "zh": "不确定"}


@dataclass(frozen=True, slots=True)
class AbstentionPolicy:
    """Leaves a review undecided where the model is not sure enough.

    Attributes:
        uncertain_below: calibrated probability, 0.5 to 1, that a label needs to be given; 0.5 always gives one.
    """

    uncertain_below: float = 0.5

    def __post_init__(self) -> None:
        """Refuse a threshold that every score passes for another reason, or none does."""
        if not 0.5 <= self.uncertain_below <= 1:
            raise ValueError(
                f"uncertain_below is a probability of the likelier label: 0.5 to 1, not {self.uncertain_below}"
            )

    def verdict(self, prediction: Prediction) -> str:
        """One of `VERDICTS`."""
        return prediction.label.text if prediction.score >= self.uncertain_below else UNCERTAIN


def display(verdict: str, language: str) -> str:
    """A verdict for a reader of `language` (`en` or `zh`)."""
    if verdict == UNCERTAIN:
        return _DISPLAY[language]
    return Label[verdict.upper()].display(language)
