"""Whatever ended a run, and wherever it is gone on with: the adapter of the unbroken run to the last bit, or a refusal in a line."""

import json
import os
import shutil
import signal
import subprocess
import sys
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
from safetensors.torch import load_file, save_file

from tests.conftest import ROOT
from tests.processes import context
from toolkit.errors import ToolkitError
from toolkit.models.bundle import Kind, read_manifest
from toolkit.models.files import write_json
from toolkit.training.checkpoints import seal_checkpoint
from toolkit.training.config import TrainingConfig
from toolkit.training.run import train


def kill(*args, **kwargs):
    os.kill(os.getpid(), signal.SIGKILL)


def in_training(monkeypatch):
    """After the checkpoint of step 12, half way through the second of three epochs."""
    from toolkit.training.trainer import ProbeTrainer

    whole = ProbeTrainer.training_step
    monkeypatch.setattr(
        ProbeTrainer,
        "training_step",
        lambda self, *args, **kwargs: kill() if self.state.global_step == 13 else whole(self, *args, **kwargs),
    )


def in_the_final_evaluation(monkeypatch):
    monkeypatch.setattr("toolkit.training.fit._logits", kill)


def while_saving(monkeypatch):
    monkeypatch.setattr("toolkit.training.fit.plot_metrics", kill)


def after_publishing(monkeypatch):
    """The adapter is in its place, and nothing says so."""
    monkeypatch.setattr("toolkit.training.checkpoints.Run.finish", kill)


PHASES = {"training": in_training, "final evaluation": in_the_final_evaluation, "saving": while_saving, "publishing": after_publishing}  # fmt: skip
PLACES = ("in place", "moved", "other working directory", "other threads")


def _child(config: TrainingConfig, resume: bool, phase: str | None, directory: Path, threads: int) -> None:
    import torch

    os.chdir(directory)
    torch.set_num_threads(threads)
    with pytest.MonkeyPatch.context() as monkeypatch:
        if phase:
            PHASES[phase](monkeypatch)
        train(config, resume)


@pytest.fixture(scope="module")
def in_a_process():
    """Train in a process of its own, forked from one that has torch loaded already; returns its exit code."""

    def run(config: TrainingConfig, directory: Path, resume=False, phase=None, threads=1) -> int:
        process = context.Process(target=_child, args=(config, resume, phase, directory, threads))
        process.start()
        process.join(120)
        return process.exitcode

    return run


def weights(adapter: Path) -> bytes:
    return (adapter / "adapter_model.safetensors").read_bytes()


@pytest.mark.parametrize(
    ("phase", "place"),
    [
        pytest.param(phase, place, marks=[] if number == other else pytest.mark.slow)
        for number, phase in enumerate(PHASES)
        for other, place in enumerate(PLACES)
    ],
)
def test_killed_and_gone_on_with(phase, place, in_a_process, tiny_settings, tiny_run, tmp_path):
    folder = tmp_path / "run"
    config = TrainingConfig(**tiny_settings, adapter_dir="run/lora_model")
    assert in_a_process(config, tmp_path, phase=phase) == -signal.SIGKILL
    assert (folder / "lora_model").exists() == (phase == "publishing")
    directory = tmp_path
    if place == "moved":
        folder = shutil.move(folder, tmp_path / "elsewhere")
        config = replace(config, adapter_dir=str(folder / "lora_model"))
    elif place == "other working directory":
        directory, config = folder, replace(config, adapter_dir="lora_model")
    assert in_a_process(config, directory, resume=True, threads=2 if place == "other threads" else 1) == 0
    assert weights(folder / "lora_model") == weights(tiny_run.adapter)
    manifest = read_manifest(folder / "lora_model", Kind.ADAPTER)
    assert manifest.metrics == {"validation": tiny_run.validation, "test": tiny_run.test}
    assert manifest.training["threads"] == 1
    assert "products computed in fp32 by 1 thread." in (folder / "lora_model" / "README.md").read_text()


@pytest.fixture
def config(tiny_settings, tmp_path):
    return TrainingConfig(**{**tiny_settings, "max_steps": 10}, adapter_dir=str(tmp_path / "run" / "lora_model"))


@pytest.fixture(scope="module")
def finished_run(tiny_settings, tmp_path_factory):
    """A run of 10 steps that was killed before it could say that its adapter was published."""
    folder = tmp_path_factory.mktemp("finished")
    train(TrainingConfig(**{**tiny_settings, "max_steps": 10}, adapter_dir=str(folder / "lora_model")))
    description = json.loads((folder / "lora_imdb" / "run.json").read_text())
    write_json(folder / "lora_imdb" / "run.json", {**description, "finished": False})
    return folder


