"""Which run the checkpoints in a folder belong to, and whether they are whole: none is overwritten or taken for another's.

A checkpoint begins with a copy of the run's description and ends with the digests of its files. Without the first it is not
ours, and neither read nor deleted; without the second, whoever wrote it was killed; where they differ, it is damaged.
"""

import json
import logging
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from toolkit.datasets.splits import SPLITS
from toolkit.errors import BundleError, ToolkitError
from toolkit.models.base_models import BaseModel
from toolkit.models.files import read_json_object, sha256, write_json
from toolkit.models.publishing import replacing, replacing_file
from toolkit.training.config import TrainingConfig
from toolkit.training.launch import Launch

RUN_FILE = "run.json"
LOCK_FILE = "run.lock"
SEAL_FILE = "files.json"
_logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Run:
    """A run that holds its checkpoint folder.

    Attributes:
        folder: of the checkpoints.
        description: what decides the run's result: `settings`, `data` and `processes`.
        checkpoint: to go on from; None begins at step 0.
        conditions: under which that checkpoint was computed, such as `threads`.
    """

    folder: Path
    description: dict[str, Any]
    checkpoint: Path | None = None
    conditions: dict[str, Any] | None = None

    def finish(self) -> None:
        """Note that the adapter is published, so that the next run may reuse the folder."""
        write_json(self.folder / RUN_FILE, {**self.description, "finished": True})


@contextmanager
def claim_run(config: TrainingConfig, base: BaseModel, launch: Launch, resume: bool) -> Iterator[Run]:
    """Hold the checkpoint folder for this run.

    Raises:
        ToolkitError: another run is at work in the folder, or left an unfinished one there and `resume` was not asked
            for, or `resume` was asked for and the checkpoints are another run's, or damaged; or the folder holds
            checkpoints that are none of ours.
    """
    folder = config.checkpoint_folder
    description = _describe(config, base, launch)
    if launch.rank > 0:  # a helper process: the first one checks and claims
        yield _taking_up(folder, description, resume)
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
        yield _prepare(folder, description, resume)
    finally:
        lock.release()


def _prepare(folder: Path, description: dict[str, Any], resume: bool) -> Run:
    _refuse_foreign(folder)
    run = _taking_up(folder, description, resume)
    last = _last_complete(folder)
    if resume:
        if run.checkpoint is None:
            _logger.warning("%s holds no complete checkpoint; beginning at step 0", folder)
    elif last is not None and not _is_finished(folder):
        raise ToolkitError(
            f"{last} belongs to a run that was interrupted; go on with it by adding --resume, "
            f"or delete {folder} to begin again"
        )
    else:
        for checkpoint in checkpoints(folder):  # of a finished run, whose adapter is published, or of none
            remove_checkpoint(checkpoint)
    write_json(folder / RUN_FILE, description)
    return run


def _taking_up(folder: Path, description: dict[str, Any], resume: bool) -> Run:
    """The run, from its newest checkpoint if `resume`."""
    checkpoint = _last_complete(folder) if resume else None
    if checkpoint is None:
        return Run(folder, description)
    earlier = read_json_object(checkpoint / RUN_FILE)
    if differences := _differences(earlier, description):
        raise ToolkitError(
            f"{checkpoint} belongs to another run (different: {', '.join(differences)}); resume with the same "
            "settings, data and number of processes, or leave out --resume and choose another --output"
        )
    verify_checkpoint(checkpoint)
    return Run(folder, description, checkpoint, earlier.get("conditions", {}))


def _describe(config: TrainingConfig, base: BaseModel, launch: Launch) -> dict[str, Any]:
    """What decides a run's result; the base by its content, for a folder may have another name tomorrow."""
    data = {split: sha256(Path(config.dataset) / f"{split}.csv") for split in SPLITS}
    settings = {name: value for name, value in config.recipe.items() if name != "base_model"}
    described = {"settings": settings, "data": {**data, "base_model": base.sha256}, "processes": launch.processes}
    return dict(json.loads(json.dumps(described)))  # tuples become lists, as they do on disk


