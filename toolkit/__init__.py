"""A small, honest text classifier on your own machine: is this film review positive or negative?"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from toolkit.prediction import Prediction, Predictor, load_predictor

__all__ = ["Prediction", "Predictor", "load_predictor"]


def __getattr__(name: str) -> Any:  # noqa: ANN401 - the public names differ in type
    """Import the predictor only when somebody asks for it, so that `import toolkit` costs nothing."""
    if name in __all__:
        from toolkit import prediction

        return getattr(prediction, name)
    raise AttributeError(f"module 'toolkit' has no attribute {name!r}")