@pytest.fixture
def interrupted(finished_run, config):
    """Its checkpoints, where `config` looks for them; the newest one's folder."""
    shutil.copytree(finished_run / "lora_imdb", config.checkpoint_folder)
    return config.checkpoint_folder / "checkpoint-10"


def interrupt_at(monkeypatch, step):
    from toolkit.training.trainer import ProbeTrainer

    whole = ProbeTrainer.training_step

    def training_step(self, *args, **kwargs):
        if self.state.global_step == step:
            raise KeyboardInterrupt
        return whole(self, *args, **kwargs)

    monkeypatch.setattr(ProbeTrainer, "training_step", training_step)


def test_an_epochs_order_is_the_seeds_and_the_epochs_alone():
    import torch
    from transformers.trainer_pt_utils import LengthGroupedSampler

    from toolkit.training.order import EpochSampler

    lengths = [number * 7 % 50 for number in range(64)]

    def order(seed, epoch, drawn=0):
        sampler = EpochSampler(LengthGroupedSampler(8, lengths=lengths), seed)
        torch.rand(drawn)  # dropout, say
        sampler.set_epoch(epoch)
        return list(sampler)

    assert order(42, 1) == order(42, 1, drawn=5)
    assert Counter(order(42, 1)) == Counter(range(64))
    assert len({tuple(order(seed, epoch)) for seed in (1, 2) for epoch in (0, 1, 2)}) == 6
    assert max(lengths) == lengths[order(42, 1)[0]], "the longest first, so that memory runs out at once if at all"


@pytest.mark.parametrize("grouped", [True, False])
def test_a_run_resumed_in_mid_epoch_sees_every_review_once(config, monkeypatch, grouped):
    """With batches of uneven number in an accumulated step too."""
    from toolkit.training.trainer import ProbeTrainer

    config = replace(
        config, group_by_length=grouped, max_steps=0, num_train_epochs=1, per_device_train_batch_size=5,
        gradient_accumulation_steps=2, lora_dropout=0.3,
    )  # fmt: skip
    unbroken = weights(train(replace(config, adapter_dir=config.adapter_dir + "-unbroken/lora_model")).adapter)
    seen = Counter()
    whole = ProbeTrainer.training_step

    def training_step(self, model, inputs, *args, **kwargs):
        loss = whole(self, model, inputs, *args, **kwargs)
        seen.update(tuple(row[row > 0].tolist()) for row in inputs["input_ids"])
        return loss

    monkeypatch.setattr(ProbeTrainer, "training_step", training_step)
    with pytest.MonkeyPatch.context() as interruption:
        interrupt_at(interruption, 4)  # a checkpoint's step: what was seen till then counts
        with pytest.raises(KeyboardInterrupt):
            train(config)
    assert sum(seen.values()) == 40
    assert weights(train(config, resume=True).adapter) == unbroken
    assert sum(seen.values()) == 64
    assert max(seen.values()) == 1


def test_an_early_stop_is_not_taken_back(config):
    config = replace(config, max_steps=40, early_stopping=1, learning_rate=1e-5, metric_for_best_model="f1")
    stopped = train(config)
    assert stopped.steps < 40
    adapter = weights(stopped.adapter)
    run_file = config.checkpoint_folder / "run.json"
    write_json(run_file, {**json.loads(run_file.read_text()), "finished": False})
    again = train(config, resume=True)
    assert again.steps == stopped.steps
    assert weights(again.adapter) == adapter


def test_patience_is_counted_across_a_resumption(config, monkeypatch):
    config = replace(
        config, max_steps=60, eval_steps=4, early_stopping=3, learning_rate=1e-5, metric_for_best_model="f1"
    )
    unbroken = train(replace(config, adapter_dir=config.adapter_dir + "-unbroken/lora_model"))
    assert unbroken.steps < 60
    with pytest.MonkeyPatch.context() as interruption:
        interrupt_at(interruption, unbroken.steps - 3)
        with pytest.raises(KeyboardInterrupt):
            train(config)
    resumed = train(config, resume=True)
    assert resumed.steps == unbroken.steps
    assert weights(resumed.adapter) == weights(unbroken.adapter)


@pytest.mark.parametrize("resume", [True, False])
@pytest.mark.parametrize("content", [{}, {"run.json": "{}"}, {"run.json": "not JSON"}])
def test_checkpoints_of_others_are_neither_read_nor_deleted(config, resume, content):
    foreign = config.checkpoint_folder / "checkpoint-500"
    foreign.mkdir(parents=True)
    for name, text in {"trainer_state.json": "{}", "thesis.txt": "chapter one", **content}.items():
        (foreign / name).write_text(text)
    write_json(config.checkpoint_folder / "run.json", {"finished": True})
    with pytest.raises(
        ToolkitError, match=r"checkpoint-500 has no run\.json .* move it away, or choose another"
    ) as error:
        train(config, resume)
    assert len(str(error.value).splitlines()) == 1
    assert (foreign / "thesis.txt").read_text() == "chapter one"


