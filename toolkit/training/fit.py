"""A run from its first step to the published adapter: trained, measured, saved."""

import logging
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from peft import PeftModel
from tqdm.contrib.logging import logging_redirect_tqdm
from transformers import EvalPrediction, PreTrainedTokenizerFast, set_seed

from toolkit.datasets.soft_labels import SoftLabel
from toolkit.datasets.splits import Review, Splits
from toolkit.errors import ToolkitError
from toolkit.evaluation.calibration import calibration_metrics, fit_temperature
from toolkit.evaluation.plots import plot_metrics
from toolkit.machine import package_versions
from toolkit.models.adapter import adapter_weights, load_tokenizer, read_weights, weights_digest
from toolkit.models.base_models import BaseModel
from toolkit.models.bundle import ADAPTER_WEIGHTS, MODEL_CARD, Kind, Manifest
from toolkit.models.publishing import publish
from toolkit.text.labels import LabelSet
from toolkit.text.tokenisation import ReviewTokenizer
from toolkit.text.truncation import DEFAULT_TRUNCATION
from toolkit.training.checkpoints import Run
from toolkit.training.config import TrainingConfig
from toolkit.training.measuring import whole_splits
from toolkit.training.model_card import write_model_card
from toolkit.training.precision import describe_precision
from toolkit.training.result import Conditions, TrainingResult
from toolkit.training.second_reader import FittedReader, describe, fit_reader, with_section, write_reader
from toolkit.training.trainer import ProbeTrainer, build_trainer, compute_metrics

_PARTING = 0.2  # seconds
_logger = logging.getLogger(__name__)


def fit(
    config: TrainingConfig,
    base: BaseModel,
    splits: Splits,
    run: Run,
    warned: tuple[str, ...] = (),
    soft: Sequence[SoftLabel] = (),
) -> TrainingResult | None:
    """Train, keep the best checkpoint, measure it on validation and test, and publish the adapter.

    Args:
        config: The settings.
        base: The base model to train on.
        splits: The reviews of `train`, `validation` and `test`.
        run: The run, and the checkpoint it is to go on from.
        warned: What the figures do not mean, for the model card.
        soft: Texts with a teacher's probabilities, to learn from beside the train split.

    Returns:
        The result, or None in the helper processes of a distributed run.

    Raises:
        ToolkitError: the training diverged, or learnt nothing, or a checkpoint cannot be read; nothing was published.
    """
    set_seed(config.seed)
    tokenizer = load_tokenizer(base.folder)
    tokenizer.model_max_length = config.max_length
    trainer = build_trainer(config, base, tokenizer, splits, soft)
    with _same_threads(run), _told_once(), logging_redirect_tqdm():
        conditions = _conditions(trainer)
        trainer.description = replace(run.description, conditions=conditions)
        for name, before, now in conditions.differences(run.conditions or conditions):
            _logger.warning("the run began with %s %s and goes on with %s", name, before, now)
        _logger.info(
            "training %s on %d reviews, %d steps, evaluating every %d, products in %s",
            base.name, len(trainer.train_dataset), trainer.planned_steps, trainer.args.eval_steps, describe_precision(config.precision),
        )  # fmt: skip
        if run.checkpoint is None:
            trainer.train()
        elif not trainer.take_up(run.checkpoint):
            trainer.train(resume_from_checkpoint=str(run.checkpoint))
        _part(trainer)
        if not trainer.is_world_process_zero():
            return None
        result, digest, logits = _measure(config, tokenizer, trainer, splits, conditions, warned)
        reader = ReviewTokenizer.wrap(tokenizer, config.max_length, DEFAULT_TRUNCATION)
        fitted = fit_reader(config, reader, splits, logits, soft, result.temperature)
    _publish(config, base, tokenizer, trainer, splits, result, digest, len(soft), fitted)
    return result


def _part(trainer: ProbeTrainer) -> None:
    """End what connects the processes, in all of them at once: its threads, left to Python's end, now and then abort or hold one."""
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        trainer.accelerator.wait_for_everyone()
        # Gloo's threads want the interpreter's lock to let go of their last work; who ends them holds it, and would wait for ever.
        time.sleep(_PARTING)
        torch.distributed.destroy_process_group()


@contextmanager
def _same_threads(run: Run) -> Iterator[None]:
    """As many threads as the run began with, for their number decides the last bits of a sum."""
    own = torch.get_num_threads()
    began = run.conditions.threads if run.conditions else own
    if began != own:
        _logger.info("going on with %d threads, as the run began, not %d", began, own)
    torch.set_num_threads(began)
    try:
        yield
    finally:
        torch.set_num_threads(own)


def _conditions(trainer: ProbeTrainer) -> Conditions:
    return Conditions(
        device=trainer.args.device.type,
        precision="bf16" if trainer.args.bf16 else "fp32",
        threads=torch.get_num_threads(),
        processes=trainer.args.world_size,
    )


