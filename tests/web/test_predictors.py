"""A predictor that was opened whole answers on when its bundle is replaced."""

import shutil

from toolkit.models.bundle import MANIFEST, NGRAM_TABLE
from toolkit.prediction import load_predictor
from toolkit.web.predictors import open_whole


def test_what_was_opened_whole_needs_its_folder_no_more(ngram_bundle, tmp_path):
    folder = shutil.copytree(ngram_bundle, tmp_path / "model")
    with load_predictor("onnx", onnx_model=folder) as predictor:
        assert predictor.readers == "auto"
        open_whole(predictor)
        for name in (MANIFEST, NGRAM_TABLE, "model.onnx", "tokenizer.json"):
            (folder / name).unlink()
        transformer = predictor.with_options(readers="model")
        texts = ["A quiet film.", "A loud one.", "Neither."]
        assert [transformer.predict(text) for text in texts] == list(transformer.predict_many(texts))
