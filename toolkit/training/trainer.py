"""The training itself, on the Hugging Face Trainer."""

import logging
import os
import random
import sys
import threading
import time
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from peft import LoraConfig, PeftModel, TaskType
from tqdm.contrib.logging import logging_redirect_tqdm
from transformers import (
    DataCollatorWithPadding,
    EarlyStoppingCallback,
    EvalPrediction,
    PreTrainedTokenizerFast,
    Trainer,
    TrainerCallback,
    TrainerControl,
    TrainerState,
    TrainingArguments,
    set_seed,
)
from transformers.trainer_callback import ExportableState, PrinterCallback, ProgressCallback

from toolkit.datasets.splits import Review
from toolkit.datasets.torch_dataset import IMDBDataset
from toolkit.errors import ConfigError, ToolkitError
from toolkit.evaluation.calibration import calibration_metrics, fit_temperature
from toolkit.evaluation.metrics import classification_metrics
from toolkit.evaluation.plots import plot_metrics
from toolkit.machine import package_versions
from toolkit.models.adapter import attach_adapter, load_classifier, load_tokenizer
from toolkit.models.base_models import BaseModel
from toolkit.models.bundle import Kind, Manifest
from toolkit.models.publishing import publish
from toolkit.prediction.torch_backend import TorchPredictor
from toolkit.text.tokenisation import ReviewTokenizer
from toolkit.text.truncation import DEFAULT_TRUNCATION
from toolkit.training.config import ADVICE, TrainingConfig
from toolkit.training.model_card import write_model_card
from toolkit.training.run import TrainingResult

MINIMUM_EVALUATIONS = 5
_logger = logging.getLogger(__name__)


def fit(
    config: TrainingConfig, base: BaseModel, splits: Mapping[str, Sequence[Review]], checkpoint: Path | None
) -> TrainingResult | None:
    """Train, keep the best checkpoint, measure it on validation and test, and publish the adapter.

    Args:
        config: see `TrainingConfig`.
        base: what to train on.
        splits: `train`, `validation` and `test`.
        checkpoint: to go on from; None begins at step 0.

    Returns:
        The result, or None in the helper processes of a distributed run.
    """
    set_seed(config.seed)
    tokenizer = load_tokenizer(base.folder)
    tokenizer.model_max_length = config.max_length
    trainer = build_trainer(config, base, tokenizer, splits)
    _logger.info(
        "training %s on %d reviews, %d steps, evaluating every %d",
        base.name, len(splits["train"]), trainer.planned_steps, trainer.args.eval_steps,
    )  # fmt: skip
    with logging_redirect_tqdm(), _told_once(), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="mtime may not be reliable")  # checkpoints are numbered all the same
        if not _take_finished(trainer, checkpoint):
            trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)
    if not trainer.is_world_process_zero():
        return None
    trained = trainer.accelerator.unwrap_model(trainer.model, keep_fp32_wrapper=False).eval()
    validation, test = (_logits(trained, tokenizer, config, splits[split]) for split in ("validation", "test"))
    temperature = fit_temperature(*validation)
    result = TrainingResult(
        Path(config.output),
        _final_metrics(*validation, temperature),
        _final_metrics(*test, temperature),
        temperature,
        trainer.state.global_step,
        "bf16" if trainer.args.bf16 else "fp32",
        trainer.clock.seconds,
    )
    _publish(config, base, tokenizer, trainer, splits, result)
    return result


@contextmanager
def _told_once() -> Iterator[None]:
    """TensorBoard's writer thread hands its error to the run, which raises it; the thread's own traceback is left out."""
    kept = threading.excepthook

    def tell(failure: threading.ExceptHookArgs) -> None:
        if not type(failure.thread).__module__.startswith("tensorboard"):
            kept(failure)

    threading.excepthook = tell
    try:
        yield
    finally:
        threading.excepthook = kept


def _take_finished(trainer: "ProbeTrainer", checkpoint: Path | None) -> bool:
    """Take up a run that was killed after its last step; the Trainer would train one step more."""
    if checkpoint is None:
        return False
    state = TrainerState.load_from_json(str(checkpoint / "trainer_state.json"))
    if state.global_step < state.max_steps:
        return False
    trainer.state = state
    trainer.clock.seconds = state.stateful_callbacks.get("Clock", {}).get("args", {}).get("seconds", 0.0)
    trainer._load_best_model()
    return True


