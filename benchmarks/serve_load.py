"""`toolkit serve` under load, and beside it the same model behind the plain framework that most people would write.

    python benchmarks/serve_load.py --file build/imdb/test.csv --seconds 30 --markdown
    python benchmarks/serve_load.py --file build/imdb/test.csv --seconds 600 --connections 8 --plain none

Servers and client are on loopback, in processes of their own, one server at a time. A connection sends a request once the
one before is answered: single reviews, then lists. Every answer of ours is compared with the predictor's own, to the bit;
throughput is shown as a share of what `predict_many` reaches in this process, in the same run, by the clock and by the time
that the server's cores computed. The plain server is a
`transformers` pipeline in FastAPI, on the adapter merged into its base, asked as its own documentation shows.
"""

import asyncio
import itertools
import json
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import click

from peer_engines import merged_folder
from toolkit.benchmark.models import Models
from toolkit.benchmark.report import as_markdown
from toolkit.datasets.splits import read_reviews
from toolkit.prediction import load_predictor

MEGABYTE = 1e6
HEAD = b"POST /classify HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
EVERY = 2.0  # seconds between looks at the memory
PLAIN = """
import json, sys
from fastapi import FastAPI
from pydantic import BaseModel
from transformers import AutoModelForSequenceClassification, AutoTokenizer, pipeline
import uvicorn

folder, port = sys.argv[1:]
tokenizer = AutoTokenizer.from_pretrained(folder, trust_remote_code=False)
model = AutoModelForSequenceClassification.from_pretrained(folder, trust_remote_code=False)
classifier = pipeline("text-classification", model=model, tokenizer=tokenizer, truncation=True, trust_remote_code=False)

class Body(BaseModel):
    text: str | list[str]

app = FastAPI()

@app.get("/health")
def health():
    return {}

@app.post("/classify")
def classify(body: Body):
    return classifier(body.text)

uvicorn.run(app, host="127.0.0.1", port=int(port), log_level="warning")
"""


@dataclass
class Load:
    """What was seen of one server under one load.

    Attributes:
        server: Which server.
        connections: The number of connections.
        size: The number of reviews in a request.
        seconds: From sending a request to its answer, each.
        wrong: The number of answers that were not the predictor's own, and of requests without one.
        span: The seconds that the whole load took.
        cpu: The seconds of all cores together that the server took for it.
        memory: The bytes of the server's resident set, over time.
    """

    server: str
    connections: int
    size: int
    seconds: list[float] = field(default_factory=list)
    wrong: int = 0
    span: float = 0.0
    cpu: float = 0.0
    memory: list[int] = field(default_factory=list)

    @property
    def rate(self) -> float:
        """Reviews a second."""
        return len(self.seconds) * self.size / self.span

    def row(self, alone: float, alone_cpu: float) -> list[str]:
        """A row of the table.

        Args:
            alone: What `predict_many` reaches, in reviews a second.
            alone_cpu: The same in a second of one core, which other work on the machine does not change.
        """
        reviews = len(self.seconds) * self.size
        cuts = (
            statistics.quantiles(self.seconds, n=100, method="inclusive")
            if len(self.seconds) > 1
            else self.seconds * 99
        )
        return [
            self.server, str(self.connections), str(self.size), f"{self.rate:.1f}", f"{self.rate / alone:.0%}",
            f"{reviews / self.cpu / alone_cpu:.0%}",
            *(f"{1000 * cuts[place - 1]:.0f}" for place in (50, 95, 99)), f"{self.memory[0] / MEGABYTE:.0f}",
            f"{self.memory[-1] / MEGABYTE:.0f}", f"{self.wrong} of {reviews}",
        ]  # fmt: skip


HEADERS = ("server", "connections", "reviews a request", "reviews/s", "of predict_many", "by CPU", "p50 ms", "p95 ms", "p99 ms",
           "MB before", "MB after", "wrong")  # fmt: skip

Check = Callable[[Any, Sequence[str]], int]


