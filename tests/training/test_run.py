import csv
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
import tomllib
from dataclasses import replace
from pathlib import Path
from unittest import mock

import numpy as np
import pytest
from filelock import FileLock
from safetensors.numpy import load_file

from tests.conftest import ROOT
from tests.processes import run_forked
from toolkit.datasets.splits import Review, write_reviews
from toolkit.errors import ConfigError, ToolkitError
from toolkit.models.bundle import Kind, read_manifest
from toolkit.text.labels import SENTIMENT
from toolkit.training.config import TrainingConfig
from toolkit.training.model_card import write_model_card
from toolkit.training.run import train


@pytest.fixture
def config(tiny_settings, tmp_path):
    return TrainingConfig(**tiny_settings, adapter_dir=str(tmp_path / "lora_model"))


def log_history(config):
    states = sorted(
        config.checkpoint_folder.glob("checkpoint-*/trainer_state.json"), key=lambda path: int(path.parent.name[11:])
    )
    return json.loads(states[-1].read_text())["log_history"]


def test_the_adapter_is_saved_as_documented(tiny_adapter, tiny_base):
    names = {path.name for path in tiny_adapter.iterdir()}
    assert names == {
        "README.md", "adapter_config.json", "adapter_model.safetensors", "config.json", "manifest.json",
        "special_tokens_map.json", "tokenizer.json", "tokenizer_config.json", "training_metrics.pdf",
        "training_metrics.png", "vocab.txt",
    }  # fmt: skip
    adapter = json.loads((tiny_adapter / "adapter_config.json").read_text())
    assert (adapter["task_type"], adapter["r"], adapter["lora_alpha"], adapter["bias"]) == ("SEQ_CLS", 8, 32, "none")
    assert set(adapter["target_modules"]) == {"q_lin", "v_lin"}
    assert adapter["base_model_name_or_path"] == str(tiny_base)
    keys = load_file(tiny_adapter / "adapter_model.safetensors").keys()
    assert {re.sub(r"layer\.\d", "layer.N", key) for key in keys} == {
        *(f"base_model.model.distilbert.transformer.layer.N.attention.{m}.lora_{ab}.weight" for m in ("q_lin", "v_lin") for ab in "AB"),
        *(f"base_model.model.{m}.{p}" for m in ("pre_classifier", "classifier") for p in ("weight", "bias")),
    }  # fmt: skip
    config = json.loads((tiny_adapter / "config.json").read_text())
    assert config["id2label"] == {"0": "negative", "1": "positive"}
    assert config["pad_token_id"] == 0


def test_the_manifest_and_the_model_card_have_the_runs_figures(tiny_adapter, tiny_run):
    manifest = read_manifest(tiny_adapter, Kind.ADAPTER)
    assert manifest.metrics == {"validation": tiny_run.validation, "test": tiny_run.test}
    assert manifest.training["learning_rate"] == 1e-2
    assert manifest.max_length == 512
    assert manifest.temperature == tiny_run.temperature == 1, "24 reviews are too few to fit one"
    assert tiny_run.validation["brier"] == tiny_run.validation["brier_uncalibrated"]
    card = (tiny_adapter / "README.md").read_text()
    assert f"| test | 24 | {tiny_run.test['accuracy']:.4f} |" in card
    assert "learning_rate = 0.01" in card
    assert "24 steps" in card
    assert "The temperature is 1, so the scores are those of the bare logits" in card


def test_the_model_card_says_what_calibration_did(tiny_run, tmp_path):
    figures = tiny_run.test | {"ece": 0.01, "ece_uncalibrated": 0.02}
    for temperature, said in ((1.3, "divided by 1.300"), (19.99, "temperature 20 is at its bound of 20")):
        result = replace(tiny_run, temperature=temperature, metrics={**tiny_run.metrics, "test": figures})
        write_model_card(tmp_path, TrainingConfig(), {"train": 1, "validation": 1, "test": 1}, result)
        card = (tmp_path / "README.md").read_text()
        assert said in card
        assert "from 0.0200 to 0.0100" in card