class ProbeTrainer(Trainer):
    """A Trainer that also measures accuracy on a fixed probe of the train set at every evaluation.

    Evaluating the whole train set each time, as the original's code did, costs more than the training.
    """

    probe: IMDBDataset
    planned_steps: int

    @property
    def clock(self) -> "Clock":
        """The callback that measures the run's time."""
        return next(each for each in self.callback_handler.callbacks if isinstance(each, Clock))

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

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: Any = None) -> None:  # noqa: ANN401 - as Trainer's
        with _reading_checkpoint(resume_from_checkpoint):
            super()._load_from_checkpoint(resume_from_checkpoint, model)

    def _load_optimizer_and_scheduler(self, checkpoint: str | None) -> None:
        with _reading_checkpoint(checkpoint):
            super()._load_optimizer_and_scheduler(checkpoint)

    def _load_rng_state(self, checkpoint: str | None) -> None:
        with _reading_checkpoint(checkpoint):
            super()._load_rng_state(checkpoint)


@contextmanager
def _reading_checkpoint(checkpoint: str | None) -> Iterator[None]:
    """The Trainer reads tensors and nothing else from a checkpoint; what is no tensor, or half of one, is refused here.

    Raises:
        ToolkitError: the checkpoint is damaged, or holds more than tensors.
    """
    try:
        yield
    except Exception as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise ToolkitError(
            f"{checkpoint} cannot be read ({reason}); delete that folder to go on from the checkpoint before it"
        ) from error


class Clock(TrainerCallback, ExportableState):
    """Measures the time a run took, all its resumptions together; checkpoints carry it.

    Attributes:
        seconds: wall-clock time of the steps and the evaluations between them.
    """

    def __init__(self, seconds: float = 0.0) -> None:
        self.seconds = seconds
        self._since = time.monotonic()

    def state(self) -> dict[str, Any]:
        """What a checkpoint keeps, in the form the Trainer asks for."""
        return {"args": {"seconds": self.seconds}, "attributes": {}}

    def on_train_begin(self, *args: Any, **kwargs: Any) -> None:  # noqa: ANN401 - TrainerCallback's own signature
        """Start, or start again."""
        self._since = time.monotonic()

    def on_step_end(self, *args: Any, **kwargs: Any) -> None:  # noqa: ANN401
        """Add what has passed."""
        now = time.monotonic()
        self.seconds += now - self._since
        self._since = now

    on_evaluate = on_train_end = on_step_end


class _FinalEvaluation(TrainerCallback):
    """Evaluate at the last step too, unless the last evaluation is only a few steps away."""

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: object
    ) -> None:
        since_last = state.global_step % args.eval_steps
        if state.global_step >= state.max_steps and since_last > args.eval_steps // 2:
            control.should_evaluate = control.should_log = control.should_save = True


class _Bar(ProgressCallback):
    """The Trainer's progress bar, without the raw dictionaries it prints to stdout."""

    def on_log(self, *args: Any, **kwargs: Any) -> None:  # noqa: ANN401 - ProgressCallback's own signature
        pass


def build_trainer(
    config: TrainingConfig, base: BaseModel, tokenizer: PreTrainedTokenizerFast, splits: Mapping[str, Sequence[Review]]
) -> ProbeTrainer:
    """A Trainer for `config`, ready to train; arguments as those of `fit`, whose tokenizer `load_tokenizer` gives."""
    classifier = load_classifier(base, config.dropouts)
    _require_modules(classifier, config)
    model = attach_adapter(classifier, lora_config(config))
    model.config.pad_token_id = tokenizer.pad_token_id
    # It learns from what it will be shown.
    reader = ReviewTokenizer.wrap(tokenizer, config.training_length, DEFAULT_TRUNCATION)
    train_split = IMDBDataset.from_reviews(splits["train"], reader, config.training_length)
    validation = _sample(splits["validation"], config.eval_limit, config.seed)
    arguments = _training_arguments(config)
    steps = _scale_steps(config, arguments, len(train_split))
    trainer = ProbeTrainer(
        model=model,
        args=arguments,
        train_dataset=train_split,
        eval_dataset=IMDBDataset.from_reviews(validation, reader, config.training_length),
        data_collator=DataCollatorWithPadding(tokenizer, pad_to_multiple_of=8 if torch.cuda.is_available() else None),
        processing_class=tokenizer,
        compute_metrics=_compute_metrics,
        callbacks=[_FinalEvaluation(), Clock()],
    )
    trainer.planned_steps = steps
    trainer.probe = IMDBDataset.from_reviews(
        _sample(splits["train"], config.train_probe, config.seed), reader, config.training_length
    )
    trainer.remove_callback(ProgressCallback)
    trainer.remove_callback(PrinterCallback)
    if sys.stderr.isatty():
        trainer.add_callback(_Bar())
    if config.early_stopping:
        trainer.add_callback(EarlyStoppingCallback(config.early_stopping))
    return trainer


