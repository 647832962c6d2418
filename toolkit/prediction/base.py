"""What every backend shares: text in, calibrated predictions out, in order and in bounded memory."""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass
from itertools import count, islice
from threading import Event
from typing import TYPE_CHECKING, Any, NoReturn, Self, cast

import numpy as np

from toolkit.choices import Truncation, check_choice
from toolkit.errors import BundleError
from toolkit.formats.limits import shown
from toolkit.models.bundle import Manifest, check_max_length
from toolkit.prediction.abstention import Abstention, display
from toolkit.text.labels import Label
from toolkit.text.tokenisation import Encoding, ReviewTokenizer, count_read
from toolkit.text.truncation import combine


@dataclass(frozen=True, slots=True)
class InferenceOptions:
    """How a predictor reads and runs; what is None is the model's or the machine's own.

    Attributes:
        max_length: The number of tokens of a review that the model reads at a time, [CLS] and [SEP] included.
        truncation: What is read of a longer review: `head`, its first tokens; `head-tail`, as many from its beginning
            as from its end; `window`, everything, in windows that overlap.
        workers: The number of reviews that the ONNX backend runs at the same time, each on one core; every core of this
            process by default.

    Raises:
        ValueError: An option is none that any model could follow.
    """

    max_length: int | None = None
    truncation: Truncation | None = None
    workers: int | None = None

    def __post_init__(self) -> None:
        """Refuse what no model could follow."""
        if self.truncation is not None:
            check_choice("truncation", self.truncation, Truncation)
        if self.workers is not None and self.workers < 1:
            raise ValueError(f"workers must be 1 or more, not {self.workers}")