def test_what_is_recorded_is_the_same_everywhere(config, tiny_base, monkeypatch, tmp_path):
    """A base of a relative and unhandy name, and modules that PEFT keeps in a set."""
    from huggingface_hub.repocard import metadata_load

    base = tmp_path / 'bases: "tiny" #1'
    shutil.copytree(tiny_base, base)
    monkeypatch.chdir(tmp_path)
    modules = ("v_lin", "q_lin", "out_lin", "lin2", "k_lin", "lin1")
    result = train(replace(config, base_model=base.name, target_modules=modules, max_steps=2))
    adapter = json.loads((result.adapter / "adapter_config.json").read_text())
    assert adapter["target_modules"] == sorted(modules)
    assert adapter["base_model_name_or_path"] == str(base)
    manifest = read_manifest(result.adapter, Kind.ADAPTER)
    assert manifest.base_model == manifest.training["base_model"] == str(base)
    assert {name: manifest.training[name] for name in ("device", "precision", "threads", "processes")} == {
        "device": "cpu", "precision": "fp32", "threads": 1, "processes": 1,
    }  # fmt: skip
    assert "base_model" not in metadata_load(result.adapter / "README.md")  # the hub knows no folder of this machine
    (lines,) = re.findall(r"```toml\n(.*?)```", (result.adapter / "README.md").read_text(), re.DOTALL)
    assert tomllib.loads(lines)["base_model"] == str(base)


def test_a_validation_split_of_train_reviews_is_said(config, tiny_dataset, tmp_path, caplog):
    shutil.copytree(tiny_dataset, tmp_path / "dataset")
    shutil.copy(tiny_dataset / "train.csv", tmp_path / "dataset" / "validation.csv")
    result = train(replace(config, dataset=str(tmp_path / "dataset"), max_steps=2))
    (warning,) = result.warnings
    assert warning.startswith("64 of the 64 validation reviews are in the train split too")
    assert warning in caplog.text
    assert f"\n\n**Warning:** {warning}\n\n" in (result.adapter / "README.md").read_text()


def test_divergence_ends_the_run_in_a_line(tmp_path, tiny_base, tiny_dataset, toolkit_command):
    process = toolkit_command(
        "train", "--base-model", tiny_base, "--dataset", tiny_dataset, "--max-steps", 10, "--learning-rate", "1e30",
        "--output", tmp_path / "lora_model", RANK="", LOCAL_RANK="1",
    )  # fmt: skip
    assert process.returncode == 1
    *said, error = process.stderr.decode().splitlines()
    assert re.search(
        r"diverged at step 2 of 10: scores not finite, learning rate \S+; nothing was published. Begin again", error
    )
    assert [line.split()[0] for line in said] == ["$LOCAL_RANK", "training"], "no warnings of the libraries'"
    assert not (tmp_path / "lora_model").exists()


def test_a_loss_that_is_no_number_ends_the_run(config, monkeypatch):
    from transformers import Trainer

    whole = Trainer.training_step
    monkeypatch.setattr(Trainer, "training_step", lambda *args, **kwargs: whole(*args, **kwargs) * float("nan"))
    with pytest.raises(ToolkitError, match="diverged at step 1 of 24: loss not finite, learning rate"):
        train(config)


def test_scores_far_apart_do_not_overflow(recwarn):
    from transformers import EvalPrediction

    from toolkit.training.trainer import compute_metrics

    metrics = compute_metrics(EvalPrediction(np.array([[1e4, -1e4], [-1e4, 1e4]]), np.array([0, 1])))
    assert metrics["accuracy"] == 1
    assert not recwarn.list


def test_it_learns(config, tmp_path):
    reviews = [
        Review(f"{'fine' if index % 2 else 'poor'} film number {index}", SENTIMENT[index % 2]) for index in range(96)
    ]
    for split, part in (("train", reviews[:64]), ("validation", reviews[64:80]), ("test", reviews[80:])):
        write_reviews(tmp_path / f"{split}.csv", part)
    config = replace(config, dataset=str(tmp_path), num_train_epochs=10)
    result = train(config)
    assert result.test["accuracy"] == 1
    losses = [entry["loss"] for entry in log_history(config) if "loss" in entry]
    assert losses[-1] < 0.2 < losses[0]


