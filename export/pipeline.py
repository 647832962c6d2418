"""The whole stage: adapter → merged → ONNX → int8, each proven on real reviews, then published at once."""

import logging
import shutil
import tempfile
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from export.convert import convert_to_onnx
from export.parity import EXACT, QUANTIZED, Gate, Parity, compare
from export.quantize import MODES, quantize_to_int8
from toolkit.adapter import load_adapter, merge_adapter
from toolkit.bundle import Kind, Manifest, package_versions, reading_length, write_json
from toolkit.errors import ExportError
from toolkit.prediction.onnx_backend import OnnxPredictor
from toolkit.prediction.torch_backend import TorchPredictor
from toolkit.publishing import publish, refuse_foreign_target
from toolkit.splits import Review, read_reviews
from toolkit.text import ReviewTokenizer

_logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class ExportResult:
    """What was published.

    Attributes:
        bundle: the folder.
        quantized: whether its graph is int8.
        stages: each stage's comparison with the adapter, in order.
        bytes: size of `model.onnx`.
    """

    bundle: Path
    quantized: bool
    stages: tuple[Parity, ...]
    bytes: int


def export_model(
    adapter: Path, output: Path, proof: Path, quantize: str = "none", base_model: str | None = None
) -> ExportResult:
    """Export an adapter and prove every step on the reviews of `proof`.

    Args:
        adapter: an adapter made by `toolkit train` or by PEFT.
        output: where the bundle goes; what is there stays until the new one is proven.
        proof: a CSV, JSONL or Parquet file of labelled reviews.
        quantize: `none`, `int8`, or `auto`: int8 if it passes its gate, else float.
        base_model: the base to use instead of the one the adapter names.

    Raises:
        ExportError: a gate failed; names it, by how much, and the reviews that differ most. Nothing is published.
        ToolkitError: adapter, base, proof or output cannot be used.
    """
    if quantize not in MODES:
        raise ValueError(f"quantize must be one of {', '.join(MODES)}, not {quantize!r}")
    refuse_foreign_target(output, Kind.ONNX)
    reviews = read_reviews(proof)
    model, adapter_manifest = load_adapter(adapter, base_model)
    length = reading_length(adapter, adapter_manifest, None)
    tokenizer = ReviewTokenizer.from_file(adapter / "tokenizer.json", length)
    encodings = tokenizer.encode([review.text for review in reviews])
    _logger.info("proving every step on %d reviews of %s", len(reviews), proof)

    reference = TorchPredictor(model, tokenizer, adapter_manifest, device="cpu").logits(encodings)
    merged = merge_adapter(model)
    stages = [
        compare(
            "merged", reference, TorchPredictor(merged, tokenizer, adapter_manifest, "cpu").logits(encodings), reviews
        )
    ]
    _pass_gate(stages[0], EXACT, reviews)

    def onnx_logits(graph: Path) -> np.ndarray:
        return OnnxPredictor(graph, tokenizer, adapter_manifest).logits(encodings)

    with tempfile.TemporaryDirectory(prefix="export.") as name:
        workspace = Path(name)
        graph = convert_to_onnx(merged, workspace)
        config = graph.parent / "config.json"
        stages.append(compare("onnx", reference, onnx_logits(graph), reviews))
        _pass_gate(stages[-1], EXACT, reviews)
        if quantize != "none":
            int8_graph = quantize_to_int8(graph, workspace / "model.int8.onnx")
            stages.append(compare("int8", reference, onnx_logits(int8_graph), reviews))
            if quantize == "int8" or not stages[-1].failures(QUANTIZED):
                _pass_gate(stages[-1], QUANTIZED, reviews)
                graph = int8_graph
            else:
                _logger.warning("int8 fails its gate (%s); publishing float", "; ".join(stages[-1].failures(QUANTIZED)))
        quantized = graph.name == "model.int8.onnx"
        report = {
            "proof": {"file": proof.name, "reviews": len(reviews), "max_length": length},
            "quantized": quantized,
            "stages": [_describe(stage) for stage in stages],
        }
        _publish(output, graph, config, tokenizer, adapter_manifest, report)
    return ExportResult(output, quantized, tuple(stages), (output / "model.onnx").stat().st_size)


def _publish(
    output: Path, graph: Path, config: Path, tokenizer: ReviewTokenizer, adapter: Manifest, report: dict[str, Any]
) -> None:
    manifest = replace(
        adapter,
        kind=Kind.ONNX,
        metrics={**adapter.metrics, "export": report["stages"]},
        versions=adapter.versions | package_versions("optimum", "optimum-onnx", "onnx", "onnxruntime", "torch"),
        files={},
    )
    with publish(output, manifest) as folder:
        shutil.copyfile(graph, folder / "model.onnx")
        shutil.copyfile(config, folder / "config.json")
        tokenizer.save(folder / "tokenizer.json")
        write_json(folder / "report.json", report)


def _describe(stage: Parity) -> dict[str, Any]:
    description = asdict(stage)
    del description["worst"]  # indices into somebody's reviews
    return description


def _pass_gate(stage: Parity, gate: Gate, reviews: list[Review]) -> None:
    _logger.info(
        "%s: max |Δlogit| %.2e, %d label flips, accuracy %.4f",
        stage.stage, stage.max_difference, stage.flips, stage.accuracy,
    )  # fmt: skip
    problems = stage.failures(gate)
    if problems:
        examples = [f"  review {index + 1}: {reviews[index].text[:70]}" for index in stage.worst]
        raise ExportError(
            "\n".join(
                [f"the {stage.stage} model is not the adapter: {'; '.join(problems)}. It differs most on:", *examples]
            )
            + "\nNothing was published."
        )
