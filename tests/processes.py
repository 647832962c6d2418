"""The toolkit in a process of its own, without the seconds that torch and transformers take to be imported."""

import multiprocessing
import os
import resource
import runpy
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

# None of the toolkit's own modules: each process imports those itself, in its own environment.
LIBRARIES = (
    "torch", "transformers.trainer", "transformers.models.auto.modeling_auto", "transformers.models.distilbert.modeling_distilbert",
    "peft", "optimum.exporters.onnx", "onnxruntime.quantization", "sklearn.metrics", "matplotlib.figure",
    "matplotlib.backends.backend_agg", "pandas",
)  # fmt: skip

context = multiprocessing.get_context("forkserver")
context.set_forkserver_preload(list(LIBRARIES))  # what is not installed is passed over


def run_forked(
    arguments: Sequence[object],
    *,
    environment: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    stdin: bytes = b"",
    largest_file: int | None = None,
    timeout: float = 300,
) -> subprocess.CompletedProcess[bytes]:
    """`python -m toolkit ARGUMENTS`, forked from a server that has the libraries loaded.

    For tests of what a command does, not of how it starts: what a library reads from the environment when it is imported
    is the test session's.

    Args:
        arguments: of the command, made strings.
        environment: variables besides those of the tests.
        cwd: working folder.
        stdin: what it reads.
        largest_file: bytes over which no file of the process may grow.
        timeout: in seconds.
    """
    with tempfile.TemporaryDirectory() as folder:
        streams = [Path(folder, name) for name in ("stdin", "stdout", "stderr")]
        streams[0].write_bytes(stdin)
        words = [str(argument) for argument in arguments]
        variables = {**os.environ, **(environment or {})}
        process = context.Process(target=_child, args=(words, variables, cwd or Path.cwd(), streams, largest_file))
        process.start()
        process.join(timeout)
        if process.exitcode is None:
            process.kill()
            raise subprocess.TimeoutExpired(words, timeout)
        return subprocess.CompletedProcess(words, process.exitcode, streams[1].read_bytes(), streams[2].read_bytes())


def _child(
    arguments: list[str], variables: dict[str, str], cwd: Path, streams: list[Path], largest_file: int | None
) -> None:
    signal.signal(signal.SIGINT, signal.default_int_handler)
    os.chdir(cwd)
    for number, path in enumerate(streams):
        os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT if number else os.O_RDONLY), number)
    os.environ.clear()
    os.environ.update(variables)
    if largest_file is not None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (largest_file, largest_file))
    for folder in variables.get("PYTHONPATH", "").split(os.pathsep):
        if (startup := Path(folder, "sitecustomize.py")).is_file():
            exec(startup.read_text(), {"__name__": "sitecustomize"})
    sys.argv = ["toolkit", *arguments]
    runpy.run_module("toolkit", run_name="__main__", alter_sys=True)
