"""Fuzz every target for a while: `python -m tests.fuzz [--seconds 600] [TARGET …]`; `nox -s fuzz` is this.

Half of the time hypothesis draws, and half of it atheris follows the branches taken, where it is installed. A case that
fails is printed; put it into FOUND in test_targets.py together with the repair.
"""

import faulthandler
import importlib.util
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import click
from hypothesis import HealthCheck, Phase, given, seed, settings

from tests.fuzz.strategies import any_bytes
from tests.fuzz.targets import TARGETS

HANG = 30  # seconds that no case may take


@click.command()
@click.argument("names", nargs=-1, type=click.Choice(list(TARGETS)))
@click.option("--seconds", type=click.IntRange(min=1), default=600, show_default=True, help="For all targets together.")
def main(names: tuple[str, ...], seconds: int) -> None:
    """Print the cases tried, or end at the first that fails."""
    names = names or tuple(TARGETS)
    guided = importlib.util.find_spec("atheris") is not None
    share = seconds / len(names) / (2 if guided else 1)
    for name in names:
        click.echo(f"{name}: {_draw(name, share):,} cases of hypothesis", nl=not guided)
        if guided:
            click.echo(f", {_guide(name, share):,} of atheris")
    if not guided:
        click.echo("atheris is not installed: nothing followed the branches")


def _draw(name: str, share: float) -> int:
    target, seeds = TARGETS[name]
    cases = 0

    def count(data: bytes) -> None:
        nonlocal cases
        cases += 1
        signal.alarm(HANG)  # its handler prints where it hangs, and the process ends
        target(data)

    faulthandler.register(signal.SIGALRM, chain=True)
    options = settings(
        max_examples=500, deadline=None, database=None, suppress_health_check=list(HealthCheck),
        phases=(Phase.generate, Phase.shrink),
    )  # fmt: skip
    started = time.monotonic()
    while time.monotonic() - started < share:
        seed(random.getrandbits(64))(options(given(any_bytes(seeds()))(count)))()
    signal.alarm(0)
    return cases


def _guide(name: str, share: float) -> int:
    with tempfile.TemporaryDirectory(prefix="corpus.") as corpus:
        for number, data in enumerate(TARGETS[name][1]()):
            (Path(corpus) / f"seed{number}").write_bytes(data)
        process = subprocess.run(
            [sys.executable, "-m", "tests.fuzz.guided", name, f"-max_total_time={round(share)}", f"-timeout={HANG}",
             "-max_len=4096", "-rss_limit_mb=4096", "-print_final_stats=1", corpus],
            capture_output=True, text=True, check=False, errors="replace",
        )  # fmt: skip
    if process.returncode:
        raise click.ClickException(process.stdout[-2000:] + process.stderr[-4000:])
    return int(process.stderr.rpartition("stat::number_of_executed_units:")[2].split()[0])


if __name__ == "__main__":
    main()
