import json
import shutil

import numpy as np
import onnx
import pytest

from export.convert import convert_to_onnx
from export.quantize import quantize, quantize_to_int8, to_int8
from export.restructure import restructure
from toolkit.errors import ExportError
from toolkit.models.adapter import load_adapter, merge_adapter
from toolkit.prediction.onnx_backend import OnnxPredictor


@pytest.fixture
def logits(tiny_tokenizer, fake_predictor):
    """Ask a model, in memory or in a file, for the logits of reviews of three tokens and more."""
    encodings = fake_predictor.tokenizer.encode(["a", "a quiet film " * 9, "the worst film of the year"])

    def ask(model, folder):
        if not hasattr(model, "is_file"):
            onnx.save(model, folder / "asked.onnx")
            model = folder / "asked.onnx"
        return OnnxPredictor.of_graph(model, fake_predictor.tokenizer, fake_predictor.manifest, workers=1).logits(
            encodings
        )

    return ask


@pytest.fixture(scope="module")
def graph(tiny_adapter, tmp_path_factory):
    """What optimum makes of the tiny model, beside its `config.json`."""
    return convert_to_onnx(merge_adapter(load_adapter(tiny_adapter)[0]), tmp_path_factory.mktemp("graph"))


@pytest.mark.parametrize("apart", [True, False])
def test_a_restructured_graph_answers_the_same(graph, tmp_path, logits, apart):
    model = restructure(graph, apart)
    onnx.checker.check_model(model)
    assert [graph_input.name for graph_input in model.graph.input] == ["input_ids"]
    assert sum(node.op_type == "MultiHeadAttention" for node in model.graph.node) == 2
    np.testing.assert_allclose(logits(model, tmp_path), logits(graph, tmp_path), atol=1e-5)


def test_of_the_last_layer_only_the_first_token_is_computed(graph):
    names = [node.name for node in restructure(graph).graph.node]
    feed_forward = [name.split("/", 3)[3] for name in names if "ffn/lin1/MatMul" in name]
    assert feed_forward == [
        "layer.0/ffn/lin1/MatMul/first",
        "layer.0/ffn/lin1/MatMul/others",
        "layer.1/ffn/lin1/MatMul/first",
    ]


def test_every_product_of_the_encoder_is_int8(graph, tmp_path, logits):
    target = quantize_to_int8(graph, tmp_path / "int8.onnx")
    quantized = onnx.load(target).graph
    assert not [node.name for node in quantized.node if node.op_type == "MatMul"]
    matrices = {weight.name: weight.data_type for weight in quantized.initializer if len(weight.dims) == 2}
    floats = {name for name, kind in matrices.items() if kind == onnx.TensorProto.FLOAT and "scale" not in name}
    assert floats == {"pre_classifier.weight", "classifier.weight"}
    exact = logits(graph, tmp_path)
    difference = np.abs(logits(target, tmp_path) - exact).max()
    assert 0 < difference < 0.1 * np.abs(exact).max()


def test_what_is_not_chosen_stays_float(graph):
    model = quantize(restructure(graph), lambda name: "layer.0/ffn/lin2" in name)
    quantized = [node.name.split("/", 3)[3] for node in model.graph.node if node.op_type == "DynamicQuantizeMatMul"]
    assert quantized == ["layer.0/ffn/lin2/MatMul/first", "layer.0/ffn/lin2/MatMul/others"]
    int8 = [weight.name for weight in model.graph.initializer if weight.data_type == onnx.TensorProto.INT8]
    assert len(int8) == 1, "both parts read the same weights"


def test_a_graph_that_is_not_a_distilberts_is_refused(graph, tmp_path):
    shutil.copy(graph, tmp_path)
    config = json.loads((graph.parent / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps({**config, "n_layers": 3}))
    with pytest.raises(
        ExportError,
        match=r"expected a DistilBERT's graph with 3 attentions, one a layer, found 2; train on a DistilBERT",
    ):
        quantize_to_int8(tmp_path / "model.onnx", tmp_path / "int8.onnx")
    assert not (tmp_path / "int8.onnx").exists()


@pytest.mark.parametrize("rows", [1, 2, 7, 384])
def test_no_pair_of_weights_overflows_16_bits(rows):
    """A CPU without VNNI adds two neighbours' products in 16 bits; the activations can be 0 or 255 as they like."""
    weights = np.random.default_rng(rows).standard_normal((rows, 64)).astype(np.float32)
    weights[:, 0] = 0
    weights[:, 1] = 1  # the worst: every pair is as large as can be
    weights[:, 2] = -1
    narrowed, scale = to_int8(weights)
    assert narrowed.dtype == np.int8
    assert scale.dtype == np.float32
    padded = np.zeros((rows + rows % 2, 64), np.int64)
    padded[:rows] = narrowed
    first, second = 255 * padded[0::2], 255 * padded[1::2]
    for sums in (first, second, first + second):
        assert sums.min() >= -32768
        assert sums.max() <= 32767
    assert np.abs(narrowed * scale - weights).max() <= scale.max()
    assert (np.abs(narrowed * scale - weights) <= scale / 2 + 1e-6).mean() > 0.95
    assert not narrowed[:, 0].any()


def test_weights_keep_more_than_seven_bits():
    weights = np.random.default_rng(0).standard_normal((384, 64)).astype(np.float32)
    narrowed, scale = to_int8(weights)
    seven_bits = np.abs(weights).max(axis=0) / 64
    assert (scale < seven_bits).all()
    assert scale.mean() < 0.75 * seven_bits.mean()
    assert np.abs(narrowed).max() > 64
