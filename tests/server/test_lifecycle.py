"""How the server starts, takes another model, and ends."""

import http.client
import json
import os
import shutil
import signal
import socket
import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest

pytest.importorskip("starlette", reason="the extra 'serve' is not installed")

from tests.server.conftest import JSON, PATIENCE
from toolkit.models.bundle import MANIFEST, Kind, read_manifest, write_manifest
from toolkit.prediction import load_predictor

TEXTS = [
    "I went in expecting nothing, and for once I was not disappointed.",
    "Great fun.",
    "Nobody on screen seems awake.",
]
BODY = json.dumps({"text": TEXTS})


class Client(threading.Thread):
    """Asks over one connection again and again, until it is told to close it or nothing more is wanted."""

    def __init__(self, server, wanted: threading.Event) -> None:
        super().__init__(daemon=True)
        self.answers: list[list[float]] = []
        self.problem: object = None
        self._server = server
        self._wanted = wanted

    def run(self) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", self._server.port, timeout=PATIENCE)
        try:
            while self._wanted.is_set():
                connection.request("POST", "/classify", BODY, JSON)
                response = connection.getresponse()
                body = response.read()
                if response.status != 200:
                    self.problem = body
                    return
                self.answers.append([answer["score"] for answer in json.loads(body)])
                if response.getheader("connection") == "close":
                    return
        except (OSError, http.client.HTTPException) as error:
            self.problem = error


def load(server, count: int) -> tuple[list[Client], threading.Event]:
    wanted = threading.Event()
    wanted.set()
    clients = [Client(server, wanted) for _ in range(count)]
    for client in clients:
        client.start()
    deadline = time.monotonic() + PATIENCE
    while not all(client.answers for client in clients):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    return clients, wanted


def expected(bundle: Path) -> list[float]:
    with load_predictor("onnx", onnx_model=bundle) as predictor:
        return [prediction.score for prediction in predictor.predict_many(TEXTS)]


def recalibrated(bundle: Path, folder: Path) -> Path:
    """The same model with another temperature, which gives every score another value."""
    shutil.copytree(bundle, folder)
    manifest = read_manifest(folder, Kind.ONNX)
    ngrams = manifest.ngrams
    if ngrams:
        ngrams = {**ngrams, "rule": {**ngrams["rule"], "weight": ngrams["rule"]["weight"] * 0.9}}
    write_manifest(folder / MANIFEST, replace(manifest, temperature=manifest.temperature * 1.5, ngrams=ngrams))
    return folder


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_told_to_end_under_load_it_loses_no_answer(start_serve, bundle, number):
    server = start_serve()
    clients, _ = load(server, 8)
    server.process.send_signal(number)
    for client in clients:
        client.join(PATIENCE)
    assert server.process.wait(PATIENCE) == 0
    assert [client.problem for client in clients] == [None] * 8
    assert all(answer == expected(bundle) for client in clients for answer in client.answers)
    with pytest.raises(OSError):
        socket.create_connection(("127.0.0.1", server.port), timeout=1)
    assert "Traceback" not in server.log()


def test_what_waits_when_it_is_told_to_end_is_answered_and_nothing_new_is_accepted(start_serve, bundle):
    """A list that takes a while is sent, then the signal, then somebody else comes."""
    server = start_serve()
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=PATIENCE)
    connection.request("POST", "/classify", json.dumps({"text": TEXTS * 60}), JSON)
    time.sleep(0.05)
    server.process.terminate()
    time.sleep(0.5)
    with pytest.raises(OSError):
        socket.create_connection(("127.0.0.1", server.port), timeout=1)
    response = connection.getresponse()
    assert response.status == 200
    assert [answer["score"] for answer in json.loads(response.read())] == expected(bundle) * 60
    assert server.process.wait(PATIENCE) == 0


def test_it_ends_within_the_grace_time_whoever_hangs_on(start_serve):
    server = start_serve("--grace", "1")
    with socket.create_connection(("127.0.0.1", server.port), PATIENCE) as slow:
        slow.sendall(
            b"POST /predict HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 99\r\n\r\n{"
        )
        time.sleep(0.2)
        server.process.terminate()
        assert server.process.wait(20) == 0
        reply = slow.recv(4096)
    assert reply.startswith(b"HTTP/1.1 503 ")
    assert b"\r\nretry-after: 1\r\n" in reply
    assert b'{"error": "the server ends; send it again", "error_type": "Overloaded"}' in reply
    assert "Traceback" not in server.log()


