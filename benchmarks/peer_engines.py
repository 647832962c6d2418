"""What people would pick instead, each converted from the same merged model.

Run as a script, it is a peer from nothing to its first answer, as a script of its user's would be:

    python benchmarks/peer_engines.py NAME FOLDER MAX_LENGTH TEXT
"""

import shutil
import sys
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from toolkit.benchmark.engines import Engine
from toolkit.benchmark.models import Models
from toolkit.datasets.splits import read_reviews
from toolkit.errors import needs_extra
from toolkit.machine import available_cores, instruction_sets
from toolkit.text.tokenisation import Encoding, ReviewTokenizer

_CALIBRATION = 300  # reviews; NNCF's own default


class Peer(Engine):
    """An engine that is not the toolkit's; it starts as a script that loads it and classifies one review."""

    @classmethod
    def start(cls, folder: Path, max_length: int, text: str) -> list[str]:
        """See `Engine.start`."""
        return [sys.executable, __file__, cls.name, str(folder), str(max_length), text]


class Pipeline(Peer):
    """`transformers.pipeline` in float32, with its own tokenizer."""

    name = "pipeline"
    packages = ("torch", "transformers")
    batch_sizes: ClassVar[tuple[int, ...]] = (8, 16, 32)

    def __init__(self, folder: Path, max_length: int) -> None:
        with needs_extra("train", "the transformers pipeline"):
            from transformers import AutoTokenizer, pipeline

        self._max_length = max_length
        self._pipeline = pipeline(
            "text-classification",
            model=self._model(folder),
            tokenizer=AutoTokenizer.from_pretrained(folder, trust_remote_code=False),
            trust_remote_code=False,
        )

    def _model(self, folder: Path) -> Any:  # noqa: ANN401 - transformers ships no types
        return str(folder)

    @classmethod
    def prepare(cls, models: Models) -> Path:
        """See `Engine.prepare`."""
        return merged_folder(models)

    def classify(self, texts: Sequence[str]) -> np.ndarray:
        """See `Engine.classify`."""
        order = np.argsort([len(text) for text in texts], kind="stable")
        answers = self._pipeline(
            [texts[index] for index in order], batch_size=self.batch_size, truncation=True, max_length=self._max_length
        )
        labels = np.empty(len(texts), np.int64)
        labels[order] = [self._pipeline.model.config.label2id[answer["label"]] for answer in answers]
        return labels


class Optimum(Pipeline):
    """The same pipeline over optimum's `ORTModelForSequenceClassification`, float32."""

    name = "optimum-fp32"
    packages = ("torch", "optimum")
    file_name = "model.onnx"

    def _model(self, folder: Path) -> Any:  # noqa: ANN401
        with needs_extra("train", "optimum"):
            from optimum.onnxruntime import ORTModelForSequenceClassification

        return ORTModelForSequenceClassification.from_pretrained(
            folder, file_name=self.file_name, trust_remote_code=False
        )

    @classmethod
    def prepare(cls, models: Models) -> Path:
        """See `Engine.prepare`."""
        return float_folder(models)


class OptimumInt8(Optimum):
    """Quantised by optimum's own preset for this CPU, per channel."""

    name = "optimum-int8"
    file_name = "model_quantized.onnx"

    @classmethod
    def prepare(cls, models: Models) -> Path:
        """See `Engine.prepare`."""
        with needs_extra("train", "optimum"):
            from optimum.onnxruntime import ORTQuantizer
            from optimum.onnxruntime.configuration import AutoQuantizationConfig

        vnni = {"avx512_vnni", "avx_vnni"} & set(instruction_sets())
        preset = AutoQuantizationConfig.avx512_vnni if vnni else AutoQuantizationConfig.avx2
        folder = models.workspace / cls.name
        source = float_folder(models)
        quantizer = ORTQuantizer.from_pretrained(source, file_name="model.onnx")
        quantizer.quantize(save_dir=folder, quantization_config=preset(is_static=False, per_channel=True))
        for path in source.iterdir():  # the tokenizer
            if path.name != "model.onnx" and not (folder / path.name).exists():
                shutil.copyfile(path, folder / path.name)
        return folder


