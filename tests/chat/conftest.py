"""A chat server in a process of its own, as a user would start it, with the network watched."""

import json
import os
import socket
import subprocess
import sys
import urllib.error
import urllib.parse
import urllib.request
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.conftest import ROOT
from tests.servers import end, wait_until
from toolkit.prediction import load_predictor

SHIPPED = ROOT / "onnx_model"
# Imported by the server's Python before anything else: every attempt to leave the machine fails and is written down.
NO_NETWORK = """
import os, socket
def refuse(self, address, connect):
    if self.family in (socket.AF_INET, socket.AF_INET6) and address[0] not in ("127.0.0.1", "::1", "localhost"):
        with open(os.environ["OUTSIDE_CALLS"], "a") as stream:
            stream.write(f"{address}\\n")
        raise OSError("the network is blocked")
    return connect(self, address)
for name in ("connect", "connect_ex"):
    setattr(socket.socket, name, lambda self, address, connect=getattr(socket.socket, name): refuse(self, address, connect))
lookup = socket.getaddrinfo
def getaddrinfo(host, *arguments, **named):
    if host not in (None, "", "127.0.0.1", "::1", "localhost", b"127.0.0.1"):
        with open(os.environ["OUTSIDE_CALLS"], "a") as stream:
            stream.write(f"lookup of {host}\\n")
        raise OSError("the network is blocked")
    return lookup(host, *arguments, **named)
socket.getaddrinfo = getaddrinfo
"""


@dataclass
class Server:
    """A running server: where it is, and the folders it was given."""

    url: str
    port: int
    state: Path
    home: Path
    process: subprocess.Popen
    log: Path

    def get(self, path: str = "/", **headers):
        return self.request(urllib.request.Request(f"{self.url}{path}", headers=headers))

    def request(self, request):
        try:
            with urllib.request.urlopen(request, timeout=30) as response:
                return response.status, dict(response.headers), response.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, dict(error.headers), error.read().decode()

    def health(self):
        status, _, body = self.get("/health")
        return status, json.loads(body)

    def outside_calls(self) -> str:
        calls = self.home / "outside"
        return calls.read_text() if calls.exists() else ""


@pytest.fixture(scope="session")
def bundle(request) -> Path:
    """The shipped model where there is one, else the tiny one, which knows nothing of films."""
    return SHIPPED if (SHIPPED / "model.onnx").is_file() else request.getfixturevalue("tiny_bundle")


@pytest.fixture(scope="session")
def start_server(tmp_path_factory, bundle):
    """Start servers; they are ended with the test run."""
    pytest.importorskip("chainlit", reason="the extra 'app' is not installed")
    servers = []

    def start(command=("-m", "toolkit", "chat"), wait=True, **environment) -> Server:
        folder = tmp_path_factory.mktemp("chat")
        for name in ("home", "state", "site"):
            (folder / name).mkdir()
        (folder / "site" / "sitecustomize.py").write_text(NO_NETWORK)
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        log = folder / "log"
        variables = {
            **{name: value for name, value in os.environ.items() if not name.startswith(("CHAINLIT", "TOOLKIT"))},
            "HOME": str(folder / "home"),
            "OUTSIDE_CALLS": str(folder / "home" / "outside"),
            "PYTHONPATH": os.pathsep.join([str(folder / "site"), str(ROOT), os.environ.get("PYTHONPATH", "")]),
            "TOOLKIT_STATE": str(folder / "state"),
            "TOOLKIT_ONNX_MODEL": str(bundle),
            **environment,
        }
        arguments = [sys.executable, *command, "--host", "127.0.0.1", "--port", str(port)]
        with log.open("wb") as stream:
            process = subprocess.Popen(
                arguments, env=variables, cwd=folder / "home", stdout=stream, stderr=subprocess.STDOUT
            )
        server = Server(f"http://127.0.0.1:{port}", port, folder / "state", folder / "home", process, log)
        servers.append(server)
        if wait:
            wait_until(lambda: is_ready(server), process, log.read_text, 180)
        return server

    yield start
    end(server.process for server in servers)


@pytest.fixture(scope="session")
def server(start_server) -> Server:
    """The server most tests share."""
    return start_server()


def is_ready(server: Server) -> bool:
    try:
        return server.health()[0] == 200
    except OSError:
        return False


@pytest.fixture(scope="module")
def chromium():
    """Headless Chromium; CI has it, elsewhere its absence skips."""
    playwright = pytest.importorskip("playwright.sync_api", reason="the extra 'dev' is not installed")
    from tests.chat.tabs import ARGUMENTS, CHROMIUM

    if CHROMIUM is None:
        if os.environ.get("CI", "").lower() in ("1", "true"):
            pytest.fail("no chromium found, and CI has to have it: apt-get install chromium fonts-noto-cjk")
        pytest.skip("no chromium found: apt-get install chromium fonts-noto-cjk")
    with playwright.sync_playwright() as player:
        browser = player.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield browser
        browser.close()


@pytest.fixture
def open_tab(chromium, server):
    """Open pages of the shared server; none of them may have asked another host for anything."""
    from tests.chat.tabs import Tab

    tabs = []

    def open_one(**options) -> Tab:
        tabs.append(Tab(chromium, server, **options))
        return tabs[-1]

    yield open_one
    for tab in tabs:
        assert tab.outside == []
        tab.context.close()


@pytest.fixture(scope="module")
def reader(bundle):
    """The same model, asked directly."""
    return load_predictor("onnx", onnx_model=bundle)


@pytest.fixture(scope="session")
def locked_server(start_server) -> Server:
    """A server that asks for a password, `open sesame`."""
    return start_server(TOOLKIT_CHAT_PASSWORD="open sesame")


@pytest.fixture
def locked(chromium, locked_server):
    """Open the page on which one signs in."""
    from tests.chat.tabs import Tab

    tabs = []

    def open_one(**options) -> Tab:
        tabs.append(Tab(chromium, locked_server, opened=False, **options))
        tabs[-1].page.goto(locked_server.url)
        return tabs[-1]

    yield open_one
    for tab in tabs:
        assert tab.outside == []
        tab.context.close()
