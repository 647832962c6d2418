import json

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

import export.pipeline as pipeline
from export import export_model
from export.parity import EXACT, QUANTIZED, compare
from toolkit.bundle import Kind, read_manifest
from toolkit.errors import BundleError, DataError, ExportError
from toolkit.labels import Label
from toolkit.prediction.onnx_backend import OnnxPredictor
from toolkit.splits import Review

REVIEWS = [Review(f"review {index}", Label(index % 2)) for index in range(4)]
LOGITS = np.array([[1, -1], [-1, 1], [2, -2], [-0.1, 0.1]], np.float32)


@pytest.fixture
def proof(tiny_dataset):
    return tiny_dataset / "validation.csv"


def test_the_bundle_holds_what_a_cpu_needs_and_nothing_else(tiny_bundle, tiny_adapter):
    assert {path.name for path in tiny_bundle.iterdir()} == {
        "model.onnx", "tokenizer.json", "config.json", "manifest.json", "report.json",
    }  # fmt: skip
    manifest = read_manifest(tiny_bundle, Kind.ONNX)
    adapter = read_manifest(tiny_adapter, Kind.ADAPTER)
    assert manifest.base_model_sha256 == adapter.base_model_sha256
    assert manifest.training == adapter.training
    assert manifest.versions["onnxruntime"]
    graph = onnx.load(tiny_bundle / "model.onnx").graph
    assert {graph_input.name for graph_input in graph.input} == {"input_ids", "attention_mask"}
    assert [output.name for output in graph.output] == ["logits"]


def test_the_report_proves_both_steps(tiny_bundle):
    report = json.loads((tiny_bundle / "report.json").read_text())
    assert [stage["stage"] for stage in report["stages"]] == ["merged", "onnx"]
    assert all(stage["flips"] == 0 and stage["max_difference"] <= 1e-3 for stage in report["stages"])
    assert report["proof"] == {"file": "validation.csv", "reviews": 24, "max_length": 512}


def test_a_wrong_graph_is_not_published(monkeypatch, tiny_adapter, tiny_bundle, proof, tmp_path):
    """One weight changed on the way must be caught, and what stood there must stay."""
    convert = pipeline.convert_to_onnx

    def bend(model, folder):
        path = convert(model, folder)
        graph = onnx.load(path)
        bias = next(weight for weight in graph.graph.initializer if weight.name == "classifier.bias")
        bias.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(bias) + np.float32([0.01, 0]), bias.name))
        onnx.save(graph, path)
        return path

    output = tmp_path / "onnx_model"
    export_model(tiny_adapter, output, proof)
    before = (output / "manifest.json").read_bytes()
    monkeypatch.setattr(pipeline, "convert_to_onnx", bend)
    with pytest.raises(ExportError) as error:
        export_model(tiny_adapter, output, proof)
    message = str(error.value)
    assert "the onnx model is not the adapter: max |Δlogit| is 1.00e-02, expected at most 1e-03" in message
    assert message.count("  review ") == 5
    assert "Nothing was published" in message
    assert (output / "manifest.json").read_bytes() == before
    read_manifest(output, Kind.ONNX)


def test_int8_is_smaller_and_nearly_the_same(minilm, tiny_dataset, proof, tmp_path, demo_reviews):
    """On the offline base, whose layers are large enough for int8 to matter."""
    from toolkit.training.config import TrainingConfig
    from toolkit.training.run import train

    settings = {
        "base_model": "minilm",
        "dataset": str(tiny_dataset),
        "max_steps": 5,
        "max_length": 64,
        "train_probe": 8,
    }
    adapter = train(TrainingConfig(**settings, output=str(tmp_path / "lora_model"))).adapter
    result = export_model(adapter, tmp_path / "onnx_model", proof, quantize="auto")
    int8 = result.stages[-1]
    assert [stage.stage for stage in result.stages] == ["merged", "onnx", "int8"]
    assert 0 < int8.max_difference < 0.5
    assert result.quantized is not bool(int8.failures(QUANTIZED))
    assert result.bytes < 40e6 if result.quantized else result.bytes > 80e6
    predictor = OnnxPredictor.load(result.bundle, workers=2)
    texts = [review.text for review in demo_reviews["test"][:12]]
    assert list(predictor.predict_many(texts)) == [predictor.predict(text) for text in texts]  # one thread, or two


def test_auto_falls_back_to_float_and_int8_does_not(monkeypatch, tiny_adapter, proof, tmp_path):
    def spoil(source, target):
        graph = onnx.load(source)
        for weight in graph.graph.initializer:
            if weight.name == "classifier.weight":
                weight.CopyFrom(numpy_helper.from_array(-numpy_helper.to_array(weight), weight.name))
        onnx.save(graph, target)
        return target

    monkeypatch.setattr(pipeline, "quantize_to_int8", spoil)
    result = export_model(tiny_adapter, tmp_path / "onnx_model", proof, quantize="auto")
    assert not result.quantized
    assert result.stages[-1].flips > 0
    with pytest.raises(ExportError, match=r"the int8 model is not the adapter: .* labels flip, expected at most 1\.0%"):
        export_model(tiny_adapter, tmp_path / "other", proof, quantize="int8")
    assert not (tmp_path / "other").exists()


def test_inputs_that_cannot_be_used(tiny_adapter, proof, tmp_path):
    with pytest.raises(DataError, match="no such file"):
        export_model(tiny_adapter, tmp_path / "a", tmp_path / "nothing.csv")
    with pytest.raises(BundleError, match="找不到"):
        export_model(tmp_path / "nowhere", tmp_path / "a", proof)
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(BundleError, match="holds other files"):
        export_model(tiny_adapter, tmp_path, proof)


def test_compare_measures_differences_and_flips():
    candidate = LOGITS.copy()
    candidate[0, 0] += 0.25
    candidate[3] = [0.1, -0.1]
    parity = compare("onnx", LOGITS, candidate, REVIEWS)
    assert parity.flips == 1
    assert parity.max_difference == pytest.approx(0.25)
    assert parity.mean_difference == pytest.approx((0.25 + 0.2 + 0.2) / 8)
    assert parity.worst[:2] == (0, 3)
    assert parity.accuracy == 0.75
    assert len(parity.failures(EXACT)) == 2


def test_the_gates_hold_at_their_bounds():
    within = LOGITS + np.float32(0.0009)
    assert compare("onnx", LOGITS, within, REVIEWS).failures(EXACT) == []
    assert compare("onnx", LOGITS, LOGITS + np.float32(0.0011), REVIEWS).failures(EXACT) != []
    assert compare("onnx", LOGITS, np.full_like(LOGITS, np.nan), REVIEWS).failures(EXACT) != []
