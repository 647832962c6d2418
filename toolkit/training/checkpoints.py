"""Which run the checkpoints in a folder belong to, so that none is overwritten or taken for another's."""

import json
import logging
import os
import shutil
from pathlib import Path
from typing import Any

from toolkit.bundle import read_json, sha256, write_json
from toolkit.errors import ToolkitError
from toolkit.splits import SPLITS
from toolkit.training.config import TrainingConfig

RUN_FILE = "run.json"
_logger = logging.getLogger(__name__)


def prepare_run(config: TrainingConfig, resume: bool) -> Path | None:
    """Claim the checkpoint folder for this run.

    Returns:
        The checkpoint to go on from; None to begin at step 0.

    Raises:
        ToolkitError: the folder holds an unfinished run and `resume` was not asked for, or another run's checkpoints.
    """
    folder = config.checkpoint_folder
    if int(os.environ.get("RANK", "0")) > 0:  # a helper process: the first one checks and claims
        return _last_complete(folder) if resume else None
    description = _describe(config)
    earlier = read_json(folder / RUN_FILE) if (folder / RUN_FILE).is_file() else None
    checkpoint = _last_complete(folder)
    if resume:
        if checkpoint is None:
            _logger.warning("%s holds no complete checkpoint; beginning at step 0", folder)
        elif earlier is None or _differences(earlier, description):
            changed = ", ".join(_differences(earlier or {}, description)) or "everything"
            raise ToolkitError(
                f"{checkpoint} belongs to another run (different: {changed}); resume with the same settings and data, "
                "or leave out --resume and choose another --output"
            )
    elif checkpoint is not None and not (earlier or {}).get("finished"):
        raise ToolkitError(
            f"{checkpoint} belongs to a run that was interrupted; go on with it by adding --resume, "
            f"or delete {folder} to begin again"
        )
    else:
        _remove_checkpoints(folder)  # of a finished run, whose adapter is published
    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / RUN_FILE, description)
    return checkpoint if resume else None


def finish_run(config: TrainingConfig) -> None:
    """Note that the adapter is published, so that the next run may reuse the folder."""
    write_json(config.checkpoint_folder / RUN_FILE, {**_describe(config), "finished": True})


def _describe(config: TrainingConfig) -> dict[str, Any]:
    data = {split: sha256(Path(config.dataset) / f"{split}.csv") for split in SPLITS}
    return {"settings": config.recipe, "data": data}


def _differences(earlier: dict[str, Any], now: dict[str, Any]) -> list[str]:
    now = json.loads(json.dumps(now))  # tuples become lists, as they did on disk
    return [
        name
        for part in ("settings", "data")
        for name in now[part]
        if earlier.get(part, {}).get(name, object()) != now[part][name]
    ]


def _checkpoints(folder: Path) -> list[Path]:
    found = [path for path in folder.glob("checkpoint-*") if path.name.removeprefix("checkpoint-").isdigit()]
    return sorted(found, key=lambda path: int(path.name.removeprefix("checkpoint-")))


def _last_complete(folder: Path) -> Path | None:
    """The newest checkpoint with a readable trainer_state.json, which the Trainer writes last."""
    for checkpoint in reversed(_checkpoints(folder)):
        try:
            json.loads((checkpoint / "trainer_state.json").read_text(encoding="utf-8"))
        except (OSError, ValueError):
            continue
        return checkpoint
    return None


def _remove_checkpoints(folder: Path) -> None:
    for checkpoint in _checkpoints(folder):
        shutil.rmtree(checkpoint)