def _differences(earlier: dict[str, Any], now: dict[str, Any]) -> list[str]:
    found = [
        name
        for part in ("settings", "data")
        for name in now[part]
        if earlier[part].get(name, object()) != now[part][name]
    ]
    processes = earlier.get("processes")
    return [*found, *([f"{processes} processes, now {now['processes']}"] if processes != now["processes"] else [])]


def checkpoint_path(folder: Path, step: int) -> Path:
    """Where the checkpoint of a step lies, or would."""
    return folder / f"checkpoint-{step}"


def checkpoints(folder: Path) -> list[Path]:
    """Everything with a checkpoint's name, by step."""
    found = [path for path in folder.glob("checkpoint-*") if path.name.removeprefix("checkpoint-").isdigit()]
    return sorted(found, key=lambda path: int(path.name.removeprefix("checkpoint-")))


def begin_checkpoint(checkpoint: Path, description: dict[str, Any]) -> None:
    """Make the folder with the run's description in it, in one step, so that there is none of ours without."""
    with replacing(checkpoint, last=RUN_FILE) as folder:
        write_json(folder / RUN_FILE, description)


def seal_checkpoint(checkpoint: Path) -> None:
    """Write down the digests of the checkpoint's files, after all of them; from now on it is complete."""
    digests = {path.name: sha256(path) for path in sorted(checkpoint.iterdir()) if path.name != SEAL_FILE}
    with replacing_file(checkpoint / SEAL_FILE) as stream:
        stream.write(json.dumps(digests, indent=2).encode() + b"\n")


def verify_checkpoint(checkpoint: Path) -> None:
    """Compare a complete checkpoint with its digests.

    Raises:
        ToolkitError: a file is missing, or is not what was written.
    """
    if not (checkpoint / SEAL_FILE).is_file():
        raise ToolkitError(
            f"{checkpoint}, which the run needs, is missing or was never complete; restore it, "
            f"or delete {checkpoint.parent} to begin again"
        )
    for name, expected in read_json_object(checkpoint / SEAL_FILE).items():
        file = checkpoint / name
        if not file.is_file() or sha256(file) != expected:
            found = "does not match its SHA-256" if file.is_file() else "is missing"
            raise ToolkitError(
                f"{file} {found}, so the run cannot go on as it was; restore the file, "
                f"or delete {checkpoint} to go on from the checkpoint before it"
            )


def rotate_checkpoints(newest: Path, best: Path) -> None:
    """Delete all but two: the newest and the best, or the one before where the newest is the best."""
    others = [path for path in reversed(checkpoints(newest.parent)) if path not in (newest, best)]
    for each in others:
        if newest == best and (each / SEAL_FILE).is_file():
            best = each  # to go back to, should the newest be damaged
        else:
            remove_checkpoint(each)


def remove_checkpoint(checkpoint: Path) -> None:
    """Delete a checkpoint of ours, the file that says so last: whoever is killed meanwhile leaves one of ours."""
    for path in checkpoint.iterdir():
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        elif path.name != RUN_FILE:
            path.unlink()
    (checkpoint / RUN_FILE).unlink(missing_ok=True)
    checkpoint.rmdir()


def _refuse_foreign(folder: Path) -> None:
    for checkpoint in checkpoints(folder):
        if not _is_ours(checkpoint):
            raise ToolkitError(
                f"{checkpoint} has no {RUN_FILE} of this toolkit's, so nothing proves whose it is; "
                "it is neither read nor deleted: move it away, or choose another --output or checkpoint_dir"
            )


def _is_ours(checkpoint: Path) -> bool:
    """Whether a run of this toolkit began it, or there is nothing in it to lose."""
    if checkpoint.is_symlink() or not checkpoint.is_dir():
        return False
    if not any(checkpoint.iterdir()):
        return True
    try:
        described = read_json_object(checkpoint / RUN_FILE)
    except (OSError, BundleError):
        return False
    return isinstance(described.get("settings"), dict) and isinstance(described.get("data"), dict)


def _last_complete(folder: Path) -> Path | None:
    return next((each for each in reversed(checkpoints(folder)) if (each / SEAL_FILE).is_file()), None)


def _is_finished(folder: Path) -> bool:
    file = folder / RUN_FILE
    if not file.is_file():
        _logger.warning("%s is missing, so nothing says that the run of these checkpoints has finished", file)
        return False
    return read_json_object(file).get("finished") is True
