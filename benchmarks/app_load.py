"""Many visitors of the chat app at once: every answer checked, waiting times, and the server's memory over time.

    python benchmarks/app_load.py --sessions 100 --reviews 20
    python benchmarks/app_load.py --sessions 100 --reviews 20 --minutes 10

The server is `toolkit chat` on loopback, in a process of its own; each visitor is a WebSocket as a browser opens it, who
sends a review once the one before is answered. Visitors come and go until every one has sent its reviews; with --minutes,
others follow for so long.
"""

import asyncio
import itertools
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import uuid4

import click

from toolkit.datasets.splits import read_reviews
from toolkit.prediction import InferenceOptions, load_predictor

PATIENCE = 600.0  # seconds for an answer, after which it is missing
EVERY = 5.0  # seconds between looks at the memory
MEGABYTE = 1e6


@dataclass
class Load:
    """What was seen.

    Attributes:
        seconds: from sending a review to its verdict, each.
        wrong: answers that were not the predictor's own.
        missing: reviews without an answer.
        sessions: visitors that came and went.
        memory: bytes of the server's resident set, by seconds since the first visitor.
    """

    seconds: list[float] = field(default_factory=list)
    wrong: int = 0
    missing: int = 0
    sessions: int = 0
    memory: list[tuple[float, int]] = field(default_factory=list)


@click.command()
@click.option("--sessions", type=click.IntRange(1, 1000), default=100, show_default=True, help="Visitors at a time.")
@click.option("--reviews", type=click.IntRange(1, 1000), default=20, show_default=True, help="That each of them sends.")
@click.option("--minutes", type=click.FloatRange(0, 60), default=0.0, show_default=True, help="To go on for.")
@click.option("--file", type=click.Path(path_type=Path), default="dataset/train.csv", show_default=True)
@click.option("--onnx-model", type=click.Path(path_type=Path), default="onnx_model", show_default=True)
def main(sessions: int, reviews: int, minutes: float, file: Path, onnx_model: Path) -> None:
    """Print what was seen; the exit code is 1 where an answer was wrong or missing."""
    texts = [review.text for review in read_reviews(file)]
    predictor = load_predictor("onnx", onnx_model=onnx_model, options=InferenceOptions(120))  # the app's default
    expected = {
        text: f"This text is classified as: {prediction.label.name}"
        for text, prediction in zip(texts, predictor.predict_many(texts), strict=True)
    }
    with tempfile.TemporaryDirectory(prefix="app-load.") as state:
        url, server = _start(onnx_model, state)
        try:
            load = asyncio.run(_visit(url, server.pid, sessions, reviews, minutes * 60, texts, expected))
        finally:
            server.terminate()
            server.wait(30)
    click.echo(report(load, sessions, reviews))
    if load.wrong or load.missing:
        raise SystemExit(1)


def report(load: Load, sessions: int, reviews: int) -> str:
    """A few lines of what was seen."""
    first, last = load.memory[0][1], load.memory[-1][1]
    lines = [
        f"{load.sessions} sessions, {sessions} at a time, {reviews} reviews each: {len(load.seconds)} answers, "
        f"{load.wrong} wrong, {load.missing} missing",
    ]
    if len(load.seconds) > 1:
        cuts = statistics.quantiles(load.seconds, n=100)
        lines.append(
            f"p50 {statistics.median(load.seconds):.2f} s, p95 {cuts[94]:.2f} s, worst {max(load.seconds):.2f} s"
        )
    lines.append(f"memory: {first / MEGABYTE:.0f} MB before, {last / MEGABYTE:.0f} MB at the end; by time:")
    step = max(1, len(load.memory) // 12)
    lines.append(", ".join(f"{moment:.0f} s {size / MEGABYTE:.0f} MB" for moment, size in load.memory[::step]))
    return "\n".join(lines)


def _start(onnx_model: Path, state: str) -> tuple[str, subprocess.Popen[bytes]]:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "toolkit", "chat", "--port", str(port), "--onnx-model", str(onnx_model.absolute()),
               "--state", state]  # fmt: skip
    server = subprocess.Popen(command, env={**os.environ, "TOOLKIT_CHAT_LANGUAGE": "en"})
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


async def _visit(
    url: str, pid: int, sessions: int, reviews: int, seconds: float, texts: Sequence[str], expected: dict[str, str]
) -> Load:
    load, started = Load(), time.monotonic()
    load.memory.append((0.0, _memory(pid)))
    turn = itertools.cycle(texts)
    done = asyncio.Event()

    async def watch() -> None:
        while not done.is_set():
            try:
                await asyncio.wait_for(done.wait(), EVERY)
            except TimeoutError:
                load.memory.append((time.monotonic() - started, _memory(pid)))

    async def come_again() -> None:
        await _one_visitor(url, list(itertools.islice(turn, reviews)), expected, load)
        while time.monotonic() - started < seconds:
            await _one_visitor(url, list(itertools.islice(turn, reviews)), expected, load)

    watching = asyncio.create_task(watch())
    await asyncio.gather(*(come_again() for _ in range(sessions)))
    done.set()
    await watching
    load.memory.append((time.monotonic() - started, _memory(pid)))
    return load


async def _one_visitor(url: str, reviews: Sequence[str], expected: dict[str, str], load: Load) -> None:
    import socketio

    client = socketio.AsyncClient(reconnection=False)
    answers: asyncio.Queue[str] = asyncio.Queue()

    async def hear(message: dict[str, Any]) -> None:
        if message["type"] == "assistant_message":
            await answers.put(message["output"])

    client.on("new_message", hear)
    auth = {"sessionId": str(uuid4()), "clientType": "webapp", "threadId": "", "userEnv": "", "chatProfile": ""}
    await client.connect(
        url, headers={"Accept-Language": "en"}, auth=auth, socketio_path="/ws/socket.io", transports=["websocket"],
        wait_timeout=60,
    )  # fmt: skip
    await client.emit("connection_successful")
    load.sessions += 1
    for number, text in enumerate(reviews):
        message = {
            "id": str(uuid4()),
            "threadId": "",
            "name": "User",
            "type": "user_message",
            "output": text,
            "createdAt": "",
        }
        sent = time.monotonic()
        await client.emit("client_message", {"message": message, "fileReferences": []})
        try:
            answer = await asyncio.wait_for(answers.get(), PATIENCE)
        except TimeoutError:
            load.missing += len(reviews) - number
            break
        load.seconds.append(time.monotonic() - sent)
        load.wrong += answer != expected[text]
    await client.disconnect()
    load.wrong += answers.qsize()  # more answers than reviews


def _memory(pid: int) -> int:
    """Bytes of a process's resident set; see proc(5)."""
    status = Path(f"/proc/{pid}/status").read_text(encoding="ascii")
    return int(status.partition("VmRSS:")[2].split()[0]) * 1024


if __name__ == "__main__":
    main()
