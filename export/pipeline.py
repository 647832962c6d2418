"""The whole stage: adapter → merged → ONNX → fused → int8, each compared with the adapter on real reviews, then published at once."""

import copy
import logging
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from export.convert import convert_to_onnx
from export.parity import EXACT, QUANTIZED, Gate, Measurement, Parity, compare, measure
from export.plain import fix_token_types, quantize_plainly
from export.quantize import quantize_to_int8
from export.readers import ReadersProof, Reading, prove_readers
from export.report import write_report
from export.restructure import fuse
from toolkit.choices import Quantization, Truncation, check_choice
from toolkit.datasets.splits import Review, read_reviews
from toolkit.errors import ExportError, needs_extra
from toolkit.evaluation.calibration import fit_temperature, steps_of_risk_coverage
from toolkit.evaluation.metrics import softmax
from toolkit.machine import package_versions
from toolkit.models.adapter import adapter_tokenizer, load_adapter, merge_adapter
from toolkit.models.architectures import DISTILBERT
from toolkit.models.bundle import NGRAM_TABLE, Kind, Manifest, check_max_length, max_positions
from toolkit.models.completion import folder_with, read_model
from toolkit.models.publishing import naming_a_full_disk, publish, refuse_foreign_target
from toolkit.models.workspaces import workspace
from toolkit.prediction import Abstention
from toolkit.prediction.combination import NgramReader
from toolkit.prediction.onnx_backend import OnnxPredictor
from toolkit.prediction.torch_backend import TorchPredictor
from toolkit.progress import announce, track
from toolkit.text.labels import LabelSet
from toolkit.text.tokenisation import count_read

GATES = {"merged": EXACT, "onnx": EXACT, "fused": EXACT, "int8": QUANTIZED}
_logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class ExportResult:
    """What was published.

    Attributes:
        bundle: the folder.
        quantized: whether its graph is int8.
        stages: the scorecard: the adapter, then each stage's comparison with it, in order.
        readers: Each choice of readers, where there is an n-gram table.
        bytes: size of `model.onnx`.
    """

    bundle: Path
    quantized: bool
    stages: tuple[Parity, ...]
    readers: tuple[Reading, ...]
    bytes: int


@dataclass(frozen=True)
class ExportOptions:
    """What kind of bundle an export makes.

    Attributes:
        quantize: `none`, `int8`, or `auto`: int8 if it passes its gate, else float.
        truncation: What the bundle reads of a longer review, see `InferenceOptions`; the adapter's own by default.
        uncertain_below: The score below which the bundle leaves a review undecided, unless its user says otherwise.
        target_accuracy: How often the decided reviews of the parity set are to be right; chooses `uncertain_below`.
        small_parity_set: Whether fewer reviews are enough than the gates ask for; the report says how many there were.
        base_model: The base to use instead of the one the adapter names.
        encoding: The encoding of the parity set's text without a byte order mark; UTF-8 by default.

    Raises:
        ValueError: A choice is none of those that there are, or the threshold is chosen in two ways.
    """

    quantize: Quantization = "none"
    truncation: Truncation | None = None
    uncertain_below: float | None = None
    target_accuracy: float | None = None
    small_parity_set: bool = False
    base_model: str | None = None
    encoding: str | None = None

    def __post_init__(self) -> None:
        """Refuse what no export could do, before minutes are spent on it."""
        check_choice("quantize", self.quantize, Quantization)
        if self.truncation is not None:
            check_choice("truncation", self.truncation, Truncation)
        Abstention(self.uncertain_below, self.target_accuracy)