def test_a_short_run_evaluates_at_least_five_times(tiny_run):
    folder = tiny_run.adapter.parent / "lora_imdb"
    state = json.loads((folder / "checkpoint-24" / "trainer_state.json").read_text())
    steps = {
        key: [entry["step"] for entry in state["log_history"] if key in entry]
        for key in ("eval_accuracy", "train_accuracy", "loss")
    }
    assert steps["eval_accuracy"] == steps["train_accuracy"] == [4, 8, 12, 16, 20, 24]
    assert steps["loss"] == [4, 8, 12, 16, 20, 24]
    best = max(entry["eval_accuracy"] for entry in state["log_history"] if "eval_accuracy" in entry)
    assert tiny_run.validation["accuracy"] == pytest.approx(best)  # the best checkpoint is the one that was kept


def test_tensorboard_logs_are_written(tiny_run):
    assert list((tiny_run.adapter.parent / "logs").rglob("events.out.tfevents.*"))


def test_the_same_seed_gives_the_same_adapter(config, tiny_run):
    again = train(config)
    first = load_file(tiny_run.adapter / "adapter_model.safetensors")
    second = load_file(again.adapter / "adapter_model.safetensors")
    assert all((first[name] == second[name]).all() for name in first)
    assert again.test == tiny_run.test


def test_another_seed_gives_another_adapter(config, tiny_run):
    other = train(replace(config, seed=7, max_steps=5))
    first = load_file(tiny_run.adapter / "adapter_model.safetensors")
    second = load_file(other.adapter / "adapter_model.safetensors")
    assert any((first[name] != second[name]).any() for name in first)


def test_early_stopping(config):
    result = train(
        replace(
            config, early_stopping=1, num_train_epochs=40, eval_steps=8, learning_rate=1e-6, metric_for_best_model="f1"
        )
    )
    assert result.steps < 8 * 40


def test_bf16_trains_on_any_cpu_and_is_measured_in_fp32(config, tiny_run, tiny_dataset):
    from toolkit.datasets.splits import read_reviews
    from toolkit.evaluation.measuring import evaluate
    from toolkit.prediction.torch_backend import TorchPredictor
    from toolkit.training import attention

    with mock.patch.object(attention, "_Attention", wraps=attention._Attention) as reviewwise:
        result = train(replace(config, precision="bf16", max_steps=10))
    assert reviewwise.apply.call_count >= 10  # steps, in the first of two layers; and evaluations
    measured = evaluate(TorchPredictor.load(result.adapter), read_reviews(tiny_dataset / "test.csv"))
    assert result.test["roc_auc"] == pytest.approx(measured["roc_auc"], abs=1e-9)
    weights = load_file(result.adapter / "adapter_model.safetensors")
    assert {each.dtype.name for each in weights.values()} == {"float32"}


@pytest.mark.parametrize("metric", ["f1", "precision", "recall", "loss"])
def test_the_best_checkpoint_by_another_metric(config, metric):
    config = replace(config, metric_for_best_model=metric, max_steps=10)
    result = train(config)
    logged = [entry[f"eval_{metric}"] for entry in log_history(config) if f"eval_{metric}" in entry]
    best = min(logged) if metric == "loss" else max(logged)
    assert result.validation[metric] == pytest.approx(best, abs=1e-5)


def test_a_shorter_view_while_training(config):
    config = replace(config, train_max_length=16, eval_limit=8, max_steps=5)
    result = train(config)
    assert read_manifest(result.adapter, Kind.ADAPTER).max_length == 512


