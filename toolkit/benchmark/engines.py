"""What is compared: one interface, and this toolkit's own ways of classifying."""

import sys
from abc import ABC, abstractmethod
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from toolkit.choices import Readers
from toolkit.prediction import InferenceOptions, Predictor

if TYPE_CHECKING:
    from toolkit.benchmark.models import Models


class Engine(ABC):
    """One way of classifying reviews, set up as its makers would have it on a CPU.

    Attributes:
        name: on the command line and in the report.
        extra: the toolkit's extra that installs it.
        packages: what it imports beyond the toolkit's own dependencies.
        batch_sizes: those tried; the fastest is kept in `batch_size`.
        batch_size: reviews padded to one length and run together.

    Args:
        folder: what `prepare` made.
        max_length: tokens read of a review.
    """

    name: ClassVar[str]
    extra: ClassVar[str] = "train"
    packages: ClassVar[tuple[str, ...]] = ()
    batch_sizes: ClassVar[tuple[int, ...]] = (1,)
    batch_size: int

    @abstractmethod
    def __init__(self, folder: Path, max_length: int) -> None: ...

    @classmethod
    @abstractmethod
    def prepare(cls, models: "Models") -> Path:
        """Convert the model, once; returns the folder that is opened."""

    @abstractmethod
    def classify(self, texts: Sequence[str]) -> np.ndarray:
        """The labels (n,) of n reviews, int64, from text to answer."""

    def classify_one(self, text: str) -> None:
        """Classify a review that is asked for alone."""
        self.classify([text])

    def settings(self) -> str:
        """What was chosen, for people."""
        return f"batches of {self.batch_size}, sorted by length"

    @classmethod
    @abstractmethod
    def start(cls, folder: Path, max_length: int, text: str) -> list[str]:
        """A command that loads the engine, classifies one review and ends."""

    @classmethod
    def missing(cls) -> list[str]:
        """The packages that are not installed."""
        return [package for package in cls.packages if find_spec(package) is None]


class OwnEngine(Engine):
    """A predictor of this toolkit; it starts as `toolkit predict` does.

    Attributes:
        readers: Who reads, see `InferenceOptions`.
        predictor: What classifies.
        asked: The share of the tokens read by a transformer of those that it would read alone, when it last classified.
    """

    readers: ClassVar[Readers] = "model"
    predictor: Predictor
    asked: float = 1.0

    def classify(self, texts: Sequence[str]) -> np.ndarray:
        """See `Engine.classify`."""
        predictions = list(self.predictor.predict_many(texts))
        tokens = np.minimum([each.tokens for each in predictions], self.predictor.tokenizer.max_length)
        self.asked = float(tokens[[each.read_by != "ngrams" for each in predictions]].sum() / max(1, tokens.sum()))
        return np.array([int(prediction.label) for prediction in predictions])

    @classmethod
    def _predict(cls, backend: str, option: str, folder: Path, max_length: int, text: str) -> list[str]:
        return [
            sys.executable, "-m", "toolkit", "-q", "predict", "--backend", backend, option, str(folder),
            "--max-length", str(max_length), "--truncation", "head", "--readers", cls.readers, text,
        ]  # fmt: skip

    @classmethod
    def _options(cls, max_length: int) -> InferenceOptions:
        """As the peers do, which all read the first tokens of a review."""
        return InferenceOptions(max_length, truncation="head", readers=cls.readers)


class Onnx(OwnEngine):
    """The ONNX bundle as it is: int8 where it was exported so, n-grams first where it has them."""

    name = "onnx"
    readers: ClassVar[Readers] = "auto"

    def __init__(self, folder: Path, max_length: int) -> None:
        from toolkit.prediction.onnx_backend import OnnxPredictor

        self.predictor: OnnxPredictor = OnnxPredictor.load(folder, self._options(max_length))

    @classmethod
    def prepare(cls, models: "Models") -> Path:
        """See `Engine.prepare`."""
        return models.bundle

    def settings(self) -> str:
        """See `Engine.settings`."""
        return f"unpadded, {self.predictor.workers} workers"

    @classmethod
    def start(cls, folder: Path, max_length: int, text: str) -> list[str]:
        """See `Engine.start`."""
        return cls._predict("onnx", "--onnx-model", folder, max_length, text)


class OnnxBoth(Onnx):
    """The same bundle, n-grams and transformer on every review."""

    name = "onnx-both"
    readers: ClassVar[Readers] = "both"


class OnnxModel(Onnx):
    """The same bundle, the transformer alone."""

    name = "onnx-model"
    readers: ClassVar[Readers] = "model"


class OnnxFloat(OnnxModel):
    """The same model exported without quantisation, the transformer alone."""

    name = "onnx-fp32"
    packages = ("torch", "optimum")

    @classmethod
    def prepare(cls, models: "Models") -> Path:
        """See `Engine.prepare`."""
        return models.float_bundle


class Torch(OwnEngine):
    """The adapter merged into its base, without n-grams; the reference that labels are compared with."""

    name = "torch"
    packages = ("torch", "transformers", "peft")

    def __init__(self, folder: Path, max_length: int) -> None:
        from toolkit.prediction.torch_backend import TorchPredictor

        self.predictor: TorchPredictor = TorchPredictor.load(folder, self._options(max_length))
        self.batch_size = self.predictor.batch_size

    @classmethod
    def prepare(cls, models: "Models") -> Path:
        """See `Engine.prepare`."""
        return models.adapter

    @classmethod
    def start(cls, folder: Path, max_length: int, text: str) -> list[str]:
        """See `Engine.start`."""
        return cls._predict("torch", "--adapter", folder, max_length, text)


OWN: tuple[type[Engine], ...] = (Onnx, OnnxBoth, OnnxModel, OnnxFloat, Torch)
