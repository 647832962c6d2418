"""The whole stage: adapter → merged → ONNX → fused → int8, each compared with the adapter on real reviews, then published at once."""

import copy
import logging
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from export.cards import bundle_card
from export.comparison import ADAPTER, Comparison, compare_stages
from export.convert import convert_to_onnx, float_graph
from export.parity import EXACT, QUANTIZED, Gate, Measurement, Parity
from export.plain import fix_token_types, quantize_rows
from export.quantize import quantize_to_int8
from export.readers import ReadersProof, Reading, prove_readers
from export.report import write_report
from export.standard import FLOAT, INT8, PaddedBatches, publish_standard, refuse_standard_target
from toolkit.choices import Quantization, Truncation, check_choice
from toolkit.datasets.splits import Review, read_reviews
from toolkit.errors import ExportError, needs_extra
from toolkit.evaluation.calibration import fit_temperature, steps_of_risk_coverage
from toolkit.evaluation.metrics import softmax
from toolkit.machine import package_versions
from toolkit.models.adapter import adapter_tokenizer, load_adapter, merge_adapter
from toolkit.models.architectures import DISTILBERT
from toolkit.models.bundle import MODEL_CARD, NGRAM_TABLE, Kind, Manifest, check_max_length, max_positions
from toolkit.models.completion import folder_with, read_model
from toolkit.models.files import write_text
from toolkit.models.publishing import naming_a_full_disk, publish, refuse_foreign_target
from toolkit.models.workspaces import workspace
from toolkit.prediction import Abstention, Predictor
from toolkit.prediction.combination import NgramReader
from toolkit.prediction.onnx_backend import OnnxPredictor
from toolkit.prediction.torch_backend import TorchPredictor
from toolkit.progress import announce
from toolkit.text.labels import LabelSet
from toolkit.text.tokenisation import ReviewTokenizer, count_read

GATES = {"merged": EXACT, "onnx": EXACT, "fused": EXACT, "int8": QUANTIZED, FLOAT: EXACT, INT8: QUANTIZED}
ROUNDED = {"int8", INT8}  # the stages whose weights are rounded; the others compute alike
_logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class ExportResult:
    """What was published.

    Attributes:
        bundle: The bundle's folder; None where there is none.
        quantized: Whether its graph is int8.
        stages: the scorecard: the adapter, then each stage's comparison with it, in order.
        readers: Each choice of readers, where there is an n-gram table.
        bytes: The size of its `model.onnx`.
        standard: The folder for other tools; None where there is none.
    """

    bundle: Path | None
    quantized: bool
    stages: tuple[Parity, ...]
    readers: tuple[Reading, ...]
    bytes: int
    standard: Path | None = None


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
        standard: A second folder, with a plain graph that other tools open and may give padded batches; none by default.

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
    standard: Path | None = None

    def __post_init__(self) -> None:
        """Refuse what no export could do, before minutes are spent on it."""
        check_choice("quantize", self.quantize, Quantization)
        if self.truncation is not None:
            check_choice("truncation", self.truncation, Truncation)
        Abstention(self.uncertain_below, self.target_accuracy)


