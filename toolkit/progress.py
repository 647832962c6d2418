"""How far a long piece of work is, on stderr: a bar on a terminal, a line now and then in a log, JSON for a program."""

import json
import logging
import math
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from contextvars import ContextVar

import click

from toolkit.choices import ProgressStyle

Detail = Callable[[], Mapping[str, float]]

style: ContextVar[ProgressStyle] = ContextVar("style", default="auto")
_LINE_EVERY = 60.0  # seconds between two lines in a log
_JSON_EVERY = 1.0
_logger = logging.getLogger(__name__)


class Progress:
    """What has been done of a piece of work, and how fast.

    Args:
        what: What is being done, as `evaluating`.
        unit: What is counted, as `reviews`.
        total: How many there are; None where nobody knows.
        done: How many were done before, as by a run that this one goes on with.
        detail: Gives further figures, for a report that is due.
    """

    def __init__(
        self, what: str, unit: str, total: int | None = None, done: int = 0, detail: Detail = lambda: {}
    ) -> None:
        self.what, self.unit, self.total, self.done = what, unit, total, done
        self._began, self._first, self._detail = time.monotonic(), done, detail
        self._reported = self._began
        self._show: Callable[[], object] = lambda: None

    def watch(self, show: Callable[[], object]) -> None:
        """Let `show` be called whenever something was done."""
        self._show = show

    def advance(self, count: int = 1) -> None:
        """So many more are done."""
        self.done += count
        self._show()

    def reach(self, done: int, total: int) -> None:
        """So many are done, of so many."""
        self.done, self.total = done, total
        self._show()

    @property
    def seconds(self) -> float:
        """Since the beginning."""
        return time.monotonic() - self._began

    @property
    def rate(self) -> float:
        """How many are done in a second; 0 before there is any."""
        return (self.done - self._first) / self.seconds if self.seconds > 0 else 0.0

    @property
    def seconds_left(self) -> float | None:
        """At this rate; None where that cannot be said."""
        if self.total is None or self.rate <= 0:
            return None
        return max(0, self.total - self.done) / self.rate

    def is_due(self, every: float) -> bool:
        """Whether the last report, or the beginning, is `every` seconds ago; then a new period begins."""
        if (now := time.monotonic()) - self._reported < every:
            return False
        self._reported = now
        return True

    def pace(self) -> str:
        """The rate in words."""
        if self.unit == "bytes":
            return f"{self.rate / 1e6:.2f} MB/s"
        return f"{self.rate:.1f} {self.unit}/s" if self.rate >= 1 or not self.rate else f"{1 / self.rate:.1f} s each"

    def line(self) -> str:
        """For a log."""
        done = (
            f"{self.done / self.total:.0%}"
            if self.unit == "bytes" and self.total
            else f"{self.done} of {self.total} {self.unit}"
        )
        figures = "".join(f", {name} {value:.4f}" for name, value in self._detail().items())
        left = "" if self.seconds_left is None else f"; {_in_words(self.seconds_left)} to go"
        return f"{self.what}: {done}{figures}, {self.pace()}{left}"

    def event(self) -> dict[str, object]:
        """For a program: `seconds_left`, `total` and a figure that is no finite number may be None."""
        left = self.seconds_left
        figures = {name: value if math.isfinite(value) else None for name, value in self._detail().items()}
        return {
            "event": "progress", "stage": self.what, "done": self.done, "total": self.total, "unit": self.unit,
            "seconds": round(self.seconds, 2), "rate": round(self.rate, 3),
            "seconds_left": None if left is None else round(left, 1), **figures,
        }  # fmt: skip


@contextmanager
def track(
    what: str,
    unit: str,
    total: int | None = None,
    *,
    done: int = 0,
    detail: Detail = lambda: {},
    bar: bool = True,
) -> Iterator[Progress]:
    """Show how far a piece of work is, in the style that `style` says.

    Args:
        what: See `Progress`.
        unit: Likewise.
        total: Likewise.
        done: Likewise.
        detail: Likewise.
        bar: Whether a terminal may get a bar; not where it shows what comes of the work anyway.
    """
    progress = Progress(what, unit, total, done, detail)
    if style.get() == "json":
        _tell(progress.event())
        progress.watch(lambda: _tell(progress.event()) if progress.is_due(_JSON_EVERY) else None)
        yield progress
        _tell(progress.event())
    elif style.get() == "none" or not sys.stderr:
        yield progress
    elif sys.stderr.isatty():
        with _bar(progress) if bar and total else _nothing():
            yield progress
    else:
        if total:
            progress.watch(lambda: _logger.info("%s", progress.line()) if progress.is_due(_LINE_EVERY) else None)
        yield progress


def announce(what: str) -> None:
    """Say what begins, where a program reads along."""
    if style.get() == "json":
        _tell({"event": "stage", "stage": what})


@contextmanager
def _bar(progress: Progress) -> Iterator[None]:
    def pace(progress: Progress | None) -> str:
        return progress.pace() if progress and progress.done else ""

    with click.progressbar(
        length=progress.total,
        label=progress.what,
        file=sys.stderr,
        item_show_func=pace,
        show_pos=progress.unit != "bytes",
    ) as bar:

        def show() -> None:
            bar.length = progress.total
            bar.update(progress.done - bar.pos, progress)

        progress.watch(show)
        show()
        yield


@contextmanager
def _nothing() -> Iterator[None]:
    yield


def _tell(event: Mapping[str, object]) -> None:
    with suppress(BrokenPipeError):  # whoever read along has gone; the work goes on
        click.echo(json.dumps(event), err=True)


def _in_words(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:.0f} minutes"
