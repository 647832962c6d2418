"""Every family of encoders goes the whole way: trained, merged, converted, int8, and says the same on it."""

import numpy as np
import pytest

from export import ExportOptions, export_model
from export.plain import quantize_rows
from tests.families import FAMILIES, family_base
from toolkit.prediction import load_predictor
from toolkit.prediction.onnx_backend import OnnxPredictor
from toolkit.training.config import TrainingConfig
from toolkit.training.run import train


@pytest.mark.parametrize("family", FAMILIES)
def test_adapter_merged_graph_and_int8_agree(family, demo_reviews, tiny_dataset, tmp_path):
    base = family_base(family, tmp_path / "base", [review.text for review in demo_reviews["train"]])
    config = TrainingConfig(
        base_model=str(base), dataset=str(tiny_dataset), adapter_dir=str(tmp_path / "lora_model"), max_length=60,
        max_steps=4, learning_rate=1e-2, train_probe=8, eval_limit=8, precision="fp32", final_evaluation="validation",
    )  # fmt: skip
    result = train(config)
    assert result.test == {}
    bundle = tmp_path / "onnx_model"
    exported = export_model(
        result.adapter, bundle, tiny_dataset / "validation.csv", options=ExportOptions("auto", small_parity_set=True)
    )
    stages = {stage.stage: stage for stage in exported.stages}
    assert list(stages) == ["adapter", "merged", "onnx", "int8"]
    assert stages["merged"].flips == stages["onnx"].flips == 0

    texts = [review.text for review in demo_reviews["test"][:24]]
    with load_predictor("torch", adapter=result.adapter) as own, load_predictor("onnx", onnx_model=bundle) as served:
        assert served.positions == own.positions == (512 if family in ("bert", "electra") else 64)
        expected = np.array([each.logits for each in own.predict_many(texts)])
        found = np.array([each.logits for each in served.predict_many(texts)])
        graph = bundle / "model.onnx"
        int8 = graph if exported.quantized else quantize_rows(graph, tmp_path / "int8.onnx")
        with OnnxPredictor.of_graph(int8, served.tokenizer, served.manifest) as small:
            rounded = np.array([each.logits for each in small.predict_many(texts)])
    scale = np.abs(expected).mean()
    if not exported.quantized:
        assert np.abs(found - expected).max() < 1e-4 * scale
    assert 0 < np.abs(rounded - expected).mean() < 0.25 * scale
