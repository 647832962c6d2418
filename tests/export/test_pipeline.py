import json
import os
import re
import shutil
import subprocess
import sys
import textwrap
from dataclasses import replace

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

import export.comparison as comparison
import export.pipeline as pipeline
from export import ExportOptions, export_model
from export.parity import EXACT, QUANTIZED, Measurement, compare, measure
from export.report import table
from tests.conftest import ROOT
from toolkit.datasets.splits import Review, read_reviews, write_reviews
from toolkit.errors import BundleError, DataError, ExportError, ToolkitError
from toolkit.models.bundle import Kind, read_manifest
from toolkit.models.files import sha256
from toolkit.prediction import InferenceOptions
from toolkit.prediction.onnx_backend import OnnxPredictor
from toolkit.text.labels import SENTIMENT

SMALL = ExportOptions(small_parity_set=True)
REVIEWS = [Review(f"review {index}", SENTIMENT[index % 2]) for index in range(4)]
LOGITS = np.array([[1, -1], [-1, 1], [2, -2], [-0.1, 0.1]], np.float32)


@pytest.fixture
def parity_set(tiny_dataset):
    return tiny_dataset / "validation.csv"


def test_the_bundle_holds_what_a_cpu_needs_and_nothing_else(tiny_bundle, tiny_adapter):
    assert {path.name for path in tiny_bundle.iterdir()} == {
        "model.onnx", "tokenizer.json", "config.json", "manifest.json", "report.json", "report.png", "README.md",
    }  # fmt: skip
    manifest = read_manifest(tiny_bundle, Kind.ONNX)
    adapter = read_manifest(tiny_adapter, Kind.ADAPTER)
    assert manifest.base_model_sha256 == adapter.base_model_sha256
    assert manifest.training == adapter.training
    assert manifest.versions["onnxruntime"]
    graph = onnx.load(tiny_bundle / "model.onnx").graph
    assert {graph_input.name for graph_input in graph.input} == {"input_ids"}
    assert [output.name for output in graph.output] == ["logits"]


def test_the_report_compares_every_step(tiny_bundle, parity_set):
    report = json.loads((tiny_bundle / "report.json").read_text())
    assert [stage["stage"] for stage in report["stages"]] == ["adapter", "merged", "onnx", "fused"]
    for stage in report["stages"]:
        assert stage["flips"] == 0
        assert stage["relative_difference"] <= 1e-4
        assert len(stage["flips_by_quartile"]) == 4
        assert stage["accuracy_interval"][0] < stage["accuracy"] < stage["accuracy_interval"][1]
        assert stage["bytes"] > 0
        assert stage["reviews_per_second"] > 0
    assert report["proof"]["file"] == "validation.csv"
    assert report["proof"]["sha256"] == sha256(parity_set)
    assert report["proof"]["reviews"] == 24
    assert report["quantized"] is False


@pytest.mark.parametrize("small", [True, False])
def test_the_report_states_the_gates_that_were_passed(tiny_adapter, tiny_dataset, tmp_path, small):
    write_reviews(tmp_path / "set.csv", read_reviews(tiny_dataset / "train.csv") * (1 if small else 8))
    export_model(
        tiny_adapter, tmp_path / "onnx_model", tmp_path / "set.csv", options=ExportOptions(small_parity_set=small)
    )
    gates = json.loads((tmp_path / "onnx_model" / "report.json").read_text())["gates"]
    assert {stage: gate["reviews"] for stage, gate in gates.items()} == (
        dict.fromkeys(("merged", "onnx", "fused", "int8"), 1)
        if small
        else {"merged": 500, "onnx": 500, "fused": 500, "int8": 2000}
    )
    assert gates["int8"]["accuracy_loss"] == QUANTIZED.accuracy_loss