class CTranslate2(Peer):
    """CTranslate2's encoder in int8, in padded batches on every core; the head in numpy."""

    name = "ctranslate2"
    extra = "bench"
    packages = ("ctranslate2",)
    batch_sizes: ClassVar[tuple[int, ...]] = (8, 16, 32)

    def __init__(self, folder: Path, max_length: int) -> None:
        self._tokenizer = ReviewTokenizer.from_file(folder / "tokenizer.json", max_length)
        self._encoder = self._open(str(folder), available_cores())
        head = np.load(folder / "head.npz")
        self._layers = [
            (head[f"{layer}.weight"].T, head[f"{layer}.bias"]) for layer in ("pre_classifier", "classifier")
        ]

    def _open(self, folder: str, cores: int) -> Any:  # noqa: ANN401 - ctranslate2 ships no types
        with needs_extra("bench", "CTranslate2"):
            import ctranslate2

        return ctranslate2.Encoder(folder, compute_type="int8", inter_threads=1, intra_threads=cores)

    @classmethod
    def prepare(cls, models: Models) -> Path:
        """See `Engine.prepare`."""
        folder = models.workspace / "ctranslate2"
        if folder.is_dir():
            return folder  # both engines open it
        with needs_extra("bench", "CTranslate2"):
            from ctranslate2.converters import TransformersConverter
        from safetensors.numpy import load_file

        merged = merged_folder(models)
        TransformersConverter(str(merged)).convert(str(folder), quantization="int8")
        weights = load_file(merged / "model.safetensors")
        np.savez(folder / "head.npz", **{name: weights[name] for name in weights if "classifier" in name})
        shutil.copyfile(merged / "tokenizer.json", folder / "tokenizer.json")
        return folder

    def classify(self, texts: Sequence[str]) -> np.ndarray:
        """See `Engine.classify`."""
        encodings = self._tokenizer.encode(texts)
        order = np.argsort([len(encoding.input_ids) for encoding in encodings], kind="stable")
        labels = np.empty(len(texts), np.int64)
        for start in range(0, len(order), self.batch_size):
            rows = order[start : start + self.batch_size]
            labels[rows] = self._forward([encodings[row] for row in rows])
        return labels

    def _forward(self, encodings: Sequence[Encoding]) -> np.ndarray:
        output = self._encoder.forward_batch([encoding.input_ids.tolist() for encoding in encodings])
        hidden = np.asarray(output.last_hidden_state)[:, 0]  # (B, dim), of [CLS]
        (first, first_bias), (second, second_bias) = self._layers
        logits = np.maximum(hidden @ first + first_bias, 0) @ second + second_bias  # (B, 2)
        labels: np.ndarray = logits.argmax(axis=1)
        return labels


class CTranslate2Workers(CTranslate2):
    """The same, one review to a worker and one thread to each: no padding."""

    name = "ctranslate2-workers"
    batch_sizes = (1,)

    def __init__(self, folder: Path, max_length: int) -> None:
        super().__init__(folder, max_length)
        self._pool = ThreadPoolExecutor(available_cores())

    def _open(self, folder: str, cores: int) -> Any:  # noqa: ANN401
        import ctranslate2

        return ctranslate2.Encoder(folder, compute_type="int8", inter_threads=cores, intra_threads=1)

    def classify(self, texts: Sequence[str]) -> np.ndarray:
        """See `Engine.classify`."""
        encodings = self._tokenizer.encode(texts)
        return np.concatenate(list(self._pool.map(lambda encoding: self._forward([encoding]), encodings)))

    def settings(self) -> str:
        """See `Engine.settings`."""
        return f"unpadded, {available_cores()} workers of one thread"


class OpenVino(Peer):
    """OpenVINO in throughput mode with a stream a core, in the precision that it chooses; latency mode for a lone review."""

    name = "openvino"
    extra = "bench"
    packages: ClassVar[tuple[str, ...]] = ("openvino",)
    batch_sizes = (1, 8, 16)

    def __init__(self, folder: Path, max_length: int) -> None:
        with needs_extra("bench", "OpenVINO"):
            import openvino

        self._tokenizer = ReviewTokenizer.from_file(folder / "tokenizer.json", max_length)
        compile_model, graph = openvino.Core().compile_model, str(self.graph(folder))
        self._compile: Callable[[dict[str, Any]], Any] = lambda hints: compile_model(graph, "CPU", hints)
        self._queue_class = openvino.AsyncInferQueue
        self._queue: Any = None
        self._lone: Any = None
        self._opening = threading.Lock()

    @classmethod
    def prepare(cls, models: Models) -> Path:
        """See `Engine.prepare`."""
        return float_folder(models)

    @classmethod
    def graph(cls, folder: Path) -> Path:
        """The file that is opened."""
        return folder / "model.onnx"

    def classify(self, texts: Sequence[str]) -> np.ndarray:
        """See `Engine.classify`."""
        if self._queue is None:
            streams = {"PERFORMANCE_HINT": "THROUGHPUT", "NUM_STREAMS": available_cores()}
            self._throughput = self._compile(streams)
            self._queue = self._queue_class(self._throughput)
        labels = np.empty(len(texts), np.int64)
        self._queue.set_callback(lambda request, rows: self._keep(labels, rows, request))
        encodings = self._tokenizer.encode(texts)
        order = np.argsort([len(encoding.input_ids) for encoding in encodings], kind="stable")
        if self.batch_size == 1:
            order = np.arange(len(texts))
        for start in range(0, len(order), self.batch_size):
            rows = order[start : start + self.batch_size]
            self._queue.start_async(_pad([encodings[row] for row in rows]), rows)
        self._queue.wait_all()
        return labels

    @staticmethod
    def _keep(labels: np.ndarray, rows: np.ndarray, request: Any) -> None:  # noqa: ANN401
        labels[rows] = request.get_output_tensor().data.argmax(axis=1)

    def classify_one(self, text: str) -> None:
        """See `Engine.classify_one`."""
        if self._lone is None:
            self._lone = self._compile({"PERFORMANCE_HINT": "LATENCY"})
        self._lone(_pad(self._tokenizer.encode([text])))

    def settings(self) -> str:
        """See `Engine.settings`."""
        precision = self._throughput.get_property("INFERENCE_PRECISION_HINT").to_string()
        shape = "unpadded" if self.batch_size == 1 else super().settings()
        return f"{shape}, {available_cores()} streams, {precision}"