def _require_modules(model: torch.nn.Module, config: TrainingConfig) -> None:
    """PEFT skips modules it does not find as long as it finds one, and still writes them into the adapter."""
    present = {name.rpartition(".")[2] for name, _ in model.named_modules()}
    wanted = (("target_modules", config.target_modules), ("modules_to_save", config.modules_to_save))
    problems = [
        f"{name}: the base has no module '{each}'"
        for name, modules in wanted
        for each in modules
        if each not in present
    ]
    if problems:
        raise ConfigError("the training configuration does not fit the base model; found:", problems, ADVICE)


def _sample(reviews: Sequence[Review], limit: int, seed: int) -> Sequence[Review]:
    """The same `limit` reviews every time, all of them for 0; a user's file may be sorted by label."""
    return random.Random(seed).sample(reviews, limit) if 0 < limit < len(reviews) else reviews


def lora_config(config: TrainingConfig) -> LoraConfig:
    """PEFT's configuration; it has no defaults for DistilBERT and changes the lists it is given."""
    return LoraConfig(
        task_type=TaskType.SEQ_CLS,
        r=config.r,
        lora_alpha=config.lora_alpha,
        target_modules=list(config.target_modules),
        lora_dropout=config.lora_dropout,
        bias=config.bias,
        modules_to_save=list(config.modules_to_save),
    )


def _training_arguments(config: TrainingConfig) -> TrainingArguments:
    has_cuda = torch.cuda.is_available()
    in_bf16 = _computes_in_bf16(config.precision)
    # The Trainer sets this variable for bf16 and never takes it back, so a later run in the process would get it too.
    os.environ["ACCELERATE_MIXED_PRECISION"] = "bf16" if in_bf16 else "no"
    return TrainingArguments(
        output_dir=str(config.checkpoint_folder),
        logging_dir=str(config.log_folder),
        num_train_epochs=config.num_train_epochs,
        max_steps=config.max_steps or -1,
        per_device_train_batch_size=config.per_device_train_batch_size,
        per_device_eval_batch_size=config.per_device_eval_batch_size,
        gradient_accumulation_steps=config.gradient_accumulation_steps,
        learning_rate=config.learning_rate,
        weight_decay=config.weight_decay,
        lr_scheduler_type=config.lr_scheduler_type,
        warmup_ratio=config.warmup_ratio,
        max_grad_norm=config.max_grad_norm,
        group_by_length=config.group_by_length,
        eval_strategy="steps",
        save_strategy="steps",
        logging_strategy="steps",
        eval_steps=config.eval_steps,
        save_steps=config.eval_steps,
        logging_steps=config.eval_steps,
        save_total_limit=2,  # the best and the last
        load_best_model_at_end=True,
        metric_for_best_model=config.metric_for_best_model,
        greater_is_better=config.metric_for_best_model != "loss",
        seed=config.seed,
        data_seed=config.seed,
        bf16=in_bf16,
        use_cpu=not (has_cuda or torch.backends.mps.is_available()),  # the Trainer takes bf16 on a CPU only when told
        dataloader_pin_memory=has_cuda,
        remove_unused_columns=False,
        ddp_find_unused_parameters=False,  # there are none; looking for them costs a walk of the graph at every step
        label_names=["labels"],  # PEFT hides the model's signature, from which the Trainer would read it
        report_to=["tensorboard"],
        restore_callback_states_from_checkpoint=True,
    )


