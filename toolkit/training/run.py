"""A training run from settings to a published adapter; what can go wrong early is checked before torch is loaded."""

from dataclasses import dataclass
from pathlib import Path

from toolkit.datasets.splits import read_splits
from toolkit.errors import ToolkitError, needs_extra
from toolkit.models.base_models import resolve_base_model
from toolkit.models.bundle import Kind, max_positions
from toolkit.models.publishing import naming_a_full_disk, refuse_foreign_target
from toolkit.training.checkpoints import claim_run, finish_run
from toolkit.training.config import TrainingConfig


@dataclass(frozen=True)
class TrainingResult:
    """What a run achieved.

    Attributes:
        adapter: the published folder.
        validation: accuracy, precision, recall, f1, roc_auc and loss of the kept checkpoint on the whole split, and
            the calibration error (`ece`) and Brier score (`brier`) of its scores, before and after calibration.
        test: the same on the test split.
        temperature: fitted on the validation split.
        steps: optimiser steps taken, over all resumptions.
        precision: of the matrix products, `bf16` or `fp32`.
        seconds: wall-clock time of the training, over all resumptions, final evaluations apart.
    """

    adapter: Path
    validation: dict[str, float]
    test: dict[str, float]
    temperature: float
    steps: int
    precision: str
    seconds: float


def train(config: TrainingConfig, resume: bool = False) -> TrainingResult | None:
    """Train an adapter and publish it at `config.output`.

    Args:
        config: see `TrainingConfig`.
        resume: go on from the last checkpoint of an interrupted run with the same configuration and data.

    Returns:
        The result, or None in the helper processes of a distributed run.

    Raises:
        ToolkitError: data, base model, configuration or checkpoints do not allow the run; nothing was trained.
    """
    refuse_foreign_target(Path(config.output), Kind.ADAPTER)
    splits = read_splits(Path(config.dataset))
    base = resolve_base_model(config.base_model)
    positions = max_positions(base.folder)
    if config.max_length > positions:
        raise ToolkitError(f"{base.name} has positions for {positions} tokens; give --max-length {positions} or less")
    with claim_run(config, resume) as checkpoint:
        with needs_extra("train", "training"):
            from toolkit.training.fit import fit
        with naming_a_full_disk(config.checkpoint_folder):
            result = fit(config, base, splits, checkpoint)
        if result is not None:
            finish_run(config)
    return result
