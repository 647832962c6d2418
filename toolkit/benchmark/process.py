"""A program in a process of its own: how long it took, and how much memory."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import NamedTuple

from toolkit.errors import ToolkitError


class Usage(NamedTuple):
    """What a process used.

    Attributes:
        seconds: from its start to its end, wall-clock.
        megabytes: resident at its peak.
    """

    seconds: float
    megabytes: float


def run_measured(command: list[str], stdin: Path | None = None) -> Usage:
    """Run a command, its output thrown away.

    A process counts the memory of the one it was forked from as its own peak, and this one may hold models; so a small
    one stands between the two and measures.

    Args:
        command: the program and its arguments.
        stdin: a file to feed it; nothing by default.

    Raises:
        ToolkitError: the command fails.
    """
    launcher = [sys.executable, "-m", __name__, str(stdin or os.devnull), *command]
    process = subprocess.run(launcher, stdout=subprocess.PIPE, check=False)
    if process.returncode:
        raise ToolkitError(f"this command does not work here; see: {' '.join(command)}")
    return Usage(*json.loads(process.stdout))


def _main(stdin: str, *command: str) -> int:
    with Path(stdin).open("rb") as source:
        started = time.perf_counter()
        process = subprocess.Popen(command, stdin=source, stdout=subprocess.DEVNULL)
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - started
    process.returncode = os.waitstatus_to_exitcode(status)
    sys.stdout.write(json.dumps([seconds, usage.ru_maxrss / 1000]))  # Linux counts in kB
    return process.returncode


if __name__ == "__main__":
    sys.exit(_main(*sys.argv[1:]))