def export_model(
    adapter: Path, output: Path | None, parity_set: Path, *, options: ExportOptions = ExportOptions()
) -> ExportResult:
    """Export an adapter and compare every step with it on the reviews of a parity set.

    Args:
        adapter: An adapter made by `toolkit train` or by PEFT.
        output: Where the bundle goes; what is there stays until the new one has passed its gates. None makes no bundle, where
            the options name a folder for other tools.
        parity_set: A CSV, JSONL or Parquet file of labelled reviews that the adapter was not trained on.
        options: What kind of bundle it becomes.

    Raises:
        ExportError: A gate failed; names it, by how much, and the reviews that differ most. Nothing is published.
        ToolkitError: The adapter, the base, the parity set or the output cannot be used.
    """
    room_for = output or options.standard
    if room_for is None:
        raise ValueError("export_model makes nothing: give an output, or a folder as options.standard")
    if output:
        refuse_foreign_target(output, Kind.ONNX)
    if options.standard:
        refuse_standard_target(options.standard)
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
    with workspace(room_for) as room, naming_a_full_disk(room):
        converted, int8 = convert_to_onnx(merged, room), options.quantize != "none"
        graphs = _graphs(converted, room, merged.config.model_type, int8) if output else {}
        standard = _standard_graphs(converted, room, int8) if options.standard else {}
        pad_id = merged.config.pad_token_id or 0
        models = {
            ADAPTER: TorchPredictor(model, tokenizer, manifest, "cpu"),
            "merged": TorchPredictor(merged, tokenizer, manifest, "cpu"),
            **{stage: OnnxPredictor.of_graph(graph, tokenizer, manifest) for stage, graph in graphs.items()},
            **{stage: PaddedBatches(graph, tokenizer, manifest, pad_id) for stage, graph in standard.items()},
        }
        weights = {
            ADAPTER: adapter / "adapter_model.safetensors",
            "merged": room / "merged" / "model.safetensors",
            **graphs,
            **standard,
        }
        float_stage = [stage for stage in (*(graphs or standard),) if stage not in ROUNDED][-1]
        _logger.info("comparing %s on reviews of %s", ", ".join(list(models)[1:]), parity_set)
        comparisons, measured = compare_stages(
            models, float_stage, ROUNDED & models.keys(), windows, reviews, tokens_read,
            {stage: path.stat().st_size for stage, path in weights.items()},
        )  # fmt: skip
        stages = tuple(each.parity for each in comparisons)
        passed = _pass_gates(comparisons, gates, options.quantize, reviews, manifest.label_set)
        if options.standard:
            publish_standard(
                options.standard, {stage: graph for stage, graph in standard.items() if stage in passed},
                converted.with_name("config.json"), adapter, options.base_model, manifest,
                [each for each in stages if each.stage == ADAPTER or (each.stage in standard and each.stage in passed)], parity_set,
            )  # fmt: skip
        if not output:
            return ExportResult(None, False, stages, (), 0, options.standard)
        chosen = [stage for stage in graphs if stage in passed][-1]
        own = [each for each in comparisons if each.parity.stage not in standard]
        proof, manifest = _fitted(manifest, measured[chosen], reviews, chosen, reader, models[chosen], tokenizer)
        manifest = replace(
            manifest,
            kind=Kind.ONNX,
            metrics={**manifest.metrics, "export": {each.parity.stage: _figures(each.parity) for each in own}},
            versions=manifest.versions | package_versions("optimum", "optimum-onnx", "onnx", "onnxruntime", "torch"),
            files={},
        )
        threshold = Abstention(options.uncertain_below, options.target_accuracy).threshold(manifest)
        manifest = replace(manifest, uncertain_below=threshold.uncertain_below)
        readers = proof.rows if proof else ()
        with publish(output, manifest) as folder:
            shutil.copyfile(graphs[chosen], folder / "model.onnx")
            shutil.copyfile(converted.with_name("config.json"), folder / "config.json")
            tokenizer.save(folder / "tokenizer.json")
            if proof:
                proof.reader.table.save(folder / NGRAM_TABLE)
            judged = {stage: gate for stage, gate in gates.items() if stage not in (FLOAT, INT8)}
            write_report(folder, own, tokens_read, parity_set, manifest, judged, readers, quantized=chosen == "int8")
            write_text(folder / MODEL_CARD, bundle_card(manifest, stages, readers, parity_set, len(reviews), chosen))
        size = (output / "model.onnx").stat().st_size
    return ExportResult(output, chosen == "int8", stages, readers, size, options.standard)


def _graphs(converted: Path, room: Path, family: str, int8: bool) -> dict[str, Path]:
    """The graphs by their stage: rearranged for a DistilBERT, plain for the others."""
    if family == DISTILBERT.name:
        graphs, quantized = {"onnx": converted, "fused": float_graph(converted, room)}, quantize_to_int8
    else:
        graphs, quantized = {"onnx": float_graph(converted, room)}, quantize_rows
    return graphs | ({"int8": quantized(graphs["onnx"], room / "model.int8.onnx")} if int8 else {})


