"""Every engine gives torch's labels; a peer that misread the model would be measured for nothing."""

import sys

import numpy as np
import pytest

from toolkit.benchmark.compare import ENGINES
from toolkit.benchmark.engines import Onnx, OwnEngine, Torch
from toolkit.benchmark.models import Models, random_models
from toolkit.benchmark.process import run_measured
from toolkit.benchmark.shares import time_shares
from toolkit.errors import ToolkitError


@pytest.fixture(scope="module")
def models(tmp_path_factory, tiny_bundle, tiny_adapter):
    return Models(tiny_bundle, tiny_adapter, tmp_path_factory.mktemp("bench"))


@pytest.fixture(scope="module")
def texts(demo_reviews):
    return [review.text for review in demo_reviews["test"][:20]]


@pytest.fixture(scope="module")
def expected(models, texts):
    labels = Torch(models.adapter, models.max_length).classify(texts)
    assert set(labels) == {0, 1}
    return labels


@pytest.mark.parametrize("name", [name for name in ENGINES if name != "torch"])
def test_labels_are_torchs_whatever_the_batches(name, models, texts, expected):
    for package in ENGINES[name].packages:
        pytest.importorskip(package)
    engine = ENGINES[name](ENGINES[name].prepare(models), models.max_length)
    for batch_size in engine.batch_sizes:
        engine.batch_size = batch_size
        labels = engine.classify(texts)
        assert labels.dtype == np.int64
        assert (labels == expected).mean() >= (0.9 if name in ("optimum-int8", "openvino") else 1)
    engine.classify_one(texts[0])
    assert engine.settings()


def test_a_fresh_process_answers_one_review(models):
    pytest.importorskip("ctranslate2")
    engine = ENGINES["ctranslate2-workers"]
    usage = run_measured(engine.start(engine.prepare(models), models.max_length, "A quiet film."))
    assert usage.seconds > 0
    assert 10 < usage.megabytes < 1000


def test_a_process_is_charged_for_itself_alone():
    held = np.ones(50_000_000)  # 400 MB that a forked child would report as its own
    assert run_measured([sys.executable, "-c", "pass"]).megabytes < 100 < held.nbytes / 1e6


def test_a_command_that_fails_is_named():
    with pytest.raises(ToolkitError, match=r"does not work here; see: .* raise SystemExit"):
        run_measured([sys.executable, "-c", "raise SystemExit(3)"])


def test_peers_need_an_adapter(tiny_bundle, tmp_path):
    models = Models(tiny_bundle, tmp_path / "none", tmp_path)
    with pytest.raises(ToolkitError, match=r"no adapter at .*; name one with --adapter"):
        ENGINES["onnx-fp32"].prepare(models)


def test_random_weights_come_in_every_form(tiny_bundle, tiny_tokenizer, tmp_path, texts):
    models = random_models(tiny_bundle, tmp_path, vocab_size=tiny_tokenizer.get_vocab_size(), dim=32, hidden_dim=64,
                           n_layers=3, n_heads=2)  # fmt: skip
    assert (models.config["dim"], models.config["n_layers"]) == (32, 3)
    sizes = {}
    for engine in (ENGINES["onnx"], ENGINES["onnx-fp32"], ENGINES["torch"]):
        folder = engine.prepare(models)
        sizes[engine.name] = sum(path.stat().st_size for path in folder.glob("model.onnx"))
        loaded = engine(folder, models.max_length)
        assert isinstance(loaded, OwnEngine)
        assert len(loaded.classify(texts[:2])) == 2
    assert sizes["onnx"] < sizes["onnx-fp32"]


def test_shares_of_the_time_are_shares(models, texts):
    shares = time_shares(Onnx(models.bundle, models.max_length).predictor, texts, rounds=2)
    assert list(shares) == ["tokenisation", "model", "rest"]
    assert all(0 <= share <= 1 for values in shares.values() for share in values)
    assert [sum(parts) for parts in zip(*shares.values(), strict=True)] == pytest.approx([1, 1])
