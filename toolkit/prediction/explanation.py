"""Why a review got its answer: what its words and phrases weigh, and each sentence, which is left out in turn.

A push is counted in calibrated logits, the explained label's less the others': of two labels the second's less the first's,
of more the others' average, weighted by their probabilities. Above 0 it speaks for that label. What is measured is this
answer: its readers read the remaining text, calibrated as they were for the whole.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any, Literal, Protocol

import numpy as np

from toolkit.models.bundle import Manifest
from toolkit.prediction.answers import Prediction, RawOutput
from toolkit.prediction.combination import NgramReader, lengths
from toolkit.prediction.ngrams import ORDERS, Occurrences
from toolkit.text.labels import Label, LabelSet
from toolkit.text.normalisation import TEXT_LIMIT, normalise
from toolkit.text.segmentation import Span, clauses, merge, sentences, words
from toolkit.text.tokenisation import Encoding, ReviewTokenizer, has_tokens

Unit = Literal["sentences", "clauses", "words"]
MAX_SEGMENTS = 16  # a review costs at most so many more readings; neighbouring sentences of a longer one are merged
MAX_PHRASES = 6
_TELLING = 0.1  # of the strongest push beside it, what a phrase has to weigh to tell anything
_WORD_OF_SENTENCE = 0.25  # of the strongest sentence's push: what a word has to weigh to be shaded to the full
_LEAST = 1e-300  # a probability that has a logarithm
_DECIMALS = 6  # of a push in JSON


class Explainable(Protocol):
    """What is asked of a predictor, see `toolkit.prediction.Predictor`."""

    labels: LabelSet
    manifest: Manifest
    ngrams: NgramReader | None
    tokenizer: ReviewTokenizer

    def predict(self, text: str) -> Prediction:
        """The answer to a review."""

    def logits(self, encodings: Sequence[Encoding]) -> np.ndarray:
        """What the transformer says of n windows, (n, k)."""


@dataclass(frozen=True, slots=True)
class Segment:
    """A stretch of the review: a sentence or several, a phrase, or a word.

    Attributes:
        text: What stands there.
        push: How far it moves the answer towards the explained label; below 0, away from it. None where the segment is
            all there is.
        start: The first of its characters in `Explanation.text`.
        end: The character after its last.
    """

    text: str
    push: float | None
    start: int
    end: int


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


def explain(predictor: Explainable, text: str) -> Explanation:
    """Explain an answer; the transformer, where it was asked, reads what is left without each sentence, in one batch.

    Raises:
        EmptyReviewError: there is nothing to read.
        TypeError: the review is not a string.
    """
    prediction = predictor.predict(text)
    # A word that nobody sees has no tokens.
    visible = " ".join(word for word in normalise(text[:TEXT_LIMIT]).split() if normalise(word))
    reading = _Reading(predictor, prediction, visible)
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
        tuple(_segment(visible, span, push) for span, push in zip(spans, pushes if compared else [None], strict=False)),
        unit,
        *reading.words_and_phrases(every_word, direction, strongest * _WORD_OF_SENTENCE),
        unread_words=len(gap),
        unread_after=before,
        unread_push=pushes[-1] if by_ngrams else None,
    )


class _Reading:
    """A review, read again by those who read it for its answer.

    Args:
        predictor: Whose answer it is.
        prediction: The answer.
        text: The review, normalised.
    """

    def __init__(self, predictor: Explainable, prediction: Prediction, text: str) -> None:
        self._predictor = predictor
        self._read_by = prediction.read_by
        self._text = text
        self._ids, offsets = predictor.tokenizer.locate(text)
        self._offsets = offsets[1:-1]  # (T, 2) of the body
        self._ends = self._offsets[:, 1]  # the character after each token
        self._windows = predictor.tokenizer.windows(self._ids)
        self._tokens = lengths([self._ids])  # (1,) that calibrate the n-grams

    def words_read(self, every_word: list[Span]) -> tuple[int, int]:
        """How many words were read whole, from the beginning and from the end; one at least."""
        if self._read_by == "ngrams":
            return len(every_word), 0
        read = np.zeros(len(self._ends), bool)
        for start, stop in (span for window in self._windows for span in window.spans):
            read[start:stop] = True
        whole = np.ones(len(every_word), bool)
        whole[self._words_of_tokens(every_word)[~read]] = False
        if whole.all():
            return len(every_word), 0
        first = max(int(whole.argmin()), 1)
        return first, min(int(whole[::-1].argmin()), len(every_word) - first)

    def without(self, spans: Sequence[Span]) -> np.ndarray:
        """Calibrated logits of the review without each of n spans, (n, k)."""
        if not spans:
            return np.empty((0, len(self._predictor.labels)))
        kept = [self._kept(span) for span in spans]
        logits = np.zeros(1) if self._read_by == "ngrams" else self._transformer(kept)
        if self._read_by == "model":
            return logits / self._predictor.manifest.temperature
        reader = self._reader
        scores = reader.table.score([self._ids[np.concatenate([[True], each, [True]])] for each in kept])
        factor = reader.rule.factors(self._tokens, self._read_by)
        calibrated: np.ndarray = logits / reader.rule.temperature + scores.logits * factor
        return calibrated

    def words_and_phrases(
        self, every_word: list[Span], direction: np.ndarray, scale: float
    ) -> tuple[tuple[Segment, ...], tuple[Segment, ...]]:
        """What the n-grams say: every word with its share, and the n-grams that weigh most; nothing where they said nothing.

        Args:
            every_word: The words of the text.
            direction: See `_direction`.
            scale: A push beside which a phrase has to tell something, where the weightiest is no stronger.
        """
        if self._read_by == "model":
            return (), ()
        found = self._reader.table.occurrences(self._ids)
        factor = self._reader.rule.factors(self._tokens, self._read_by)
        pushes = self._reader.table.weights(found.rows) @ direction * factor  # (u,)
        words_of_tokens = self._words_of_tokens(every_word)
        shares = np.zeros(len(every_word))
        each = (pushes / found.counts)[found.ngrams] / found.orders  # (m,)
        for place in range(max(ORDERS)):
            inside = found.orders > place
            np.add.at(shares, words_of_tokens[found.starts[inside] + place], each[inside])
        weighed = tuple(
            _segment(self._text, span, push) for span, push in zip(every_word, shares.tolist(), strict=True)
        )
        telling = np.abs(pushes) > _TELLING * max(scale, np.abs(pushes).max(initial=0))
        weightiest = np.argsort(-np.abs(pushes), kind="stable")
        phrases = self._phrases(found, pushes, weightiest[telling[weightiest]], words_of_tokens, every_word)
        return weighed, tuple(islice(phrases, MAX_PHRASES))

    def _phrases(
        self,
        found: Occurrences,
        pushes: np.ndarray,
        among: np.ndarray,
        words_of_tokens: np.ndarray,
        every_word: list[Span],
    ) -> Iterator[Segment]:
        """N-grams as they are given, each in whole words; none that overlaps with one before it, or says the same."""
        taken: set[int] = set()
        said: set[str] = set()
        for ngram in among.tolist():
            first = int(found.starts[found.first[ngram]])
            last = first + int(found.orders[found.first[ngram]]) - 1
            start, end = _trimmed(self._text, (int(self._offsets[first, 0]), int(self._offsets[last, 1])))
            # Pieces of words are shown as the words.
            start = _grown(self._text, start, every_word[words_of_tokens[first]][0])
            end = _grown(self._text, end, every_word[words_of_tokens[last]][1])
            phrase = self._text[start:end].lower()
            within = [word for word in range(words_of_tokens[first], words_of_tokens[last] + 1)
                     if every_word[word][1] > start and every_word[word][0] < end]  # fmt: skip
            if phrase and phrase not in said and taken.isdisjoint(within):
                taken.update(within)
                said.add(phrase)
                yield _segment(self._text, (start, end), float(pushes[ngram]))

    def _transformer(self, kept: Sequence[np.ndarray]) -> np.ndarray:
        """Its logits of what is left of its windows, (n, k); a window that several reviews share is read once."""
        unique: dict[bytes, Encoding] = {}
        reviews = []
        for each in kept:
            left = [_without(window, each) for window in self._windows]
            left = [window for window in left if has_tokens(window.input_ids)]
            unique.update((window.input_ids.tobytes(), window) for window in left)
            reviews.append(left)
        logits = dict(zip(unique, self._predictor.logits(list(unique.values())), strict=True))
        outputs = (
            RawOutput.of_windows(left, [logits[window.input_ids.tobytes()] for window in left]) for left in reviews
        )
        return np.stack([output.logits for output in outputs])

    def _kept(self, span: Span) -> np.ndarray:
        """Which tokens of the body stand outside of it, (T,)."""
        return (self._ends <= span[0]) | (self._ends > span[1])

    def _words_of_tokens(self, every_word: list[Span]) -> np.ndarray:
        """The word in which each token of the body ends, (T,)."""
        return np.searchsorted([start for start, _ in every_word], self._ends) - 1

    @property
    def _reader(self) -> NgramReader:
        assert self._predictor.ngrams is not None, "they had a part in the answer"  # noqa: S101 - for the type checker
        return self._predictor.ngrams


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


def _without(window: Encoding, kept: np.ndarray) -> Encoding:
    """What is left of a window."""
    inside = np.concatenate([kept[start:stop] for start, stop in window.spans])
    ids = window.input_ids
    return Encoding(np.concatenate([ids[:1], ids[1:-1][inside], ids[-1:]]), window.tokens, window.spans)


def _segment(text: str, span: Span, push: float | None) -> Segment:
    return Segment(text[slice(*span)], push, *span)


def _trimmed(text: str, span: Span) -> Span:
    """Without what stands around the letters and digits; empty where there are none."""
    start, end = span
    while start < end and not text[start].isalnum():
        start += 1
    while end > start and not text[end - 1].isalnum():
        end -= 1
    return start, end


def _grown(text: str, place: int, limit: int) -> int:
    """The place to which letters and digits go on, from this one towards a limit."""
    step = 1 if limit > place else -1
    while place != limit and 0 < place < len(text) and text[place - 1].isalnum() and text[place].isalnum():
        place += step
    return place


def _rounded(push: float | None) -> float | None:
    return None if push is None else round(push, _DECIMALS)
