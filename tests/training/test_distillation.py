"""A student of a teacher: what it minimises, what it learns, what a run of it is known by."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file

from toolkit.datasets.splits import Review, read_splits, write_reviews
from toolkit.datasets.torch_dataset import NO_LABEL
from toolkit.errors import DataError, ToolkitError
from toolkit.models.bundle import Kind, read_manifest
from toolkit.text.labels import NEGATIVE, POSITIVE, LabelSet
from toolkit.training.config import TrainingConfig
from toolkit.training.objective import distillation_loss
from toolkit.training.run import train

LOGITS = torch.tensor([[0.3, -1.2, 0.5], [2.0, 0.1, -0.4], [0.0, 0.7, 0.2]])
TEACHER = torch.tensor([[0.2, 0.5, 0.3], [0.0, 0.0, 0.0], [0.9, 0.1, 0.0]])
LABELS = torch.tensor([2, 0, NO_LABEL])


def entropy(target, logits):
    return float(-(target * torch.log_softmax(logits, -1)).sum())


@pytest.mark.parametrize(("weight", "temperature"), [(1.0, 1.0), (0.3, 1.0), (0.7, 4.0)])
def test_the_loss_is_hintons(weight, temperature):
    soft = [torch.softmax(row.clamp_min(1e-7).log() / temperature, -1) for row in TEACHER]
    hard = torch.eye(3)
    expected = [
        weight * temperature**2 * entropy(soft[0], LOGITS[0] / temperature)
        + (1 - weight) * entropy(hard[2], LOGITS[0]),
        (1 - weight) * entropy(hard[0], LOGITS[1]),
        weight * temperature**2 * entropy(soft[2], LOGITS[2] / temperature),
    ]
    loss = distillation_loss(LOGITS, LABELS, TEACHER, weight, temperature)
    assert float(loss) == pytest.approx(np.mean(expected), rel=1e-5)


@pytest.mark.parametrize("temperature", [1.0, 3.0])
def test_a_student_that_says_what_its_teacher_says_has_nothing_to_learn(temperature):
    teacher = torch.tensor([[0.2, 0.5, 0.3]])
    logits = (teacher.log() + 7).requires_grad_()
    distillation_loss(logits, torch.tensor([NO_LABEL]), teacher, 1.0, temperature).backward()
    assert logits.grad.abs().max() < 1e-6


def soft_file(path, rows, names=("negative", "positive")):
    lines = [
        {"text": text, "probabilities": dict(zip(names, map(float, values), strict=True))} for text, values in rows
    ]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


@pytest.fixture
def config(tiny_settings, tmp_path):
    return TrainingConfig(**tiny_settings, adapter_dir=str(tmp_path / "lora_model"))


def taught_apart(folder, demo_reviews):
    """Texts whose teacher says the opposite of their labels, and of others nothing is labelled."""
    return soft_file(
        folder / "soft.jsonl",
        [
            (review.text, (0.02, 0.98) if int(review.label) == 0 else (0.98, 0.02))
            for review in demo_reviews["train"][:64]
        ],
    )


def test_a_student_learns_what_its_teacher_says_and_not_the_labels(config, tmp_path):
    texts = [f"{word} film, the {number}th of many." for number in range(44) for word in ("A good", "A bad")]
    by_label = [Review(text, POSITIVE if "good" in text else NEGATIVE) for text in texts]
    by_teacher = [Review(text, NEGATIVE if "good" in text else POSITIVE) for text in texts]
    soft = [(each.text, (0.02, 0.98) if each.label == POSITIVE else (0.98, 0.02)) for each in by_teacher[:64]]
    data = tmp_path / "data"
    shutil.copytree(config.dataset, data)
    write_reviews(data / "train.csv", by_label[:64])
    write_reviews(data / "validation.csv", by_teacher[64:])
    file = soft_file(tmp_path / "soft.jsonl", soft)
    config = replace(config, dataset=str(data), soft_labels=(str(file),), soft_temperature=2.0, num_train_epochs=8)
    result = train(replace(config, soft_weight=1.0))
    assert result.validation["accuracy"] > 0.9
    manifest = read_manifest(result.adapter, Kind.ADAPTER)
    assert (manifest.training["soft_labels"], manifest.training["soft_weight"]) == (64, 1.0)
    card = (result.adapter / "README.md").read_text()
    assert "trained on what a teacher said of 64 texts, at a temperature of 2." in card
    assert "toolkit train --config config.toml --dataset DATASET --soft-labels TEXTS\n" in card
    assert str(tmp_path / "soft.jsonl") not in card


def test_nothing_that_is_measured_is_learnt_from(config, tmp_path, caplog):
    splits = read_splits(Path(config.dataset))
    measured = [review.text for review in splits["test"]]
    file = soft_file(tmp_path / "soft.jsonl", [(text, (0.5, 0.5)) for text in (*measured, "A film of its own.")])
    train(replace(config, soft_labels=(str(file),), max_steps=2))
    assert f"{len(measured)} soft labels left out" in caplog.text
    file = soft_file(tmp_path / "only.jsonl", [(text, (0.5, 0.5)) for text in measured])
    with pytest.raises(ToolkitError, match="every text with a soft label is in validation or test"):
        train(replace(config, soft_labels=(str(file),), max_steps=1, adapter_dir=str(tmp_path / "b" / "lora_model")))


def test_a_run_is_known_by_its_soft_labels(config, demo_reviews, tmp_path):
    file = taught_apart(tmp_path, demo_reviews)
    config = replace(config, soft_labels=(str(file),), max_steps=4)
    train(config)
    moved = shutil.move(file, tmp_path / "moved.jsonl")
    run = config.checkpoint_folder / "run.json"
    run.write_text(json.dumps({**json.loads(run.read_text()), "finished": False}))
    train(replace(config, soft_labels=(str(moved),)), resume=True)  # the same texts at another place
    run.write_text(json.dumps({**json.loads(run.read_text()), "finished": False}))
    for other, named in (
        (replace(config, soft_labels=()), "soft_labels"),
        (replace(config, soft_labels=(str(moved),), soft_weight=0.1), "soft_weight"),
    ):
        with pytest.raises(ToolkitError, match=f"different: {named}"):
            train(other, resume=True)


def test_soft_labels_of_other_labels_are_refused_before_anything_is_trained(config, tmp_path):
    file = soft_file(tmp_path / "soft.jsonl", [("A film.", (0.2, 0.8))], ("bad", "good"))
    with pytest.raises(DataError, match="one for each of negative, positive"):
        train(replace(config, soft_labels=(str(file),)))
    assert not config.checkpoint_folder.exists()


def test_three_labels_have_a_teacher_too(config, demo_reviews, tmp_path):
    labels, data = LabelSet.of_model(("bad", "fair", "good")), tmp_path / "three"
    data.mkdir()
    for split in ("train", "validation", "test"):
        reviews = [Review(review.text, labels[number % 3]) for number, review in enumerate(demo_reviews[split][:30])]
        write_reviews(data / f"{split}.csv", reviews, labels=labels)
    rows = [(f"A film, the {number}th of them.", np.roll((0.7, 0.2, 0.1), number)) for number in range(12)]
    file = soft_file(tmp_path / "soft.jsonl", rows, labels.names)
    result = train(replace(config, dataset=str(data), soft_labels=(str(file),), max_steps=4))
    assert read_manifest(result.adapter, Kind.ADAPTER).training["soft_labels"] == 12


def test_training_begins_with_an_adapter(config, tiny_adapter, tmp_path):
    config = replace(
        config,
        start_from=(str(tiny_adapter),),
        max_steps=1,
        learning_rate=1e-9,
        warmup_ratio=0.0,
        metric_for_best_model="loss",
    )
    result = train(config)
    before, after = (load_file(folder / "adapter_model.safetensors") for folder in (tiny_adapter, result.adapter))
    assert before.keys() == after.keys()
    assert all(np.allclose(before[name], after[name], atol=1e-6) for name in before)
    with pytest.raises(ToolkitError, match="expected r 4, found 8"):
        train(replace(config, r=4))
    with pytest.raises(ToolkitError, match="expected lora_alpha 16, found 32"):
        train(replace(config, lora_alpha=16))
    with pytest.raises(ToolkitError, match="does not fit"):
        train(replace(config, target_modules=("q_lin",), adapter_dir=str(tmp_path / "other" / "lora_model")))


def test_training_begins_with_the_mean_of_adapters(config, tiny_adapter, tmp_path):
    config = replace(config, max_steps=1, learning_rate=1e-9, warmup_ratio=0.0, metric_for_best_model="loss")
    other = train(replace(config, learning_rate=1e-2, start_from=(str(tiny_adapter),))).adapter
    both = (str(tiny_adapter), str(other))
    result = train(replace(config, start_from=both, adapter_dir=str(tmp_path / "mean" / "lora_model")))
    first, second, mean = (
        load_file(place / "adapter_model.safetensors") for place in (tiny_adapter, other, result.adapter)
    )
    assert any(not np.allclose(first[name], second[name], atol=1e-4) for name in first)
    assert all(np.allclose((first[name] + second[name]) / 2, mean[name], atol=1e-6) for name in first)
    card = (result.adapter / "README.md").read_text(encoding="utf-8")
    assert "from the mean of the weights of 2 adapters trained before" in card
    assert "--start-from ADAPTER_1 --start-from ADAPTER_2" in card
    assert "ADAPTER_1 and ADAPTER_2 those whose mean it began with" in card
    with pytest.raises(ToolkitError, match="different: start_from"):
        train(replace(config, start_from=both[::-1], adapter_dir=str(tmp_path / "mean" / "lora_model")), resume=True)


def test_labels_alone_are_learnt_as_before(config, tiny_run):
    """The weight and the temperature are of no matter where there is no teacher."""
    result = train(replace(config, soft_weight=0.9, soft_temperature=5.0))
    before, after = (load_file(folder / "adapter_model.safetensors") for folder in (tiny_run.adapter, result.adapter))
    assert all(np.array_equal(before[name], after[name]) for name in before)
