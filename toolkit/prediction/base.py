"""What every backend shares: text in, calibrated predictions out, in order and in bounded memory."""

import copy
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any, overload

import numpy as np

from toolkit.models.bundle import Manifest
from toolkit.prediction.abstention import AbstentionPolicy
from toolkit.prediction.estimator import TextClassifier
from toolkit.text.labels import Label
from toolkit.text.tokenisation import Encoding, ReviewTokenizer, count_read
from toolkit.text.truncation import POLICIES, combine


@dataclass(frozen=True, slots=True)
class Prediction:
    """The verdict on one review.

    Attributes:
        label: the argmax.
        score: calibrated probability of `label`, 0.5 to 1.
        probabilities: of both labels, summing to 1.
        tokens: tokens in the whole review, [CLS] and [SEP] included; a lower bound for one over
            `toolkit.text.normalisation.TEXT_LIMIT` characters, of which no more are counted.
        tokens_read: tokens the model saw, counted alike, those in two windows once; fewer than `tokens` means that a part
            was left out.
        logits: of both labels as the model gave them, in `Label` order; the temperature is not in them.
        verdict: the label's name, or `uncertain` where the predictor's policy leaves it open.
        window: of several windows, the one that spoke most for `label`, as its first token and the one after its last,
            [CLS] not counted; None where the review was read in one piece.
    """

    label: Label
    score: float
    probabilities: dict[Label, float]
    tokens: int
    tokens_read: int
    logits: tuple[float, float]
    verdict: str
    window: tuple[int, int] | None = None

    def to_dict(self) -> dict[str, Any]:
        """The prediction as JSON has it, labels by name."""
        return {
            "label": self.label.text,
            "score": self.score,
            "probabilities": {label.text: probability for label, probability in self.probabilities.items()},
            "tokens": self.tokens,
            "tokens_read": self.tokens_read,
            **({"window": list(self.window)} if self.window else {}),
        }


@dataclass(frozen=True, slots=True)
class Answer:
    """What a model says of one review, all parts together.

    Attributes:
        logits: (2,) float32 in `Label` order; divided by the manifest's temperature they are calibrated.
        read: the parts that were read.
        window: see `Prediction`.
    """

    logits: np.ndarray
    read: tuple[Encoding, ...]
    window: tuple[int, int] | None = None

    @property
    def tokens_read(self) -> int:
        """See `count_read`."""
        return count_read(self.read)


class Predictor(TextClassifier, ABC):
    """A model that reads reviews; a backend implements `logits` and nothing else.

    It is a scikit-learn classifier too: see `TextClassifier`.

    Attributes:
        backend: its name, `onnx` or `torch`.
        device: where it runs, for people.
        chunk_size: reviews taken from the input at a time by `predict_many`.
        policy: decides which verdicts are withheld; the model's own unless somebody sets another.
    """

    backend: str
    device: str
    chunk_size: int

    def __init__(self, manifest: Manifest, tokenizer: ReviewTokenizer) -> None:
        self.manifest = manifest
        self.tokenizer = tokenizer
        self.policy = AbstentionPolicy.for_model(manifest)

    def read(self, policy: str | None = None) -> None:
        """Choose what is read of a longer review from now on; `policy` as `reading` of `load_predictor`."""
        if policy not in (None, *POLICIES):
            raise ValueError(f"reading must be one of {', '.join(POLICIES)}, not {policy!r}")
        self.tokenizer = copy.copy(self.tokenizer)
        self.tokenizer.policy = policy or self.manifest.reading

    @abstractmethod
    def logits(self, encodings: Sequence[Encoding]) -> np.ndarray:
        """Run the model on n reviews; (n, 2) float32, row i for encoding i, columns in `Label` order."""

    @overload
    def predict(self, text: str) -> Prediction: ...  # type: ignore[overload-overlap]  # of a str, an Iterable too, this one

    @overload
    def predict(self, text: Iterable[str]) -> np.ndarray: ...

    def predict(self, text: str | Iterable[str]) -> Prediction | np.ndarray:
        """Classify one review; of several, as scikit-learn asks, (n,) int64 labels, 0 negative and 1 positive.

        Raises:
            EmptyReviewError: there is nothing to read.
        """
        return next(self.predict_many([text])) if isinstance(text, str) else self.predict_labels(text)

    def predict_many(self, texts: Iterable[str]) -> Iterator[Prediction]:
        """Classify reviews lazily: one prediction a text, in order, holding `chunk_size` texts at most.

        Raises:
            EmptyReviewError: when the chunk with an empty text is reached.
        """
        for chunk in _batched(texts, self.chunk_size):
            yield from map(self._prediction, self.answer(self.tokenizer.encode_parts(chunk)))

    def answer(self, reviews: Sequence[Sequence[Encoding]]) -> list[Answer]:
        """Read n reviews, given as `ReviewTokenizer.encode_parts` cut them."""
        logits = iter(self.logits([part for parts in reviews for part in parts]))
        return [_combined(parts, list(islice(logits, len(parts)))) for parts in reviews]

    def _prediction(self, answer: Answer) -> Prediction:
        scaled = answer.logits.astype(np.float64) / self.manifest.temperature  # (2,)
        exponentials = np.exp(scaled - scaled.max())
        probabilities = exponentials / exponentials.sum()
        label = Label(int(probabilities.argmax()))
        score = float(probabilities[label])
        return Prediction(
            label=label,
            score=score,
            probabilities={each: float(probabilities[each]) for each in Label},
            tokens=answer.read[0].tokens,
            tokens_read=answer.tokens_read,
            logits=(float(answer.logits[0]), float(answer.logits[1])),
            verdict=self.policy.verdict(label, score),
            window=answer.window,
        )


def _combined(parts: Sequence[Encoding], logits: Sequence[np.ndarray]) -> Answer:
    """One answer from those to all parts, (2,) each."""
    if len(parts) == 1:
        return Answer(logits[0], tuple(parts))
    margins: list[float] = np.diff(np.stack(logits).astype(np.float64), axis=1)[:, 0].tolist()
    lengths = [len(part.input_ids) for part in parts]
    margin = combine(margins, lengths)
    sign = 1 if margin > 0 else -1
    decisive = max(range(len(parts)), key=lambda index: sign * margins[index] * lengths[index])
    return Answer(np.array([-margin / 2, margin / 2], np.float32), tuple(parts), parts[decisive].part[0])


def _batched(texts: Iterable[str], size: int) -> Iterator[list[str]]:
    iterator = iter(texts)
    while chunk := list(islice(iterator, size)):
        yield chunk
