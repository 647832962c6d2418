"""A step of other encoders: what ModernBERT does otherwise than the rest."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from tests.families import family_base
from toolkit.datasets.splits import read_splits
from toolkit.models.adapter import load_tokenizer
from toolkit.models.base_models import resolve_base_model
from toolkit.training.config import TrainingConfig
from toolkit.training.launch import settled_environment
from toolkit.training.run import train
from toolkit.training.trainer import build_trainer


@pytest.fixture
def config(tiny_settings, tiny_dataset, tmp_path):
    texts = [review.text for review in read_splits(tiny_dataset)["train"]]
    own = {
        "base_model": str(family_base("modernbert", tmp_path / "base", texts)), "target_modules": ("Wqkv", "Wo", "Wi"),
        "modules_to_save": ("head", "classifier"), "max_length": 64, "lora_dropout": 0.0, "dropout": 0.0,
        "attention_dropout": 0.0, "seq_classif_dropout": 0.0, "group_by_length": False, "ngrams": False,
    }  # fmt: skip
    return TrainingConfig(**(tiny_settings | own), adapter_dir=str(tmp_path / "lora_model"))


def test_padding_far_from_every_token_that_its_window_sees_gives_numbers(config):
    import torch

    base = resolve_base_model(config.base_model)
    config = replace(config, precision="bf16")
    batch = {
        "input_ids": torch.full((2, 64), 7), "attention_mask": torch.ones(2, 64, dtype=torch.long), "labels": torch.tensor([0, 1]),
    }  # fmt: skip
    batch["attention_mask"][1, 4:] = 0
    with settled_environment():
        trainer = build_trainer(config, base, load_tokenizer(base.folder), read_splits(Path(config.dataset)))
        batch = {name: each.to(trainer.args.device) for name, each in batch.items()}
        with trainer.compute_loss_context_manager():
            loss = trainer.compute_loss(trainer.model.train(), batch)
    loss.backward()
    gradients = {name: weight.grad for name, weight in trainer.model.named_parameters() if weight.grad is not None}
    assert torch.isfinite(loss)
    assert len([name for name in gradients if "lora_A" in name]) == 8
    assert [name for name, gradient in gradients.items() if not torch.isfinite(gradient).all()] == []


def test_a_step_of_two_batches_is_that_of_one_with_the_texts_of_both(config):
    norms, losses = [], []
    for size, batches in ((8, 1), (4, 2)):
        folder = Path(config.adapter_dir).parent / str(size)
        run = replace(
            config, per_device_train_batch_size=size, gradient_accumulation_steps=batches, max_steps=3, learning_rate=1e-6,
            max_grad_norm=1e9, adapter_dir=str(folder / "lora_model"),
        )  # fmt: skip
        train(run)
        (state,) = run.checkpoint_folder.glob("checkpoint-3/trainer_state.json")
        logged = json.loads(state.read_text())["log_history"]
        norms.append([each["grad_norm"] for each in logged if "grad_norm" in each])
        losses.append([each["loss"] for each in logged if "loss" in each])
    assert len(norms[0]) == 3
    assert norms[1] == pytest.approx(norms[0], rel=0.02)
    assert losses[1] == pytest.approx(losses[0], rel=0.02)
