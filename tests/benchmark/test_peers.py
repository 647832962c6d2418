"""`benchmarks/peers.py`: every peer gives torch's labels; one that misread the model would be measured for nothing."""

import json
import subprocess
import sys

import pytest
from click.testing import CliRunner

import peers
from peer_engines import PEERS, CTranslate2, CTranslate2Workers
from random_model import random_models
from tests.benchmark.test_engines import check_labels
from tests.conftest import ROOT
from toolkit.benchmark.engines import Onnx, OnnxFloat, Torch
from toolkit.benchmark.process import run_measured


@pytest.mark.parametrize("engine", PEERS, ids=lambda engine: engine.name)
def test_labels_are_torchs_whatever_the_batches(engine, engine_models, engine_texts, engine_labels):
    for package in engine.packages:
        pytest.importorskip(package)
    share = 0.9 if engine.name in ("optimum-int8", "openvino") else 1
    check_labels(engine, engine_models, engine_texts, engine_labels, share)


def test_a_fresh_process_answers_one_review(engine_models):
    pytest.importorskip("ctranslate2")
    folder = CTranslate2Workers.prepare(engine_models)
    usage = run_measured(CTranslate2Workers.start(folder, engine_models.max_length, "A quiet film."))
    assert usage.seconds > 0
    assert 10 < usage.megabytes < 1000


def test_random_weights_come_in_every_form(tiny_bundle, tiny_tokenizer, tmp_path, engine_texts):
    models = random_models(tiny_bundle, tmp_path, vocab_size=tiny_tokenizer.get_vocab_size(), dim=32, hidden_dim=64,
                           n_layers=3, n_heads=2)  # fmt: skip
    assert (models.config["dim"], models.config["n_layers"]) == (32, 3)
    sizes = {}
    for engine in (Onnx, OnnxFloat, Torch):
        folder = engine.prepare(models)
        sizes[engine.name] = sum(path.stat().st_size for path in folder.glob("model.onnx"))
        assert len(engine(folder, models.max_length).classify(engine_texts[:2])) == 2
    assert sizes["onnx"] < sizes["onnx-fp32"]


def test_a_peer_is_measured_like_the_toolkits_own(tiny_bundle, tiny_adapter, tiny_dataset, tmp_path):
    """As a reader runs it, from any folder: nothing but the toolkit has to be installed."""
    script = [sys.executable, ROOT / "benchmarks" / "peers.py", "--engines", "onnx,pipeline"]
    arguments = ["--file", tiny_dataset / "test.csv", "--limit", "4", "--rounds", "1", "--json",
                 "--onnx-model", tiny_bundle, "--adapter", tiny_adapter]  # fmt: skip
    process = subprocess.run([*script, *arguments], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert process.returncode == 0, process.stderr
    engines = json.loads(process.stdout)["engines"]
    assert list(engines) == ["onnx", "pipeline"]
    assert all(min(engine["cold_start_seconds"]) > 0 for engine in engines.values())


def test_a_peer_that_is_not_installed_is_named_with_the_command(tiny_bundle, tiny_adapter, tiny_dataset, monkeypatch):
    monkeypatch.setattr(CTranslate2, "packages", ("no_such_package",))
    arguments = ("--file", tiny_dataset / "test.csv", "--limit", 4, "--rounds", 1, "--onnx-model", tiny_bundle,
                 "--adapter", tiny_adapter)  # fmt: skip
    result = CliRunner().invoke(peers.main, [*map(str, arguments), "--markdown", "--engines", "onnx,ctranslate2"])
    assert result.exit_code == 0, result.output
    assert "| engine | reviews/s |" in result.stdout
    assert (
        "- ctranslate2: not installed; in a checkout: python -m pip install -c constraints.txt '.[bench]'"
        in result.stdout
    )
    alone = CliRunner().invoke(peers.main, [*map(str, arguments), "--engines", "ctranslate2"])
    assert alone.exit_code == 1
    assert "no_such_package not installed" in alone.stderr


def test_an_unknown_engine_is_answered_with_the_known_ones():
    result = CliRunner().invoke(peers.main, ["--engines", "onnx,vroom"])
    assert result.exit_code == 2
    assert (
        "no engine 'vroom'; expected some of onnx, onnx-both, onnx-model, onnx-fp32, torch, pipeline" in result.stderr
    )