def test_the_report_counts_tokens_as_predictions_do(tiny_adapter, tmp_path):
    """Those that two windows share are read twice and counted once."""
    texts = [f"{'a fine film ' * words} number {words}" for words in (10, 300, 400, 500)]
    write_reviews(tmp_path / "set.csv", [Review(text, SENTIMENT[index % 2]) for index, text in enumerate(texts)])
    bundle = export_model(
        tiny_adapter,
        tmp_path / "onnx_model",
        tmp_path / "set.csv",
        options=ExportOptions(small_parity_set=True, truncation="window"),
    ).bundle
    quartiles = json.loads((bundle / "report.json").read_text())["proof"]["tokens_read_quartiles"]
    counted = [prediction.tokens_read for prediction in OnnxPredictor.load(bundle).predict_many(texts)]
    assert counted[-1] > 512
    assert quartiles == np.percentile(counted, [0, 25, 50, 75, 100]).tolist()


def test_torch_is_asked_a_sample_of_every_length_and_rounded_graphs_all(monkeypatch):
    """The exact stages are the same on any review or on none; what is rounded flips a label in a hundred."""
    tokens = list(range(2000, 0, -1))
    reviews = [Review(f"review {number}", SENTIMENT[number % 2]) for number in range(2000)]
    asked = {name: [] for name in ("adapter", "fused", "int8")}

    def measure(models, windows, advance):
        for name in models:
            asked[name] += windows
        return {
            name: Measurement(np.array([[number, -number] for number in windows], np.float32), 1.0) for name in models
        }

    monkeypatch.setattr(comparison, "measure", measure)
    models = dict.fromkeys(asked)
    found, whole = comparison.compare_stages(
        models, "fused", {"int8"}, list(range(2000)), reviews, tokens, dict.fromkeys(asked, 1)
    )
    assert asked["fused"] == asked["int8"] == list(range(2000))
    assert len(asked["adapter"]) == EXACT.reviews
    lengths = [tokens[number] for number in asked["adapter"]]
    assert (min(lengths), max(lengths)) == (1, 2000)
    assert np.percentile(lengths, [25, 50, 75]) == pytest.approx([500, 1000, 1500], abs=5)
    assert {name: len(each.logits) for name, each in whole.items()} == {"fused": 2000, "int8": 2000}
    assert [each.parity.reviews for each in found] == [500, 500, 2000]
    for each in found:
        np.testing.assert_array_equal(each.logits, each.reference)
        np.testing.assert_array_equal(each.logits[:, 0], each.places)


def test_a_wrong_graph_is_not_published(monkeypatch, tiny_adapter, tiny_bundle, parity_set, tmp_path):
    """One weight changed on the way must be caught, and what stood there must stay."""
    convert = pipeline.convert_to_onnx

    def bend(model, folder):
        path = convert(model, folder)
        graph = onnx.load(path)
        bias = next(weight for weight in graph.graph.initializer if weight.name == "classifier.bias")
        bias.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(bias) + np.float32([0.01, 0]), bias.name))
        onnx.save(graph, path)
        return path

    output = tmp_path / "onnx_model"
    export_model(tiny_adapter, output, parity_set, options=SMALL)
    before = (output / "manifest.json").read_bytes()
    monkeypatch.setattr(pipeline, "convert_to_onnx", bend)
    with pytest.raises(ExportError) as error:
        export_model(tiny_adapter, output, parity_set, options=SMALL)
    message = str(error.value)
    assert "the onnx model is not the adapter: max |Δlogit| is " in message
    assert "of the mean |logit|, expected at most 1e-04" in message
    assert len(re.findall(r"^  review \d+: 0\.\d{4} positive by the adapter, 0\.\d{4} now: \w", message, re.M)) == 5
    assert "Nothing was published" in message
    assert (output / "manifest.json").read_bytes() == before
    read_manifest(output, Kind.ONNX)


