"""Why a review got its answer: what its words and phrases weigh, and each sentence, which is left out in turn.

A push is counted in calibrated logits, the explained label's less the others': of two labels the second's less the first's,
of more the others' average, weighted by their probabilities. Above 0 it speaks for that label. What is measured is this
answer: its readers read the remaining text, calibrated as they were for the whole.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from toolkit.prediction.answers import Prediction
from toolkit.prediction.attribution import Explainable, Reading, Segment, segment_of
from toolkit.text.labels import Label
from toolkit.text.normalisation import TEXT_LIMIT, normalise
from toolkit.text.segmentation import Span, clauses, merge, sentences, words

Unit = Literal["sentences", "clauses", "words"]
MAX_SEGMENTS = 16  # a review costs at most so many more readings; neighbouring sentences of a longer one are merged
_WORD_OF_SENTENCE = 0.25  # of the strongest sentence's push: what a word has to weigh to be shaded to the full
_LEAST = 1e-300  # a probability that has a logarithm
_DECIMALS = 6  # of a push in JSON


@dataclass(frozen=True, slots=True)
class Explanation:
    """An answer, and what made it.

    Attributes:
        prediction: The answer.
        label: The label that pushes above 0 speak for: of two labels the second, so that one sign always means one label; of
            more the answer's.
        text: The review as it was read, normalised.
        segments: The sentences of what was read, in order, `MAX_SEGMENTS` at most; of a lone sentence its clauses, of a lone
            clause its words.
        unit: What they are: `sentences`, `clauses` or `words`.
        words: Every word with its share of what the n-grams say, in order; their pushes sum to the n-grams' part of the
            answer. Empty where n-grams had no part in it.
        phrases: The n-grams that weigh most, the weightiest first, as they first stand in the text; each with the whole
            weight that its words share. Of several that overlap, the weightiest.
        unread_words: The number of words after the first `unread_after` segments that the transformer did not read.
        unread_after: The number of segments that stand before them.
        unread_push: What those words weigh for the n-grams, which read them; None where nobody did.
    """

    prediction: Prediction
    label: Label
    text: str
    segments: tuple[Segment, ...]
    unit: Unit
    words: tuple[Segment, ...]
    phrases: tuple[Segment, ...]
    unread_words: int
    unread_after: int
    unread_push: float | None

    @property
    def strongest(self) -> float:
        """The push of the sentence that moves the answer most; 0 where nothing moves it."""
        return max((abs(each.push) for each in self.segments if each.push is not None), default=0.0)

    @property
    def strongest_word(self) -> float:
        """The push by which words are shaded: the strongest word's, where words have a say beside the sentences at all."""
        return max(
            [self.strongest * _WORD_OF_SENTENCE, *(abs(each.push) for each in self.words if each.push is not None)]
        )

    def to_dict(self) -> dict[str, Any]:
        """The explanation as JSON has it, beside the answer."""

        def listed(segments: Sequence[Segment]) -> list[dict[str, Any]]:
            return [{"text": each.text, "push": _rounded(each.push)} for each in segments]

        unread = {"words": self.unread_words, "after": self.unread_after, "push": _rounded(self.unread_push)}
        return {
            "towards": self.label.name,
            "unit": self.unit,
            "parts": listed(self.segments),
            "phrases": listed(self.phrases),
            "words": listed(self.words),
            **({"unread": unread} if self.unread_words else {}),
        }


def answer_to_dict(answer: Prediction | Explanation, language: str = "en") -> dict[str, Any]:
    """An answer as `toolkit predict --json` writes it: the verdict in a reader's language, and the reasons of an explanation."""
    prediction, reasons = (
        (answer.prediction, {"why": answer.to_dict()}) if isinstance(answer, Explanation) else (answer, {})
    )
    return {**prediction.to_dict(), "label": prediction.display(language), **reasons}


def explain(predictor: Explainable, text: str) -> Explanation:
    """Explain an answer; the transformer, where it was asked, reads what is left without each sentence, in one batch.

    Raises:
        EmptyReviewError: there is nothing to read.
        TypeError: the review is not a string.
    """
    prediction = predictor.predict(text)
    # A word that nobody sees has no tokens.
    visible = " ".join(word for word in normalise(text[:TEXT_LIMIT]).split() if normalise(word))
    reading = Reading(predictor, prediction, visible)
    label = predictor.labels[1] if len(predictor.labels) == 2 else prediction.label
    direction = _direction(prediction, label)  # (k,)

    every_word = words(visible)
    first, last = reading.words_read(every_word)
    gap = every_word[first : len(every_word) - last]
    spans, before, unit = _segments(visible, every_word[:first], every_word[len(every_word) - last :])
    compared = spans if len(spans) > 1 else []
    by_ngrams = [(gap[0][0], gap[-1][1])] if gap and prediction.read_by == "both" else []
    # The logarithms serve as logits, for what `direction` weighs sums to 0.
    whole = np.log(np.maximum(list(prediction.probabilities.values()), _LEAST)) @ direction
    pushes = (whole - reading.without([*compared, *by_ngrams]) @ direction).tolist()
    strongest = max(map(abs, pushes[: len(compared)]), default=0.0)
    return Explanation(
        prediction,
        label,
        visible,
        tuple(
            segment_of(visible, span, push) for span, push in zip(spans, pushes if compared else [None], strict=False)
        ),
        unit,
        *reading.words_and_phrases(every_word, direction, strongest * _WORD_OF_SENTENCE),
        unread_words=len(gap),
        unread_after=before,
        unread_push=pushes[-1] if by_ngrams else None,
    )


def _direction(prediction: Prediction, label: Label) -> np.ndarray:
    """By what logits are multiplied to be pushes, (k,): 1 for the label, for the others -1 in all, by their probabilities."""
    against = np.maximum(list(prediction.probabilities.values()), _LEAST)
    against[label.index] = 0
    direction: np.ndarray = -against / against.sum()
    direction[label.index] = 1
    return direction


def _segments(text: str, beginning: list[Span], end: list[Span]) -> tuple[list[Span], int, Unit]:
    """The parts of what was read, `MAX_SEGMENTS` at most, how many of them belong to the beginning, and what they are."""
    edges = [(part[0][0], part[-1][1]) for part in (beginning, end) if part]
    unit: Unit = "sentences"
    parts = [sentences(text, edge) for edge in edges]
    if sum(map(len, parts)) < 2:
        parts, unit = [clauses(text, edge) for edge in edges], "clauses"
    if sum(map(len, parts)) < 2:
        parts, unit = [beginning, end] if end else [beginning], "words"
    if len(parts) == 1:
        merged = merge(parts[0], MAX_SEGMENTS)
        return merged, len(merged), unit
    share = round(MAX_SEGMENTS * len(parts[0]) / sum(map(len, parts)))
    first = merge(parts[0], min(max(share, 1), MAX_SEGMENTS - 1))
    return first + merge(parts[1], MAX_SEGMENTS - len(first)), len(first), unit


def _rounded(push: float | None) -> float | None:
    return None if push is None else round(push, _DECIMALS)
