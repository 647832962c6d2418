"""What a predictor is to another process: the place that it was loaded from."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from toolkit.choices import Precision
from toolkit.errors import BundleError
from toolkit.models.bundle import Manifest
from toolkit.prediction.abstention import Threshold
from toolkit.prediction.answers import InferenceOptions


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a predictor was loaded from, by which another process gets the same one.

    Attributes:
        load: Loads a `Predictor`, given a folder and options.
        folder: The folder, as an absolute path.
        workers: See `InferenceOptions`.
        precision: See `InferenceOptions`.
    """

    load: Callable[[Path, InferenceOptions], Any]
    folder: Path
    workers: int | None = None
    precision: Precision | None = None


def load_again(origin: Origin, options: InferenceOptions, manifest: Manifest, threshold: Threshold) -> Any:  # noqa: ANN401 - a Predictor, which stands on this
    """What was pickled, from the folder that it was loaded from; verified again.

    Raises:
        BundleError: The folder is gone or damaged, or holds another model now.
    """
    predictor = origin.load(origin.folder, options)
    if predictor.manifest != manifest:
        raise BundleError(
            f"{origin.folder} holds another model than the predictor that was pickled had; load it with load_predictor"
        )
    predictor.threshold = threshold
    return predictor