def test_int8_is_smaller_and_nearly_the_same(minilm, tiny_dataset, parity_set, tmp_path, demo_reviews):
    """On the offline base, whose layers are large enough for int8 to matter."""
    from toolkit.training.config import TrainingConfig
    from toolkit.training.run import train

    settings = {
        "base_model": "minilm",
        "dataset": str(tiny_dataset),
        "max_steps": 5,
        "max_length": 64,
        "train_probe": 8,
    }
    adapter = train(TrainingConfig(**settings, adapter_dir=str(tmp_path / "lora_model"))).adapter
    result = export_model(adapter, tmp_path / "onnx_model", parity_set, options=replace(SMALL, quantize="auto"))
    int8 = result.stages[-1]
    assert [stage.stage for stage in result.stages] == ["adapter", "merged", "onnx", "fused", "int8"]
    assert 0 < int8.max_difference < 0.5
    assert result.quantized is not bool(int8.failures(replace(QUANTIZED, reviews=1)))
    assert result.bytes < 40e6 if result.quantized else result.bytes > 80e6
    predictor = OnnxPredictor.load(result.bundle, InferenceOptions(workers=2))
    texts = [review.text for review in demo_reviews["test"][:12]]
    assert list(predictor.predict_many(texts)) == [predictor.predict(text) for text in texts]  # one thread, or two


def test_auto_falls_back_to_float_and_int8_does_not(monkeypatch, tiny_adapter, parity_set, tmp_path):
    def spoil(source, target):
        graph = onnx.load(source)
        for weight in graph.graph.initializer:
            if weight.name == "classifier.weight":
                weight.CopyFrom(numpy_helper.from_array(-numpy_helper.to_array(weight), weight.name))
        onnx.save(graph, target)
        return target

    monkeypatch.setattr(pipeline, "quantize_to_int8", spoil)
    result = export_model(tiny_adapter, tmp_path / "onnx_model", parity_set, options=replace(SMALL, quantize="auto"))
    assert not result.quantized
    assert result.stages[-1].flips > 0
    with pytest.raises(
        ExportError,
        match=r"the int8 model is not the float model: .* labels flip \(\d+\.\d+%\), expected at most 1\.0%",
    ):
        export_model(tiny_adapter, tmp_path / "other", parity_set, options=replace(SMALL, quantize="int8"))
    assert not (tmp_path / "other").exists()


def test_a_parity_set_too_small_is_refused_before_any_work(tiny_adapter, parity_set, tmp_path, monkeypatch):
    monkeypatch.setattr(pipeline, "load_adapter", None)
    for quantize, needed in (("none", "500"), ("auto", "500"), ("int8", "2,000")):
        with pytest.raises(ExportError, match=rf"24 reviews, expected at least {needed} .*--small-parity-set"):
            export_model(tiny_adapter, tmp_path / "onnx_model", parity_set, options=ExportOptions(quantize))


def test_a_target_accuracy_needs_a_parity_set_that_is_large_enough_before_any_work(
    tiny_adapter, parity_set, tmp_path, monkeypatch
):
    monkeypatch.setattr(pipeline, "load_adapter", None)
    with pytest.raises(
        ExportError, match=r"24 reviews, expected at least 2,000 to choose a threshold for --target-acc"
    ):
        export_model(
            tiny_adapter,
            tmp_path / "onnx_model",
            parity_set,
            options=ExportOptions(small_parity_set=True, target_accuracy=0.9),
        )


