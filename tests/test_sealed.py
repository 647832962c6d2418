"""Nothing leaves the machine unless the user named a model of the hub, and then for the hub alone."""

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest

from tests.network_seal import Seal, can_trace

PROBE = """
import ctypes, socket, struct
for attempt in (
    lambda: socket.create_connection(("192.0.2.1", 80), 1),
    lambda: socket.getaddrinfo("reviews.example", 80),
    lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b"x", ("192.0.2.2", 9)),
):
    try:
        attempt()
    except OSError as error:
        assert "sealed" in str(error)
address = struct.pack("=HH4s8x", socket.AF_INET, socket.htons(80), socket.inet_aton("192.0.2.3"))
with socket.socket() as native:
    native.setblocking(False)
    ctypes.CDLL(None).connect(native.fileno(), address, len(address))
"""


@pytest.fixture
def seal(tmp_path) -> Seal:
    (tmp_path / "seal").mkdir()
    return Seal(tmp_path / "seal")


def run(seal: Seal, *arguments, stdin: bytes = b"", cwd: Path | None = None, **variables):
    command = seal.wrap([sys.executable, *map(str, arguments)])
    return subprocess.run(
        command, input=stdin, capture_output=True, check=False, timeout=400, cwd=cwd, env=seal.environment(**variables)
    )


def test_the_seal_sees_every_way_out(seal):
    assert run(seal, "-c", PROBE).returncode == 0
    assert seal.attempts()[:3] == [
        "socket.getaddrinfo 192.0.2.1", "socket.getaddrinfo reviews.example", "socket.sendto ('192.0.2.2', 9)",
    ]  # fmt: skip
    assert seal.attempts()[3:] == (["connect AF_INET 192.0.2.3"] if can_trace() else [])


def test_train_export_predict_and_filter_stay_here(seal, minilm, tiny_dataset, tmp_path):
    adapter, bundle = tmp_path / "lora_model", tmp_path / "onnx_model"
    reviews = b"A quiet film.\nA loud film.\n"
    (tmp_path / "reviews.txt").write_bytes(reviews)
    for stdin, *arguments in (
        (b"", "train", "--base-model", "minilm", "--dataset", tiny_dataset, "--max-steps", 2, "--output", adapter),
        (b"", "export", "--adapter", adapter, "--parity-set", tiny_dataset / "validation.csv", "--small-parity-set", "--output", bundle),
        (b"", "predict", "--onnx-model", bundle, "A quiet film."),
        (b"", "predict", "--backend", "torch", "--adapter", adapter, "A quiet film."),
        (reviews, "filter", "--onnx-model", bundle),
        (b"", "evaluate", "--dataset", tiny_dataset, "--onnx-model", bundle, "--output", tmp_path / "report"),
    ):  # fmt: skip
        process = run(seal, "-m", "toolkit", *arguments, stdin=stdin, cwd=tmp_path)
        assert process.returncode == 0, process.stderr.decode()
        assert seal.attempts() == [], arguments[0]


def test_the_app_starts_without_asking_anybody(seal, tiny_bundle, tmp_path):
    pytest.importorskip("chainlit", reason="the extra app is not installed")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = [
        sys.executable, "-m", "toolkit", "chat", "--port", str(port), "--onnx-model", str(tiny_bundle),
        "--state", str(tmp_path / "state"),
    ]  # fmt: skip
    with (tmp_path / "log").open("wb") as log:
        server = subprocess.Popen(
            seal.wrap(command), env=seal.environment(), stdout=log, stderr=log, cwd=tmp_path, start_new_session=True
        )
    try:
        deadline = time.monotonic() + 180
        while not _answers(f"http://127.0.0.1:{port}/health"):
            assert server.poll() is None, (tmp_path / "log").read_text()
            assert time.monotonic() < deadline, (tmp_path / "log").read_text()
            time.sleep(0.2)
        assert _answers(f"http://127.0.0.1:{port}/")
    finally:
        os.killpg(server.pid, signal.SIGTERM)  # strace keeps one for itself
        server.wait(30)
    assert seal.attempts() == []


@pytest.mark.parametrize("named", [True, False])
def test_only_a_model_of_the_hub_makes_it_ask_the_hub(seal, tiny_base, tiny_dataset, tmp_path, named):
    process = run(
        seal, "-m", "toolkit", "train", "--base-model", "someone/tiny-distilbert" if named else tiny_base,
        "--dataset", tiny_dataset, "--max-steps", 5, "--output", tmp_path / "lora_model",
        HF_ENDPOINT="http://hub.example", HF_HOME=str(tmp_path / "hf"),
    )  # fmt: skip
    assert process.returncode == (1 if named else 0), process.stderr.decode()
    assert set(seal.attempts()) == ({"socket.getaddrinfo hub.example"} if named else set())


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=30) as response:
            return response.status == 200
    except OSError:
        return False
