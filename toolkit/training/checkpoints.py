"""Which run the checkpoints in a folder belong to, so that none is overwritten or taken for another's."""

import json
import logging
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from toolkit.datasets.splits import SPLITS
from toolkit.errors import ToolkitError
from toolkit.models.files import read_json_object, sha256, write_json
from toolkit.training.config import TrainingConfig

RUN_FILE = "run.json"
LOCK_FILE = "run.lock"
_logger = logging.getLogger(__name__)


@contextmanager
def claim_run(config: TrainingConfig, resume: bool) -> Iterator[Path | None]:
    """Hold the checkpoint folder for this run; yield the checkpoint to go on from, None to begin at step 0.

    Raises:
        ToolkitError: another run is at work in the folder, or left an unfinished one there and `resume` was not asked
            for, or `resume` was asked for and the checkpoints are another run's.
    """
    folder = config.checkpoint_folder
    if int(os.environ.get("RANK", "0")) > 0:  # a helper process: the first one checks and claims
        yield _last_complete(folder) if resume else None
        return
    folder.mkdir(parents=True, exist_ok=True)
    lock = FileLock(folder / LOCK_FILE, timeout=0)
    try:
        lock.acquire()
    except Timeout as error:
        raise ToolkitError(
            f"another training run is at work in {folder}; wait for it, or give this one an --output in another folder"
        ) from error
    try:
        yield _prepare(config, folder, resume)
    finally:
        lock.release()


def _prepare(config: TrainingConfig, folder: Path, resume: bool) -> Path | None:
    description = _describe(config)
    earlier = read_json_object(folder / RUN_FILE) if (folder / RUN_FILE).is_file() else {}
    checkpoint = _last_complete(folder)
    if resume:
        if checkpoint is None:
            _logger.warning("%s holds no complete checkpoint; beginning at step 0", folder)
        elif differences := _differences(earlier, description):
            raise ToolkitError(
                f"{checkpoint} belongs to another run (different: {', '.join(differences)}); resume with the same "
                "settings and data, or leave out --resume and choose another --output"
            )
    elif checkpoint is not None and not earlier.get("finished"):
        raise ToolkitError(
            f"{checkpoint} belongs to a run that was interrupted; go on with it by adding --resume, "
            f"or delete {folder} to begin again"
        )
    else:
        _remove_checkpoints(folder)  # of a finished run, whose adapter is published
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
