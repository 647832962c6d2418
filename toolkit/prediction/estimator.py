"""A predictor as scikit-learn knows classifiers, so that its metrics, displays, pipelines and ensembles take one as it is."""

from abc import abstractmethod
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from toolkit.text.labels import Label

if TYPE_CHECKING:
    from toolkit.prediction.base import Prediction


class TextClassifier:
    """What scikit-learn asks of a classifier that is fitted already; `predict` of a list belongs to it too.

    Attributes:
        classes_: (2,) the labels, 0 negative and 1 positive, in the order of `predict_proba`'s columns.
    """

    _estimator_type = "classifier"
    classes_ = np.array([int(label) for label in Label])

    @abstractmethod
    def predict_many(self, texts: Iterable[str]) -> "Iterator[Prediction]":
        """See `Predictor`."""

    def predict_proba(self, texts: Iterable[str]) -> np.ndarray:
        """Calibrated probabilities of n reviews, (n, 2) float64, columns in `Label` order.

        Raises:
            EmptyReviewError: a text has nothing to read.
        """
        rows = [[prediction.probabilities[label] for label in Label] for prediction in self.predict_many(texts)]
        return np.array(rows, np.float64).reshape(-1, len(Label))

    def predict_labels(self, texts: Iterable[str]) -> np.ndarray:
        """Labels of n reviews, (n,) int64, 0 negative and 1 positive, whatever the policy leaves undecided."""
        return np.array([int(prediction.label) for prediction in self.predict_many(texts)], np.int64)

    def score(self, texts: Iterable[str], labels: Iterable[int]) -> float:
        """Accuracy."""
        return float((self.predict_labels(texts) == np.asarray(list(labels))).mean())

    def fit(self, texts: object = None, labels: object = None) -> Self:
        """Change nothing: the model comes trained, by `toolkit train`."""
        return self

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """Nothing that a search could vary."""
        return {}

    def __sklearn_is_fitted__(self) -> bool:
        """It always is."""
        return True

    def __sklearn_clone__(self) -> Self:
        """Itself: there is nothing to fit anew."""
        return self

    def __sklearn_tags__(self) -> Any:  # noqa: ANN401 - scikit-learn's Tags
        """Two classes, from strings."""
        from sklearn.utils import ClassifierTags, InputTags, Tags, TargetTags

        return Tags(
            estimator_type="classifier",
            target_tags=TargetTags(required=False),
            classifier_tags=ClassifierTags(multi_class=False),
            input_tags=InputTags(string=True, one_d_array=True, two_d_array=False),
            requires_fit=False,
        )
