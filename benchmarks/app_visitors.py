"""Visitors of the chat app, as WebSockets that a browser opens, and the server they visit, on loopback."""

import asyncio
import json
import os
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path
from typing import Any, Self
from uuid import uuid4

import click

PATIENCE = 600.0  # seconds for an answer, after which it is missing


def start_server(onnx_model: Path, state: str, **environment: str) -> tuple[str, "subprocess.Popen[bytes]"]:
    """`toolkit chat` in a process of its own.

    Args:
        onnx_model: The bundle to serve.
        state: The state folder.
        environment: Variables of the environment.

    Returns:
        Where it is, and the process.

    Raises:
        ClickException: It does not start.
    """
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "toolkit", "chat", "--port", str(port), "--onnx-model", str(onnx_model.absolute()),
               "--state", state]  # fmt: skip
    server = subprocess.Popen(command, env={**os.environ, "TOOLKIT_CHAT_LANGUAGE": "en", **environment})
    url = f"http://127.0.0.1:{port}"
    for _ in range(600):
        try:
            urllib.request.urlopen(f"{url}/health", timeout=30).close()  # noqa: S310 - our own
            return url, server
        except OSError as error:
            if server.poll() is not None:
                raise click.ClickException("the server did not start") from error
            time.sleep(0.2)
    raise click.ClickException("the server does not answer")


def memory_of(pid: int) -> int:
    """Bytes of a process's resident set; see proc(5)."""
    status = Path(f"/proc/{pid}/status").read_text(encoding="ascii")
    return int(status.partition("VmRSS:")[2].split()[0]) * 1024


class Visitor:
    """One page, open as long as its context.

    Args:
        url: Where the server is.
    """

    def __init__(self, url: str) -> None:
        import socketio

        self.answers: asyncio.Queue[str] = asyncio.Queue()
        self._url = url
        self._session = str(uuid4())
        self._done: asyncio.Queue[None] = asyncio.Queue()
        self._panels: dict[str, dict[str, Any]] = {}  # the latest of each name
        self._seen = asyncio.Event()
        self._client = socketio.AsyncClient(reconnection=False)
        self._client.on("new_message", self._hear)
        self._client.on("element", self._see)
        self._client.on("task_end", lambda *_: self._done.put_nowait(None))

    async def __aenter__(self) -> Self:
        auth = {"sessionId": self._session, "clientType": "webapp", "threadId": "", "userEnv": "", "chatProfile": ""}
        await self._client.connect(
            self._url, headers={"Accept-Language": "en"}, auth=auth, socketio_path="/ws/socket.io",
            transports=["websocket"], wait_timeout=60,
        )  # fmt: skip
        await self._client.emit("connection_successful")
        await asyncio.wait_for(self._done.get(), PATIENCE)  # the page is told that nothing is being done
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._client.disconnect()

    async def ask(self, text: str) -> str:
        """Send a review, and take its verdict.

        Raises:
            TimeoutError: There is none.
        """
        await self._send(text)
        return await asyncio.wait_for(self.answers.get(), PATIENCE)

    async def finished(self) -> None:
        """Wait until the last message is answered in full."""
        await asyncio.wait_for(self._done.get(), PATIENCE)

    async def press(self, label: str) -> None:
        """Press the button of a label under the last answer."""
        answer = (await self._panel("Feedback"))["answer"]
        action = {"name": "correct", "payload": {"answer": answer, "label": label}}
        await self._post(
            "/project/action",
            {"Content-Type": "application/json"},
            json.dumps({"sessionId": self._session, "action": action}).encode(),
        )

    async def classify_file(self, lines: bytes) -> bytes:
        """Send a file of a review a line, and download what comes of it."""
        boundary = uuid4().hex
        head = f'--{boundary}\r\nContent-Disposition: form-data; name="file"; filename="a.txt"\r\nContent-Type: text/plain\r\n\r\n'
        form = {"Content-Type": f"multipart/form-data; boundary={boundary}"}
        body = head.encode() + lines + f"\r\n--{boundary}--\r\n".encode()
        stored = await self._post(f"/project/file?session_id={self._session}", form, body)
        await self._send("", [{"id": stored["id"]}])
        await self.finished()
        path = (await self._panel("Reviews"))["download"]["path"]
        return await asyncio.to_thread(_get, f"{self._url}{path}")

    async def _send(self, text: str, files: list[dict[str, str]] | None = None) -> None:
        message = {
            "id": str(uuid4()),
            "threadId": "",
            "name": "User",
            "type": "user_message",
            "output": text,
            "createdAt": "",
        }
        await self._client.emit("client_message", {"message": message, "fileReferences": files or []})

    async def _hear(self, message: dict[str, Any]) -> None:
        if message["type"] == "assistant_message":
            await self.answers.put(message["output"])

    async def _see(self, element: dict[str, Any]) -> None:
        self._panels[element["name"]] = element.get("props") or {}
        self._seen.set()

    async def _panel(self, name: str) -> dict[str, Any]:
        async with asyncio.timeout(PATIENCE):
            while name not in self._panels:
                self._seen.clear()
                await self._seen.wait()
        return self._panels[name]

    async def _post(self, path: str, headers: dict[str, str], body: bytes) -> Any:  # noqa: ANN401 - what JSON holds
        request = urllib.request.Request(f"{self._url}{path}", body, headers)  # noqa: S310 - our own
        return json.loads(await asyncio.to_thread(_get, request))


def _get(request: str | urllib.request.Request) -> bytes:
    with urllib.request.urlopen(request, timeout=PATIENCE) as answer:  # noqa: S310 - our own
        content: bytes = answer.read()
        return content
