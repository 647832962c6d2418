"""A run from its first step to the published adapter: trained, measured, saved."""

import logging
import threading
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch
from peft import PeftModel
from tqdm.contrib.logging import logging_redirect_tqdm
from transformers import EvalPrediction, PreTrainedTokenizerFast, TrainerState, set_seed

from toolkit.datasets.splits import Review
from toolkit.evaluation.calibration import calibration_metrics, fit_temperature
from toolkit.evaluation.plots import plot_metrics
from toolkit.machine import package_versions
from toolkit.models.adapter import load_tokenizer
from toolkit.models.base_models import BaseModel
from toolkit.models.bundle import Kind, Manifest
from toolkit.models.publishing import publish
from toolkit.prediction.torch_backend import TorchPredictor
from toolkit.text.tokenisation import ReviewTokenizer
from toolkit.text.truncation import DEFAULT_READING
from toolkit.training.config import TrainingConfig
from toolkit.training.model_card import write_model_card
from toolkit.training.run import TrainingResult
from toolkit.training.trainer import ProbeTrainer, build_trainer, compute_metrics

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


def _take_finished(trainer: ProbeTrainer, checkpoint: Path | None) -> bool:
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


def _logits(
    model: PeftModel, tokenizer: PreTrainedTokenizerFast, config: TrainingConfig, reviews: Sequence[Review]
) -> tuple[np.ndarray, np.ndarray]:
    """Logits (N, 2) and labels (N,), as the torch backend will serve them: in float32, however it was trained."""
    reader = ReviewTokenizer.wrap(tokenizer, config.max_length)
    reader.policy = DEFAULT_READING
    manifest = Manifest(kind=Kind.ADAPTER, base_model=config.base_model, max_length=config.max_length)
    logits = TorchPredictor(model, reader, manifest).logits(reader.encode([review.text for review in reviews]))
    return logits, np.array([int(review.label) for review in reviews])


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
