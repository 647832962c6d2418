"""The toolkit's engines give torch's labels; one that misread the model would be measured for nothing."""

import sys

import numpy as np
import pytest

from tests.conftest import ROOT
from toolkit.benchmark.engines import OWN, Onnx, OnnxFloat
from toolkit.benchmark.models import Models
from toolkit.benchmark.process import run_measured
from toolkit.benchmark.shares import time_shares
from toolkit.errors import ToolkitError


def test_labels_are_torchs_whatever_the_batches(engine_models, engine_texts, engine_labels):
    for engine in (Onnx, OnnxFloat):
        check_labels(engine, engine_models, engine_texts, engine_labels, 1)


def check_labels(engine, models, texts, expected, share):
    """Every size of batches gives the labels that are expected, of a share of the texts at least."""
    loaded = engine(engine.prepare(models), models.max_length)
    for batch_size in engine.batch_sizes:
        loaded.batch_size = batch_size
        labels = loaded.classify(texts)
        assert labels.dtype == np.int64
        assert (labels == expected).mean() >= share
    loaded.classify_one(texts[0])
    assert loaded.settings()


def test_a_process_is_charged_for_itself_alone():
    held = np.ones(50_000_000)  # 400 MB that a forked child would report as its own
    assert run_measured([sys.executable, "-c", "pass"]).megabytes < 100 < held.nbytes / 1e6


def test_a_command_that_fails_is_named():
    with pytest.raises(ToolkitError, match=r"does not work here; see: .* raise SystemExit"):
        run_measured([sys.executable, "-c", "raise SystemExit(3)"])


def test_the_float_model_needs_an_adapter(tiny_bundle, tmp_path):
    models = Models(tiny_bundle, tmp_path / "none", tmp_path)
    with pytest.raises(ToolkitError, match=r"no adapter at .*; name one with --adapter"):
        OnnxFloat.prepare(models)


def test_shares_of_the_time_are_shares(engine_models, engine_texts):
    shares = time_shares(Onnx(engine_models.bundle, engine_models.max_length).predictor, engine_texts, rounds=2)
    assert list(shares) == ["tokenisation", "ngrams", "model", "rest"]
    assert all(0 <= share <= 1 for values in shares.values() for share in values)
    assert [sum(parts) for parts in zip(*shares.values(), strict=True)] == pytest.approx([1, 1])


def test_every_engine_of_the_package_is_the_toolkits():
    assert all(engine.__module__ == "toolkit.benchmark.engines" for engine in OWN)
    assert not [path for path in ROOT.glob("toolkit/**/*.py") if "ctranslate2" in path.read_text(encoding="utf-8")]
