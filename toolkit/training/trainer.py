"""The Hugging Face Trainer as this project sets it up."""

import logging
import random
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import (
    DataCollatorWithPadding,
    EarlyStoppingCallback,
    EvalPrediction,
    PreTrainedTokenizerFast,
    TrainerControl,
    TrainerState,
)
from transformers.trainer import TRAINER_STATE_NAME
from transformers.trainer_callback import PrinterCallback, ProgressCallback
from transformers.trainer_pt_utils import LengthGroupedSampler

from toolkit.datasets.soft_labels import SoftLabel
from toolkit.datasets.splits import Review, Splits
from toolkit.datasets.torch_dataset import DistillationDataset, IMDBDataset
from toolkit.errors import ConfigError, ToolkitError
from toolkit.evaluation.metrics import classification_metrics, softmax
from toolkit.models.adapter import attach_adapter, load_classifier, load_mean, load_weights
from toolkit.models.base_models import BaseModel
from toolkit.models.bundle import ADAPTER_WEIGHTS
from toolkit.progress import style
from toolkit.text.tokenisation import ReviewTokenizer
from toolkit.text.truncation import DEFAULT_TRUNCATION
from toolkit.training.arguments import lora_config, scale_steps, training_arguments
from toolkit.training.attention import ReviewwiseAttention
from toolkit.training.callbacks import Bar, Clock, FinalEvaluation, Steps
from toolkit.training.casts import FewerCasts
from toolkit.training.checkpoints import (
    begin_checkpoint,
    checkpoint_path,
    reading_checkpoint,
    rotate_checkpoints,
    seal_checkpoint,
    verify_checkpoint,
)
from toolkit.training.compat import OpenTrainer
from toolkit.training.config import ADVICE, TrainingConfig
from toolkit.training.description import RunDescription
from toolkit.training.dropout import Dropout
from toolkit.training.last_layer import FirstTokenAlone
from toolkit.training.objective import distillation_loss
from toolkit.training.order import EpochSampler
from toolkit.training.parts import COLUMNS, split_batch

_TOKENS_AT_ONCE = 4096  # of a batch on a CPU: more are no quicker, and 16,384 of MiniLM took 4.4 GB
_logger = logging.getLogger(__name__)


