"""A folder that other tools open: any batch, standard operators, the same scores."""

import numpy as np
import onnx
import pytest
import yaml
from click.testing import CliRunner

from export import ExportOptions, export_model
from toolkit.cli import cli
from toolkit.compat import import_onnxruntime
from toolkit.errors import ToolkitError
from toolkit.prediction import load_predictor

TEXTS = ["a film", "the " * 30 + "film of it", "a", "film film a"]


@pytest.fixture(scope="module")
def standard(tmp_path_factory, tiny_adapter, tiny_dataset):
    folder = tmp_path_factory.mktemp("standard") / "standard"
    result = export_model(
        tiny_adapter, None, tiny_dataset / "train.csv",
        options=ExportOptions("auto", small_parity_set=True, standard=folder),
    )  # fmt: skip
    assert result.bundle is None
    assert result.standard == folder
    assert [stage.stage for stage in result.stages] == ["adapter", "merged", "standard", "standard-int8"]
    return folder


def expected(adapter):
    with load_predictor("torch", adapter=adapter) as predictor:
        return np.array([each.logits for each in predictor.predict_many(TEXTS)])


def padded(folder, name):
    """The texts as transformers pads them, in one batch and each alone."""
    from transformers import AutoTokenizer

    session = import_onnxruntime().InferenceSession(str(folder / name), providers=["CPUExecutionProvider"])
    tokenizer = AutoTokenizer.from_pretrained(folder)

    def run(texts):
        encoded = tokenizer(texts, padding=True, truncation=True, return_tensors="np")
        return session.run(
            ["logits"], {name: encoded[name].astype(np.int64) for name in ("input_ids", "attention_mask")}
        )[0]

    return run(TEXTS), np.concatenate([run([text]) for text in TEXTS])


def test_optimum_and_the_pipeline_give_padded_batches_the_adapters_scores(standard, tiny_adapter):
    from optimum.onnxruntime import ORTModelForSequenceClassification
    from transformers import AutoTokenizer, pipeline

    logits = expected(tiny_adapter)
    model = ORTModelForSequenceClassification.from_pretrained(standard, file_name="model.onnx")
    tokenizer = AutoTokenizer.from_pretrained(standard)
    found = model(**tokenizer(TEXTS, padding=True, truncation=True, return_tensors="pt")).logits.numpy()
    np.testing.assert_allclose(found, logits, atol=1e-4 * np.abs(logits).mean())
    classify = pipeline("text-classification", model=model, tokenizer=tokenizer)
    said = classify(TEXTS, batch_size=4, truncation=True)
    assert [each["label"] for each in said] == [("negative", "positive")[row.argmax()] for row in logits]


def test_int8_gives_a_text_the_same_score_in_any_company(standard, tiny_adapter):
    together, alone = padded(standard, "model_quantized.onnx")
    np.testing.assert_allclose(together, alone, atol=1e-5)
    logits = expected(tiny_adapter)
    assert 0 < np.abs(alone - logits).mean() < 0.1 * np.abs(logits).mean()


@pytest.mark.parametrize("name", ["model.onnx", "model_quantized.onnx"])
def test_every_operator_is_a_standard_one(standard, name):
    model = onnx.load(standard / name)
    assert {node.domain for node in model.graph.node} <= {"", "ai.onnx"}
    assert {each.name for each in model.graph.input} == {"input_ids", "attention_mask"}
    onnx.checker.check_model(model, full_check=True)


@pytest.mark.parametrize("name", ["model.onnx", "model_quantized.onnx"])
def test_openvino_reads_it(standard, name):
    openvino = pytest.importorskip("openvino", reason="OpenVINO comes with the extra bench")
    together, _ = padded(standard, name)
    from transformers import AutoTokenizer

    compiled = openvino.Core().compile_model(str(standard / name), "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    encoded = AutoTokenizer.from_pretrained(standard)(TEXTS, padding=True, truncation=True, return_tensors="np")
    found = compiled({name: encoded[name].astype(np.int64) for name in ("input_ids", "attention_mask")})["logits"]
    np.testing.assert_allclose(found, together, atol=0.02 * np.abs(together).mean())


def test_a_bundle_refuses_a_batch(tiny_bundle):
    """As optimum pads one: a graph without a mask would read the padding, without a word."""
    runtime = import_onnxruntime()
    session = runtime.InferenceSession(str(tiny_bundle / "model.onnx"), providers=["CPUExecutionProvider"])
    assert session.run(None, {"input_ids": np.ones((1, 5), np.int64)})[0].shape == (1, 2)
    with pytest.raises(Exception, match="Got: 2 Expected: 1"):
        session.run(None, {"input_ids": np.ones((2, 5), np.int64)})


@pytest.mark.parametrize("which", ["standard", "tiny_bundle", "tiny_adapter"])
def test_every_folder_has_a_card_that_the_hub_understands(which, request):
    from huggingface_hub import ModelCard
    from huggingface_hub.utils import validate_repo_id

    folder = request.getfixturevalue(which)
    card = ModelCard.load(folder / "README.md")
    assert card.data.pipeline_tag == "text-classification"
    assert card.data.library_name == {"standard": "transformers", "tiny_bundle": "onnx", "tiny_adapter": "peft"}[which]
    if card.data.base_model:
        validate_repo_id(card.data.base_model)
    content = (folder / "README.md").read_text(encoding="utf-8")
    assert content.startswith("---\n")
    assert yaml.safe_load(content.split("---\n")[1]) == card.data.to_dict()
    assert "Limits" in card.text
    assert "{" not in card.text.replace("{folder}", "") or which == "tiny_adapter"


def test_the_command_makes_it_alone_unless_a_bundle_is_asked_for(tiny_adapter, tiny_dataset, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    arguments = [
        "export",
        "--adapter",
        str(tiny_adapter),
        "--parity-set",
        str(tiny_dataset / "validation.csv"),
        "--small-parity-set",
    ]
    result = CliRunner().invoke(cli, [*arguments, "--standard", "plain"])
    assert result.exit_code == 0, result.output
    assert "plain: model.onnx; see README.md in it" in result.stdout
    assert {path.name for path in tmp_path.iterdir()} == {"plain"}
    result = CliRunner().invoke(cli, [*arguments, "--standard", "plain", "--output", "bundle", "--json"])
    assert result.exit_code == 0, result.output
    assert {path.name for path in tmp_path.iterdir()} == {"plain", "bundle"}


def test_another_folder_is_not_written_over(tiny_adapter, tiny_dataset, tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(ToolkitError, match=r"holds notes\.txt"):
        export_model(tiny_adapter, None, tiny_dataset / "validation.csv", options=ExportOptions(standard=tmp_path))
    with pytest.raises(ValueError, match="makes nothing"):
        export_model(tiny_adapter, None, tiny_dataset / "validation.csv")