class OpenVinoInt8(OpenVino):
    """The same in int8, as OpenVINO's users quantise: NNCF after training, for transformers, calibrated on reviews of train.

    Attributes:
        calibration: The file of these reviews.
    """

    name = "openvino-int8"
    packages = ("openvino", "nncf")
    calibration: ClassVar[Path] = Path("build/imdb/train.csv")

    @classmethod
    def prepare(cls, models: Models) -> Path:
        """See `Engine.prepare`."""
        source, folder = float_folder(models), models.workspace / cls.name
        sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]  # NNCF asks nobody before it sends
        with needs_extra("bench", "OpenVINO in int8"):
            import nncf
            import openvino

        texts = [review.text for review in read_reviews(cls.calibration)[:_CALIBRATION]]
        encodings = ReviewTokenizer.from_file(source / "tokenizer.json", models.max_length).encode(texts)
        quantized = nncf.quantize(
            openvino.Core().read_model(str(source / "model.onnx")),
            nncf.Dataset([_pad([encoding]) for encoding in encodings]),
            model_type=nncf.ModelType.TRANSFORMER,
            preset=nncf.QuantizationPreset.MIXED,
            subset_size=len(encodings),
        )
        folder.mkdir()
        openvino.save_model(quantized, str(folder / "model.xml"))
        shutil.copyfile(source / "tokenizer.json", folder / "tokenizer.json")
        return folder

    @classmethod
    def graph(cls, folder: Path) -> Path:
        """See `OpenVino.graph`."""
        return folder / "model.xml"

    def settings(self) -> str:
        """See `Engine.settings`."""
        return super().settings().rpartition(", ")[0] + ", int8"


def _pad(encodings: Sequence[Encoding]) -> dict[str, np.ndarray]:
    """`input_ids` and `attention_mask`, (B, T) int64, T the longest."""
    longest = max(len(encoding.input_ids) for encoding in encodings)
    input_ids = np.zeros((len(encodings), longest), np.int64)
    attention_mask = np.zeros_like(input_ids)
    for row, encoding in enumerate(encodings):
        input_ids[row, : len(encoding.input_ids)] = encoding.input_ids
        attention_mask[row, : len(encoding.input_ids)] = 1
    return {"input_ids": input_ids, "attention_mask": attention_mask}


def float_folder(models: Models) -> Path:
    """A folder with the float `model.onnx`, as optimum saves it, and the tokenizer."""
    return _with_tokenizer(models.float_graph.parent, models.adapter)


def merged_folder(models: Models) -> Path:
    """A folder as `transformers` saves it, adapter merged, with the tokenizer."""
    return _with_tokenizer(models.merged, models.adapter)


def _with_tokenizer(folder: Path, adapter: Path) -> Path:
    for name in ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "vocab.txt"):
        if (adapter / name).is_file():
            shutil.copyfile(adapter / name, folder / name)
    return folder


PEERS: tuple[type[Engine], ...] = (
    Pipeline,
    Optimum,
    OptimumInt8,
    CTranslate2,
    CTranslate2Workers,
    OpenVino,
    OpenVinoInt8,
)


def main(name: str, folder: str, max_length: str, text: str) -> None:
    """Load one engine and classify one review."""
    engine = next(each for each in PEERS if each.name == name)(Path(folder), int(max_length))
    engine.batch_size = 1
    engine.classify_one(text)


if __name__ == "__main__":
    main(*sys.argv[1:])
