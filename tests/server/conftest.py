"""The server, in this process with a predictor of the test's choice, and in one of its own as a user would start it."""

import asyncio
import contextlib
import http.client
import json
import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.chat.conftest import NO_NETWORK, SHIPPED
from tests.conftest import ROOT, FakePredictor
from tests.servers import end, wait_until

JSON = {"content-type": "application/json"}
NDJSON = {"content-type": "application/x-ndjson"}
PATIENCE = 120.0  # seconds for what takes one; machines are busy at times


@dataclass
class Reply:
    """What came back."""

    status: int
    headers: dict[str, str]
    body: bytes

    def json(self):
        return json.loads(self.body)


class Asked:
    """One request to an ASGI application: the parts of its body, and then a hang-up or nothing."""

    def __init__(self, *parts: bytes, hangs_up: float | None = None, pause: float = 0.0) -> None:
        self.parts = list(parts) or [b""]
        self._hangs_up = hangs_up  # seconds after its last part
        self.gone = asyncio.Event()
        self._pause = pause
        self.sent: list[dict] = []
        self.answered = asyncio.Event()

    async def receive(self):
        if self.parts:
            await asyncio.sleep(self._pause)
            body = self.parts.pop(0)
            if not self.parts and self._hangs_up is not None:
                asyncio.get_running_loop().call_later(self._hangs_up, self.gone.set)
            return {"type": "http.request", "body": body, "more_body": bool(self.parts)}
        await self.answered.wait()
        return {"type": "http.disconnect"}

    async def send(self, message):
        self.sent.append(message)
        if message["type"] == "http.response.body" and not message.get("more_body"):
            self.answered.set()

    def reply(self) -> Reply:
        start, *bodies = self.sent
        headers = {name.decode(): value.decode() for name, value in start["headers"]}
        return Reply(start["status"], headers, b"".join(each.get("body", b"") for each in bodies))


class Local:
    """The application in this process."""

    def __init__(self, service) -> None:
        from toolkit.server.application import application

        self.service = service
        self.app = application(service)

    @contextlib.asynccontextmanager
    async def running(self):
        async with self.app.router.lifespan_context(self.app):
            yield self

    async def post(self, path: str, body=b"", headers=JSON, asked: Asked | None = None) -> Reply:
        asked = asked or Asked(body if isinstance(body, bytes) else json.dumps(body).encode())
        await self._call("POST", path, headers, asked)
        return asked.reply()

    async def get(self, path: str, headers=()) -> Reply:
        asked = Asked()
        await self._call("GET", path, dict(headers), asked)
        return asked.reply()

    async def _call(self, method, path, headers, asked):
        pairs = {"host": "127.0.0.1:8080", **headers}
        scope = {
            "type": "http", "method": method, "path": path, "raw_path": path.encode(), "query_string": b"",
            "headers": [(name.lower().encode(), value.encode()) for name, value in pairs.items()],
            "client": ("127.0.0.1", 1), "scheme": "http", "http_version": "1.1", "state": {"gone": asked.gone},
        }  # fmt: skip
        await self.app(scope, asked.receive, asked.send)


class SlowPredictor(FakePredictor):
    """Takes its time with every batch, and says which there were."""

    seconds = 0.0

    def __init__(self, *arguments, **named) -> None:
        super().__init__(*arguments, **named)
        self.batches: list[list[str]] = []

    def predict_each(self, texts):
        texts = list(texts)
        self.batches.append(texts)
        time.sleep(self.seconds)
        return super().predict_each(texts)


@pytest.fixture
def slow_predictor(fake_predictor):
    return SlowPredictor(fake_predictor.manifest, fake_predictor.tokenizer)


@pytest.fixture
def make_local(slow_predictor, tmp_path):
    """The application on `slow_predictor`; to be called where a loop runs."""
    pytest.importorskip("starlette", reason="the extra 'serve' is not installed")

    def make(**settings) -> Local:
        from toolkit.models.bundle import Kind
        from toolkit.server.models import Models
        from toolkit.server.service import Service
        from toolkit.server.settings import ServerSettings

        (tmp_path / "manifest.json").write_text("{}")
        models = Models(lambda: slow_predictor, tmp_path, Kind.ONNX)
        slow_predictor.batches.clear()
        return Local(Service(ServerSettings(**settings), models))

    return make


@dataclass
class Server:
    """A running server."""

    url: str
    port: int
    process: subprocess.Popen
    folder: Path

    def request(self, method: str, path: str, body=None, headers=(), timeout: float = PATIENCE) -> Reply:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=timeout)
        with contextlib.closing(connection):
            connection.request(method, path, body, dict(headers))
            response = connection.getresponse()
            return Reply(response.status, {k.lower(): v for k, v in response.getheaders()}, response.read())

    def get(self, path: str, **headers: str) -> Reply:
        return self.request("GET", path, None, headers)

    def post(self, path: str, body, headers=JSON) -> Reply:
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        return self.request("POST", path, data, headers)

    def log(self) -> str:
        return (self.folder / "log").read_text()

    def outside_calls(self) -> str:
        calls = self.folder / "outside"
        return calls.read_text() if calls.exists() else ""

    def metric(self, name: str) -> float:
        line = next(line for line in self.get("/metrics").body.decode().splitlines() if line.startswith(f"{name} "))
        return float(line.split()[-1])


@pytest.fixture(scope="session")
def bundle(request) -> Path:
    """The shipped model where there is one, else the tiny one."""
    return SHIPPED if (SHIPPED / "model.onnx").is_file() else request.getfixturevalue("tiny_bundle")


@pytest.fixture(scope="session")
def start_serve(tmp_path_factory, bundle):
    """Start servers; they are ended with the test run."""
    pytest.importorskip("starlette", reason="the extra 'serve' is not installed")
    servers: list[Server] = []

    def start(*arguments, model=bundle, wait=True, **environment) -> Server:
        folder = tmp_path_factory.mktemp("serve")
        (folder / "sitecustomize.py").write_text(NO_NETWORK)
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        variables = {
            **{name: value for name, value in os.environ.items() if not name.startswith("TOOLKIT")},
            "OUTSIDE_CALLS": str(folder / "outside"),
            "PYTHONPATH": os.pathsep.join([str(folder), str(ROOT), os.environ.get("PYTHONPATH", "")]),
            **environment,
        }
        command = [sys.executable, "-m", "toolkit", "serve", "--port", str(port), "--onnx-model", str(model)]
        with (folder / "log").open("wb") as stream:
            process = subprocess.Popen(
                [*command, *map(str, arguments)], env=variables, cwd=folder, stdout=stream, stderr=subprocess.STDOUT
            )
        server = Server(f"http://127.0.0.1:{port}", port, process, folder)
        servers.append(server)
        if wait:
            wait_until(lambda: is_ready(server), process, server.log, PATIENCE)
        return server

    yield start
    end(server.process for server in servers)


@pytest.fixture(scope="session")
def serving(start_serve) -> Server:
    """The server that most tests share."""
    return start_serve()


@pytest.fixture(scope="session")
def predictor(bundle):
    """What the server has to answer as."""
    from toolkit.prediction import load_predictor

    with load_predictor("onnx", onnx_model=bundle) as predictor:
        yield predictor


def is_ready(server: Server) -> bool:
    try:
        with urllib.request.urlopen(f"{server.url}/health", timeout=30):
            return True
    except (OSError, urllib.error.HTTPError):
        return False