@pytest.fixture
def of_0_1(config, interrupted):
    """The checkpoints as version 0.1 left them: only the folder that they lie in says whose they are."""
    folder = interrupted.parent
    for checkpoint in folder.glob("checkpoint-*"):
        (checkpoint / "run.json").unlink()
        (checkpoint / "files.json").unlink()
    described = json.loads((folder / "run.json").read_text())
    settings = {"base_model": config.base_model, **described["settings"]}
    write_json(folder / "run.json", {"settings": settings, "data": described["data"], "finished": True})
    return folder


@pytest.mark.parametrize("resume", [True, False])
def test_the_checkpoints_of_a_finished_run_of_version_0_1_make_room(config, of_0_1, resume):
    (of_0_1 / "checkpoint-10").rename(of_0_1 / "checkpoint-500")
    train(config, resume)
    assert not (of_0_1 / "checkpoint-500").exists()
    assert (of_0_1 / "checkpoint-10" / "run.json").is_file()


@pytest.mark.parametrize("resume", [True, False])
def test_the_checkpoints_of_an_unfinished_run_of_version_0_1_are_named_and_left(config, of_0_1, resume):
    described = json.loads((of_0_1 / "run.json").read_text())
    write_json(of_0_1 / "run.json", {**described, "finished": False})
    before = sorted(of_0_1.rglob("*"))
    with pytest.raises(
        ToolkitError, match=r"an interrupted run of version 0\.1, .* finish it with that version, or delete"
    ):
        train(config, resume)
    assert set(before) <= set(of_0_1.rglob("*"))


def test_what_version_0_1_did_not_write_is_nobodys_to_delete(config, of_0_1):
    (of_0_1 / "checkpoint-10" / "thesis.txt").write_text("chapter one")
    with pytest.raises(ToolkitError, match=r"checkpoint-10 has no run\.json"):
        train(config)
    assert (of_0_1 / "checkpoint-10" / "thesis.txt").read_text() == "chapter one"


@pytest.mark.parametrize(
    "name", ["optimizer.pt", "scheduler.pt", "rng_state.pth", "trainer_state.json", "adapter_model.safetensors"]
)
@pytest.mark.parametrize("content", [None, "[]", '{"global_step": "x"}'])
def test_a_checkpoint_is_whole_or_refused(config, interrupted, name, content):
    (interrupted / name).unlink()
    if content is not None:
        (interrupted / name).write_text(content)
    with pytest.raises(ToolkitError, match=rf"checkpoint-10/{name} .* delete .*checkpoint-10 to go on") as error:
        train(config, resume=True)
    assert len(str(error.value).splitlines()) == 1
    assert not Path(config.adapter_dir).exists()


@pytest.mark.parametrize("content", ["[]", "{}", '{"frobnicate": 1}', '{"global_step": 10, "stateful_callbacks": []}'])
def test_a_state_of_another_shape_is_one_line(config, interrupted, content):
    """As another release of the library might have written it."""
    (interrupted / "trainer_state.json").write_text(content)
    seal_checkpoint(interrupted)
    with pytest.raises(ToolkitError, match="checkpoint-10 cannot be read") as error:
        train(config, resume=True)
    assert len(str(error.value).splitlines()) == 1


def test_a_description_with_settings_of_other_names_is_still_the_runs(config, interrupted, finished_run):
    """As one would be that had recorded places, under whatever name they have had."""
    described = json.loads((interrupted / "run.json").read_text())
    described["settings"] |= {"output": "elsewhere", "output_dir": "", "frobnicate": 1}
    write_json(interrupted / "run.json", described)
    seal_checkpoint(interrupted)
    assert weights(train(config, resume=True).adapter) == weights(finished_run / "lora_model")


def test_a_damaged_checkpoint_deleted_as_advised(config, interrupted, finished_run):
    shutil.rmtree(interrupted)
    assert weights(train(config, resume=True).adapter) == weights(finished_run / "lora_model")


def test_a_run_without_its_best_checkpoint(config, interrupted):
    state = json.loads((interrupted / "trainer_state.json").read_text())
    write_json(interrupted / "trainer_state.json", {**state, "best_global_step": 7})
    seal_checkpoint(interrupted)
    with pytest.raises(ToolkitError, match="checkpoint-7, which the run needs, is missing"):
        train(config, resume=True)