def test_a_kill_and_resume_ends_at_the_same_step(tmp_path, tiny_settings):
    settings = {**tiny_settings, "adapter_dir": str(tmp_path / "lora_model"), "num_train_epochs": 8, "eval_steps": 8}
    lines = [f"{name} = {json.dumps(value)}" for name, value in settings.items()]
    (tmp_path / "config.toml").write_text("\n".join(lines))
    command = ["train", "--config", tmp_path / "config.toml"]
    checkpoints = tmp_path / "lora_imdb"

    process = subprocess.Popen(
        [sys.executable, "-m", "toolkit", *command], stderr=subprocess.PIPE, stdout=subprocess.PIPE
    )
    deadline = time.monotonic() + 120
    while not list(checkpoints.glob("checkpoint-*/files.json")) and time.monotonic() < deadline:
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert process.returncode == -signal.SIGKILL, "the run was over before it could be killed"
    assert not (tmp_path / "lora_model").exists()
    partial = checkpoints / "checkpoint-60"  # killed while saving: it has no digests
    partial.mkdir()
    shutil.copy(checkpoints / "run.json", partial)
    (partial / "adapter_model.safetensors").write_bytes(b"half")

    refused = run_forked(command)
    assert refused.returncode == 1
    assert b"interrupted; go on with it by adding --resume" in refused.stderr

    other = run_forked([*command, "--resume", "--seed", "5"])
    assert other.returncode == 1
    assert b"belongs to another run (different: seed)" in other.stderr

    resumed = run_forked([*command, "--resume"])
    assert resumed.returncode == 0, resumed.stderr
    first_step = int(re.search(rb"step (\d+) of 64", resumed.stderr)[1])
    assert first_step > 8, "it began at step 0 again"
    state = json.loads((checkpoints / "checkpoint-64" / "trainer_state.json").read_text())
    assert state["global_step"] == state["max_steps"] == 64
    steps = [entry["step"] for entry in state["log_history"] if "eval_accuracy" in entry]
    assert steps == list(range(8, 65, 8))
    assert b"after 64 steps" in resumed.stderr
    read_manifest(tmp_path / "lora_model", Kind.ADAPTER)


def test_a_finished_run_may_be_followed_by_another(config):
    train(replace(config, max_steps=5))
    for checkpoint in config.checkpoint_folder.glob("checkpoint-*"):
        (checkpoint / "of-the-first-run").touch()
    train(replace(config, max_steps=6))
    assert (config.checkpoint_folder / "checkpoint-6").is_dir()
    assert not list(config.checkpoint_folder.glob("*/of-the-first-run"))


def test_resuming_nothing_begins_at_the_beginning(config, caplog):
    result = train(replace(config, max_steps=5), resume=True)
    assert result.steps == 5
    assert "beginning at step 0" in caplog.text


def test_foreign_output_is_refused_before_training(config, tmp_path):
    (tmp_path / "lora_model").mkdir()
    (tmp_path / "lora_model" / "novel.txt").write_text("chapter one")
    with pytest.raises(ToolkitError, match=r"novel\.txt"):
        train(config)
    assert not config.checkpoint_folder.exists()


def test_modules_the_base_has_not_are_all_named(config):
    with pytest.raises(ConfigError) as error:
        train(replace(config, target_modules=("q_lin", "query"), modules_to_save=("classifier", "score")))
    assert error.value.problems == [
        "target_modules: the base has no module 'query'",
        "modules_to_save: the base has no module 'score'",
    ]


def test_a_length_the_base_cannot_read(config, tiny_base, tmp_path):
    shutil.copytree(tiny_base, tmp_path / "short")
    content = json.loads((tmp_path / "short" / "config.json").read_text())
    (tmp_path / "short" / "config.json").write_text(json.dumps({**content, "max_position_embeddings": 64}))
    with pytest.raises(ToolkitError, match="positions for 64 tokens; give --max-length 64 or less"):
        train(replace(config, base_model=str(tmp_path / "short")))


def test_two_runs_do_not_share_their_checkpoints(config):
    config.checkpoint_folder.mkdir(parents=True)
    with (
        FileLock(config.checkpoint_folder / "run.lock"),
        pytest.raises(ToolkitError, match="another training run is at work"),
    ):
        train(config)


def test_a_run_killed_after_its_last_step_only_publishes(config):
    finished = train(replace(config, max_steps=10))
    adapter = (finished.adapter / "adapter_model.safetensors").read_bytes()
    shutil.rmtree(finished.adapter)
    run_file = config.checkpoint_folder / "run.json"
    run_file.write_text(json.dumps({**json.loads(run_file.read_text()), "finished": False}))
    resumed = train(replace(config, max_steps=10), resume=True)
    assert resumed.steps == 10
    assert (resumed.adapter / "adapter_model.safetensors").read_bytes() == adapter
    assert resumed.test == finished.test
    assert 0 < resumed.seconds <= finished.seconds, "the time that the killed run took counts"
    assert (resumed.adapter / "training_metrics.png").is_file()