KILLED_IN_EVERY_PHASE = """
    import json, os, signal, sys
    from pathlib import Path
    import matplotlib.figure, onnxruntime, optimum.onnxruntime, peft, scipy.stats, sklearn.metrics  # once, not in every child
    import export.pipeline as pipeline
    from export import ExportOptions, export_model
    from toolkit.models import publishing, workspaces
    from toolkit.models.bundle import Kind, read_manifest
    from toolkit.errors import BundleError
    from toolkit.models.workspaces import files_below

    adapter, parity_set, output = map(Path, sys.argv[1:4])
    inside = sys.argv[4] == "inside"
    if inside:  # as if the folder could not be renamed
        publishing.stays = workspaces.stays = lambda target: target.is_dir()
    def die(*arguments):
        os.kill(os.getpid(), signal.SIGKILL)

    def during(module, name):
        def arrange():
            kept = getattr(module, name)
            setattr(module, name, lambda *arguments, **options: die(kept(*arguments, **options)))
        return arrange

    def moving():  # the second file has been moved into a folder that stays; the two folders have been exchanged
        replace, exchange, moved = Path.replace, publishing._exchange, []
        def count(path, target):
            replace(path, target)
            moved.append(target)
            if len(moved) == 2:
                die()
        Path.replace = count
        publishing._exchange = lambda *arguments: die(exchange(*arguments))

    phases = {
        "merging": during(pipeline, "merge_adapter"), "converting": during(pipeline, "convert_to_onnx"),
        "fusing": during(pipeline, "fuse"), "proving": during(pipeline, "compare_stages"), "fitting": during(pipeline, "_fitted"),
        "writing": during(pipeline, "write_report"), "listing": during(publishing, "write_manifest"),
        "moving": moving, "removing": during(publishing, "fill" if inside else "_move_into_place"), "": lambda: None,
    }
    for phase in sys.argv[5].split(","):
        number = list(phases).index(phase) + 1
        child = os.fork()
        if not child:
            phases[phase]()
            export_model(adapter, output, parity_set, options=ExportOptions(small_parity_set=True, uncertain_below=(60 + number) / 100))
            os._exit(0)
        status = os.waitpid(child, 0)[1]
        assert os.WIFSIGNALED(status) == bool(phase), (phase, status)
        left = [path.name for path in (*output.parent.iterdir(), *output.glob(".*")) if path.name.endswith(".partial")]
        try:
            found = read_manifest(output, Kind.ONNX).uncertain_below
        except BundleError as error:
            found = str(error).partition("; ")[2]
        print(json.dumps([phase, found, len(left), sorted(set(files_below(output)))]))
"""


EVERY_PHASE = ("merging", "converting", "fusing", "proving", "fitting", "writing", "listing", "moving", "removing", "")


@pytest.mark.parametrize("way", ["beside", "inside"])
@pytest.mark.parametrize(
    "phases", [("moving", ""), pytest.param(EVERY_PHASE, marks=pytest.mark.slow)], ids=["the move", "every phase"]
)
def test_killed_in_every_phase_the_next_export_finishes_and_leaves_nothing(
    phases, way, tiny_bundle, tiny_adapter, parity_set, tmp_path
):
    """One run after the other is killed, each a phase later; the last is not."""
    shutil.copytree(tiny_bundle, tmp_path / "onnx_model")
    before = {path.name for path in tiny_bundle.iterdir()}
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    process = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(KILLED_IN_EVERY_PHASE), tiny_adapter, parity_set, tmp_path / "onnx_model", way,
         ",".join(phases)],
        capture_output=True, text=True, check=False, cwd=ROOT, env={**os.environ, "TMPDIR": str(temporary)},
    )  # fmt: skip
    assert process.returncode == 0, process.stderr
    outcomes = {phase: rest for phase, *rest in map(json.loads, process.stdout.splitlines())}
    found = {phase: uncertain_below for phase, (uncertain_below, _, _) in outcomes.items()}
    for phase in phases[: phases.index("moving")]:
        assert found[phase] == 0.5, "the old bundle"
    assert found["moving"] == (0.68 if way == "beside" else "wait for that run, or run the same again")
    assert found.get("removing", 0.69) == 0.69
    assert found[""] == 0.7
    assert all(left <= 2 for _, left, _ in outcomes.values()), "of the last run alone"
    assert set(outcomes[""][2]) == before
    assert outcomes[""][1] == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == ["onnx_model", "temporary"]
    assert list(temporary.iterdir()) == [], "nothing of an export is kept where nobody sweeps"


def test_auto_takes_no_int8_that_was_compared_on_too_few(tiny_adapter, tiny_dataset, tmp_path, caplog):
    reviews = read_reviews(tiny_dataset / "train.csv") * 8
    write_reviews(tmp_path / "few.csv", reviews)
    with caplog.at_level("WARNING"):
        result = export_model(
            tiny_adapter, tmp_path / "onnx_model", tmp_path / "few.csv", options=ExportOptions("auto")
        )
    assert not result.quantized
    assert "int8 fails its gate (compared on 512 reviews, expected at least 2,000" in caplog.text


