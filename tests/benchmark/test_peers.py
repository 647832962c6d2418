"""`benchmarks/peers.py`: every peer gives torch's labels; one that misread the model would be measured for nothing."""

import json
import subprocess
import sys

import pytest
from click.testing import CliRunner

import peers
from peer_engines import PEERS, CTranslate2, CTranslate2Workers, OpenVinoInt8
from random_model import random_models
from tests.benchmark.test_engines import check_labels
from tests.conftest import ROOT
from tests.network_seal import Seal
from toolkit.benchmark.engines import Onnx, OnnxFloat, Torch
from toolkit.benchmark.process import run_measured


@pytest.mark.parametrize("engine", PEERS, ids=lambda engine: engine.name)
def test_labels_are_torchs_whatever_the_batches(engine, engine_models, engine_texts, engine_labels, monkeypatch):
    for package in engine.packages:
        pytest.importorskip(package)
    monkeypatch.setattr(OpenVinoInt8, "calibration", ROOT / "dataset" / "train.csv")
    share = 0.9 if engine.name in ("optimum-int8", "openvino", "openvino-int8") else 1
    check_labels(engine, engine_models, engine_texts, engine_labels, share)


def test_quantising_for_openvino_tells_nobody(tiny_bundle, tiny_adapter, tmp_path):
    """NNCF sends what it is used for to a service for statistics, unless it finds the package missing that does."""
    pytest.importorskip("nncf")
    (tmp_path / "seal").mkdir()
    (tmp_path / "room").mkdir()
    seal = Seal(tmp_path / "seal")
    code = (
        f"import sys; sys.path.insert(0, {str(ROOT / 'benchmarks')!r})\nfrom pathlib import Path\n"
        "from peer_engines import OpenVinoInt8\nfrom toolkit.benchmark.models import Models\n"
        f"OpenVinoInt8.calibration = Path({str(ROOT / 'dataset' / 'train.csv')!r})\n"
        "bundle, adapter, room = map(Path, sys.argv[1:])\nprint(OpenVinoInt8.prepare(Models(bundle, adapter, room)))"
    )
    command = seal.wrap([sys.executable, "-c", code, str(tiny_bundle), str(tiny_adapter), str(tmp_path / "room")])
    process = subprocess.run(
        command,
        capture_output=True,
        text=True,
        check=False,
        env=seal.environment(HOME=str(tmp_path / "seal")),
        cwd=ROOT,
    )
    assert process.returncode == 0, process.stderr
    assert (tmp_path / "room" / "openvino-int8" / "model.xml").is_file()
    assert seal.attempts() == []
    assert not (tmp_path / "seal" / "intel").exists()  # where it would note who it is


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