class ProbeTrainer(OpenTrainer):
    """A Trainer that also measures accuracy on a fixed probe of the train set at every evaluation.

    Evaluating the whole train set each time costs more than the training.

    Attributes:
        probe: The reviews of the train set that are measured.
        beginning: LoRA's second matrices, `lora_B`, by name, as the run began with them.
        planned_steps: The number of optimiser steps of the whole run.
        description: The description that goes into every checkpoint, to say whose it is.
        last_loss: The loss of the last batch.
        soft_weight: See `distillation_loss`.
        soft_temperature: Likewise.
        share: Of a batch's texts, those in the part of it that is computed.
    """

    probe: IMDBDataset
    beginning: Mapping[str, torch.Tensor]
    planned_steps: int
    description: RunDescription
    last_loss: float = 0.0
    soft_weight: float = 0.5
    soft_temperature: float = 1.0
    share: float = 1.0

    @property
    def clock(self) -> Clock:
        """The callback that measures the run's time."""
        return next(each for each in self.callback_handler.callbacks if isinstance(each, Clock))

    @property
    def best_checkpoint(self) -> Path:
        """Where the best step's checkpoint lies: in this run's folder, whatever place the state was written at."""
        return checkpoint_path(Path(self.args.output_dir), self.state.best_global_step or 0)

    def take_up(self, checkpoint: Path) -> bool:
        """Whether the checkpoint's run had nothing left to train; its state is this run's then, and its best weights."""
        with reading_checkpoint(checkpoint):
            state = TrainerState.load_from_json(str(checkpoint / TRAINER_STATE_NAME))
            control = TrainerControl(**state.stateful_callbacks[TrainerControl.__name__]["args"])
            seconds = float(state.stateful_callbacks[Clock.__name__]["args"]["seconds"])
        if state.best_global_step is not None:
            verify_checkpoint(checkpoint_path(checkpoint.parent, state.best_global_step))
        if state.global_step < state.max_steps and not control.should_training_stop:
            return False
        self.state = state
        self.clock.seconds = seconds
        if state.best_global_step is not None:
            self.load_best_model()
        return True

    @cached_property
    def _shortcuts(self) -> tuple[FirstTokenAlone, FewerCasts]:
        return FirstTokenAlone(self.model), FewerCasts(self.model)

    @contextmanager
    def _quickly(self) -> Iterator[None]:
        """Within it, the model computes the same with less work; each way's own module says how."""
        last_layer, casts = self._shortcuts
        with ReviewwiseAttention(), Dropout(), last_layer.in_use(), casts.in_use():
            yield

    def evaluate(self, *args: Any, **kwargs: Any) -> dict[str, float]:  # noqa: ANN401 - Trainer's own signature
        """Evaluate as the Trainer does, then log `train_accuracy` of the probe at the same step."""
        metrics: dict[str, float] = super().evaluate(*args, **kwargs)
        accuracy = (self.predict(self.probe, metric_key_prefix="train").metrics or {})["train_accuracy"]
        self.log({"train_accuracy": accuracy})
        _logger.info(
            "step %d of %d: validation accuracy %.4f, loss %.4f; train accuracy %.4f",
            self.state.global_step, self.state.max_steps, metrics["eval_accuracy"], metrics["eval_loss"], accuracy,
        )  # fmt: skip
        return metrics

    def compute_loss(
        self,
        model: torch.nn.Module,
        inputs: dict[str, torch.Tensor],
        return_outputs: bool = False,
        num_items_in_batch: torch.Tensor | None = None,
    ) -> Any:  # noqa: ANN401 - Trainer's own signature
        """The loss of a batch; with a teacher's probabilities it is `distillation_loss`, else the model's own."""
        with self._quickly():
            if "soft_labels" not in inputs:
                loss, outputs = super().compute_loss(model, inputs, True, num_items_in_batch)
            else:
                labels, soft = inputs.pop("labels"), inputs.pop("soft_labels")
                outputs = model(**inputs)
                loss = distillation_loss(outputs.logits, labels, soft, self.soft_weight, self.soft_temperature)
        loss = loss * self.share
        return (loss, outputs) if return_outputs else loss

    def training_step(
        self,
        model: torch.nn.Module,
        inputs: dict[str, torch.Tensor],
        num_items_in_batch: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """A step of the Trainer's, on a CPU in parts that need little memory; its loss must be a number."""
        parts, losses = self._parts(inputs), []
        for number, part in enumerate(parts, 1):
            self.share = len(part["input_ids"]) / len(inputs["input_ids"])
            with nullcontext() if number == len(parts) else self.accelerator.no_sync(model):
                losses.append(super().training_step(model, part, num_items_in_batch))
        self.share = 1.0
        loss = torch.stack(losses).sum()
        self._require_finite(loss, "loss")
        self.last_loss = float(loss)
        return loss

    def prediction_step(
        self,
        model: torch.nn.Module,
        inputs: dict[str, torch.Tensor],
        prediction_loss_only: bool,
        ignore_keys: list[str] | None = None,
    ) -> tuple[torch.Tensor | None, ...]:
        """A batch of an evaluation, on a CPU in the parts of a training step; its scores must be numbers.

        Returns:
            The batch's loss (), and logits (B, k) and labels (B,) in its order.
        """
        losses: list[torch.Tensor] = []
        scores: list[torch.Tensor] = []
        labels: list[torch.Tensor] = []
        places: list[torch.Tensor] = []
        count = len(inputs["input_ids"])
        for part in self._parts({**inputs, "place": torch.arange(count)}):
            places.append(part.pop("place"))
            self.share = len(part["input_ids"]) / count
            loss, *others = super().prediction_step(model, part, prediction_loss_only, ignore_keys)
            losses.append(loss)
            for each, found in zip((scores, labels), others, strict=True):
                each.append(found)
        self.share = 1.0
        # Of several processes the last ones of a batch may be repeats, and are left out by their place.
        order = torch.cat(places).argsort()
        logits = torch.cat(scores)[order]
        self._require_finite(logits, "scores")
        return torch.stack(losses).sum(), logits, torch.cat(labels)[order]

    def _parts(self, inputs: dict[str, torch.Tensor]) -> list[dict[str, torch.Tensor]]:
        return split_batch(inputs, _TOKENS_AT_ONCE) if self.args.device.type == "cpu" else [inputs]

    def _require_finite(self, values: torch.Tensor | None, what: str) -> None:
        if values is not None and not torch.isfinite(values).all():
            raise ToolkitError(
                f"the training diverged at step {self.state.global_step + (what == 'loss')} of {self.planned_steps}: {what} "
                f"not finite, learning rate {self.current_learning_rate:.3g}; nothing was published. Begin again "
                f"with a lower learning_rate than {self.args.learning_rate:g}, or more warmup_ratio, and another --output"
            )

    def ordered(self, sampler: torch.utils.data.Sampler[int] | None) -> torch.utils.data.Sampler[int] | None:
        """Drawn from the seed and the epoch alone, where reviews of similar length are grouped."""
        return EpochSampler(sampler, self.args.seed) if isinstance(sampler, LengthGroupedSampler) else sampler

    def may_be_best(self) -> bool:
        """Not while the model has learnt nothing yet, as after a first step of warm-up: it is kept for being no worse."""
        return self.has_learnt()

    def has_learnt(self) -> bool:
        """Whether a step has changed LoRA's weights: the first one of a warm-up has a learning rate of 0."""
        weights = dict(self.model.named_parameters())
        return any(not torch.equal(weights[name].cpu(), began) for name, began in self.beginning.items())

    @contextmanager
    def saving_checkpoint(self) -> Iterator[None]:
        """Begin the checkpoint with the run's description, and seal it when every process has written its part."""
        checkpoint = checkpoint_path(Path(self.args.output_dir), self.state.global_step)
        if self.args.should_save:
            begin_checkpoint(checkpoint, self.description)
        self.accelerator.wait_for_everyone()  # before another process writes into the folder
        yield
        self.accelerator.wait_for_everyone()  # each process writes its random numbers' state
        if self.args.should_save:
            seal_checkpoint(checkpoint)
            rotate_checkpoints(checkpoint, self.best_checkpoint)
        self.accelerator.wait_for_everyone()  # the best checkpoint may be read next, by every process, and has to be sealed

    def load_best_model(self) -> None:
        """Those of the best checkpoint, verified."""
        verify_checkpoint(self.best_checkpoint)
        self.load_checkpoint_weights(self.best_checkpoint, self.model)

    def load_checkpoint_weights(self, checkpoint: Path, model: torch.nn.Module) -> None:
        """Every key accounted for."""
        load_weights(model, checkpoint / ADAPTER_WEIGHTS, "this run's model")


def build_trainer(
    config: TrainingConfig,
    base: BaseModel,
    tokenizer: PreTrainedTokenizerFast,
    splits: Splits,
    soft: Sequence[SoftLabel] = (),
) -> ProbeTrainer:
    """A Trainer for `config`, ready to train; arguments as those of `fit`, whose tokenizer `load_tokenizer` gives."""
    classifier = load_classifier(base, config.dropouts, splits.labels)
    _require_modules(classifier, config)
    model = attach_adapter(classifier, lora_config(config))
    if config.start_from:
        load_mean(model, [Path(adapter) / ADAPTER_WEIGHTS for adapter in config.start_from], "this run's model")
    for peft_config in model.peft_config.values():
        peft_config.target_modules = sorted(peft_config.target_modules)  # PEFT's set has another order in each process
    model.config.pad_token_id = tokenizer.pad_token_id
    # It learns from what it will be shown.
    reader = ReviewTokenizer.wrap(tokenizer, config.training_length, DEFAULT_TRUNCATION)
    train_split = _train_split(config, splits["train"], soft, reader)
    validation = _sample(splits["validation"], config.eval_limit, config.seed)
    arguments = training_arguments(config)
    steps = scale_steps(config, arguments, len(train_split))
    trainer = ProbeTrainer(
        model=model,
        args=arguments,
        train_dataset=train_split,
        eval_dataset=IMDBDataset.from_reviews(validation, reader, config.training_length),
        data_collator=DataCollatorWithPadding(tokenizer, pad_to_multiple_of=_columns(config)),
        processing_class=tokenizer,
        compute_metrics=compute_metrics,
        callbacks=[FinalEvaluation(), Clock()],
    )
    # ModernBERT takes any argument, so the Trainer leaves to it the division by the batches of a step, which it does not do.
    trainer.model_accepts_loss_kwargs = False
    trainer.planned_steps = steps
    trainer.beginning = {n: each.detach().clone() for n, each in model.named_parameters() if "lora_B" in n}
    trainer.soft_weight, trainer.soft_temperature = config.soft_weight, config.soft_temperature
    trainer.probe = IMDBDataset.from_reviews(
        _sample(splits["train"], config.train_probe, config.seed), reader, config.training_length
    )
    trainer.remove_callback(ProgressCallback)
    trainer.remove_callback(PrinterCallback)
    if sys.stderr.isatty() and style.get() == "auto":
        trainer.add_callback(Bar())
    elif trainer.is_world_process_zero():
        trainer.add_callback(Steps(lambda: trainer.last_loss))
    if config.early_stopping:
        trainer.add_callback(EarlyStoppingCallback(config.early_stopping))
    return trainer


def _columns(config: TrainingConfig) -> int | None:
    """Of what a batch's length is a multiple; of nothing where it might grow over what the base can read."""
    columns = 8 if torch.cuda.is_available() else COLUMNS
    return None if config.training_length % columns else columns


def _train_split(
    config: TrainingConfig, reviews: Sequence[Review], soft: Sequence[SoftLabel], reader: ReviewTokenizer
) -> IMDBDataset:
    if not soft:
        return IMDBDataset.from_reviews(reviews, reader, config.training_length)
    return DistillationDataset(reviews if config.soft_weight < 1 else (), soft, reader, config.training_length)


def _require_modules(model: torch.nn.Module, config: TrainingConfig) -> None:
    """PEFT skips modules it does not find as long as it finds one, and still writes them into the adapter."""
    names = [f".{name}" for name, _ in model.named_modules()]
    wanted = (("target_modules", config.target_modules), ("modules_to_save", config.modules_to_save))
    problems = [
        f"{name}: the base has no module '{each}'"
        for name, modules in wanted
        for each in modules
        if not any(name.endswith(f".{each}") for name in names)  # as PEFT matches them
    ]
    if problems:
        raise ConfigError("the training configuration does not fit the base model; found:", problems, ADVICE)


def _sample(reviews: Sequence[Review], limit: int, seed: int) -> Sequence[Review]:
    """The same `limit` reviews every time, all of them for 0; a user's file may be sorted by label."""
    return random.Random(seed).sample(reviews, limit) if 0 < limit < len(reviews) else reviews


def compute_metrics(prediction: EvalPrediction) -> dict[str, float]:
    """Figures of logits (N, k) against labels (N,); of more labels than two, averaged over them (macro)."""
    metrics = classification_metrics(np.asarray(prediction.label_ids), softmax(np.asarray(prediction.predictions)))
    return {name: value for name, value in metrics.items() if isinstance(value, float)}