def export_model(
    adapter: Path, output: Path, parity_set: Path, *, options: ExportOptions = ExportOptions()
) -> ExportResult:
    """Export an adapter and compare every step with it on the reviews of a parity set.

    Args:
        adapter: An adapter made by `toolkit train` or by PEFT.
        output: Where the bundle goes; what is there stays until the new one has passed its gates.
        parity_set: A CSV, JSONL or Parquet file of labelled reviews that the adapter was not trained on.
        options: What kind of bundle it becomes.

    Raises:
        ExportError: A gate failed; names it, by how much, and the reviews that differ most. Nothing is published.
        ToolkitError: The adapter, the base, the parity set or the output cannot be used.
    """
    refuse_foreign_target(output, Kind.ONNX)
    labels = read_model(adapter, Kind.ADAPTER, options.base_model).label_set
    reviews = read_reviews(parity_set, others=(), labels=labels, encoding=options.encoding)
    gates = {stage: replace(gate, reviews=1) if options.small_parity_set else gate for stage, gate in GATES.items()}
    _require_reviews(parity_set, len(reviews), gates["int8" if options.quantize == "int8" else "onnx"])
    if options.target_accuracy is not None and len(reviews) < QUANTIZED.reviews:
        raise ExportError(
            f"{parity_set} has {len(reviews)} reviews, expected at least {QUANTIZED.reviews:,} to choose a threshold for "
            "--target-accuracy; name a larger file with --parity-set, or give --uncertain-below"
        )
    with needs_extra("train", "exporting"):  # better missed before the work than after it
        import matplotlib  # noqa: F401
        import optimum.onnxruntime  # noqa: F401
        import sklearn  # noqa: F401
    model, manifest = load_adapter(adapter, options.base_model)
    reader = NgramReader.load(adapter, manifest)
    positions = max_positions(folder_with(("config.json",), adapter, options.base_model))
    length = check_max_length(manifest.max_length, positions)
    manifest = replace(manifest, truncation=options.truncation or manifest.truncation)
    tokenizer = adapter_tokenizer(adapter, length, manifest.truncation, options.base_model)
    windows = tokenizer.encode_windows([review.text for review in reviews])
    tokens_read = [count_read(each) for each in windows]

    announce("converting")
    merged = merge_adapter(copy.deepcopy(model))
    with workspace(output) as room, naming_a_full_disk(room):
        graphs = _graphs(convert_to_onnx(merged, room), room, merged.config.model_type, options.quantize != "none")
        models = {
            "adapter": TorchPredictor(model, tokenizer, manifest, "cpu"),
            "merged": TorchPredictor(merged, tokenizer, manifest, "cpu"),
            **{stage: OnnxPredictor.of_graph(graph, tokenizer, manifest) for stage, graph in graphs.items()},
        }
        weights = {
            "adapter": adapter / "adapter_model.safetensors",
            "merged": room / "merged" / "model.safetensors",
            **graphs,
        }
        _logger.info("comparing %s on %d reviews of %s", ", ".join(list(models)[1:]), len(reviews), parity_set)
        with track("comparing", "outputs", len(models) * len(reviews)) as progress:
            measured = measure(models, windows, progress.advance)
        reference = measured["adapter"].logits
        stages = [
            compare(stage, reference, measurement, reviews, tokens_read, weights[stage].stat().st_size)
            for stage, measurement in measured.items()
        ]
        chosen = _pass_gates(stages, gates, options.quantize, measured, reviews, manifest.label_set)
        before = manifest.temperature
        manifest = _fitted(manifest, measured[chosen].logits, reviews, chosen)
        proof = None
        if reader is not None:
            # Not fitted again: the table has learnt from reviews of the same films as those of most parity sets, see `fit_reader`.
            reader = NgramReader(reader.table, reader.rule.rescaled(manifest.temperature / before))
            proof = prove_readers(reader, models[chosen], tokenizer, reviews, measured[chosen], manifest.temperature)
            manifest = _with_reader(manifest, proof, reviews)
        manifest = replace(
            manifest,
            kind=Kind.ONNX,
            metrics={**manifest.metrics, "export": {stage.stage: _figures(stage) for stage in stages}},
            versions=manifest.versions | package_versions("optimum", "optimum-onnx", "onnx", "onnxruntime", "torch"),
            files={},
        )
        threshold = Abstention(options.uncertain_below, options.target_accuracy).threshold(manifest)
        manifest = replace(manifest, uncertain_below=threshold.uncertain_below)
        with publish(output, manifest) as folder:
            shutil.copyfile(graphs[chosen], folder / "model.onnx")
            shutil.copyfile(graphs["onnx"].parent / "config.json", folder / "config.json")
            tokenizer.save(folder / "tokenizer.json")
            if proof:
                proof.reader.table.save(folder / NGRAM_TABLE)
            readers = proof.rows if proof else ()
            write_report(
                folder, stages, measured, tokens_read, parity_set, manifest, gates, readers, quantized=chosen == "int8"
            )
    return ExportResult(output, chosen == "int8", tuple(stages), readers, (output / "model.onnx").stat().st_size)


