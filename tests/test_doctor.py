import http.server
import json
import threading

import pytest
from click.testing import CliRunner

from toolkit import doctor
from toolkit.cli import cli


def run(*arguments, **environment):
    environment = {"HF_HUB_OFFLINE": "1", **environment}
    return CliRunner().invoke(cli, ["doctor", *map(str, arguments)], env=environment, prog_name="toolkit")


def test_a_healthy_installation(tiny_bundle, tiny_adapter):
    result = run("--json", "--onnx-model", tiny_bundle, TOOLKIT_ADAPTER=str(tiny_adapter))
    assert result.exit_code == 0, result.output
    report = json.loads(result.stdout)
    assert report["healthy"] is True
    assert list(report) == ["versions", "cpu", "gpu", "backend", "models", "answer", "telemetry", "hub", "healthy"]
    assert list(report["answer"]) == ["review", "label", "score", "seconds"]
    assert list(report["models"][0]) == ["kind", "folder", "sha256", "verified", "base_model", "max_length"]
    assert report["backend"] == {
        "name": "onnx", "model": str(tiny_bundle), "reason": "an ONNX model was named and no adapter"
    }  # fmt: skip
    assert [(model["kind"], model["verified"], len(model["sha256"])) for model in report["models"]] == [
        ("onnx", True, 64), ("adapter", True, 64)
    ]  # fmt: skip
    assert 0.5 <= report["answer"]["score"] <= 1
    assert report["telemetry"] == {"onnxruntime": "off"}
    assert report["cpu"]["cores"] >= 1
    assert report["versions"]["onnxruntime"]
    assert report["hub"]["reason"] == "not asked; toolkit doctor --network asks"
    report = json.loads(run("--json", "--network", "--onnx-model", tiny_bundle).stdout)
    assert report["hub"]["reason"] == "not asked: HF_HUB_OFFLINE is set"


def test_for_people_it_is_a_line_each(tiny_bundle, seeded_adapter):
    lines = run("--onnx-model", tiny_bundle, TOOLKIT_ADAPTER=str(seeded_adapter)).stdout.splitlines()
    rows = {line[:14].strip(): line[14:] for line in lines}
    assert list(rows) == ["versions", "processor", "instructions", "gpu", "onnx model", "adapter model", "backend",
                          "telemetry", "hub", "answer"]  # fmt: skip
    assert "verified" in rows["onnx model"]
    assert "made elsewhere" in rows["adapter model"]
    assert rows["telemetry"] == "onnxruntime off"


@pytest.fixture
def seeded_adapter(tiny_adapter, tmp_path):
    """An adapter without a manifest, as PEFT leaves it."""
    import shutil

    folder = tmp_path / "foreign"
    shutil.copytree(tiny_adapter, folder)
    (folder / "manifest.json").unlink()
    return folder


def test_a_damaged_model_is_named_and_the_exit_code_is_1(tiny_bundle, tmp_path):
    import shutil

    shutil.copytree(tiny_bundle, tmp_path / "onnx_model")
    with (tmp_path / "onnx_model" / "tokenizer.json").open("r+b") as stream:
        stream.write(b"?")
    result = run("--json", "--onnx-model", tmp_path / "onnx_model")
    assert result.exit_code == 1
    report = json.loads(result.stdout)
    assert "tokenizer.json does not match its SHA-256" in report["answer"]["problem"]
    assert "tokenizer.json does not match its SHA-256" in report["models"][0]["problem"]
    assert list(report["models"][0]) == ["kind", "folder", "problem"]
    assert list(report["answer"]) == ["review", "problem"]


class Answering(http.server.BaseHTTPRequestHandler):
    def do_HEAD(self):
        self.send_response(self.server.status)
        self.end_headers()

    def log_message(self, *arguments):
        pass


@pytest.mark.parametrize(("status", "reachable"), [(200, True), (401, True), (503, True)])
def test_a_hub_that_answers_is_reachable(status, reachable):
    with http.server.HTTPServer(("127.0.0.1", 0), Answering) as server:
        server.status = status
        threading.Thread(target=server.handle_request, daemon=True).start()
        hub = doctor._hub({"HF_ENDPOINT": f"http://127.0.0.1:{server.server_port}"}, True)
    assert hub.reachable is reachable


def test_a_hub_that_is_not_there_or_hangs(monkeypatch):
    import socket

    with socket.create_server(("127.0.0.1", 0)) as silent:  # accepts nothing, answers nothing
        monkeypatch.setattr(doctor, "HUB_SECONDS", 0.2)
        port = silent.getsockname()[1]
        hub = doctor._hub({"HF_ENDPOINT": f"http://127.0.0.1:{port}"}, True)
        assert hub.reachable is False
    hub = doctor._hub({"HF_ENDPOINT": f"http://127.0.0.1:{port}"}, True)
    assert (hub.reachable, "refused" in hub.reason.lower()) == (False, True)
    assert doctor._hub({"HF_ENDPOINT": "not a url"}, True).reachable is False


def test_only_who_asks_for_the_network_gets_it(tiny_bundle):
    asked = []

    class Counting(Answering):
        def do_HEAD(self):
            asked.append(self.path)
            super().do_HEAD()

    with http.server.HTTPServer(("127.0.0.1", 0), Counting) as server:
        server.status = 200
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        thread.start()
        endpoint = {"HF_ENDPOINT": f"http://127.0.0.1:{server.server_port}", "HF_HUB_OFFLINE": "0"}
        plain, network = (
            json.loads(run("--json", *flags, "--onnx-model", tiny_bundle, **endpoint).stdout)["hub"]
            for flags in ((), ("--network",))
        )
        server.shutdown()
    assert (plain["reachable"], network["reachable"], len(asked)) == (None, True, 1)


def test_a_folder_that_nobody_needs_may_be_missing(tiny_bundle, tiny_adapter, tmp_path):
    nowhere = tmp_path / "nowhere"
    result = run("--onnx-model", tiny_bundle, TOOLKIT_ADAPTER=str(nowhere))
    assert result.exit_code == 0
    assert f"adapter model none at {nowhere}, and none needed" in result.stdout
    assert "not found" not in result.stdout
    report = json.loads(run("--json", "--onnx-model", tiny_bundle, TOOLKIT_ADAPTER=str(nowhere)).stdout)
    assert report["models"][1] == {"kind": "adapter", "folder": str(nowhere), "missing": True}
    result = run("--onnx-model", nowhere, TOOLKIT_ADAPTER=str(tiny_adapter))
    assert result.exit_code == 1
    assert result.stdout.count(f"{nowhere} not found; make it with: toolkit export") == 2


def test_a_model_has_one_hash_everywhere(tiny_bundle, seeded_adapter):
    import hashlib

    from toolkit.chat.models import _load
    from toolkit.prediction.selection import choose_backend

    report = json.loads(run("--json", "--onnx-model", tiny_bundle, TOOLKIT_ADAPTER=str(seeded_adapter)).stdout)
    for model, backend, folder, file in (
        (report["models"][0], "onnx", tiny_bundle, "manifest.json"),
        (report["models"][1], "torch", seeded_adapter, "adapter_model.safetensors"),
    ):
        choice = choose_backend(backend, onnx_model=folder, adapter=folder)
        named = _load(choice, None)
        named.predictor.close()
        expected = hashlib.sha256((folder / file).read_bytes()).hexdigest()
        assert model["sha256"] == named.model_hash == expected
