"""The toolkit in a process of its own, without the seconds that torch and transformers take to be imported."""

import json
import multiprocessing
import os
import resource
import runpy
import signal
import socketserver
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
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
        code = _fork(words, {**os.environ, **(environment or {})}, cwd or Path.cwd(), streams, largest_file, timeout)
        return subprocess.CompletedProcess(words, code, streams[1].read_bytes(), streams[2].read_bytes())


@contextmanager
def forking_command(path: Path) -> Iterator[None]:
    """Within it, the script at `path` stands for `python -m toolkit`, forked likewise; it reads and writes what its caller gave it."""

    class Call(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            process, words, cwd, variables = json.loads(self.rfile.readline())
            streams = [Path(f"/proc/{process}/fd/{number}") for number in range(3)]
            self.wfile.write(b"%d" % (_fork(words, variables, Path(cwd), streams) % 256))

    with (
        tempfile.TemporaryDirectory() as folder,  # a socket's path has to be short
        socketserver.ThreadingUnixStreamServer(f"{folder}/calls", Call) as server,
    ):
        threading.Thread(target=server.serve_forever, daemon=True).start()
        path.write_text(f"#!{sys.executable} -IS\n{CLIENT.format(place=server.server_address)}")
        path.chmod(0o755)
        yield
        server.shutdown()


CLIENT = """
import json, os, socket, sys
calls = socket.socket(socket.AF_UNIX)
calls.connect({place!r})
calls.sendall(json.dumps([os.getpid(), sys.argv[1:], os.getcwd(), dict(os.environ)]).encode() + b"\\n")
sys.exit(int(calls.recv(9)))
"""


def _fork(
    words: list[str],
    variables: dict[str, str],
    cwd: Path,
    streams: list[Path],
    largest_file: int | None = None,
    timeout: float = 300,
) -> int:
    """The exit code; below zero it is a signal's."""
    process = context.Process(target=_child, args=(words, variables, cwd, streams, largest_file))
    process.start()
    process.join(timeout)
    if process.exitcode is None:
        process.kill()
        raise subprocess.TimeoutExpired(words, timeout)
    return process.exitcode


def _child(
    arguments: list[str], variables: dict[str, str], cwd: Path, streams: list[Path], largest_file: int | None
) -> None:
    signal.signal(signal.SIGINT, signal.default_int_handler)
    os.chdir(cwd)
    for number, path in enumerate(streams):
        os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT if number else os.O_RDONLY), number)
    # Those of the server know its streams, not these: a pipe cannot be sought in.
    sys.stdin, sys.stdout = os.fdopen(0, closefd=False), os.fdopen(1, "w", closefd=False)
    sys.stderr = os.fdopen(2, "w", buffering=1, errors="backslashreplace", closefd=False)
    os.environ.clear()
    os.environ.update(variables)
    if largest_file is not None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (largest_file, largest_file))
    for folder in variables.get("PYTHONPATH", "").split(os.pathsep):
        if (startup := Path(folder, "sitecustomize.py")).is_file():
            exec(startup.read_text(), {"__name__": "sitecustomize"})
    sys.argv = ["toolkit", *arguments]
    runpy.run_module("toolkit", run_name="__main__", alter_sys=True)
