"""A predictor as scikit-learn knows classifiers: its searches, pipelines, ensembles, metrics and displays take one."""

from collections.abc import Mapping, Set
from pathlib import Path
from typing import Any, Self

import numpy as np

from toolkit.choices import Backend, Truncation
from toolkit.errors import EmptyReviewError, needs_extra
from toolkit.prediction import InferenceOptions, Predictor, load_predictor
from toolkit.text.labels import SENTIMENT, Label, LabelSet
from toolkit.text.normalisation import normalise

with needs_extra("evaluate", "toolkit.sklearn"):
    from sklearn.base import BaseEstimator, ClassifierMixin
    from sklearn.metrics import accuracy_score
    from sklearn.utils import check_array, check_consistent_length, column_or_1d
    from sklearn.utils.validation import check_is_fitted

_EXPECTED = "expected one text for each review: a list, a one-dimensional array, a Series or a table of one column"


class TextClassifier(ClassifierMixin, BaseEstimator):
    """Texts as scikit-learn's users classify them.

    The model comes trained, by `toolkit train`: `fit` loads it, looks at the labels' spelling and learns nothing else.

    Args:
        backend: See `toolkit.load_predictor`.
        onnx_model: See `toolkit.load_predictor`.
        adapter: See `toolkit.load_predictor`.
        base_model: See `toolkit.load_predictor`.
        max_length: See `toolkit.prediction.InferenceOptions`.
        truncation: See `toolkit.prediction.InferenceOptions`.
        workers: See `toolkit.prediction.InferenceOptions`.

    Attributes:
        classes_: The model's labels in its order, as `fit` saw them spelled; where it saw none, the data set's own values:
            numbers, names, or of the sentiment pair 0 and 1.
    """

    def __init__(
        self,
        backend: Backend = "auto",
        *,
        onnx_model: Path | str | None = None,
        adapter: Path | str | None = None,
        base_model: str | None = None,
        max_length: int | None = None,
        truncation: Truncation | None = None,
        workers: int | None = None,
    ) -> None:
        self.backend = backend
        self.onnx_model = onnx_model
        self.adapter = adapter
        self.base_model = base_model
        self.max_length = max_length
        self.truncation = truncation
        self.workers = workers

    def fit(self, X: Any = None, y: Any = None) -> Self:  # noqa: ANN401 - scikit-learn's own names
        """Load the model.

        Args:
            X: Reviews, which are checked and not learnt from.
            y: Their labels, of the sentiment pair as 0 and 1, neg and pos, or negative and positive; `predict` answers in their
                spelling.

        Raises:
            TypeError: X is no collection of texts, or holds something else.
            ValueError: X has another shape, y another length or other labels.
            ToolkitError: The model cannot be loaded.
        """
        if X is not None:
            texts = _texts(X)
            if y is not None:
                check_consistent_length(texts, y)
        self._predictor = self._load()
        labels = self._predictor.labels
        self.classes_ = np.array(labels.values) if y is None else _spellings(y, labels)
        return self

    def predict(self, X: Any) -> np.ndarray:  # noqa: ANN401
        """The labels of n reviews, (n,), whatever the model's threshold leaves undecided."""
        found = self._probabilities(X).argmax(axis=1)
        return np.asarray(self.classes_[found])

    def predict_proba(self, X: Any) -> np.ndarray:  # noqa: ANN401
        """The calibrated probabilities of n reviews, (n, k) float64, columns in the order of `classes_`."""
        return self._probabilities(X)

    def score(self, X: Any, y: Any, sample_weight: Any = None) -> float:  # noqa: ANN401
        """The accuracy on labelled reviews, in whichever of the known spellings the labels are."""
        found = self._probabilities(X).argmax(axis=1)
        check_consistent_length(found, y)
        return float(accuracy_score(_parse(y, self._predictor.labels), found, sample_weight=sample_weight))

    def __getstate__(self) -> dict[str, Any]:
        """The parameters and the labels; the model is loaded again where they arrive."""
        state: dict[str, Any] = super().__getstate__()
        return {name: value for name, value in state.items() if name != "_predictor"}

    def __sklearn_tags__(self) -> Any:  # noqa: ANN401 - scikit-learn's Tags
        """Classes that are known beforehand, from texts."""
        tags = super().__sklearn_tags__()
        tags.target_tags.required = False
        tags.classifier_tags.multi_class = len(self._predictor.labels) > 2 if hasattr(self, "_predictor") else False
        tags.input_tags.string = tags.input_tags.one_d_array = True
        return tags

    def _load(self) -> Predictor:
        return load_predictor(
            self.backend,
            onnx_model=self.onnx_model,
            adapter=self.adapter,
            base_model=self.base_model,
            options=InferenceOptions(self.max_length, self.truncation, self.workers),
        )

    def _probabilities(self, X: Any) -> np.ndarray:  # noqa: ANN401
        check_is_fitted(self, "classes_")
        texts = _texts(X)
        if not hasattr(self, "_predictor"):  # it was pickled since
            self._predictor = self._load()
        try:
            predictions = list(self._predictor.predict_many(texts))
        except EmptyReviewError as error:
            row = next(row for row, text in enumerate(texts) if not normalise(text))
            raise ValueError(f"row {row}: {error}") from error
        rows = [list(prediction.probabilities.values()) for prediction in predictions]
        return np.array(rows, np.float64).reshape(-1, len(self._predictor.labels))