def _graphs(converted: Path, room: Path, family: str, int8: bool) -> dict[str, Path]:
    """The graphs by their stage: rearranged for a DistilBERT, plain for the others."""
    if family != DISTILBERT.name:
        graphs = {"onnx": fix_token_types(converted)}
        return graphs | ({"int8": quantize_plainly(converted, room / "model.int8.onnx")} if int8 else {})
    graphs = {"onnx": converted, "fused": fuse(converted, room / "model.fused.onnx")}
    return graphs | ({"int8": quantize_to_int8(converted, room / "model.int8.onnx")} if int8 else {})


def _require_reviews(parity_set: Path, found: int, gate: Gate) -> None:
    """Refuse too small a parity set before minutes are spent on it."""
    if found < gate.reviews:
        raise ExportError(
            f"{parity_set} has {found} reviews, expected at least {gate.reviews:,} in a parity set; "
            "name a larger file with --parity-set, or accept the smaller one with --small-parity-set"
        )


def _pass_gates(
    stages: Sequence[Parity],
    gates: Mapping[str, Gate],
    quantize: str,
    measured: Mapping[str, Measurement],
    reviews: Sequence[Review],
    labels: LabelSet,
) -> str:
    """The stage whose graph is to be published.

    Raises:
        ExportError: a stage does not pass, and there is none to fall back on.
    """
    chosen = ""
    for stage in stages[1:]:
        problems = stage.failures(gates[stage.stage])
        if problems and stage.stage == "int8" and quantize == "auto":
            _logger.warning("int8 fails its gate (%s); publishing float", "; ".join(problems))
        elif problems:
            raise ExportError(_refusal(stage, problems, measured, reviews, labels))
        else:
            chosen = stage.stage
    return chosen


def _fitted(manifest: Manifest, logits: np.ndarray, reviews: Sequence[Review], stage: str) -> Manifest:
    """The manifest with what is fitted on the parity set, where it is large enough for that: see `Manifest`.

    The float graph keeps the adapter's temperature; int8 logits are others and get one of their own, if they can.
    """
    if len(reviews) < QUANTIZED.reviews:
        return manifest
    labels = np.array([int(review.label) for review in reviews])
    temperature = (
        fit_temperature(logits, labels, otherwise=manifest.temperature) if stage == "int8" else manifest.temperature
    )
    return replace(
        manifest,
        temperature=temperature,
        risk_coverage=steps_of_risk_coverage(logits / temperature, labels),
    )


def _with_reader(manifest: Manifest, proof: ReadersProof, reviews: Sequence[Review]) -> Manifest:
    """The manifest with the n-gram reader, by whose answers thresholds are chosen then, where there are reviews enough."""
    figures = {row.readers: asdict(row) for row in proof.rows}
    manifest = replace(manifest, ngrams=proof.reader.describe(), metrics={**manifest.metrics, "readers": figures})
    if len(reviews) < QUANTIZED.reviews:
        return manifest
    labels = np.array([int(review.label) for review in reviews])
    return replace(manifest, risk_coverage=steps_of_risk_coverage(proof.logits, labels))


def _refusal(
    stage: Parity,
    problems: Sequence[str],
    measured: Mapping[str, Measurement],
    reviews: Sequence[Review],
    labels: LabelSet,
) -> str:
    def example(index: int) -> str:
        before, now = (softmax(measured[name].logits[[index]])[0] for name in ("adapter", stage.stage))
        label = labels[1] if len(labels) == 2 else labels[int(before.argmax())]
        return (
            f"  review {index + 1}: {before[label.index]:.4f} {label.name} by the adapter, {now[label.index]:.4f} now: "
            f"{reviews[index].text[:60]}"
        )

    examples = [example(index) for index in stage.worst]
    return "\n".join(
        [f"the {stage.stage} model is not the adapter: {'; '.join(problems)}. It differs most on:", *examples,
         "Nothing was published."]
    )  # fmt: skip


def _figures(stage: Parity) -> dict[str, Any]:
    return {
        "accuracy": stage.accuracy,
        "flips": stage.flips,
        "max_difference": stage.max_difference,
        "reviews": stage.reviews,
    }
