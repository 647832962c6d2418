"""A small, honest text classifier on your own machine: is this English film review positive or negative?"""

import importlib
import os
from typing import TYPE_CHECKING, Any

if os.name != "posix":
    raise ImportError(
        "this toolkit runs on POSIX systems (Linux, macOS), whose locks and renames it builds on; on Windows use it in WSL"
    )

if TYPE_CHECKING:
    from export.pipeline import ExportOptions, export_model
    from toolkit.datasets.torch_dataset import IMDBDataset
    from toolkit.evaluation.measuring import evaluate
    from toolkit.evaluation.plots import plot_metrics
    from toolkit.prediction import Abstention, InferenceOptions, Prediction, Predictor, load_predictor
    from toolkit.training.run import train

    __version__: str

__all__ = [
    "Abstention",
    "ExportOptions",
    "IMDBDataset",
    "InferenceOptions",
    "Prediction",
    "Predictor",
    "__version__",
    "evaluate",
    "export_model",
    "load_predictor",
    "plot_metrics",
    "train",
]

# The module of each public name; one is imported only when somebody asks for a name in it.
_MODULES = {
    "Abstention": "toolkit.prediction",
    "ExportOptions": "export.pipeline",
    "IMDBDataset": "toolkit.datasets.torch_dataset",
    "InferenceOptions": "toolkit.prediction",
    "Prediction": "toolkit.prediction",
    "Predictor": "toolkit.prediction",
    "evaluate": "toolkit.evaluation.measuring",
    "export_model": "export.pipeline",
    "load_predictor": "toolkit.prediction",
    "plot_metrics": "toolkit.evaluation.plots",
    "train": "toolkit.training.run",
}


def __getattr__(name: str) -> Any:  # noqa: ANN401 - the public names differ in type
    """Import a public name when it is asked for, so that `import toolkit` costs nothing."""
    if name == "__version__":
        from importlib.metadata import version

        return version("distilbert-review-toolkit")
    if name not in _MODULES:
        raise AttributeError(f"module 'toolkit' has no attribute {name!r}")
    from toolkit.errors import needs_extra

    with needs_extra("train", f"toolkit.{name}"):
        return getattr(importlib.import_module(_MODULES[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