def test_a_replaced_bundle_takes_over_between_two_requests_and_loses_none(start_serve, bundle, tmp_path):
    folder = shutil.copytree(bundle, tmp_path / "model")
    other = recalibrated(bundle, tmp_path / "other")
    before, after = expected(folder), expected(other)
    assert before != after
    server = start_serve(model=folder)
    clients, wanted = load(server, 4)
    digest = server.get("/info").json()["model_sha"]
    folder.rename(tmp_path / "old")
    other.rename(folder)
    deadline = time.monotonic() + PATIENCE
    while server.get("/info").json()["model_sha"] == digest:
        assert time.monotonic() < deadline, server.log()
        time.sleep(0.1)
    seen = [len(client.answers) for client in clients]
    while any(len(client.answers) < count + 3 for client, count in zip(clients, seen, strict=True)):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    # A model that cannot be used is said, and the one from before goes on.
    (folder / "model.onnx").write_bytes(b"no graph")
    while "goes on answering" not in server.log():
        assert time.monotonic() < deadline, server.log()
        time.sleep(0.1)
    assert server.get("/health").status == 200
    wanted.clear()
    for client in clients:
        client.join(PATIENCE)
        assert client.problem is None
        switch = client.answers.index(after)
        assert client.answers == [before] * switch + [after] * (len(client.answers) - switch)
    # The one that is put right takes over again; and once more when it is told to.
    shutil.copy(tmp_path / "old" / "model.onnx", folder / "model.onnx")
    for times in (2, 3):
        while server.log().count(" answers now, ") < times:
            assert time.monotonic() < deadline, server.log()
            time.sleep(0.1)
        server.process.send_signal(signal.SIGHUP)
    assert server.post("/classify", {"text": TEXTS}).json()[0]["score"] == after[0]


def test_without_a_model_it_does_not_start(toolkit_command, tmp_path):
    process = toolkit_command("serve", "--onnx-model", tmp_path / "none")
    assert process.returncode == 1
    assert process.stderr.decode().endswith(f"{tmp_path / 'none'} not found; make it with: toolkit export\n")
    assert b"Traceback" not in process.stderr


def test_a_port_that_is_taken_is_said(serving, toolkit_command, bundle):
    process = toolkit_command("serve", "--onnx-model", bundle, "--port", serving.port)
    assert process.returncode == 1
    assert "choose others with --host and --port" in process.stderr.decode()


@pytest.mark.parametrize(
    ("arguments", "key", "words"),
    [
        (("--queue", "3", "--most-texts", "4"), "", "give --queue a larger number"),
        (("--origin", "*"), "", "'*' is no origin"),
        (("--origin", "reviews.example.org"), "", "is no origin"),
        (("--name", "http://films.lan"), "", "'http://films.lan' is no name of a machine"),
        (("--name", "films.lan:8080"), "", "expected one such as films.lan, without a port"),
        ((), "open sesame", "TOOLKIT_SERVE_KEY holds what no header can carry"),
        (("--uncertain-below", "0.6", "--target-accuracy", "0.9"), "", "give one"),
    ],
)
def test_settings_that_cannot_work_are_said_before_it_listens(toolkit_command, bundle, arguments, key, words):
    process = toolkit_command("serve", "--onnx-model", bundle, *arguments, TOOLKIT_SERVE_KEY=key)
    assert process.returncode in (1, 2)
    assert words in process.stderr.decode()
    assert key not in process.stderr.decode() or not key


def test_an_open_address_without_a_key_is_warned_of(start_serve):
    warning = "anybody who reaches 0.0.0.0 can use this server; TOOLKIT_SERVE_KEY asks for a key"
    assert warning in start_serve("--host", "0.0.0.0").log()
    server = start_serve("--host", "0.0.0.0", TOOLKIT_SERVE_KEY="open-sesame")
    assert warning not in server.log()
    assert "open-sesame" not in server.log()
    assert server.get("/info").status == 401
    hub = pytest.importorskip("huggingface_hub", reason="no client of the Hub is installed")
    assert hub.InferenceClient(server.url, token="open-sesame").text_classification("Great fun.")


def test_options_of_predict_hold(start_serve, bundle, toolkit_command):
    options = (
        "--lang",
        "zh",
        "--uncertain-below",
        "1",
        "--readers",
        "model",
        "--max-length",
        "8",
        "--truncation",
        "head",
    )
    server = start_serve(*options)
    text = "One two three four five six seven eight nine ten."
    printed = toolkit_command("predict", "--json", *options, "--onnx-model", bundle, text).stdout.decode().strip()
    assert server.post("/classify", {"text": text}).body.decode() == printed
    assert os.path.basename(bundle) == server.get("/info").json()["model_id"]