def test_a_lost_description_is_said(config, interrupted, caplog, finished_run):
    (config.checkpoint_folder / "run.json").unlink()
    with pytest.raises(ToolkitError, match="interrupted; go on with it by adding --resume"):
        train(config)
    assert "run.json is missing, so nothing says that the run of these checkpoints has finished" in caplog.text
    (config.checkpoint_folder / "run.json").unlink(missing_ok=True)
    assert weights(train(config, resume=True).adapter) == weights(finished_run / "lora_model")


def test_another_number_of_processes_is_refused(config, interrupted, tiny_base):
    from toolkit.models.base_models import resolve_base_model
    from toolkit.training.checkpoints import claim_run
    from toolkit.training.launch import Launch

    for rank in (0, 1):
        claim = claim_run(config, resolve_base_model(str(tiny_base)), Launch(rank, 2), resume=True)
        with pytest.raises(ToolkitError, match=r"another run \(different: 1 processes, now 2\)"), claim:
            pass


def test_what_was_not_measured_is_not_published(config, interrupted, monkeypatch):
    import torch

    from toolkit.training.trainer import ProbeTrainer

    load = ProbeTrainer.load_best_model

    def spoil(trainer):
        load(trainer)
        with torch.no_grad():
            next(iter(trainer.model.get_base_model().classifier.modules_to_save.parameters())).add_(1e-3)

    monkeypatch.setattr(ProbeTrainer, "load_best_model", spoil)
    with pytest.raises(ToolkitError, match=r"the model measured has weights .* those of .*checkpoint-\d+; nothing was"):
        train(config, resume=True)
    assert not Path(config.adapter_dir).exists()


def test_what_is_saved_is_what_was_measured(config, interrupted, monkeypatch):
    import torch

    from toolkit.training import fit

    measure = fit._measure

    def spoil(config, tokenizer, trainer, *rest):
        measured = measure(config, tokenizer, trainer, *rest)
        with torch.no_grad():
            next(iter(trainer.model.get_base_model().classifier.modules_to_save.parameters())).add_(1e-3)
        return measured

    monkeypatch.setattr(fit, "_measure", spoil)
    with pytest.raises(ToolkitError, match=r"the adapter to be published has weights .* those of the model measured"):
        train(config, resume=True)
    assert not Path(config.adapter_dir).exists()


def test_an_adapter_that_learnt_nothing_is_refused(config, interrupted):
    step = json.loads((interrupted / "trainer_state.json").read_text())["best_global_step"]
    best = interrupted.parent / f"checkpoint-{step}"
    file = best / "adapter_model.safetensors"
    save_file({name: weight * ("lora_B" not in name) for name, weight in load_file(file).items()}, file)
    seal_checkpoint(best)
    with pytest.raises(ToolkitError, match="nothing was learnt in 10 of 10 steps: every lora_B is as before"):
        train(config, resume=True)
    assert not Path(config.adapter_dir).exists()


@pytest.mark.parametrize("goes_on", [False, True])
def test_a_run_of_warm_up_alone_is_refused_and_its_weights_are_not_the_best(config, tiny_adapter, goes_on):
    """The first step of a warm-up has a learning rate of 0."""
    config = replace(config, start_from=(str(tiny_adapter),) if goes_on else ())
    with pytest.raises(ToolkitError, match="nothing was learnt in 1 of 1 steps"):
        train(replace(config, max_steps=1))
    assert not Path(config.adapter_dir).exists()
    shutil.rmtree(config.checkpoint_folder)
    train(replace(config, max_steps=2, learning_rate=1e-9))  # no better than before, but trained
    state = json.loads((config.checkpoint_folder / "checkpoint-2" / "trainer_state.json").read_text())
    assert state["best_global_step"] == 2


@pytest.mark.slow
def test_two_processes_go_on_as_two(config, tmp_path):
    lines = {"base_model": config.base_model, "dataset": config.dataset, "adapter_dir": config.adapter_dir, "max_steps": 10,
             "learning_rate": 1e-2, "precision": "fp32", "train_probe": 16}  # fmt: skip
    (tmp_path / "c.toml").write_text("".join(f"{name} = {json.dumps(value)}\n" for name, value in lines.items()))

    def run(*arguments):
        return subprocess.run(
            [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "--standalone", "-m", "toolkit",
             "train", "--config", str(tmp_path / "c.toml"), *arguments],
            capture_output=True, text=True, check=False, cwd=ROOT, env={**os.environ, "CUDA_VISIBLE_DEVICES": ""},
        )  # fmt: skip

    unbroken = run()
    assert unbroken.returncode == 0, unbroken.stderr
    expected = weights(Path(config.adapter_dir))
    shutil.rmtree(config.adapter_dir)
    shutil.rmtree(config.checkpoint_folder / "checkpoint-10")
    resumed = run("--resume")
    assert resumed.returncode == 0, resumed.stderr
    assert "step 10 of 10" in resumed.stderr
    assert weights(Path(config.adapter_dir)) == expected
