"""One predictor interface, two backends, chosen at run time."""

from toolkit.prediction.abstention import AbstentionPolicy
from toolkit.prediction.base import Prediction, Predictor
from toolkit.prediction.selection import load_predictor

__all__ = ["AbstentionPolicy", "Prediction", "Predictor", "load_predictor"]