def _computes_in_bf16(precision: str) -> bool:
    """Whether products are computed in bfloat16; weights, gradients and sums stay in float32 either way.

    `auto` follows the hardware: a GPU with bf16 units, or a CPU with AMX, where a step took 0.48 of its fp32 time.
    """
    if precision != "auto":
        return precision == "bf16"
    return torch.cuda.is_bf16_supported() if torch.cuda.is_available() else torch.cpu._is_amx_tile_supported()


def _scale_steps(config: TrainingConfig, arguments: TrainingArguments, reviews: int) -> int:
    """Evaluate often enough for a short run; returns the run's total of optimiser steps."""
    batch = arguments.train_batch_size * arguments.world_size * config.gradient_accumulation_steps
    steps_per_epoch = -(-reviews // batch)
    total = config.max_steps or -(-int(steps_per_epoch * config.num_train_epochs * 1000) // 1000)
    every = max(1, min(config.eval_steps, total // MINIMUM_EVALUATIONS))
    arguments.eval_steps = arguments.save_steps = arguments.logging_steps = every
    return total


def _compute_metrics(prediction: EvalPrediction) -> dict[str, float]:
    logits = np.asarray(prediction.predictions, dtype=np.float64)  # (N, 2)
    labels = np.asarray(prediction.label_ids)
    positive_scores = 1 / (1 + np.exp(logits[:, 0] - logits[:, 1]))  # softmax of two logits
    metrics = classification_metrics(labels, positive_scores)
    return {name: value for name, value in metrics.items() if isinstance(value, float)}


def _logits(
    model: PeftModel, tokenizer: PreTrainedTokenizerFast, config: TrainingConfig, reviews: Sequence[Review]
) -> tuple[np.ndarray, np.ndarray]:
    """Logits (N, 2) and labels (N,), as the torch backend will serve them: in float32, however it was trained."""
    reader = ReviewTokenizer.wrap(tokenizer, config.max_length, DEFAULT_TRUNCATION)
    manifest = Manifest(kind=Kind.ADAPTER, base_model=config.base_model, max_length=config.max_length)
    logits = TorchPredictor(model, reader, manifest).logits(reader.encode([review.text for review in reviews]))
    return logits, np.array([int(review.label) for review in reviews])


def _final_metrics(logits: np.ndarray, labels: np.ndarray, temperature: float) -> dict[str, float]:
    """Of the labels, and of the scores before and after calibration."""
    loss = torch.nn.functional.cross_entropy(torch.from_numpy(logits), torch.from_numpy(labels))
    uncalibrated = calibration_metrics(logits, labels, 1.0)
    return {
        **_compute_metrics(EvalPrediction(logits, labels)),
        "loss": float(loss),
        **calibration_metrics(logits, labels, temperature),
        **{f"{name}_uncalibrated": value for name, value in uncalibrated.items()},
    }


def _publish(
    config: TrainingConfig,
    base: BaseModel,
    tokenizer: PreTrainedTokenizerFast,
    trainer: ProbeTrainer,
    splits: Mapping[str, Sequence[Review]],
    result: TrainingResult,
) -> None:
    manifest = Manifest(
        kind=Kind.ADAPTER,
        base_model=base.name,
        base_model_sha256=base.sha256,
        max_length=config.max_length,
        temperature=result.temperature,
        training=config.recipe,
        metrics={"validation": result.validation, "test": result.test},
        versions=package_versions("torch", "transformers", "peft", "accelerate", "distilbert-review-toolkit"),
    )
    with publish(result.adapter, manifest) as folder:
        model = trainer.accelerator.unwrap_model(trainer.model)
        model.peft_config["default"].base_model_name_or_path = base.name  # the name, not this machine's path of it
        model.save_pretrained(folder, safe_serialization=True, save_embedding_layers=False)
        tokenizer.save_pretrained(folder)
        model.get_base_model().config.save_pretrained(folder)
        plot_metrics(trainer.state.log_history, folder)
        counts = {split: len(reviews) for split, reviews in splits.items()}
        write_model_card(folder, config, counts, result)
