"""What every backend shares: text in, calibrated predictions out, in order and in bounded memory."""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import replace
from itertools import count, islice
from threading import Event
from typing import TYPE_CHECKING, Any, NoReturn, Self, cast

import numpy as np

from toolkit.choices import ReadBy, Readers, Truncation, check_choice
from toolkit.errors import BundleError, EmptyReviewError
from toolkit.formats.limits import shown
from toolkit.models.bundle import Manifest, check_max_length
from toolkit.prediction.abstention import Abstention, Threshold
from toolkit.prediction.answers import InferenceOptions, Prediction, RawOutput
from toolkit.prediction.combination import NgramReader, lengths
from toolkit.prediction.explanation import Explanation, explain
from toolkit.prediction.origin import Origin, load_again
from toolkit.text.labels import UNCERTAIN
from toolkit.text.tokenisation import Encoding, ReviewTokenizer, has_tokens

SKIPPED = 4  # of so many reviews all but one need no transformer, as a rule


class Predictor(ABC):
    """A model that reads reviews; a backend implements `logits` and nothing else.

    Nothing about it changes once it is loaded; `with_options` gives another view of the same model. It is a context
    manager: `with load_predictor() as predictor:` frees the model's threads and sessions at the end. Any thread may use
    it. So may a process that was forked from this one; another gets it pickled, as the place that it was loaded from.

    Attributes:
        backend: The backend's name, `onnx` or `torch`.
        device: The device it runs on, in words.
        chunk_size: The number of reviews that `predict_many` takes from its input at a time.
        ngrams: The n-grams' reader that stands beside the model; None where there is none.
        readers: Who reads a review, see `InferenceOptions`; `model` where there is no n-grams' reader.
        manifest: What the model's folder says of the model.
        labels: The labels it tells apart, k of them.
        tokenizer: The tokenizer, which has the length and the truncation.
        threshold: When a verdict is `uncertain`.
        positions: The number of tokens the model can read at most.
        origin: Where it was loaded from; None where it was made otherwise.

    Args:
        manifest: What the model's folder says of the model.
        tokenizer: The model's tokenizer, with the length and the truncation that are wanted.
        abstention: Which verdicts are withheld; by default those that the model withholds.
        positions: The number of tokens the model can read at most; DistilBERT's 512 by default.
        ngrams: The n-grams' reader that stands beside the model.
        readers: Who reads a review.
    """

    backend: str
    device: str
    chunk_size: int
    origin: Origin | None = None

    def __init__(
        self,
        manifest: Manifest,
        tokenizer: ReviewTokenizer,
        *,
        abstention: Abstention | None = None,
        positions: int = 512,
        ngrams: NgramReader | None = None,
        readers: Readers = "auto",
    ) -> None:
        self.manifest = manifest
        self.labels = manifest.label_set
        self.tokenizer = tokenizer
        self.ngrams = ngrams
        self.readers: Readers = readers if ngrams else "model"
        self.threshold = self._threshold(abstention)
        self.positions = positions
        self._closed = Event()  # shared by every view of the model

    @abstractmethod
    def logits(self, encodings: Sequence[Encoding]) -> np.ndarray:
        """Run the model on n windows; (n, k) float32, row i for encoding i, a column a label."""

    def prepare(self) -> None:
        """Open now, and verify, what is opened when it is first needed.

        Raises:
            BundleError: It is damaged or cannot be used.
        """
        return

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
        return map(_readable, self.predict_each(texts))

    def predict_each(self, texts: Iterable[str]) -> Iterator[Prediction | None]:
        """Classify reviews as `predict_many` does; None for a text in which there is nothing to read.

        Raises:
            TypeError: The texts are a single string or a table; later, one of them is not a string.
        """
        texts = _reviews(texts)
        self._check_open()
        return self._predict_lazily(texts)

    def explain(self, text: str) -> Explanation:
        """Why a review gets its answer: what its words, phrases and sentences weigh in it.

        The sentences cost up to 16 readings, see `toolkit.prediction.explanation`.

        Raises:
            EmptyReviewError: There is nothing to read.
            TypeError: The review is not a string.
        """
        return explain(self, text)

    def raw_outputs(self, reviews: Sequence[Sequence[Encoding]]) -> list[RawOutput]:
        """Let the transformer read n reviews, given as `ReviewTokenizer.encode_windows` cut them."""
        self._check_open()
        logits = iter(self.logits([encoding for encodings in reviews for encoding in encodings]))
        return [RawOutput.of_windows(encodings, list(islice(logits, len(encodings)))) for encodings in reviews]

    def with_options(
        self,
        *,
        max_length: int | None = None,
        truncation: Truncation | None = None,
        abstention: Abstention | None = None,
        readers: Readers | None = None,
    ) -> Self:
        """The same loaded model, read otherwise; what is not given stays as it is.

        A view is cheap: it shares weights, threads and vocabulary with this predictor, and is closed with it.

        Args:
            max_length: See `InferenceOptions`.
            truncation: See `InferenceOptions`.
            abstention: Which verdicts are withheld.
            readers: See `InferenceOptions`.

        Raises:
            BundleError: The model has no positions for so many tokens.
        """
        view = object.__new__(type(self))
        view.__dict__.update(self.__dict__)
        if max_length is not None:
            check_max_length(max_length, self.positions)
        view.tokenizer = self.tokenizer.with_options(max_length, truncation)
        if abstention is not None:
            view.threshold = self._threshold(abstention)
        if readers is not None:
            check_choice("readers", readers, Readers)
            view.readers = readers if self.ngrams else "model"
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

    def __reduce__(self) -> tuple[Any, ...]:
        self._check_open()
        if self.origin is None:
            raise TypeError(
                "this predictor was made of parts that can be neither pickled nor copied; load one with load_predictor"
            )
        options = InferenceOptions(
            self.tokenizer.max_length,
            self.tokenizer.truncation,
            self.origin.workers,
            self.origin.precision,
            self.readers,
        )
        return load_again, (self.origin, options, self.manifest, self.threshold)

    def _release(self) -> None:
        """Free what the backend holds beyond memory: nothing, where it does not say otherwise."""
        return

    def _check_open(self) -> None:
        if self._closed.is_set():
            raise RuntimeError("this predictor is closed; load another one with load_predictor")

    def _threshold(self, abstention: Abstention | None) -> Threshold:
        unfamiliar = self.ngrams.rule.unfamiliar_below if self.ngrams else 0.0
        return (abstention or Abstention()).threshold(self.manifest, unfamiliar)

    def _predict_lazily(self, texts: Iterable[str]) -> Iterator[Prediction | None]:
        for chunk in _batched(texts, self.chunk_size):
            sequences = self.tokenizer.encode_whole(chunk)
            predictions = iter(self._answers([ids for ids in sequences if has_tokens(ids)]))
            for text, ids in zip(chunk, sequences, strict=True):
                yield self._verdict(next(predictions), text) if has_tokens(ids) else None

    def _verdict(self, prediction: Prediction, text: str) -> Prediction:
        """A prediction, whose verdict is its label, with the verdict that is given."""
        reason = self.threshold.reason(prediction.score, prediction.familiarity, text)
        return replace(prediction, verdict=UNCERTAIN, reason=reason) if reason else prediction

    def _answers(self, sequences: Sequence[np.ndarray]) -> list[Prediction]:
        """The answers to n texts, given as `ReviewTokenizer.encode_whole` gives them: the n-grams' first."""
        if not sequences:
            return []
        if self.ngrams is None:
            read = self.raw_outputs([self.tokenizer.windows(ids) for ids in sequences])
            return [self._of_transformer(output) for output in read]
        scores, tokens = self.ngrams.table.score(sequences), lengths(sequences)
        alone = self.ngrams.rule.alone(scores, tokens)
        asked = (~self.ngrams.rule.suffices(scores, tokens) | (self.readers != "auto")).nonzero()[0].tolist()
        outputs = dict(zip(asked, self.raw_outputs([self.tokenizer.windows(sequences[n]) for n in asked]), strict=True))
        answers = []
        for n, familiarity in enumerate(scores.familiarity.tolist()):
            output = outputs.get(n)
            if output is None:
                answers.append(self._prediction(alone[n], len(sequences[n]), len(sequences[n]), "ngrams", familiarity))
            elif self.readers == "model":
                answers.append(self._of_transformer(output, familiarity))
            else:
                both = self.ngrams.rule.together(scores.of([n]), tokens[[n]], output.logits[np.newaxis])[0]
                answers.append(
                    self._prediction(
                        both, len(sequences[n]), len(sequences[n]), "both", familiarity, window=output.window
                    )
                )
        return answers

    def _of_transformer(self, output: RawOutput, familiarity: float | None = None) -> Prediction:
        return self._prediction(
            output.logits, output.encodings[0].tokens, output.tokens_read, "model", familiarity,
            self.manifest.temperature, output.window,
        )  # fmt: skip

    def _prediction(
        self,
        logits: np.ndarray,
        tokens: int,
        tokens_read: int,
        read_by: ReadBy,
        familiarity: float | None,
        temperature: float = 1.0,
        window: tuple[int, int] | None = None,
    ) -> Prediction:
        if not np.isfinite(logits).all():
            raise BundleError(
                "the model answers with no number (NaN or infinity); its weights are damaged, take another"
            )
        scaled = logits.astype(np.float64) / temperature  # (k,)
        exponentials = np.exp(scaled - scaled.max())
        probabilities = exponentials / exponentials.sum()
        label = self.labels[int(probabilities.argmax())]
        return Prediction(
            label=label,
            score=float(probabilities[label.index]),
            probabilities={each.name: float(probabilities[each.index]) for each in self.labels},
            tokens=tokens,
            tokens_read=tokens_read,
            logits=tuple(map(float, logits)),
            verdict=label.name,
            read_by=read_by,
            familiarity=familiarity,
            window=window,
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


def _readable(prediction: Prediction | None) -> Prediction:
    if prediction is None:
        raise EmptyReviewError
    return prediction


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
