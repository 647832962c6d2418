"""How a predictor is asked, and what it answers."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np

from toolkit.choices import Precision, ReadBy, Readers, Reason, Truncation, check_choice
from toolkit.prediction.abstention import display
from toolkit.text.labels import Label
from toolkit.text.tokenisation import Encoding, count_read
from toolkit.text.truncation import combine


@dataclass(frozen=True, slots=True)
class InferenceOptions:
    """How a predictor reads and runs; what is None is the model's or the machine's own.

    Attributes:
        max_length: The number of tokens of a review that the transformer reads at a time, [CLS] and [SEP] included.
        truncation: What the transformer reads of a longer review: `head`, its first tokens; `head-tail`, as many from its
            beginning as from its end; `window`, everything, in windows that overlap.
        workers: The number of reviews that the ONNX backend runs at the same time, each on one core; every core of this
            process by default.
        precision: The precision of the torch backend's products, `fp32` by default; `bf16` is for labelling many texts on
            hardware that computes it, and moves a score by some thousandths. The ONNX backend has its graph's own.
        readers: Who reads, of a model with an n-gram table: `auto`, the n-grams, and the transformer beside them where they
            do not suffice; `both`, always the two; `model`, the transformer alone.

    Raises:
        ValueError: An option is none that any model could follow.
    """

    max_length: int | None = None
    truncation: Truncation | None = None
    workers: int | None = None
    precision: Precision | None = None
    readers: Readers = "auto"

    def __post_init__(self) -> None:
        """Refuse what no model could follow."""
        if self.truncation is not None:
            check_choice("truncation", self.truncation, Truncation)
        if self.precision is not None:
            check_choice("precision", self.precision, Precision)
        if self.workers is not None and self.workers < 1:
            raise ValueError(f"workers must be 1 or more, not {self.workers}")
        check_choice("readers", self.readers, Readers)


@dataclass(frozen=True, slots=True)
class Prediction:
    """The verdict on one review.

    Attributes:
        label: The most probable label.
        score: The calibrated probability of `label`, of two labels 0.5 to 1.
        probabilities: The probabilities of all labels by name, summing to 1.
        tokens: The number of tokens in the whole review, [CLS] and [SEP] included; a lower bound for a review over
            `toolkit.text.normalisation.TEXT_LIMIT` characters, of which no more are counted.
        tokens_read: The number of tokens that were read, counted alike, those in two windows once; fewer than `tokens`
            means that some were left out. N-grams leave none out.
        logits: The logits of all labels, in their order: of the transformer alone as it gave them, without the temperature;
            of n-grams, or of both, calibrated.
        verdict: The label's name, or `uncertain` where it is withheld.
        reason: Why it is withheld: `unsure`, for the score is below the predictor's threshold; `unfamiliar`, for the text is
            unlike those that the model has learnt from; `script`, for it is written in another than Latin letters, and
            nothing more is known of it. None where it is not withheld.
        read_by: Who read the review: `ngrams`, `both`, or `model`, the transformer alone.
        familiarity: The share of the review's pairs of neighbouring tokens that the model's n-gram table knows, 0 to 1;
            None where there is no table.
        window: The window that spoke most for `label`, as its first token and the one after its last, [CLS] not
            counted; None where the review was read in one piece.
    """

    label: Label
    score: float
    probabilities: dict[str, float]
    tokens: int
    tokens_read: int
    logits: tuple[float, ...]
    verdict: str
    reason: Reason | None = None
    read_by: ReadBy = "model"
    familiarity: float | None = None
    window: tuple[int, int] | None = None

    def to_dict(self) -> dict[str, Any]:
        """The prediction as JSON has it, labels by name."""
        return {
            "label": self.label.name,
            "score": self.score,
            "probabilities": self.probabilities,
            "tokens": self.tokens,
            "tokens_read": self.tokens_read,
            **self.remarks(),
        }

    def remarks(self) -> dict[str, Any]:
        """What JSON says beside the answer, where there is something to say: readers, familiarity, reason, window."""
        return {
            **({} if self.familiarity is None else {"read_by": self.read_by, "familiarity": self.familiarity}),
            **({"reason": self.reason} if self.reason else {}),
            **({"window": list(self.window)} if self.window else {}),
        }

    def display(self, language: str) -> str:
        """The verdict for a reader of `language` (`en` or `zh`)."""
        return display(self.label, self.verdict, language)


@dataclass(frozen=True, slots=True)
class RawOutput:
    """What the transformer says of one review, all windows together.

    Attributes:
        logits: The logits, (k,) float32 in the labels' order; divided by the manifest's temperature they are calibrated.
        encodings: The windows that were read.
        window: The window that decided, see `Prediction`.
    """

    logits: np.ndarray
    encodings: tuple[Encoding, ...]
    window: tuple[int, int] | None = None

    @classmethod
    def of_windows(cls, encodings: Sequence[Encoding], logits: Sequence[np.ndarray]) -> Self:
        """From the logits of each window, (k,) each: what the labels have over the first is averaged."""
        if len(encodings) == 1:
            return cls(logits[0], tuple(encodings))
        stacked = np.stack(logits).astype(np.float64)  # (windows, k)
        over_first = stacked - stacked[:, :1]
        lengths = [len(encoding.input_ids) for encoding in encodings]
        averages = np.array([combine(column, lengths) for column in over_first.T.tolist()])
        label = int(averages.argmax())
        support = over_first[:, label] - np.delete(over_first, label, axis=1).max(axis=1)  # over the next likeliest
        decisive = max(range(len(encodings)), key=lambda index: support[index] * lengths[index])
        logits_of_all = (averages - averages.mean()).astype(np.float32)
        return cls(logits_of_all, tuple(encodings), encodings[decisive].spans[0])

    @property
    def tokens_read(self) -> int:
        """The number of tokens of the review that were read, see `count_read`."""
        return count_read(self.encodings)
