"""The ONNX backend: CPU only, each review unpadded and alone, one worker a core."""

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Self

import numpy as np

from toolkit.bundle import Kind, Manifest, read_manifest, reading_length
from toolkit.errors import BundleError, needs_extra
from toolkit.machine import available_cores
from toolkit.prediction.base import Predictor
from toolkit.text import Encoding, ReviewTokenizer


class OnnxPredictor(Predictor):
    """Serves a graph with onnxruntime.

    Padding would make a review's score depend on its neighbours (int8 activation scales span the batch) and costs
    time, so every review runs by itself: one session of one thread, shared by as many workers as there are cores.

    Args:
        session: of the graph; see `open_session`.
        tokenizer: of the model.
        manifest: of the bundle.
        workers: reviews run at the same time; the cores of this process by default.
    """

    backend = "onnx"
    device = "CPU"

    def __init__(
        self,
        session: Any,  # noqa: ANN401 - onnxruntime ships no types
        tokenizer: ReviewTokenizer,
        manifest: Manifest,
        workers: int | None = None,
    ) -> None:
        super().__init__(manifest, tokenizer)
        self.workers = workers or available_cores()
        self.chunk_size = 32 * self.workers  # the wait for a chunk's last review costs under 1/32 of its time
        self._session = session
        self._inputs = {model_input.name for model_input in session.get_inputs()}
        self._pool = ThreadPoolExecutor(self.workers, thread_name_prefix="onnx")

    @classmethod
    def load(cls, folder: Path, max_length: int | None = None, workers: int | None = None) -> Self:
        """Open `onnx_model/`, verified.

        Args:
            folder: a bundle made by `toolkit export`.
            max_length: tokens to read instead of the bundle's own number.
            workers: see the class.

        Raises:
            BundleError: the bundle is missing or damaged.
        """
        manifest = read_manifest(folder, Kind.ONNX)
        tokenizer = ReviewTokenizer.from_file(folder / "tokenizer.json", reading_length(folder, manifest, max_length))
        return cls(open_session(folder / "model.onnx"), tokenizer, manifest, workers)

    def logits(self, encodings: Sequence[Encoding]) -> np.ndarray:
        """Run each review alone; see `Predictor.logits`. The bits do not depend on order, grouping or workers."""
        rows = self._pool.map(self._run, encodings) if len(encodings) > 1 else map(self._run, encodings)
        return np.concatenate(list(rows)) if encodings else np.empty((0, 2), np.float32)

    def _run(self, encoding: Encoding) -> np.ndarray:
        input_ids = encoding.input_ids[np.newaxis]  # (1, T)
        feeds = {"input_ids": input_ids, "attention_mask": np.ones_like(input_ids)}
        logits: np.ndarray = self._session.run(["logits"], {name: feeds[name] for name in self._inputs})[0]  # (1, 2)
        return logits


def open_session(path: Path) -> Any:  # noqa: ANN401
    """An onnxruntime session of one thread on the CPU, telemetry off; it may be run by many threads at once.

    Raises:
        BundleError: onnxruntime cannot load the graph, or the graph wants inputs other than ids and mask.
    """
    os.environ["ORT_DISABLE_TELEMETRY"] = "1"  # official builds send telemetry unless it is set before the import
    with needs_extra("train", "the ONNX backend"):
        import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.log_severity_level = 3  # errors only
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
