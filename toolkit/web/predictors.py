"""A predictor that is whole before the first visitor comes."""

from toolkit.prediction import Predictor


def open_whole(predictor: Predictor) -> None:
    """Open and verify now what is opened when first needed, so that replacing the model's folder changes nothing.

    The transformer is asked whatever the n-grams say: alone, and with several texts, for which it has other sessions.

    Raises:
        BundleError: The model is damaged or cannot be used.
    """
    transformer = predictor.with_options(readers="model")
    transformer.predict("Ready.")
    list(transformer.predict_many(["Ready.", "Set."]))
