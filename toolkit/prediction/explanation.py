"""Why a review got its verdict: each sentence is left out in turn, and the model asked again."""

import math
import re
from dataclasses import dataclass
from itertools import accumulate, pairwise

from toolkit.prediction import Prediction, Predictor
from toolkit.text.labels import Label
from toolkit.text.normalisation import normalise

MAX_SEGMENTS = 16  # a review costs at most so many more readings; neighbouring sentences of a longer one are merged
_SENTENCE_ENDS = (".", "!", "?", "…", "。", "！", "？")
_CLOSING = "\"'”’)]"  # may stand between the end of a sentence and the space after it
_NO_SENTENCE_END = re.compile(r"^(?:Mr|Mrs|Ms|Dr|St|vs|etc|[A-Z])\.$")


@dataclass(frozen=True, slots=True)
class Segment:
    """A stretch of the review.

    Attributes:
        text: One or more whole sentences.
        push: The log-odds of the explanation's label with the segment minus without it: above 0 it speaks for that label.
            None where the segment is all there is.
    """

    text: str
    push: float | None


@dataclass(frozen=True, slots=True)
class Explanation:
    """A review in segments.

    Attributes:
        label: Whose log-odds are compared: of two labels the second, so that one sign always means one label; of more
            the one that was given. None where nothing is compared.
        segments: The segments of what the model read, in order, `MAX_SEGMENTS` at most.
        unread_words: The number of words after the first `unread_after` segments, which played no part.
        unread_after: The number of segments that stand before them.
    """

    label: Label | None
    segments: tuple[Segment, ...]
    unread_words: int
    unread_after: int


def explain(predictor: Predictor, text: str) -> Explanation:
    """Measure what each sentence that was read contributed, in one batch.

    Only the words that fit into the model are compared, so that leaving one sentence out brings no unread one in.

    Raises:
        EmptyReviewError: there is nothing to read.
    """
    words = [word for word in normalise(text).split() if normalise(word)]  # one that nobody sees has no tokens
    first, last = _words_read(predictor, words)
    beginning, end = _sentences(words[:first]), _sentences(words[len(words) - last :])
    share = round(MAX_SEGMENTS * len(beginning) / max(len(beginning) + len(end), 1))
    before = _merge(beginning, max(share, 1) if end else MAX_SEGMENTS)
    segments = before + _merge(end, MAX_SEGMENTS - len(before))
    unread = len(words) - first - last
    if len(segments) < 2:
        return Explanation(None, tuple(Segment(segment, None) for segment in segments), unread, len(before))
    without = (" ".join(segments[:index] + segments[index + 1 :]) for index in range(len(segments)))
    whole, *others = predictor.predict_many([" ".join(segments), *without])
    label = predictor.labels[1] if len(predictor.labels) == 2 else whole.label
    pushes = [_log_odds(whole, label) - _log_odds(other, label) for other in others]
    return Explanation(label, tuple(map(Segment, segments, pushes)), unread, len(before))


def _words_read(predictor: Predictor, words: list[str]) -> tuple[int, int]:
    """How many words fit whole, from the beginning and from the end; one at least.

    White space always ends a token, so a word's tokens are the same anywhere.
    """
    room = predictor.tokenizer.max_length - 2  # [CLS] and [SEP]
    if sum(_lengths(predictor, words[: room + 1])) <= room:
        return len(words), 0
    tail = 0 if predictor.tokenizer.truncation == "head" else room // 2
    first = sum(end <= room - tail for end in accumulate(_lengths(predictor, words[: room + 1])))
    last = sum(end <= tail for end in accumulate(_lengths(predictor, words[: -room - 2 : -1])))
    return max(first, 1), min(last, len(words) - max(first, 1))


def _lengths(predictor: Predictor, words: list[str]) -> list[int]:
    """Tokens of each word."""
    return predictor.tokenizer.count(words)


def _sentences(words: list[str]) -> list[str]:
    sentences: list[list[str]] = [[]]
    for word in words:
        sentences[-1].append(word)
        if word.rstrip(_CLOSING).endswith(_SENTENCE_ENDS) and not _NO_SENTENCE_END.match(word):
            sentences.append([])
    return [" ".join(sentence) for sentence in sentences if sentence]


def _merge(sentences: list[str], limit: int) -> list[str]:
    """Join neighbours until there are `limit`, in groups of as equal a number of sentences as can be."""
    groups = min(limit, len(sentences))
    edges = [round(index * len(sentences) / groups) for index in range(groups + 1)] if groups else [0]
    return [" ".join(sentences[start:end]) for start, end in pairwise(edges)]


def _log_odds(prediction: Prediction, label: Label) -> float:
    against = sum(probability for name, probability in prediction.probabilities.items() if name != label.name)
    return math.log(max(prediction.probabilities[label.name], 1e-12) / max(against, 1e-12))
