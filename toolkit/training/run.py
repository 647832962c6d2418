"""A training run from settings to a published adapter; what can go wrong early is checked before torch is loaded."""

import logging
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from toolkit.datasets.splits import Splits, read_splits
from toolkit.errors import ToolkitError, needs_extra
from toolkit.models.base_models import resolve_base_model
from toolkit.models.bundle import Kind, max_positions
from toolkit.models.publishing import naming_a_full_disk, refuse_foreign_target
from toolkit.training.checkpoints import claim_run
from toolkit.training.config import TrainingConfig
from toolkit.training.launch import settled_environment
from toolkit.training.suitability import check_suitability

_logger = logging.getLogger(__name__)


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
        conditions: under which it was computed: `device`, `precision` of the matrix products (`bf16` or `fp32`), `threads`
            (of each process, which decide the last bits of sums on a CPU) and `processes`.
        warnings: what the figures do not mean, a sentence each.
        seconds: wall-clock time of the training, over all resumptions, final evaluations apart.
    """

    adapter: Path
    validation: dict[str, float]
    test: dict[str, float]
    temperature: float
    steps: int
    conditions: dict[str, Any]
    seconds: float
    warnings: tuple[str, ...] = ()


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
    with settled_environment() as launch:
        refuse_foreign_target(Path(config.output), Kind.ADAPTER)
        splits = read_splits(Path(config.dataset))
        warnings = check_suitability(splits)
        labels = config.with_words(splits.labels)
        splits = Splits(splits, labels)
        base = resolve_base_model(config.base_model, classes=len(labels))
        config = replace(config, base_model=base.name)  # of a folder, the absolute path
        positions = max_positions(base.folder)
        if config.max_length > positions:
            raise ToolkitError(
                f"{base.name} has positions for {positions} tokens; give --max-length {positions} or less"
            )
        with claim_run(config, base, launch, resume) as run:
            for warning in warnings if launch.rank == 0 else ():
                _logger.warning("%s", warning)
            with needs_extra("train", "training"):
                from toolkit.training.fit import fit
            with naming_a_full_disk(run.folder):
                result = fit(config, base, splits, run, warnings)
            if result is not None:
                run.finish()
    return result
