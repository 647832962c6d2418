"""One predictor interface, two backends, chosen at run time."""

from toolkit.prediction.abstention import Abstention
from toolkit.prediction.answers import InferenceOptions, Prediction
from toolkit.prediction.base import Predictor
from toolkit.prediction.selection import load_predictor

__all__ = ["Abstention", "InferenceOptions", "Prediction", "Predictor", "load_predictor"]