def test_inputs_that_cannot_be_used(tiny_adapter, parity_set, tmp_path):
    with pytest.raises(DataError, match="no such file"):
        export_model(tiny_adapter, tmp_path / "a", tmp_path / "nothing.csv")
    with pytest.raises(BundleError, match="nowhere not found"):
        export_model(tmp_path / "nowhere", tmp_path / "a", parity_set, options=SMALL)
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(ToolkitError, match=r"holds mine\.txt"):
        export_model(tiny_adapter, tmp_path, parity_set)


def test_compare_measures_differences_and_flips():
    candidate = LOGITS.copy()
    candidate[0, 0] += 0.25
    candidate[3] = [0.1, -0.1]
    parity = compare("onnx", LOGITS, Measurement(candidate, 2.0), REVIEWS, [9, 3, 5, 7], 100)
    assert parity.flips == 1
    assert parity.flips_by_quartile == (0, 0, 1, 0)
    assert parity.max_difference == pytest.approx(0.25)
    assert parity.mean_difference == pytest.approx((0.25 + 0.2 + 0.2) / 8)
    assert parity.relative_difference == pytest.approx(0.25 / np.abs(LOGITS).mean())
    assert parity.worst[:2] == (3, 0), "a flip is worse than a difference"
    assert parity.accuracy == 0.75
    assert parity.accuracy_loss == pytest.approx(0.25)
    assert parity.reviews_per_second == 2
    assert parity.bytes == 100


def test_the_gates_hold_at_their_bounds():
    scale = np.abs(LOGITS).mean()
    lenient = replace(EXACT, reviews=4)

    def failures(logits, gate=lenient):
        return compare("onnx", LOGITS, Measurement(logits.astype(np.float32), 1), REVIEWS, [1, 2, 3, 4]).failures(gate)

    assert failures(LOGITS) == []
    assert failures(LOGITS + 0.9e-4 * scale) == []
    assert "expected at most 1e-04" in failures(LOGITS + 1.1e-4 * scale)[0]
    assert failures(np.full_like(LOGITS, np.nan)) != []
    assert failures(LOGITS, EXACT) == ["compared on 4 reviews, expected at least 500"]


@pytest.mark.parametrize(("flips", "wrong", "problems"), [(25, 0, 0), (26, 0, 1), (7, 7, 0), (8, 8, 1), (26, 26, 2)])
def test_the_gates_of_int8(flips, wrong, problems):
    """Of 2,500 reviews that the adapter has half right, `flips` change their label, `wrong` of them for the worse."""
    count = 2500
    reference = np.tile(np.float32([[-1, 1]]), (count, 1))
    reviews = [Review("x", SENTIMENT[int(index < count // 2)]) for index in range(count)]
    logits = reference.copy()
    for_the_worse, for_the_better = range(wrong), range(count - (flips - wrong), count)
    logits[[*for_the_worse, *for_the_better]] *= -1
    parity = compare("int8", reference, Measurement(logits, 1), reviews, [1] * count)
    assert parity.flips == flips
    assert len(parity.failures(QUANTIZED)) == problems


def test_every_model_gets_every_review_in_order(tiny_tokenizer, fake_predictor):
    windows = fake_predictor.tokenizer.encode_windows([f"film number {index}" for index in range(150)])
    told = []
    measured = measure({"a": fake_predictor, "b": fake_predictor}, windows, told.append)
    np.testing.assert_array_equal(measured["a"].logits, fake_predictor.logits([each for (each,) in windows]))
    np.testing.assert_array_equal(measured["a"].logits, measured["b"].logits)
    assert sum(told) == 300
    assert measured["a"].seconds > 0


def test_the_table_has_a_line_a_stage(tiny_bundle):
    stages = [compare("adapter", LOGITS, Measurement(LOGITS, 1), REVIEWS, [1, 2, 3, 4], 2_000_000)]
    heading, line = table(stages).splitlines()
    assert heading.split() == [
        "stage",
        "reviews",
        "max",
        "|Δlogit|",
        "mean",
        "|Δlogit|",
        "flips",
        "accuracy",
        "(95%)",
        "MB",
        "reviews/s",
    ]
    assert line.split() == ["adapter", "4", "0.0e+00", "0.0e+00", "0", "1.0000", "(0.5101–1.0000)", "2.0", "4.0"]
