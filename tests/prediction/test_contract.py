"""What every backend promises, checked on both with one model: the tiny adapter and the bundle exported from it."""

import random

import numpy as np
import pytest

from toolkit.errors import BundleError, EmptyReviewError
from toolkit.models.bundle import Kind, Manifest
from toolkit.prediction import InferenceOptions, Prediction, Predictor, load_predictor
from toolkit.text.labels import SENTIMENT
from toolkit.text.normalisation import TEXT_LIMIT

ODD_TEXTS = [
    "a",
    "Great film, go and see it!",
    "Loved it 😀🎬👍🏽",
    "A film: 这部电影非常好看，值得一看。",
    "tabs\tand\x00control\x07characters",
    "half an emoji \ud83d in the middle",
    "<b>bold</b><br /><script>alert('x')</script>",
    "no breaks " * 2000,
    "a film " + "x" * 5000,
]


@pytest.fixture(scope="module", params=["onnx", "torch"])
def predictor(request, tiny_bundle, tiny_adapter) -> Predictor:
    return load_predictor(request.param, onnx_model=tiny_bundle, adapter=tiny_adapter)


@pytest.fixture(scope="module")
def texts(demo_reviews):
    return [review.text for review in demo_reviews["test"]] + ODD_TEXTS


def test_a_prediction_is_consistent(predictor, texts):
    for prediction in predictor.predict_many(texts):
        assert isinstance(prediction, Prediction)
        assert tuple(prediction.probabilities) == SENTIMENT.names
        assert sum(prediction.probabilities.values()) == pytest.approx(1)
        assert prediction.score == prediction.probabilities[prediction.label.name] >= 0.5
        assert prediction.tokens_read == min(prediction.tokens, 512)


def test_both_backends_agree(tiny_bundle, tiny_adapter, texts):
    onnx = load_predictor("onnx", onnx_model=tiny_bundle)
    torch = load_predictor("torch", adapter=tiny_adapter)
    encodings = onnx.tokenizer.encode(texts)
    assert [(e.tokens, e.input_ids.tolist()) for e in encodings] == [
        (e.tokens, e.input_ids.tolist()) for e in torch.tokenizer.encode(texts)
    ]
    np.testing.assert_allclose(onnx.logits(encodings), torch.logits(encodings), atol=1e-4)
    labels = [[prediction.label for prediction in backend.predict_many(texts)] for backend in (onnx, torch)]
    assert labels[0] == labels[1]
    assert set(labels[0]) == set(SENTIMENT), "a model that says one thing only proves little"


