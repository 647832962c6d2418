"""Why a review got its verdict: each sentence is left out in turn, and the model asked again."""

import math
import re
from dataclasses import dataclass
from itertools import accumulate, pairwise

from toolkit.labels import Label
from toolkit.prediction import Prediction, Predictor
from toolkit.text import normalise

MAX_SEGMENTS = 16  # a review costs at most so many more readings; neighbouring sentences of a longer one are merged
_SENTENCE_END = re.compile(r"""[.!?…。！？]+["'”’)\]]*$""")
_NO_SENTENCE_END = re.compile(r"^(?:Mr|Mrs|Ms|Dr|St|vs|etc|[A-Z])\.$")


@dataclass(frozen=True, slots=True)
class Segment:
    """A stretch of the review.

    Attributes:
        text: one or more whole sentences.
        push: log-odds of positive with the segment minus without it: above 0 it speaks for positive. None where the
            segment is all there is.
    """

    text: str
    push: float | None


@dataclass(frozen=True, slots=True)
class Explanation:
    """A review in segments.

    Attributes:
        segments: of what the model read, in order, `MAX_SEGMENTS` at most.
        unread_words: words after that, which played no part.
    """

    segments: tuple[Segment, ...]
    unread_words: int


def explain(predictor: Predictor, text: str) -> Explanation:
    """Measure what each sentence that was read contributed, in one batch.

    Only the words that fit into the model are compared, so that leaving one sentence out brings no unread one in.

    Raises:
        EmptyReviewError: there is nothing to read.
    """
    words = normalise(text).split()
    read = words[: _words_read(predictor, words)]
    segments = _merge(_sentences(read), MAX_SEGMENTS)
    if len(segments) < 2:
        return Explanation(tuple(Segment(segment, None) for segment in segments), len(words) - len(read))
    without = (" ".join(segments[:index] + segments[index + 1 :]) for index in range(len(segments)))
    whole, *others = predictor.predict_many([" ".join(segments), *without])
    pushes = [_log_odds(whole) - _log_odds(other) for other in others]
    return Explanation(tuple(map(Segment, segments, pushes)), len(words) - len(read))


def _words_read(predictor: Predictor, words: list[str]) -> int:
    """How many words fit whole; white space always ends a token, so a word's tokens are the same anywhere."""
    room = predictor.tokenizer.max_length - 2  # [CLS] and [SEP]
    lengths = (encoding.tokens - 2 for encoding in predictor.tokenizer.encode(words[: room + 1]))
    return max(sum(end <= room for end in accumulate(lengths)), 1)


def _sentences(words: list[str]) -> list[str]:
    sentences: list[list[str]] = [[]]
    for word in words:
        sentences[-1].append(word)
        if _SENTENCE_END.search(word) and not _NO_SENTENCE_END.match(word):
            sentences.append([])
    return [" ".join(sentence) for sentence in sentences if sentence]


def _merge(sentences: list[str], limit: int) -> list[str]:
    """Join neighbours until there are `limit`, in groups of as equal a number of sentences as can be."""
    groups = min(limit, len(sentences))
    edges = [round(index * len(sentences) / groups) for index in range(groups + 1)] if groups else [0]
    return [" ".join(sentences[start:end]) for start, end in pairwise(edges)]


def _log_odds(prediction: Prediction) -> float:
    negative, positive = (max(prediction.probabilities[label], 1e-12) for label in Label)
    return math.log(positive / negative)