@click.command()
@click.option("--connections", default="1,8,64", show_default=True, help="Connections at a time, each number a row.")
@click.option("--sizes", default="1,32", show_default=True, help="Reviews in a request, each number a row.")
@click.option("--seconds", type=click.FloatRange(0.1, 900), default=15.0, show_default=True, help="Of each row.")
@click.option("--limit", type=click.IntRange(1, 20_000), default=500, show_default=True, help="Reviews, asked in turn.")
@click.option("--file", type=click.Path(path_type=Path), default="dataset/train.csv", show_default=True)
@click.option("--onnx-model", type=click.Path(path_type=Path), default="onnx_model", show_default=True)
@click.option("--adapter", type=click.Path(path_type=Path), default="lora_model", show_default=True)
@click.option(
    "--plain",
    type=click.Choice(("fastapi", "none")),
    default="fastapi",
    show_default=True,
    help="What stands beside it.",
)
@click.option("--markdown", is_flag=True, help="Print the table of docs/serving.md.")
def main(
    connections: str,
    sizes: str,
    seconds: float,
    limit: int,
    file: Path,
    onnx_model: Path,
    adapter: Path,
    plain: Literal["fastapi", "none"],
    markdown: bool,
) -> None:
    """Print what was seen; the exit code is 1 where an answer of ours was wrong or missing."""  # fmt: skip
    texts = [review.text for review in read_reviews(file)[:limit]]
    with load_predictor("onnx", onnx_model=onnx_model) as predictor:
        list(predictor.predict_many(texts[:32]))
        started, cpu = time.perf_counter(), time.process_time()
        predictions = list(predictor.predict_many(texts))
        alone, alone_cpu = len(texts) / (time.perf_counter() - started), len(texts) / (time.process_time() - cpu)
    expected = {text: prediction.score for text, prediction in zip(texts, predictions, strict=True)}
    plans = [(int(count), int(size)) for size in sizes.split(",") for count in connections.split(",")]

    def compare(answer: Any, asked: Sequence[str]) -> int:  # noqa: ANN401 - JSON
        scores = [each["score"] for each in answer]
        return sum(given != expected[text] for given, text in zip(scores, asked, strict=True))

    with _toolkit(onnx_model) as server:
        loads = [_measure("toolkit serve", server, count, size, seconds, texts, compare) for count, size in plans]
    if plain == "fastapi":
        with tempfile.TemporaryDirectory(prefix="serve-load.") as folder:
            merged = merged_folder(Models(onnx_model, adapter, Path(folder)))
            with _running([sys.executable, "-c", PLAIN, str(merged), "PORT"]) as server:
                loads += [
                    _measure("FastAPI + pipeline", server, count, size, seconds, texts, lambda *_: 0)
                    for count, size in plans
                ]
    click.echo(f"predict_many alone: {alone:.1f} reviews/s, {alone_cpu:.1f} in a second of one core\n")
    rows = [load.row(alone, alone_cpu) for load in loads]
    click.echo(as_markdown([HEADERS, *rows]) if markdown else "\n".join("  ".join(row) for row in (HEADERS, *rows)))
    if any(load.wrong for load in loads):
        raise SystemExit(1)


def _toolkit(onnx_model: Path) -> Any:  # noqa: ANN401
    command = ["-m", "toolkit", "serve", "--port", "PORT", "--onnx-model", str(onnx_model.absolute())]
    return _running([sys.executable, *command])


@contextmanager
def _running(command: Sequence[str]) -> Iterator[tuple[int, int]]:
    """A server in a process of its own; its port, and its id."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    process = subprocess.Popen([str(port) if word == "PORT" else word for word in command], env=dict(os.environ))
    try:
        for _ in range(600):
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=30).close()
                break
            except OSError as error:
                if process.poll() is not None:
                    raise click.ClickException("the server did not start") from error
                time.sleep(0.2)
        else:
            raise click.ClickException("the server does not answer")
        yield port, process.pid
    finally:
        process.terminate()
        process.wait(60)


def _measure(
    name: str, server: tuple[int, int], connections: int, size: int, seconds: float, texts: Sequence[str], check: Check
) -> Load:
    """Ask a server over so many connections for so many seconds."""
    load = Load(name, connections, size)
    port, pid = server
    turn = itertools.cycle(texts)
    started, cpu = time.perf_counter(), _cpu(pid)

    async def ask() -> None:
        """One connection, on which a request follows the other."""
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        while time.perf_counter() - started < seconds:
            asked = list(itertools.islice(turn, size))
            body = json.dumps({"text": asked}).encode()
            sent = time.perf_counter()
            writer.write(HEAD % len(body) + body)
            status, answer = await _read(reader)
            load.seconds.append(time.perf_counter() - sent)
            load.wrong += check(json.loads(answer), asked) if status == 200 else size
        writer.close()
        await writer.wait_closed()

    async def watch() -> None:
        while True:
            load.memory.append(_memory(pid))
            await asyncio.sleep(EVERY)

    async def run() -> None:
        watching = asyncio.create_task(watch())
        await asyncio.gather(*(ask() for _ in range(connections)))
        watching.cancel()

    asyncio.run(run())
    load.span, load.cpu = time.perf_counter() - started, _cpu(pid) - cpu
    load.memory.append(_memory(pid))
    return load


async def _read(reader: asyncio.StreamReader) -> tuple[int, bytes]:
    """The status and the body of an answer that says its length."""
    head = (await reader.readuntil(b"\r\n\r\n")).lower()
    length = int(head.partition(b"content-length:")[2].split()[0])
    return int(head.split()[1]), await reader.readexactly(length)


def _cpu(pid: int) -> float:
    """Seconds that a process has computed on all cores together; see proc(5)."""
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _memory(pid: int) -> int:
    """Bytes of a process's resident set; see proc(5)."""
    status = Path(f"/proc/{pid}/status").read_text(encoding="ascii")
    return int(status.partition("VmRSS:")[2].split()[0]) * 1024


if __name__ == "__main__":
    main()
