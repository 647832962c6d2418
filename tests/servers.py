"""What the servers of the tests have in common: waiting until one answers, and ending them."""

import signal
import subprocess
import time
from collections.abc import Callable, Iterable

ENDING = 10  # seconds


def wait_until(ready: Callable[[], bool], process: subprocess.Popen, log: Callable[[], str], seconds: float) -> None:
    """Wait until a server answers; fail with its log where it ends before, or takes longer."""
    deadline = time.monotonic() + seconds
    while not ready():
        assert process.poll() is None, log()
        assert time.monotonic() < deadline, f"the server does not answer\n{log()}"
        time.sleep(0.1)


def end(processes: Iterable[subprocess.Popen]) -> None:
    """Ask all to end, then end those that do not."""
    processes = list(processes)
    for process in processes:
        process.send_signal(signal.SIGTERM)
    for process in processes:
        try:
            process.wait(ENDING)
        except subprocess.TimeoutExpired:
            process.kill()
