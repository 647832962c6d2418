"""Where the chat app's memory levels: visitors who come one after the other for half an hour, and what the server holds.

    python benchmarks/app_soak.py
    python benchmarks/app_soak.py --minutes 8 --kept 60

The server is `toolkit chat` on loopback, in a process of its own. A visitor sends reviews, corrects the last answer, sends
a file, downloads the results and closes the page; the server keeps the conversation for a while, in case the page comes
back. Memory has levelled once it grows no more although visitors go on coming.
"""

import asyncio
import itertools
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import click

from app_visitors import Visitor, memory_of, start_server
from toolkit.datasets.splits import read_reviews

AT_A_TIME = 10  # visitors; who comes while there are so many turns back
EVERY = 5.0  # seconds between looks at the memory
MEGABYTE, KILOBYTE = 1e6, 1e3


@dataclass(frozen=True, slots=True)
class Moment:
    """What was seen at one time.

    Attributes:
        seconds: Since the first visitor.
        ended: Visitors that have come and gone.
        kept: Those of them whose conversation the server still keeps.
        memory: Bytes of the server's resident set.
    """

    seconds: float
    ended: int
    kept: int
    memory: int


@dataclass
class Soak:
    """What was seen.

    Attributes:
        moments: In order.
        left: The time when each visitor left.
        turned_back: Visitors who found too many others there.
    """

    moments: list[Moment] = field(default_factory=list)
    left: list[float] = field(default_factory=list)
    turned_back: int = 0


@click.command()
@click.option("--minutes", type=click.FloatRange(0.1, 60), default=30.0, show_default=True, help="To go on for.")
@click.option(
    "--every", type=click.FloatRange(0.1), default=2.0, show_default=True, help="Seconds from visitor to visitor."
)
@click.option("--reviews", type=click.IntRange(1, 100), default=5, show_default=True, help="That each of them sends.")
@click.option(
    "--rows", type=click.IntRange(1, 10_000), default=50, show_default=True, help="Of the file that each sends."
)
@click.option("--kept", type=click.IntRange(1, 86_400), default=600, show_default=True,
              help="Seconds that a conversation outlives its page.")  # fmt: skip
@click.option("--file", type=click.Path(path_type=Path), default="dataset/train.csv", show_default=True)
@click.option("--onnx-model", type=click.Path(path_type=Path), default="onnx_model", show_default=True)
def main(minutes: float, every: float, reviews: int, rows: int, kept: int, file: Path, onnx_model: Path) -> None:
    """Print the memory by time, and how much it grew for each visitor in the second half."""
    texts = [review.text for review in read_reviews(file)]
    with tempfile.TemporaryDirectory(prefix="app-soak.") as state:
        url, server = start_server(onnx_model, state, TOOLKIT_CHAT_KEPT_SECONDS=str(kept))
        try:
            soak = asyncio.run(_soak(url, server.pid, minutes * 60, every, texts, reviews, rows, kept))
        finally:
            server.terminate()
            server.wait(30)
    click.echo(report(soak))


def report(soak: Soak) -> str:
    """A line for each of some fifteen moments, and one for the second half."""
    lines = [f"{'s':>6} {'ended':>6} {'kept':>6} {'MB':>7}"]
    step = max(1, len(soak.moments) // 15)
    lines += [
        f"{each.seconds:6.0f} {each.ended:6} {each.kept:6} {each.memory / MEGABYTE:7.1f}"
        for each in soak.moments[::step]
    ]
    middle, last = soak.moments[len(soak.moments) // 2], soak.moments[-1]
    visitors, growth = last.ended - middle.ended, last.memory - middle.memory
    each = f"{growth / visitors / KILOBYTE:.1f} kB" if visitors else "nothing"
    lines.append(f"second half: {visitors} visitors, {growth / MEGABYTE:+.1f} MB, {each} for each")
    if soak.turned_back:
        lines.append(f"{soak.turned_back} visitors found {AT_A_TIME} others there and turned back")
    return "\n".join(lines)


async def _soak(
    url: str, pid: int, seconds: float, every: float, texts: Sequence[str], reviews: int, rows: int, kept: int
) -> Soak:
    soak, started, turn = Soak(), time.monotonic(), itertools.cycle(texts)
    there: set[asyncio.Task[None]] = set()

    def look() -> None:
        now = time.monotonic()
        still = sum(now - moment < kept for moment in soak.left)
        soak.moments.append(Moment(now - started, len(soak.left), still, memory_of(pid)))

    async def watch() -> None:
        while True:
            look()
            await asyncio.sleep(EVERY)

    async def visit() -> None:
        await _one_visitor(url, turn, reviews, rows)
        soak.left.append(time.monotonic())

    watching = asyncio.create_task(watch())
    while time.monotonic() - started < seconds:
        if watching.done():
            await watching  # the server has gone
        for task in [each for each in there if each.done()]:
            there.discard(task)
            await task  # raises what a visitor met
        if len(there) < AT_A_TIME:
            there.add(asyncio.create_task(visit()))
        else:
            soak.turned_back += 1
        await asyncio.sleep(every)
    await asyncio.gather(*there)
    watching.cancel()
    look()
    return soak


async def _one_visitor(url: str, turn: Iterator[str], reviews: int, rows: int) -> None:
    async with Visitor(url) as visitor:
        for text in itertools.islice(turn, reviews):
            await visitor.ask(text)
            await visitor.finished()
        await visitor.press("positive")
        lines = "".join(" ".join(text.split()) + "\n" for text in itertools.islice(turn, rows))
        results = await visitor.classify_file(lines.encode())
        if len(results.splitlines()) <= rows:
            raise click.ClickException("the results lack rows")


if __name__ == "__main__":
    main()
