"""onnxruntime's sessions and the threads that run them, opened when first needed, by the process that needs them."""

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from threading import Lock
from typing import Any
from weakref import WeakSet

import numpy as np

from toolkit.compat import import_onnxruntime
from toolkit.errors import BundleError

_REMEDY = "make it with: toolkit export"


class Sessions:
    """A graph as this process runs it.

    Args:
        graph: The path of `model.onnx`.
        labels: The number of logits that it gives.
        workers: The number of reviews that run at the same time.
        verify: Raises where the file at `graph` is not the model's; called before it is first opened.
    """

    def __init__(self, graph: Path, labels: int, workers: int, verify: Callable[[], None] = lambda: None) -> None:
        self.graph = graph
        self.workers = workers
        self._labels = labels
        self._verify = verify
        self._status = _status(graph)  # of the file that the manifest was compared with
        self._begin()
        _every.add(self)

    def run(self, sequences: Sequence[np.ndarray]) -> np.ndarray:
        """Run each of n token sequences, (T,) int64, by itself; (n, k)."""
        run = partial(_run, self._session(self.workers if len(sequences) == 1 else 1), self._labels)
        if len(sequences) == 1:
            return run(sequences[0])
        try:
            answers = [self._pool.submit(run, ids) for ids in sequences]
        except RuntimeError:  # Python is ending and starts nothing more; each review has one thread either way
            return np.concatenate([run(ids) for ids in sequences])
        return np.concatenate([answer.result() for answer in answers])

    def open(self) -> None:
        """Open the session of a lone review, which verifies the graph."""
        self._session(self.workers)

    def close(self) -> None:
        """End the threads and free the sessions."""
        self._pool.shutdown()
        with self._opening:
            self._sessions.clear()

    def begin_again(self) -> None:
        """Leave what a process had before it was forked, where this one has no such threads.

        It is not freed: a session waits for its threads to end, and these are another process's.
        """
        _left_behind.append((self._sessions, self._pool))
        self._begin()

    def _begin(self) -> None:
        self._sessions: dict[int, Any] = {}  # by their number of threads
        self._opening = Lock()
        self._pool = ThreadPoolExecutor(self.workers, thread_name_prefix="onnx")

    def _session(self, threads: int) -> Any:  # noqa: ANN401 - onnxruntime ships no types
        with self._opening:  # callers in many threads open each session once
            if threads not in self._sessions:
                self._sessions[threads] = self._open(threads)
            return self._sessions[threads]

    def _open(self, threads: int) -> Any:  # noqa: ANN401
        replaced = BundleError(f"{self.graph} was replaced since the model was loaded; load the predictor again")
        if _status(self.graph) != self._status:
            raise replaced
        if not self._sessions:
            self._verify()
        session = _open_session(self.graph, threads)
        columns = [0, *session.get_outputs()[0].shape][-1]  # a name where the graph leaves it open
        if isinstance(columns, int) and columns != self._labels:
            raise BundleError(
                f"{self.graph} gives {columns} logits, expected one for each of {self._labels} labels; {_REMEDY}"
            )
        if _status(self.graph) != self._status:
            raise replaced
        return session


_every: WeakSet[Sessions] = WeakSet()
_left_behind: list[object] = []


def _begin_again() -> None:
    for sessions in list(_every):
        sessions.begin_again()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_begin_again)


def _status(path: Path) -> tuple[int, int, int, int] | None:
    """What changes when a file is replaced or rewritten; None where there is none."""
    try:
        status = path.stat()
    except FileNotFoundError:
        return None
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns


def _run(session: Any, labels: int, ids: np.ndarray) -> np.ndarray:  # noqa: ANN401
    input_ids = ids[np.newaxis]  # (1, T)
    feeds = {"input_ids": input_ids, "attention_mask": np.ones_like(input_ids)}
    declared = [model_input.name for model_input in session.get_inputs()]
    try:
        logits: Any = session.run(["logits"], {name: feeds[name] for name in declared})[0]
    except Exception as error:  # as when it is loaded; a graph of anybody's making may fail on a review only
        raise BundleError(f"the graph cannot be run by onnxruntime ({error}); make it with: toolkit export") from error
    if getattr(logits, "shape", None) != (1, labels) or logits.dtype.kind != "f":
        raise BundleError(
            f"the graph answers with something else than {labels} numbers for a review; make it with: toolkit export"
        )
    answer: np.ndarray = logits  # (1, k)
    return answer


def _open_session(path: Path, threads: int) -> Any:  # noqa: ANN401
    """An onnxruntime session on the CPU, telemetry off; it may be run by many Python threads at once.

    Raises:
        BundleError: onnxruntime cannot load the graph, or the graph wants inputs other than ids and mask.
    """
    onnxruntime = import_onnxruntime()
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = (
        4  # errors come as exceptions; onnxruntime would write names of the graph's to a terminal
    )
    try:
        session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime's own classes derive from Exception and differ by failure
        raise BundleError(f"{path} cannot be loaded by onnxruntime ({error}); make it with: toolkit export") from error
    unknown = {model_input.name for model_input in session.get_inputs()} - {"input_ids", "attention_mask"}
    if unknown:
        raise BundleError(
            f"{path} asks for inputs nobody makes: {', '.join(sorted(unknown))}; export it with this toolkit"
        )
    return session