def test_a_batch_in_parts_has_each_text_once_with_little_padding():
    import torch

    from toolkit.training.parts import split_batch

    lengths = torch.tensor([33, 99, 1, 77, 70])
    mask = (torch.arange(99) < lengths[:, None]).long()
    batch = {"input_ids": torch.arange(495).view(5, 99) * mask, "attention_mask": mask, "labels": torch.arange(5)}
    batch["soft_labels"] = torch.rand(5, 2)
    (whole,) = split_batch(batch, 495)
    assert all(torch.equal(whole[name], each) for name, each in batch.items())
    parts = split_batch(batch, 192)
    assert [part["input_ids"].shape for part in parts] == [(1, 99), (2, 96), (2, 64)]
    for part in parts:
        columns = part["input_ids"].shape[1]
        for place, number in enumerate(part["labels"]):
            for name, each in batch.items():
                expected = each[number][:columns] if name in ("input_ids", "attention_mask") else each[number]
                assert torch.equal(part[name][place], expected)
    assert sorted(int(number) for part in parts for number in part["labels"]) == [0, 1, 2, 3, 4]
    left = {name: each.flip(1) if name in ("input_ids", "attention_mask") else each for name, each in batch.items()}
    assert {part["input_ids"].shape[1] for part in split_batch(left, 192)} == {99}


def test_an_evaluation_in_parts_keeps_its_order_and_its_figures(config, tiny_trainer, monkeypatch):
    from toolkit.training import trainer as module

    results = []
    for tokens in (10**6, 64):
        monkeypatch.setattr(module, "_TOKENS_AT_ONCE", tokens)
        results.append(tiny_trainer.predict(tiny_trainer.eval_dataset))
    whole, in_parts = results
    np.testing.assert_array_equal(in_parts.label_ids, whole.label_ids)
    np.testing.assert_allclose(in_parts.predictions, whole.predictions, atol=1e-5)
    assert in_parts.metrics["test_loss"] == pytest.approx(whole.metrics["test_loss"], abs=1e-6)
    (batch,) = tiny_trainer.get_eval_dataloader()
    _, logits, labels = tiny_trainer.prediction_step(tiny_trainer.model, dict(batch), False)
    assert labels.tolist() == batch["labels"].tolist()
    alone = [
        tiny_trainer.model(**{name: each[number : number + 1] for name, each in batch.items()}).logits
        for number in range(3)
    ]
    np.testing.assert_allclose(logits[:3], np.concatenate([each.detach() for each in alone]), atol=1e-5)


@pytest.fixture
def tiny_trainer(config, tiny_base):
    from toolkit.datasets.splits import read_splits
    from toolkit.models.adapter import load_tokenizer
    from toolkit.models.base_models import resolve_base_model
    from toolkit.training.trainer import build_trainer

    base = resolve_base_model(str(tiny_base))
    config = replace(config, group_by_length=False)  # in an order that chance has no part in
    trainer = build_trainer(config, base, load_tokenizer(base.folder), read_splits(Path(config.dataset)))
    trainer.model.eval()
    return trainer


@pytest.mark.parametrize(
    ("gpu", "length", "columns"), [(False, 64, 32), (False, 50, None), (True, 56, 8), (True, 50, None)]
)
def test_a_batch_grows_to_whole_columns_but_not_over_what_is_read(config, tiny_base, monkeypatch, gpu, length, columns):
    import torch

    from toolkit.datasets.splits import read_splits
    from toolkit.models.adapter import load_tokenizer
    from toolkit.models.base_models import resolve_base_model
    from toolkit.training.trainer import _columns, build_trainer

    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    config = replace(config, max_length=length)
    base = resolve_base_model(str(tiny_base))
    trainer = build_trainer(config, base, load_tokenizer(base.folder), read_splits(Path(config.dataset)))
    assert trainer.data_collator.pad_to_multiple_of == _columns(config)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: gpu)
    assert _columns(config) == columns