@dataclass(frozen=True, slots=True)
class Prediction:
    """The verdict on one review.

    Attributes:
        label: The most probable label.
        score: The calibrated probability of `label`, of two labels 0.5 to 1.
        probabilities: The probabilities of all labels by name, summing to 1.
        tokens: The number of tokens in the whole review, [CLS] and [SEP] included; a lower bound for a review over
            `toolkit.text.normalisation.TEXT_LIMIT` characters, of which no more are counted.
        tokens_read: The number of tokens the model saw, counted alike, those in two windows once; fewer than `tokens`
            means that some were left out.
        logits: The logits of all labels as the model gave them, in their order; the temperature is not in them.
        verdict: The label's name, or `uncertain` where the score is below the predictor's threshold.
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
    window: tuple[int, int] | None = None

    def to_dict(self) -> dict[str, Any]:
        """The prediction as JSON has it, labels by name."""
        return {
            "label": self.label.name,
            "score": self.score,
            "probabilities": self.probabilities,
            "tokens": self.tokens,
            "tokens_read": self.tokens_read,
            **({"window": list(self.window)} if self.window else {}),
        }

    def display(self, language: str) -> str:
        """The verdict for a reader of `language` (`en` or `zh`)."""
        return display(self.label, self.verdict, language)


@dataclass(frozen=True, slots=True)
class RawOutput:
    """What a model says of one review, all windows together.

    Attributes:
        logits: The logits, (k,) float32 in the labels' order; divided by the manifest's temperature they are calibrated.
        encodings: The windows that were read.
        window: The window that decided, see `Prediction`.
    """

    logits: np.ndarray
    encodings: tuple[Encoding, ...]
    window: tuple[int, int] | None = None

    @property
    def tokens_read(self) -> int:
        """The number of tokens of the review that were read, see `count_read`."""
        return count_read(self.encodings)


class Predictor(ABC):
    """A model that reads reviews; a backend implements `logits` and nothing else.

    Nothing about it changes once it is loaded; `with_options` gives another view of the same model. It is a context
    manager: `with load_predictor() as predictor:` frees the model's threads and sessions at the end.

    Attributes:
        backend: The backend's name, `onnx` or `torch`.
        device: The device it runs on, in words.
        chunk_size: The number of reviews that `predict_many` takes from its input at a time.
        manifest: What the model's folder says of the model.
        labels: The labels it tells apart, k of them.
        tokenizer: The tokenizer, which has the length and the truncation.
        threshold: The score below which a verdict is `uncertain`.
        positions: The number of tokens the model can read at most.

    Args:
        manifest: What the model's folder says of the model.
        tokenizer: The model's tokenizer, with the length and the truncation that are wanted.
        abstention: Which verdicts are withheld; by default those that the model withholds.
        positions: The number of tokens the model can read at most; DistilBERT's 512 by default.
    """

    backend: str
    device: str
    chunk_size: int

    def __init__(
        self,
        manifest: Manifest,
        tokenizer: ReviewTokenizer,
        *,
        abstention: Abstention | None = None,
        positions: int = 512,
    ) -> None:
        self.manifest = manifest
        self.labels = manifest.label_set
        self.tokenizer = tokenizer
        self.threshold = (abstention or Abstention()).threshold(manifest)
        self.positions = positions
        self._closed = Event()  # shared by every view of the model

    @abstractmethod
    def logits(self, encodings: Sequence[Encoding]) -> np.ndarray:
        """Run the model on n windows; (n, k) float32, row i for encoding i, a column a label."""

    def predict(self, text: str) -> Prediction:
        """Classify one review.

        Raises:
            EmptyReviewError: There is nothing to read.
            TypeError: The review is not a string.
        """
        if not isinstance(text, str):
            raise TypeError(
                f"predict takes one review as a str, found {type(text).__name__}; predict_many takes several, "
                "and in scikit-learn toolkit.sklearn.TextClassifier does"
            )
        return next(self.predict_many([text]))

    def predict_many(self, texts: Iterable[str]) -> Iterator[Prediction]:
        """Classify reviews lazily: one prediction for each text, in order, holding `chunk_size` texts at most.

        Raises:
            EmptyReviewError: When the chunk with an empty text is reached.
            TypeError: The texts are a single string, a table of more columns than one, or something else without an order;
                later, one of them is not a string.
        """
        texts = _reviews(texts)
        self._check_open()
        return self._predict_lazily(texts)

    def raw_outputs(self, reviews: Sequence[Sequence[Encoding]]) -> list[RawOutput]:
        """Run n reviews, given as `ReviewTokenizer.encode_windows` cut them."""
        self._check_open()
        logits = iter(self.logits([encoding for encodings in reviews for encoding in encodings]))
        return [_combined(encodings, list(islice(logits, len(encodings)))) for encodings in reviews]

    def with_options(
        self,
        *,
        max_length: int | None = None,
        truncation: Truncation | None = None,
        abstention: Abstention | None = None,
    ) -> Self:
        """The same loaded model, read otherwise; what is not given stays as it is.

        A view is cheap: it shares weights, threads and vocabulary with this predictor, and is closed with it.

        Args:
            max_length: See `InferenceOptions`.
            truncation: See `InferenceOptions`.
            abstention: Which verdicts are withheld.

        Raises:
            BundleError: The model has no positions for so many tokens.
        """
        view = object.__new__(type(self))
        view.__dict__.update(self.__dict__)
        if max_length is not None:
            check_max_length(max_length, self.positions)
        view.tokenizer = self.tokenizer.with_options(max_length, truncation)
        if abstention is not None:
            view.threshold = abstention.threshold(self.manifest)
        return view

    def close(self) -> None:
        """Free the model's threads and sessions, also for its views; calling it again does nothing."""
        if not self._closed.is_set():
            self._closed.set()
            self._release()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def __reduce__(self) -> NoReturn:
        raise TypeError(
            "a predictor holds threads and sessions, which can be neither pickled nor copied; load one in each process "
            "with load_predictor, share a view from with_options, or use toolkit.sklearn.TextClassifier, which can"
        )

    def _release(self) -> None:
        """Free what the backend holds beyond memory: nothing, where it does not say otherwise."""
        return

    def _check_open(self) -> None:
        if self._closed.is_set():
            raise RuntimeError("this predictor is closed; load another one with load_predictor")

    def _predict_lazily(self, texts: Iterable[str]) -> Iterator[Prediction]:
        for chunk in _batched(texts, self.chunk_size):
            yield from map(self._prediction, self.raw_outputs(self.tokenizer.encode_windows(chunk)))

    def _prediction(self, output: RawOutput) -> Prediction:
        if not np.isfinite(output.logits).all():
            raise BundleError(
                "the model answers with no number (NaN or infinity); its weights are damaged, take another"
            )
        scaled = output.logits.astype(np.float64) / self.manifest.temperature  # (k,)
        exponentials = np.exp(scaled - scaled.max())
        probabilities = exponentials / exponentials.sum()
        label = self.labels[int(probabilities.argmax())]
        score = float(probabilities[label.index])
        return Prediction(
            label=label,
            score=score,
            probabilities={each.name: float(probabilities[each.index]) for each in self.labels},
            tokens=output.encodings[0].tokens,
            tokens_read=output.tokens_read,
            logits=tuple(map(float, output.logits)),
            verdict=self.threshold.verdict(label, score),
            window=output.window,
        )

    if not TYPE_CHECKING:  # a type checker says of its own accord that these are not there

        def __getattr__(self, name: str) -> NoReturn:
            """Say where the methods went that made a predictor a scikit-learn classifier."""
            if name in _MOVED:
                raise AttributeError(
                    f"a predictor has no {name}; scikit-learn's classifier is toolkit.sklearn.TextClassifier"
                )
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")


