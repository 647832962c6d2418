"""A review, read again by those who read it for its answer: without a part of it, or word by word."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Protocol

import numpy as np

from toolkit.models.bundle import Manifest
from toolkit.prediction.answers import Prediction, RawOutput
from toolkit.prediction.combination import NgramReader, lengths
from toolkit.prediction.ngrams import ORDERS, Occurrences
from toolkit.text.labels import LabelSet
from toolkit.text.segmentation import Span
from toolkit.text.tokenisation import Encoding, ReviewTokenizer, has_tokens

MAX_PHRASES = 6
_TELLING = 0.1  # of the strongest push beside it, what a phrase has to weigh to tell anything


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


class Reading:
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
        calibrated: np.ndarray = logits * reader.rule.model_factors(self._tokens) + scores.logits * factor
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
            segment_of(self._text, span, push) for span, push in zip(every_word, shares.tolist(), strict=True)
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
                yield segment_of(self._text, (start, end), float(pushes[ngram]))

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
        """The word in which each token of the body ends, (T,); the first, of a token without a character."""
        return np.maximum(np.searchsorted([start for start, _ in every_word], self._ends) - 1, 0)

    @property
    def _reader(self) -> NgramReader:
        assert self._predictor.ngrams is not None, "they had a part in the answer"  # noqa: S101 - for the type checker
        return self._predictor.ngrams


def _without(window: Encoding, kept: np.ndarray) -> Encoding:
    """What is left of a window."""
    inside = np.concatenate([kept[start:stop] for start, stop in window.spans])
    ids = window.input_ids
    return Encoding(np.concatenate([ids[:1], ids[1:-1][inside], ids[-1:]]), window.tokens, window.spans)


def segment_of(text: str, span: Span, push: float | None) -> Segment:
    """What stands in a span of a text."""
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
