"""The two verdicts and how they are written."""

from enum import IntEnum
from typing import Literal

_DISPLAY = {
    "en": ("negative", "positive"),
    "zh": ("负面评论", "正面评论"),
}


class Label(IntEnum):
    """A review's verdict; the value is the class index, the logits' column and the CSV's label."""

    NEGATIVE = 0
    POSITIVE = 1

    @property
    def text(self) -> Literal["negative", "positive"]:
        """The word used in JSON, manifests and terminals: `negative` or `positive`."""
        return "positive" if self else "negative"

    def display(self, language: str) -> str:
        """The verdict for a reader of `language` (`en` or `zh`)."""
        return _DISPLAY[language][self]


ID2LABEL = {int(label): label.text for label in Label}
LABEL2ID = {label.text: int(label) for label in Label}

_SPELLINGS = {
    "0": Label.NEGATIVE,
    "0.0": Label.NEGATIVE,  # as pandas writes a column with gaps
    "neg": Label.NEGATIVE,
    "negative": Label.NEGATIVE,
    "1": Label.POSITIVE,
    "1.0": Label.POSITIVE,
    "pos": Label.POSITIVE,
    "positive": Label.POSITIVE,
}


def parse_label(value: object) -> Label | None:
    """Read a label as data sets spell it (0/1, neg/pos, negative/positive, any case); None if it is none of them."""
    if isinstance(value, bool) or value is None:
        return None
    return _SPELLINGS.get(str(value).strip().lower())