@pytest.mark.parametrize("soft", [False, True])
def test_a_step_in_parts_is_the_step(config, tiny_run, tiny_dataset, monkeypatch, soft):
    from toolkit.training import trainer as module

    config = replace(
        config, max_steps=4, lora_dropout=0.0, dropout=0.0, attention_dropout=0.0, seq_classif_dropout=0.0,
        group_by_length=False, ngrams=False,
    )  # fmt: skip
    if soft:
        said = tiny_dataset / "train.csv"
        lines = ["text,probabilities"]
        for number, row in enumerate(csv.DictReader(said.open(encoding="utf-8", newline=""))):
            if number % 3:
                text, share = row["text"].replace('"', '""'), number % 10 / 10
                lines.append(f'"{text}","{{""negative"": {share}, ""positive"": {1 - share}}}"')
        (Path(config.adapter_dir).parent / "soft.csv").write_text("\n".join(lines), encoding="utf-8")
        config = replace(config, soft_labels=(str(Path(config.adapter_dir).parent / "soft.csv"),))
    weights = []
    for tokens, name in ((10**6, "whole"), (64, "parts")):
        monkeypatch.setattr(module, "_TOKENS_AT_ONCE", tokens)
        adapter = train(replace(config, adapter_dir=f"{config.adapter_dir}-{name}")).adapter
        weights.append(load_file(adapter / "adapter_model.safetensors"))
    for name, whole in weights[0].items():
        assert abs(weights[1][name] - whole).max() < 1e-5, name


def test_two_processes_train_what_one_would(tmp_path, tiny_settings):
    """On two CPU processes, half of each batch on each, in parts: the same reviews at every step, so the same adapter."""
    settings = {
        **tiny_settings, "group_by_length": False, "lora_dropout": 0.0, "dropout": 0.0, "attention_dropout": 0.0,
        "seq_classif_dropout": 0.0, "per_device_train_batch_size": 16,
    }  # fmt: skip
    one = train(TrainingConfig(**settings, adapter_dir=str(tmp_path / "one")))
    settings["per_device_train_batch_size"] = 8
    (tmp_path / "config.toml").write_text(
        "\n".join(f"{name} = {json.dumps(value)}" for name, value in settings.items())
    )
    output = tmp_path / "two" / "lora_model"
    script = tmp_path / "in_parts.py"
    script.write_text(
        "from toolkit.cli import main\nfrom toolkit.training import trainer\ntrainer._TOKENS_AT_ONCE = 64\nmain()\n"
    )
    process = subprocess.run(
        [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "--standalone",
         script, "train", "--config", str(tmp_path / "config.toml"), "--output", str(output)],
        capture_output=True, text=True, check=False, cwd=ROOT,
        env={**os.environ, "CUDA_VISIBLE_DEVICES": "", "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    assert process.returncode == 0, process.stderr[-3000:]
    assert process.stdout.count("validation: accuracy") == 1
    assert process.stdout.count("test: accuracy") == 1
    assert process.stderr.count(f"step {one.steps} of {one.steps}") == 1
    assert process.stderr.count("adapter saved in") == 1
    assert "find_unused_parameters" not in process.stderr
    manifest = read_manifest(output, Kind.ADAPTER)
    assert not list(output.parent.glob(".lora_model*"))
    for name, of_one in load_file(one.adapter / "adapter_model.safetensors").items():
        of_two = load_file(output / "adapter_model.safetensors")[name]
        assert abs(of_two - of_one).max() < 1e-3, name
    error = (0.25 / 24) ** 0.5  # of an accuracy measured on 24 reviews, at most
    assert abs(manifest.metrics["validation"]["accuracy"] - one.validation["accuracy"]) <= error
    assert manifest.metrics["validation"]["loss"] == pytest.approx(one.validation["loss"], abs=1e-3)


@pytest.mark.gpu
def test_bf16_on_a_gpu(config):
    import torch

    from toolkit.training.arguments import training_arguments

    if not torch.cuda.is_available():
        pytest.skip("no GPU")
    arguments = training_arguments(config)
    assert arguments.bf16 == torch.cuda.is_bf16_supported()
    assert train(config).steps == 24
