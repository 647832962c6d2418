"""What every backend shares: text in, calibrated predictions out, in order and in bounded memory."""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

import numpy as np

from toolkit.bundle import Manifest
from toolkit.labels import Label
from toolkit.text import Encoding, ReviewTokenizer


@dataclass(frozen=True, slots=True)
class Prediction:
    """The verdict on one review.

    Attributes:
        label: the argmax.
        score: calibrated probability of `label`, 0.5 to 1.
        probabilities: of both labels, summing to 1.
        tokens: tokens in the whole review, [CLS] and [SEP] included; a lower bound for one over
            `toolkit.text.TEXT_LIMIT` characters, of which no more are counted.
        tokens_read: tokens the model saw, counted alike; fewer than `tokens` means truncated.
    """

    label: Label
    score: float
    probabilities: dict[Label, float]
    tokens: int
    tokens_read: int

    def to_dict(self) -> dict[str, Any]:
        """The prediction as JSON has it, labels by name."""
        return {
            "label": self.label.text,
            "score": self.score,
            "probabilities": {label.text: probability for label, probability in self.probabilities.items()},
            "tokens": self.tokens,
            "tokens_read": self.tokens_read,
        }


class Predictor(ABC):
    """A model that reads reviews; a backend implements `logits` and nothing else.

    Attributes:
        backend: its name, `onnx` or `torch`.
        device: where it runs, for people.
        chunk_size: reviews taken from the input at a time by `predict_many`.
    """

    backend: str
    device: str
    chunk_size: int

    def __init__(self, manifest: Manifest, tokenizer: ReviewTokenizer) -> None:
        self.manifest = manifest
        self.tokenizer = tokenizer

    @abstractmethod
    def logits(self, encodings: Sequence[Encoding]) -> np.ndarray:
        """Run the model on n reviews; (n, 2) float32, row i for encoding i, columns in `Label` order."""

    def predict(self, text: str) -> Prediction:
        """Classify one review.

        Raises:
            EmptyReviewError: there is nothing to read.
        """
        return next(self.predict_many([text]))

    def predict_many(self, texts: Iterable[str]) -> Iterator[Prediction]:
        """Classify reviews lazily: one prediction a text, in order, holding `chunk_size` texts at most.

        Raises:
            EmptyReviewError: when the chunk with an empty text is reached.
        """
        for chunk in _batched(texts, self.chunk_size):
            encodings = self.tokenizer.encode(chunk)
            for encoding, row in zip(encodings, self.logits(encodings), strict=True):
                yield self._prediction(encoding, row)

    def _prediction(self, encoding: Encoding, logits: np.ndarray) -> Prediction:
        scaled = logits.astype(np.float64) / self.manifest.temperature  # (2,)
        exponentials = np.exp(scaled - scaled.max())
        probabilities = exponentials / exponentials.sum()
        label = Label(int(probabilities.argmax()))
        return Prediction(
            label=label,
            score=float(probabilities[label]),
            probabilities={each: float(probabilities[each]) for each in Label},
            tokens=encoding.tokens,
            tokens_read=len(encoding.input_ids),
        )


def _batched(texts: Iterable[str], size: int) -> Iterator[list[str]]:
    iterator = iter(texts)
    while chunk := list(islice(iterator, size)):
        yield chunk
