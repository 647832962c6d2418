"""A training run from settings to a published adapter; what can go wrong early is checked before torch is loaded."""

import logging
from dataclasses import replace
from pathlib import Path

from toolkit.datasets.splits import Splits, read_splits
from toolkit.errors import ToolkitError, needs_extra
from toolkit.models.base_models import resolve_base_model
from toolkit.models.bundle import Kind, max_positions
from toolkit.models.publishing import naming_a_full_disk, refuse_foreign_target
from toolkit.training.checkpoints import claim_run
from toolkit.training.config import TrainingConfig
from toolkit.training.launch import settled_environment
from toolkit.training.result import TrainingResult
from toolkit.training.suitability import check_suitability

_logger = logging.getLogger(__name__)


def train(config: TrainingConfig, resume: bool = False) -> TrainingResult | None:
    """Train an adapter and publish it at `config.adapter_dir`.

    Args:
        config: The settings.
        resume: Whether to go on from the last checkpoint of an interrupted run with the same configuration and data.

    Returns:
        The result, or None in the helper processes of a distributed run.

    Raises:
        ToolkitError: data, base model, configuration or checkpoints do not allow the run; nothing was trained.
    """
    with settled_environment() as launch:
        refuse_foreign_target(Path(config.adapter_dir), Kind.ADAPTER)
        splits = read_splits(Path(config.dataset), others=())
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
