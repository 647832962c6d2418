"""The ONNX backend: CPU only, each review unpadded and alone, on every core."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np

from toolkit.compat import import_onnxruntime
from toolkit.errors import BundleError, OptionError
from toolkit.formats.limits import listed
from toolkit.machine import available_cores
from toolkit.models.bundle import Kind, Manifest, check_max_length, max_positions, read_manifest, read_stable
from toolkit.prediction.abstention import Abstention
from toolkit.prediction.base import InferenceOptions, Predictor
from toolkit.prediction.onnx_graph import external_files
from toolkit.text.tokenisation import Encoding, ReviewTokenizer


class OnnxPredictor(Predictor):
    """Serves a graph with onnxruntime.

    Padding would make a review's score depend on its neighbours (int8 activation scales span the batch) and costs
    time, so every review runs by itself: many of them on as many workers as there are cores, with one thread each; a
    lone one with every core. Both give the same bits: threads share out rows and columns, never a sum. Each way has
    a session of its own, opened when it is first needed.

    Args:
        graph: The path of `model.onnx`.
        tokenizer: The model's tokenizer.
        manifest: What the bundle says of the model.
        workers: The number of reviews that run at the same time; the cores of this process by default.
        abstention: See `Predictor`.
        positions: See `Predictor`.
    """

    backend = "onnx"
    device = "CPU"

    def __init__(
        self,
        graph: Path,
        tokenizer: ReviewTokenizer,
        manifest: Manifest,
        workers: int | None = None,
        *,
        abstention: Abstention | None = None,
        positions: int = 512,
    ) -> None:
        super().__init__(manifest, tokenizer, abstention=abstention, positions=positions)
        self._graph = graph
        self._graph_status = _status(graph)  # of the file that was verified; sessions are opened later
        self.workers = workers or available_cores()
        self.chunk_size = 32 * self.workers  # the wait for a chunk's last review costs under 1/32 of its time
        self._sessions: dict[int, Any] = {}  # by their number of threads
        self._opening = Lock()
        self._pool = ThreadPoolExecutor(self.workers, thread_name_prefix="onnx")

    @classmethod
    def load(
        cls,
        folder: Path,
        options: InferenceOptions = InferenceOptions(),
        abstention: Abstention | None = None,
    ) -> "OnnxPredictor":
        """Open `onnx_model/`, verified.

        Args:
            folder: A bundle made by `toolkit export`.
            options: The length, the truncation and the number of workers.
            abstention: See `Predictor`.

        Raises:
            BundleError: The bundle is missing or damaged, or has no positions for so many tokens.
        """
        if options.precision == "bf16":
            raise OptionError("bf16 is the torch backend's; name an adapter, or leave the precision to the graph")

        def read() -> OnnxPredictor:
            manifest = read_manifest(folder, Kind.ONNX)
            graph = folder / "model.onnx"
            if unlisted := external_files(graph) - manifest.files.keys():
                raise BundleError(
                    f"{folder / 'model.onnx'} reads weights from {listed(sorted(unlisted))}, which the manifest does not list; "
                    "make it with: toolkit export"
                )
            positions = max_positions(folder)
            length = check_max_length(options.max_length or manifest.max_length, positions)
            truncation = options.truncation or manifest.truncation
            tokenizer = ReviewTokenizer.from_file(folder / "tokenizer.json", length, truncation)
            return cls(graph, tokenizer, manifest, options.workers, abstention=abstention, positions=positions)

        return read_stable(folder, read)

    def logits(self, encodings: Sequence[Encoding]) -> np.ndarray:
        """Run each review alone; see `Predictor.logits`. The bits do not depend on order, grouping or workers."""
        if not encodings:
            return np.empty((0, len(self.labels)), np.float32)
        run = partial(_run, self._session(threads=self.workers if len(encodings) == 1 else 1), len(self.labels))
        return np.concatenate(list(self._pool.map(run, encodings)))

    def _release(self) -> None:
        self._pool.shutdown()
        with self._opening:
            self._sessions.clear()

    def _session(self, threads: int) -> Any:  # noqa: ANN401 - onnxruntime ships no types
        with self._opening:  # callers in many threads open each session once
            if threads not in self._sessions:
                session = _open_session(self._graph, threads)
                columns = [0, *session.get_outputs()[0].shape][-1]  # a name where the graph leaves it open
                if isinstance(columns, int) and columns != len(self.labels):
                    raise BundleError(
                        f"{self._graph} gives {columns} logits, expected one for each of {len(self.labels)} labels; "
                        "make it with: toolkit export"
                    )
                if _status(self._graph) != self._graph_status:
                    raise BundleError(f"{self._graph} was replaced since it was verified; load the predictor again")
                self._sessions[threads] = session
            return self._sessions[threads]


def _status(path: Path) -> tuple[int, int, int, int]:
    """What changes when a file is replaced or rewritten."""
    status = path.stat()
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns


def _run(session: Any, labels: int, encoding: Encoding) -> np.ndarray:  # noqa: ANN401
    input_ids = encoding.input_ids[np.newaxis]  # (1, T)
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