def _measure(
    config: TrainingConfig,
    tokenizer: PreTrainedTokenizerFast,
    trainer: ProbeTrainer,
    splits: Splits,
    conditions: Conditions,
    warned: tuple[str, ...],
) -> tuple[TrainingResult, str, dict[str, np.ndarray]]:
    """The result of the best checkpoint; the digest of the weights that were measured, the checkpoint's own; the logits."""
    trained = trainer.accelerator.unwrap_model(trainer.model, keep_fp32_wrapper=False).eval()
    if not trainer.has_learnt():
        raise ToolkitError(
            f"nothing was learnt in {trainer.state.global_step} of {trainer.state.max_steps} steps: every lora_B is as "
            "before the first one; nothing was published. Train longer, with --epochs or --max-steps, "
            "or with a higher --learning-rate"
        )
    best = read_weights(trainer.best_checkpoint / ADAPTER_WEIGHTS)
    torch.set_num_threads(conditions.threads * conditions.processes)  # the other processes have ended
    measured = ("validation", "test") if config.final_evaluation == "all" else ("validation",)
    logits = _logits(trained, tokenizer, config, {split: splits[split] for split in measured}, splits.labels)
    labels = {split: np.array([int(review.label) for review in splits[split]]) for split in measured}
    digest = weights_digest(adapter_weights(trained))
    _require_same(digest, weights_digest(best), "the model measured", trainer.best_checkpoint)
    temperature = fit_temperature(logits["validation"], labels["validation"])
    result = TrainingResult(
        Path(config.adapter_dir),
        {split: _final_metrics(logits[split], labels[split], temperature) for split in measured},
        temperature,
        trainer.state.global_step,
        conditions,
        trainer.clock.seconds,
        warned,
    )
    return result, digest, logits


def _require_same(digest: str, expected: str, what: str, source: object) -> None:
    if digest != expected:
        raise ToolkitError(
            f"{what} has weights {digest[:12]}…, expected {expected[:12]}…, those of {source}; nothing was published, "
            "and this is a fault of the toolkit's: please report it with the log above"
        )


def _logits(
    model: PeftModel,
    tokenizer: PreTrainedTokenizerFast,
    config: TrainingConfig,
    splits: Mapping[str, Sequence[Review]],
    labels: LabelSet,
) -> dict[str, np.ndarray]:
    """By split, (N, k), as the torch backend will serve them."""
    reader = ReviewTokenizer.wrap(tokenizer, config.max_length, DEFAULT_TRUNCATION)
    manifest = Manifest(Kind.ADAPTER, config.base_model, config.max_length, labels.names)
    logits = whole_splits(model, reader, manifest, splits, Path(config.adapter_dir))
    if not all(np.isfinite(each).all() for each in logits.values()):
        raise ToolkitError(
            f"the best checkpoint's scores are not finite, learning rate {config.learning_rate:g}; nothing was published. "
            "Begin again with a lower learning_rate and another --output"
        )
    return logits


def _final_metrics(logits: np.ndarray, labels: np.ndarray, temperature: float) -> dict[str, float]:
    """Of the labels, and of the scores before and after calibration."""
    loss = torch.nn.functional.cross_entropy(torch.from_numpy(logits), torch.from_numpy(labels))
    uncalibrated = calibration_metrics(logits, labels, 1.0)
    return {
        **compute_metrics(EvalPrediction(logits, labels)),
        "loss": float(loss),
        **calibration_metrics(logits, labels, temperature),
        **{f"{name}_uncalibrated": value for name, value in uncalibrated.items()},
    }


def _publish(
    config: TrainingConfig,
    base: BaseModel,
    tokenizer: PreTrainedTokenizerFast,
    trainer: ProbeTrainer,
    splits: Splits,
    result: TrainingResult,
    measured: str,
    soft: int,
    fitted: FittedReader | None,
) -> None:
    manifest = Manifest(
        kind=Kind.ADAPTER,
        base_model=base.name,
        base_model_sha256=base.sha256,
        max_length=config.max_length,
        labels=splits.labels.names,
        displays={language: dict(words) for language, words in splits.labels.displays.items()},
        temperature=result.temperature,
        uncertain_below=splits.labels.lowest_score,
        training={**config.recipe, **result.conditions.to_json(), **({"soft_labels": soft} if soft else {})},
        ngrams=fitted.reader.describe() if fitted else None,
        metrics={**result.metrics, **({"readers": fitted.metrics} if fitted else {})},
        versions=package_versions("torch", "transformers", "peft", "accelerate", "distilbert-review-toolkit"),
    )
    with publish(result.adapter, manifest) as folder:
        model = trainer.accelerator.unwrap_model(trainer.model)
        model.peft_config["default"].base_model_name_or_path = base.name  # the name, not this machine's path of it
        model.save_pretrained(folder, safe_serialization=True, save_embedding_layers=False)
        saved = weights_digest(read_weights(folder / ADAPTER_WEIGHTS))
        _require_same(saved, measured, "the adapter to be published", "the model measured")
        tokenizer.save_pretrained(folder)
        model.get_base_model().config.save_pretrained(folder)
        plot_metrics(trainer.state.log_history, folder)
        counts = {**{split: len(reviews) for split, reviews in splits.items()}, "soft_labels": soft}
        write_model_card(folder, config, counts, result, splits.labels)
        if fitted:
            write_reader(folder, fitted)
            card = (folder / MODEL_CARD).read_text(encoding="utf-8")
            (folder / MODEL_CARD).write_text(with_section(card, describe(fitted)), encoding="utf-8")


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