_MOVED = {"fit", "score", "predict_proba", "predict_labels", "classes_", "get_params", "set_params"}


def _combined(encodings: Sequence[Encoding], logits: Sequence[np.ndarray]) -> RawOutput:
    """One output from those for all windows of a review, (k,) each: what the labels have over the first is averaged."""
    if len(encodings) == 1:
        return RawOutput(logits[0], tuple(encodings))
    stacked = np.stack(logits).astype(np.float64)  # (windows, k)
    over_first = stacked - stacked[:, :1]
    lengths = [len(encoding.input_ids) for encoding in encodings]
    averages = np.array([combine(column, lengths) for column in over_first.T.tolist()])
    label = int(averages.argmax())
    support = over_first[:, label] - np.delete(over_first, label, axis=1).max(axis=1)  # over the next likeliest label
    decisive = max(range(len(encodings)), key=lambda index: support[index] * lengths[index])
    logits_of_all = (averages - averages.mean()).astype(np.float32)
    return RawOutput(logits_of_all, tuple(encodings), encodings[decisive].spans[0])


def _reviews(texts: Any) -> Iterable[str]:  # noqa: ANN401 - whatever a caller has
    """An iterable of reviews, and nothing that yields letters, keys or rows; of a table its only column.

    Raises:
        TypeError: It is something else.
    """
    columns = list(texts.columns) if hasattr(texts, "columns") else None
    if columns is not None and len(columns) == 1 and isinstance(columns[0], str):
        return cast("Iterable[str]", texts[columns[0]])
    no_reviews = isinstance(texts, (str, bytes, bytearray, memoryview, Mapping, Set)) or columns is not None
    if no_reviews or not isinstance(texts, Iterable) or getattr(texts, "ndim", 1) != 1:
        raise TypeError(
            f"predict_many takes an iterable of reviews, found {type(texts).__name__}; predict takes a single one"
        )
    return texts


def _batched(texts: Iterable[str], size: int) -> Iterator[list[str]]:
    iterator = iter(texts)
    first = 0
    while chunk := list(islice(iterator, size)):
        for position, text in zip(count(first), chunk, strict=False):
            if not isinstance(text, str):
                raise TypeError(
                    f"expected each review as a str, found {type(text).__name__} at position {position}: {shown(text)}"
                )
        yield chunk
        first += len(chunk)
