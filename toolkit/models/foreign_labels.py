"""The labels of a model that was not trained by this toolkit, as transformers' configuration names them."""

from collections.abc import Sequence
from pathlib import Path

from toolkit.errors import BundleError
from toolkit.text.labels import SENTIMENT, LabelSet


def read_foreign_labels(path: Path, id2label: object) -> LabelSet:
    """The labels that a configuration names; two without names of their own, or with the pair's, are the original pair.

    Args:
        path: The configuration, for the error.
        id2label: What stands there under that name.

    Raises:
        BundleError: They are garbled.
    """
    if isinstance(id2label, dict) and id2label.keys() == {str(index) for index in range(len(id2label))}:
        names = tuple(id2label[str(index)] for index in range(len(id2label)))
        if not names or _folded(names) == ["label_0", "label_1"] or _is_pair(names):
            return SENTIMENT
        try:
            return LabelSet.of_model(names)
        except ValueError as error:
            raise BundleError(f"{path} garbles the labels: {error}") from error
    raise BundleError(f"{path} names the labels {id2label}, expected a name for each of 0, 1, and so on")


def _folded(names: Sequence[object]) -> list[str]:
    return [str(name).lower() for name in names]


def _is_pair(names: Sequence[object]) -> bool:
    """Whether they are the original pair in one of its spellings, as `neg` and `Positive`; a number is no name."""
    words = [name if isinstance(name, str) and not name.strip().isdigit() else None for name in names]
    return list(map(SENTIMENT.parse, words)) == list(SENTIMENT)
