"""The ONNX backend: CPU only, each review unpadded and alone, on every core."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np

from toolkit.choices import Readers
from toolkit.errors import BundleError, OptionError
from toolkit.formats.limits import listed
from toolkit.machine import available_cores
from toolkit.models.bundle import Kind, Manifest, check_max_length, max_positions, read_manifest, verify_file
from toolkit.models.stable import read_stable
from toolkit.prediction.abstention import Abstention
from toolkit.prediction.answers import InferenceOptions
from toolkit.prediction.base import SKIPPED, Predictor
from toolkit.prediction.combination import NgramReader
from toolkit.prediction.onnx_graph import external_files
from toolkit.prediction.onnx_sessions import Sessions
from toolkit.prediction.origin import Origin
from toolkit.text.tokenisation import Encoding, ReviewTokenizer

_GRAPH = "model.onnx"


class OnnxPredictor(Predictor):
    """Serves a graph with onnxruntime.

    Padding would make a review's score depend on its neighbours (int8 activation scales span the batch) and costs
    time, so every review runs by itself: many of them on as many workers as there are cores, with one thread each; a
    lone one with every core. Both give the same bits: threads share out rows and columns, never a sum. Each way has
    a session of its own, opened when it is first needed.

    Args:
        sessions: The graph.
        tokenizer: The model's tokenizer.
        manifest: What the bundle says of the model.
        abstention: See `Predictor`.
        positions: See `Predictor`.
        ngrams: See `Predictor`.
        readers: See `Predictor`.
    """

    backend = "onnx"
    device = "CPU"

    def __init__(
        self,
        sessions: Sessions,
        tokenizer: ReviewTokenizer,
        manifest: Manifest,
        *,
        abstention: Abstention | None = None,
        positions: int = 512,
        ngrams: NgramReader | None = None,
        readers: Readers = "auto",
    ) -> None:
        super().__init__(
            manifest, tokenizer, abstention=abstention, positions=positions, ngrams=ngrams, readers=readers
        )
        self._sessions = sessions
        self.workers = sessions.workers
        # The wait for the last review of a chunk costs under 1/32 of its time.
        self.chunk_size = 32 * self.workers * (SKIPPED if self.readers == "auto" else 1)

    @classmethod
    def of_graph(
        cls, graph: Path, tokenizer: ReviewTokenizer, manifest: Manifest, workers: int | None = None
    ) -> "OnnxPredictor":
        """A graph of one's own, without a folder around it; `workers` as in `InferenceOptions`."""
        return cls(Sessions(graph, len(manifest.labels), workers or available_cores()), tokenizer, manifest)

    @classmethod
    def load(
        cls,
        folder: Path,
        options: InferenceOptions = InferenceOptions(),
        abstention: Abstention | None = None,
    ) -> "OnnxPredictor":
        """Open `onnx_model/`, verified.

        Where n-grams may decide without it, the graph is verified when it is first opened: see `prepare`.

        Args:
            folder: A bundle made by `toolkit export`.
            options: The length, the truncation, the number of workers and the readers.
            abstention: See `Predictor`.

        Raises:
            BundleError: The bundle is missing or damaged, or has no positions for so many tokens.
        """
        if options.precision == "bf16":
            raise OptionError("bf16 is the torch backend's; name an adapter, or leave the precision to the graph")

        def read() -> OnnxPredictor:
            manifest = read_manifest(folder, Kind.ONNX, later=[_GRAPH])
            positions = max_positions(folder)
            length = check_max_length(options.max_length or manifest.max_length, positions)
            truncation = options.truncation or manifest.truncation
            tokenizer = ReviewTokenizer.from_file(folder / "tokenizer.json", length, truncation)
            workers = options.workers or available_cores()
            verify = partial(_verify, folder, manifest)
            predictor = cls(
                Sessions(folder / _GRAPH, len(manifest.labels), workers, verify),
                tokenizer,
                manifest,
                abstention=abstention,
                positions=positions,
                ngrams=NgramReader.load(folder, manifest),
                readers=options.readers,
            )
            if predictor.readers != "auto":
                verify()
            return predictor

        predictor = read_stable(folder, read)
        predictor.origin = Origin(cls.load, folder.absolute(), options.workers)
        return predictor

    def prepare(self) -> None:
        """Verify and open the graph, which no review may have needed yet; see `Predictor.prepare`."""
        self._check_open()
        self._sessions.open()

    def logits(self, encodings: Sequence[Encoding]) -> np.ndarray:
        """Run each review alone; see `Predictor.logits`. The bits do not depend on order, grouping or workers."""
        if not encodings:
            return np.empty((0, len(self.labels)), np.float32)
        return self._sessions.run([encoding.input_ids for encoding in encodings])

    def _release(self) -> None:
        self._sessions.close()


def _verify(folder: Path, manifest: Manifest) -> None:
    """Compare the graph with the manifest, and what it reads besides.

    Raises:
        BundleError: It is another, or reads weights from files that the manifest does not list.
    """
    verify_file(folder, _GRAPH, manifest)
    if unlisted := external_files(folder / _GRAPH) - manifest.files.keys():
        raise BundleError(
            f"{folder / _GRAPH} reads weights from {listed(sorted(unlisted))}, which the manifest does not list; "
            "make it with: toolkit export"
        )
