"""Private steps of the Trainer and of torch, each once, with its reason, and under a public name of ours.

They stand here and not in `toolkit/compat.py`, because a class is derived from one that has been imported, and whoever imports
that module must not wait for torch. tests/test_compat.py notices a change.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from transformers import Trainer, TrainingArguments

from toolkit.training.checkpoints import reading_checkpoint


class OpenTrainer(Trainer):
    """A Trainer whose private steps that a run of ours changes are public methods, for a subclass to write."""

    @property
    def current_learning_rate(self) -> float:
        """The learning rate of this step, which the Trainer logs and offers no other way."""
        return float(self._get_learning_rate())

    def ordered(self, sampler: torch.utils.data.Sampler[int] | None) -> torch.utils.data.Sampler[int] | None:
        """The order in which train reviews are seen.

        Args:
            sampler: The Trainer's own, which begins an epoch with the state that the global generator happens to have.
        """
        return sampler

    def may_be_best(self) -> bool:
        """Whether the model's checkpoint may be kept as the best; the Trainer asks only whether the metric is better."""
        return True

    @contextmanager
    def saving_checkpoint(self) -> Iterator[None]:
        """Within the block the Trainer writes the checkpoint of this step; its callbacks are told only afterwards."""
        yield

    def load_best_model(self) -> None:
        """Put the best checkpoint's weights into the model; the Trainer's own way warns where there are none, and goes on."""
        raise NotImplementedError

    def load_checkpoint_weights(self, checkpoint: Path, model: torch.nn.Module) -> None:
        """Put a checkpoint's weights into the model; the Trainer's own way leaves out keys that do not fit."""
        raise NotImplementedError

    def _get_train_sampler(self, train_dataset: Any = None) -> torch.utils.data.Sampler[int] | None:  # noqa: ANN401 - as Trainer's
        return self.ordered(super()._get_train_sampler(train_dataset))

    def _determine_best_metric(self, metrics: dict[str, float], trial: object) -> bool:
        return self.may_be_best() and bool(super()._determine_best_metric(metrics, trial))

    def _save_checkpoint(self, model: torch.nn.Module, trial: object) -> None:
        with self.saving_checkpoint():
            super()._save_checkpoint(model, trial)

    def _load_best_model(self) -> None:
        self.load_best_model()

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: Any = None) -> None:  # noqa: ANN401 - as Trainer's
        self.load_checkpoint_weights(Path(resume_from_checkpoint), self.model if model is None else model)

    # Each reads a file of a checkpoint, and raises whatever reading it raises.

    def _load_optimizer_and_scheduler(self, checkpoint: str | None) -> None:
        with reading_checkpoint(checkpoint):
            super()._load_optimizer_and_scheduler(checkpoint)

    def _load_callback_state(self) -> None:
        with reading_checkpoint(self.args.output_dir):
            super()._load_callback_state()

    def _load_rng_state(self, checkpoint: str | None) -> None:
        with reading_checkpoint(checkpoint):
            super()._load_rng_state(checkpoint)


def name_cpu_without_number(arguments: TrainingArguments) -> None:
    """Let the CPU be `cpu` where it is the device of one of several processes.

    There it is `cpu:0`, a place at which torch.load knows of no way to restore an optimiser. The device is computed once and
    kept under this name.
    """
    if arguments.device.type == "cpu":
        arguments.__dict__["_setup_devices"] = torch.device("cpu")


def cpu_bf16_units() -> str | None:
    """What multiplies bfloat16 in this CPU, for which torch has no public question; None where nothing does."""
    if torch.cpu._is_amx_tile_supported():
        return "AMX"
    return "AVX512-BF16" if torch.cpu._is_avx512_bf16_supported() else None
