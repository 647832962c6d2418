"""Many visitors of the chat app at once: every answer checked, waiting times, and the server's memory over time.

    python benchmarks/app_load.py --sessions 100 --reviews 20
    python benchmarks/app_load.py --sessions 100 --reviews 20 --minutes 10

The server is `toolkit chat` on loopback, in a process of its own; each visitor is a WebSocket as a browser opens it, who
sends a review once the one before is answered. Visitors come and go until every one has sent its reviews; with --minutes,
others follow for so long.
"""

import asyncio
import itertools
import statistics
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import click

from app_visitors import Visitor, memory_of, start_server
from toolkit.datasets.splits import read_reviews
from toolkit.prediction import load_predictor

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
    predictor = load_predictor("onnx", onnx_model=onnx_model)
    expected = {
        text: f"This text is classified as: {prediction.label.name}"
        for text, prediction in zip(texts, predictor.predict_many(texts), strict=True)
    }
    with tempfile.TemporaryDirectory(prefix="app-load.") as state:
        url, server = start_server(onnx_model, state)
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


async def _visit(
    url: str, pid: int, sessions: int, reviews: int, seconds: float, texts: Sequence[str], expected: dict[str, str]
) -> Load:
    load, started = Load(), time.monotonic()
    load.memory.append((0.0, memory_of(pid)))
    turn = itertools.cycle(texts)
    done = asyncio.Event()

    async def watch() -> None:
        while not done.is_set():
            try:
                await asyncio.wait_for(done.wait(), EVERY)
            except TimeoutError:
                load.memory.append((time.monotonic() - started, memory_of(pid)))

    async def come_again() -> None:
        await _one_visitor(url, list(itertools.islice(turn, reviews)), expected, load)
        while time.monotonic() - started < seconds:
            await _one_visitor(url, list(itertools.islice(turn, reviews)), expected, load)

    watching = asyncio.create_task(watch())
    await asyncio.gather(*(come_again() for _ in range(sessions)))
    done.set()
    await watching
    load.memory.append((time.monotonic() - started, memory_of(pid)))
    return load


async def _one_visitor(url: str, reviews: Sequence[str], expected: dict[str, str], load: Load) -> None:
    async with Visitor(url) as visitor:
        load.sessions += 1
        for number, text in enumerate(reviews):
            sent = time.monotonic()
            try:
                answer = await visitor.ask(text)
            except TimeoutError:
                load.missing += len(reviews) - number
                break
            load.seconds.append(time.monotonic() - sent)
            load.wrong += answer != expected[text]
    load.wrong += visitor.answers.qsize()  # more answers than reviews


if __name__ == "__main__":
    main()
