"""What PEFT alone saves of an adapter, and what transformers' Trainer does: the base has the rest."""

import json
import shutil

import numpy as np
import pytest

from toolkit.errors import BundleError
from toolkit.models.adapter import load_adapter
from toolkit.models.bundle import Kind
from toolkit.models.completion import read_model
from toolkit.prediction import load_predictor

TEXTS = ["a warm and funny film", "a dull and clumsy film that never ends"]
WORDS = "distilbert.embeddings.word_embeddings.weight"


@pytest.fixture
def save(tmp_path, tiny_base):
    """Save an adapter of PEFT's own on a base, and say what PEFT answers of `TEXTS`, (2, k)."""
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    def build(name="bare", base=tiny_base, **labels):
        torch.manual_seed(1)
        model = AutoModelForSequenceClassification.from_pretrained(base, **labels)
        config = LoraConfig(
            task_type="SEQ_CLS", target_modules=["q_lin"], modules_to_save=["pre_classifier", "classifier"]
        )
        adapter = get_peft_model(model, config).eval()
        with torch.no_grad():
            for parameter in (each for each in adapter.parameters() if each.requires_grad):
                parameter.add_(0.1 * torch.randn(parameter.shape))
            encoded = AutoTokenizer.from_pretrained(tiny_base)(TEXTS, padding=True, return_tensors="pt")
            encoded.pop("token_type_ids", None)
            expected = torch.softmax(adapter(**encoded).logits, -1).numpy()
        adapter.save_pretrained(tmp_path / name)
        return tmp_path / name, expected

    return build


def probabilities(folder, **model):
    with load_predictor("torch", adapter=folder, **model) as predictor:
        return predictor, np.array([list(each.probabilities.values()) for each in predictor.predict_many(TEXTS)])


def test_what_peft_saves_is_served_on_its_base(save):
    folder, expected = save()
    assert not {"config.json", "tokenizer.json", "vocab.txt"}.intersection(path.name for path in folder.iterdir())
    predictor, found = probabilities(folder)
    np.testing.assert_allclose(found, expected, atol=1e-6)
    assert predictor.labels.names == ("negative", "positive")
    assert predictor.tokenizer.max_length == predictor.positions == 512


def test_the_trainer_s_checkpoint_and_our_own(save, tiny_base):
    folder, expected = save("checkpoint-500")
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copyfile(tiny_base / name, folder / name)
    for name in ("optimizer.pt", "trainer_state.json", "training_args.bin"):
        (folder / name).write_bytes(b"")
    np.testing.assert_allclose(probabilities(folder)[1], expected, atol=1e-6)
    (folder / "run.json").write_text(json.dumps({"settings": {"max_length": 64}, "data": {}, "processes": 1}))
    predictor, found = probabilities(folder)
    assert predictor.tokenizer.max_length == 64
    np.testing.assert_allclose(found, expected, atol=1e-6)


def test_a_run_of_ours_leaves_checkpoints_that_can_be_asked(tiny_run):
    folder = sorted(tiny_run.adapter.parent.rglob("checkpoint-*"))[-1]
    assert not (folder / "config.json").exists()
    predictor, found = probabilities(folder)
    assert predictor.labels.names == ("negative", "positive")
    assert found.shape == (2, 2)


def test_a_base_with_a_vocabulary_alone(save, tiny_base, tmp_path):
    base = tmp_path / "vocabulary"
    shutil.copytree(tiny_base, base)
    vocabulary = json.loads((base / "tokenizer.json").read_text())["model"]["vocab"]
    (base / "vocab.txt").write_text("\n".join(sorted(vocabulary, key=vocabulary.get)) + "\n")
    (base / "tokenizer.json").unlink()
    folder, expected = save(base=base)
    np.testing.assert_allclose(probabilities(folder)[1], expected, atol=1e-6)


def test_the_labels_are_the_base_s_where_it_has_as_many(save, tiny_base, tmp_path):
    from transformers import AutoModelForSequenceClassification

    base = tmp_path / "classifier"
    shutil.copytree(tiny_base, base)
    names = {0: "POSITIVE", 1: "NEGATIVE"}
    AutoModelForSequenceClassification.from_pretrained(base, id2label=names, label2id={"POSITIVE": 0, "NEGATIVE": 1}).save_pretrained(base)  # fmt: skip
    folder, expected = save(base=base)
    predictor, found = probabilities(folder)
    assert predictor.labels.names == ("POSITIVE", "NEGATIVE")
    np.testing.assert_allclose(found, expected, atol=1e-6)
    folder, expected = save("three", num_labels=3)
    predictor, found = probabilities(folder)
    assert predictor.labels.names == ("LABEL_0", "LABEL_1", "LABEL_2")
    np.testing.assert_allclose(found, expected, atol=1e-6)


def test_embeddings_that_were_saved_along_are_the_base_s_or_refused(save, tiny_base):
    from safetensors.torch import load_file, save_file

    folder, expected = save()
    file = folder / "adapter_model.safetensors"
    words = load_file(tiny_base / "model.safetensors")["embeddings.word_embeddings.weight"]
    save_file({**load_file(file), f"base_model.model.{WORDS}": words.clone()}, file)
    np.testing.assert_allclose(probabilities(folder)[1], expected, atol=1e-6)
    save_file({**load_file(file), f"base_model.model.{WORDS}": words + 1}, file)
    with pytest.raises(BundleError, match=f"1 unexpected .*{WORDS}"):
        load_adapter(folder)


def test_what_cannot_be_completed_says_why(save, tmp_path, capsys):
    folder, _ = save()
    config = json.loads((folder / "adapter_config.json").read_text())
    (folder / "adapter_config.json").write_text(
        json.dumps({**config, "base_model_name_or_path": "/content/drive/model"})
    )
    with pytest.raises(BundleError, match="base model folder /content/drive/model does not exist"):
        read_model(folder, Kind.ADAPTER)
    (folder / "adapter_model.safetensors").rename(folder / "adapter_model.bin")
    with pytest.raises(BundleError, match="safetensors missing; save it again with safe_serialization=True"):
        read_model(folder, Kind.ADAPTER)


def test_the_command_line_takes_it(save, tiny_base, tiny_dataset, tmp_path):
    from click.testing import CliRunner

    from toolkit.cli import cli

    def run(*arguments):
        return CliRunner().invoke(cli, [*map(str, arguments)], env={"HF_HUB_OFFLINE": "1"})

    folder, expected = save()
    result = run("predict", "--json", "--adapter", folder, *TEXTS)
    found = [list(json.loads(line)["probabilities"].values()) for line in result.stdout.splitlines()]
    np.testing.assert_allclose(found, expected, atol=1e-6)
    assert f"on {tiny_base}, reads 512 tokens" in run("doctor", "--adapter", folder).stdout
    exported = ("--adapter", folder, "--output", tmp_path / "onnx", "--parity-set", tiny_dataset / "validation.csv")
    result = run("export", *exported, "--small-parity-set")
    assert result.exit_code == 0, result.output
    with load_predictor("onnx", onnx_model=tmp_path / "onnx") as predictor:
        found = [list(each.probabilities.values()) for each in predictor.predict_many(TEXTS)]
    np.testing.assert_allclose(found, expected, atol=1e-4)