def _texts(X: Any) -> list[str]:  # noqa: ANN401
    """The reviews of whatever scikit-learn's users have them in.

    Raises:
        TypeError: It is no collection, or a row of it is no text.
        ValueError: It has more dimensions or columns than one.
    """
    is_array = hasattr(X, "__len__") or hasattr(X, "__array__")
    if isinstance(X, (str, bytes, bytearray, memoryview, Mapping, Set)) or not is_array:
        raise TypeError(f"{_EXPECTED}; found {type(X).__name__}")
    names = f" ({', '.join(map(str, X.columns)) or 'no column'})" if hasattr(X, "columns") else ""
    if names and len(X.columns) != 1:
        raise ValueError(f"{_EXPECTED}; found the shape {(len(X), len(X.columns))}{names}")
    if np.ma.isMaskedArray(X):
        X = X.tolist()  # with None for what is masked
    array = check_array(X, dtype=object, ensure_2d=False, allow_nd=True, ensure_all_finite=False, ensure_min_samples=0)
    if array.ndim != 1 and not (array.ndim == 2 and array.shape[1] == 1):
        raise ValueError(f"{_EXPECTED}; found the shape {array.shape}")
    texts: list[Any] = array.ravel().tolist()
    for row, text in enumerate(texts):
        if not isinstance(text, str):
            raise TypeError(f"row {row}: expected a text, found {text!r}")
    return texts


def _parse(y: Any, labels: LabelSet) -> np.ndarray:  # noqa: ANN401
    """Labels in any known spelling as (n,) int64.

    Raises:
        ValueError: A label is none of them.
    """
    values = _cells(y)
    found = [labels.parse(value) for value in values]
    for row, (label, value) in enumerate(zip(found, values, strict=True)):
        if label is None:
            expected = "0 or 1, neg or pos, negative or positive" if labels == SENTIMENT else labels.expected
            continuous = isinstance(value, float) and not value.is_integer() and value == value  # NaN is not itself
            kind = ", as of a continuous target" if continuous else ""
            raise ValueError(f"row {row}: expected a label {expected}, found {value!r}{kind}")
    return np.array([int(label) for label in found if label is not None], np.int64)


def _cells(y: Any) -> list[Any]:  # noqa: ANN401
    """The labels one by one, those of predictions by name."""
    values = column_or_1d(y, warn=True).tolist()
    return [value.name if isinstance(value, Label) else value for value in values]


def _spellings(y: Any, labels: LabelSet) -> np.ndarray:  # noqa: ANN401
    """How the labels are spelled in y; as the data set has them, or by name, where one is missing or has several."""
    found, values = _parse(y, labels), np.array(_cells(y))
    spellings = [np.unique(values[found == label.index]) for label in labels]
    if all(len(each) == 1 for each in spellings):
        return np.concatenate(spellings)
    if any(isinstance(value, str) for value in values.tolist()):
        return np.array(labels.names)
    return np.array(labels.values)