def _standard_graphs(converted: Path, room: Path, int8: bool) -> dict[str, Path]:
    """The graphs for other tools by their stage."""
    graphs = {FLOAT: fix_token_types(converted, room / "model.standard.onnx")}
    return graphs | ({INT8: quantize_rows(graphs[FLOAT], room / "model.rows.onnx")} if int8 else {})


def _require_reviews(parity_set: Path, found: int, gate: Gate) -> None:
    """Refuse too small a parity set before minutes are spent on it."""
    if found < gate.reviews:
        raise ExportError(
            f"{parity_set} has {found} reviews, expected at least {gate.reviews:,} in a parity set; "
            "name a larger file with --parity-set, or accept the smaller one with --small-parity-set"
        )


def _pass_gates(
    comparisons: Sequence[Comparison],
    gates: Mapping[str, Gate],
    quantize: str,
    reviews: Sequence[Review],
    labels: LabelSet,
) -> list[str]:
    """The stages that pass, in order: all of them, but for an int8 that nobody insists on.

    Raises:
        ExportError: Another does not.
    """
    passed = []
    for each in comparisons[1:]:
        stage = each.parity.stage
        problems = each.parity.failures(gates[stage])
        if problems and stage in ROUNDED and quantize == "auto":
            _logger.warning("%s fails its gate (%s); publishing float", stage, "; ".join(problems))
        elif problems:
            raise ExportError(_refusal(each, problems, reviews, labels))
        else:
            passed.append(stage)
    return passed


def _fitted(
    manifest: Manifest,
    measured: Measurement,
    reviews: Sequence[Review],
    stage: str,
    reader: NgramReader | None,
    predictor: Predictor,
    tokenizer: ReviewTokenizer,
) -> tuple[ReadersProof | None, Manifest]:
    """What the n-gram reader is worth beside a stage, and the manifest with what is fitted on the parity set.

    Where that is large enough: see `Manifest`. The float graph keeps the adapter's temperature; int8 logits are others and get
    one of their own, if they can.
    """
    before, logits, labels = manifest.temperature, measured.logits, np.array([int(review.label) for review in reviews])
    enough = len(reviews) >= QUANTIZED.reviews
    if enough and stage == "int8":
        manifest = replace(manifest, temperature=fit_temperature(logits, labels, otherwise=before))
    proof, calibrated = None, logits / manifest.temperature
    if reader is not None:
        # Not fitted again: the table has learnt from reviews of the same films as those of most parity sets, see `fit_reader`.
        reader = NgramReader(reader.table, reader.rule.rescaled(manifest.temperature / before))
        proof = prove_readers(reader, predictor, tokenizer, reviews, measured, manifest.temperature)
        calibrated, figures = proof.logits, {row.readers: asdict(row) for row in proof.rows}
        manifest = replace(manifest, ngrams=proof.reader.describe(), metrics={**manifest.metrics, "readers": figures})
    if enough:
        manifest = replace(manifest, risk_coverage=steps_of_risk_coverage(calibrated, labels))
    return proof, manifest


def _refusal(comparison: Comparison, problems: list[str], reviews: Sequence[Review], labels: LabelSet) -> str:
    stage = comparison.parity.stage
    other = "float model" if stage in ROUNDED else ADAPTER

    def example(index: int) -> str:
        before, now = (softmax(logits[[index]])[0] for logits in (comparison.reference, comparison.logits))
        label = labels[1] if len(labels) == 2 else labels[int(before.argmax())]
        place = int(comparison.places[index])
        return (
            f"  review {place + 1}: {before[label.index]:.4f} {label.name} by the {other}, {now[label.index]:.4f} now: "
            f"{reviews[place].text[:60]}"
        )

    examples = [example(index) for index in comparison.parity.worst]
    return "\n".join(
        [f"the {stage} model is not the {other}: {'; '.join(problems)}. It differs most on:", *examples,
         "Nothing was published."]
    )  # fmt: skip


def _figures(stage: Parity) -> dict[str, Any]:
    return {
        "accuracy": stage.accuracy,
        "flips": stage.flips,
        "max_difference": stage.max_difference,
        "reviews": stage.reviews,
    }
