"""A model hub on loopback: enough of the hub's file API to download a repository, and ways to misbehave."""

import hashlib
import json
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

COMMIT = "0123456789abcdef0123456789abcdef01234567"


class Hub:
    """What the server holds and how it answers.

    Attributes:
        repositories: folders by (`models` or `datasets`, repository id).
        fault: None, `404`, `500`, `hang` (accepts and never answers), `500-files` and `hang-files` (the same once the
            repository has been found), `truncate` (half of every large file) or `nonsense` (JSON that is no answer).
        requests: paths asked for, in order.
    """

    def __init__(self, repositories: dict[tuple[str, str], Path], fault: str | None = None) -> None:
        self.repositories = repositories
        self.fault = fault
        self.requests: list[str] = []
        self.closing = threading.Event()

    def find(self, path: str) -> tuple[tuple[str, str], str] | None:
        """The repository a file's path belongs to and the file's name in it."""
        for key in self.repositories:
            prefix = f"/{'datasets/' if key[0] == 'datasets' else ''}{key[1]}/resolve/{COMMIT}/"
            if path.startswith(prefix):
                return key, path.removeprefix(prefix)
        return None


class _Handler(BaseHTTPRequestHandler):
    hub: Hub
    protocol_version = "HTTP/1.1"

    def do_HEAD(self):
        self.do_GET(with_body=False)

    def do_GET(self, with_body: bool = True):
        hub = self.hub
        path = self.path.partition("?")[0]
        hub.requests.append(path)
        is_file = "/resolve/" in path
        if hub.fault == "hang" or (hub.fault == "hang-files" and is_file):
            hub.closing.wait(60)
            self.close_connection = True
            return
        if hub.fault == "nonsense":
            self._answer(200, b"[]", with_body=with_body)
            return
        if hub.fault == "500" or (hub.fault == "500-files" and is_file):
            self._answer(500, b"oops", with_body=with_body)
            return
        for (kind, name), folder in hub.repositories.items():
            if hub.fault != "404" and path in (f"/api/{kind}/{name}", f"/api/{kind}/{name}/revision/main"):
                files = sorted(file.relative_to(folder).as_posix() for file in folder.rglob("*") if file.is_file())
                info = {
                    "id": name,
                    "sha": COMMIT,
                    "private": False,
                    "siblings": [{"rfilename": file} for file in files],
                }
                self._answer(200, json.dumps(info).encode(), with_body=with_body)
                return
        found = hub.find(path) if hub.fault != "404" else None
        if found and (hub.repositories[found[0]] / found[1]).is_file():
            self._send_file((hub.repositories[found[0]] / found[1]).read_bytes(), with_body)
        else:
            self._answer(404, b"{}", {"X-Error-Code": "RepoNotFound"}, with_body)

    def _send_file(self, content: bytes, with_body: bool):
        headers = {"ETag": f'"{hashlib.sha256(content).hexdigest()}"', "X-Repo-Commit": COMMIT}
        if self.hub.fault == "truncate" and with_body and len(content) > 4096:
            self.send_response(200)
            for name, value in {**headers, "Content-Length": str(len(content))}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(content[: len(content) // 2])
            self.close_connection = True
            return
        self._answer(200, content, headers, with_body)

    def _answer(self, status: int, body: bytes, headers: dict[str, str] | None = None, with_body: bool = True):
        self.send_response(status)
        for name, value in {**(headers or {}), "Content-Length": str(len(body))}.items():
            self.send_header(name, value)
        self.end_headers()
        if with_body:
            self.wfile.write(body)

    def log_message(self, *args):
        pass


@contextmanager
def serve(hub: Hub):
    """Yield the hub's address while it answers."""
    handler = type("Handler", (_Handler,), {"hub": hub})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        hub.closing.set()
        server.shutdown()
        server.server_close()