def test_both_backends_agree_on_real_reviews_of_every_length(shared, tiny_bundle, tiny_adapter):
    pandas = pytest.importorskip("pandas")
    onnx = load_predictor("onnx", onnx_model=tiny_bundle)
    torch = load_predictor("torch", adapter=tiny_adapter)
    texts = pandas.read_parquet(shared / "imdb" / "train.parquet", columns=["text"])["text"]
    by_length = texts.iloc[texts.str.len().argsort()]
    chosen = list(by_length.iloc[:: len(by_length) // 120])  # from the shortest review to the longest
    assert len(chosen[0]) < 200 < 5000 < len(chosen[-1])
    encodings = onnx.tokenizer.encode(chosen)
    assert [encoding.tokens for encoding in encodings] == [
        encoding.tokens for encoding in torch.tokenizer.encode(chosen)
    ]
    np.testing.assert_allclose(onnx.logits(encodings), torch.logits(encodings), atol=1e-4)
    assert [each.label for each in onnx.predict_many(chosen)] == [each.label for each in torch.predict_many(chosen)]


def test_logits_have_the_promised_shape(predictor):
    encodings = predictor.tokenizer.encode(["one", "another one"])
    logits = predictor.logits(encodings)
    assert logits.shape == (2, 2)
    assert logits.dtype == np.float32
    assert predictor.logits([]).shape == (0, 2)


def test_onnx_is_bit_identical_whatever_the_company(tiny_bundle, texts):
    from toolkit.prediction.onnx_backend import OnnxPredictor

    alone = [OnnxPredictor.load(tiny_bundle, InferenceOptions(workers=1)).predict(text) for text in texts]
    for workers in (1, 2, 5):
        order = random.Random(workers).sample(range(len(texts)), len(texts))
        with OnnxPredictor.load(tiny_bundle, InferenceOptions(workers=workers)) as predictor:
            shuffled = list(predictor.predict_many(texts[index] for index in order))
        assert [alone[index] for index in order] == shuffled


def test_torch_keeps_order_though_it_sorts(tiny_adapter, texts):
    torch = load_predictor("torch", adapter=tiny_adapter)
    together = list(torch.predict_many(texts))
    for text, prediction in zip(texts, together, strict=True):
        assert torch.predict(text).score == pytest.approx(prediction.score, abs=1e-4)


def test_predict_many_is_lazy_and_bounded(predictor):
    taken = 0

    def endless():
        nonlocal taken
        while True:
            taken += 1
            yield f"film number {taken}"

    predictions = predictor.predict_many(endless())
    assert taken == 0
    next(predictions)
    assert taken == predictor.chunk_size


@pytest.mark.parametrize("blank", ["\u200b", "", "  ", "<br />"])
def test_empty_text_is_an_error(predictor, blank):
    with pytest.raises(EmptyReviewError, match="the review is empty"):
        predictor.predict(blank)


def test_one_megabyte_of_text(predictor):
    prediction = predictor.predict("never again " * 90_000)
    assert prediction.tokens == predictor.predict("never again " * 90_000 + "x" * 50_000).tokens > TEXT_LIMIT / 12
    assert prediction.tokens_read == 512


def test_max_length_is_the_callers(tiny_bundle, tiny_adapter):
    for backend in ("onnx", "torch"):
        short = load_predictor(backend, onnx_model=tiny_bundle, adapter=tiny_adapter, options=InferenceOptions(16))
        prediction = short.predict("a film " * 50)
        assert (prediction.tokens_read, prediction.tokens > 100) == (16, True)
        with pytest.raises(BundleError, match="reads 3 to 512 tokens"):
            load_predictor(backend, onnx_model=tiny_bundle, adapter=tiny_adapter, options=InferenceOptions(513))
        with pytest.raises(BundleError, match="reads 3 to 512 tokens, but max_length is 2"):
            short.with_options(max_length=2)


def test_the_temperature_calibrates_the_score_and_not_the_label(tiny_tokenizer, fake_predictor):
    hot = type(fake_predictor)(Manifest(Kind.ONNX, "fake", 64, temperature=4.0), fake_predictor.tokenizer)
    cold, warm = fake_predictor.predict("a great film"), hot.predict("a great film")
    assert cold.label == warm.label
    assert np.log(cold.score / (1 - cold.score)) == pytest.approx(4 * np.log(warm.score / (1 - warm.score)))


def test_a_backend_without_logits_cannot_be_made(fake_predictor):
    class Forgetful(Predictor):
        pass

    with pytest.raises(TypeError, match="logits"):
        Forgetful(fake_predictor.manifest, fake_predictor.tokenizer)


def test_telemetry_is_off_before_onnxruntime_is_imported(tiny_bundle):
    import os
    import subprocess
    import sys

    script = (
        "import builtins, os, sys\n"
        "real = builtins.__import__\n"
        "def spy(name, *rest, **more):\n"
        "    if name == 'onnxruntime' and name not in sys.modules: print(os.environ.get('ORT_DISABLE_TELEMETRY'))\n"
        "    return real(name, *rest, **more)\n"
        "builtins.__import__ = spy\n"
        "from toolkit import load_predictor\n"
        f"load_predictor('onnx', onnx_model={str(tiny_bundle)!r}).predict('a film')\n"
    )
    environment = {name: value for name, value in os.environ.items() if name != "ORT_DISABLE_TELEMETRY"}
    process = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, env=environment, check=True
    )
    assert process.stdout.split() == ["1"]


@pytest.mark.gpu
def test_parity_on_a_gpu(tiny_bundle, tiny_adapter, texts):
    torch = pytest.importorskip("torch")
    if not torch.cuda.is_available():
        pytest.skip("no GPU")
    onnx = load_predictor("onnx", onnx_model=tiny_bundle)
    gpu = load_predictor("torch", adapter=tiny_adapter)
    encodings = onnx.tokenizer.encode(texts)
    np.testing.assert_allclose(onnx.logits(encodings), gpu.logits(encodings), atol=1e-3)
