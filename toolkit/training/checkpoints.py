"""Which run the checkpoints in a folder belong to, and whether they are whole: none is overwritten or taken for another's.

A checkpoint begins with a copy of the run's description and ends with the digests of its files. Without the first it is not
ours, and neither read nor deleted; without the second, whoever wrote it was killed; where they differ, it is damaged.
"""

import json
import logging
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from pathlib import Path

from filelock import FileLock, Timeout

from toolkit.errors import ToolkitError
from toolkit.models.base_models import BaseModel
from toolkit.models.completion import RUN_FILE
from toolkit.models.files import read_json_object, sha256, write_json
from toolkit.models.publishing import replacing, replacing_file
from toolkit.training.config import TrainingConfig
from toolkit.training.description import RunDescription
from toolkit.training.launch import Launch
from toolkit.training.result import Conditions

LOCK_FILE = "run.lock"
SEAL_FILE = "files.json"
_OF_0_1 = (  # the files that a run of version 0.1 wrote into a checkpoint, which does not say whose it is
    "README.md", "adapter_config.json", "adapter_model.safetensors", "optimizer.pt", "rng_state*.pth", "scheduler.pt",
    "special_tokens_map.json", "tokenizer.json", "tokenizer_config.json", "trainer_state.json", "training_args.bin", "vocab.txt",
)  # fmt: skip
_logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Run:
    """A run that holds its checkpoint folder.

    Attributes:
        folder: The checkpoints' folder.
        description: What decides the run's result.
        checkpoint: The checkpoint to go on from; None begins at step 0.
        conditions: The conditions under which that checkpoint was computed; None where nothing says.
    """

    folder: Path
    description: RunDescription
    checkpoint: Path | None = None
    conditions: Conditions | None = None

    def finish(self) -> None:
        """Note that the adapter is published, so that the next run may reuse the folder."""
        write_json(self.folder / RUN_FILE, replace(self.description, finished=True).to_json())


@contextmanager
def claim_run(
    config: TrainingConfig, base: BaseModel, launch: Launch, resume: bool, soft_labels: Sequence[Path] = ()
) -> Iterator[Run]:
    """Hold the checkpoint folder for this run, whose texts with a teacher's probabilities are in `soft_labels`.

    Raises:
        ToolkitError: another run is at work in the folder, or left an unfinished one there and `resume` was not asked
            for, or `resume` was asked for and the checkpoints are another run's, or damaged; or the folder holds
            checkpoints that are none of ours.
    """
    folder = config.checkpoint_folder
    description = RunDescription.of(config, base, launch, soft_labels)
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


def _prepare(folder: Path, description: RunDescription, resume: bool) -> Run:
    for checkpoint in _of_a_finished_0_1(folder):
        remove_checkpoint(checkpoint)
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
    write_json(folder / RUN_FILE, description.to_json())
    return run


def _taking_up(folder: Path, description: RunDescription, resume: bool) -> Run:
    """The run, from its newest checkpoint if `resume`."""
    checkpoint = _last_complete(folder) if resume else None
    if checkpoint is None:
        return Run(folder, description)
    earlier = RunDescription.read(checkpoint)
    if earlier is None:
        raise _foreign(checkpoint)
    if differences := list(description.differences(earlier)):
        raise ToolkitError(
            f"{checkpoint} belongs to another run (different: {', '.join(differences)}); resume with the same "
            "settings, data and number of processes, or leave out --resume and choose another --output"
        )
    verify_checkpoint(checkpoint)
    return Run(folder, description, checkpoint, earlier.conditions)


def checkpoint_path(folder: Path, step: int) -> Path:
    """Where the checkpoint of a step lies, or would."""
    return folder / f"checkpoint-{step}"


def checkpoints(folder: Path) -> list[Path]:
    """Everything with a checkpoint's name, by step."""
    found = [path for path in folder.glob("checkpoint-*") if path.name.removeprefix("checkpoint-").isdigit()]
    return sorted(found, key=lambda path: int(path.name.removeprefix("checkpoint-")))


def begin_checkpoint(checkpoint: Path, description: RunDescription) -> None:
    """Make the folder with the run's description in it, in one step, so that there is none of ours without."""
    with replacing(checkpoint, last=RUN_FILE) as folder:
        write_json(folder / RUN_FILE, description.to_json())


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


@contextmanager
def reading_checkpoint(checkpoint: str | Path | None) -> Iterator[None]:
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
            raise _foreign(checkpoint)


def _foreign(checkpoint: Path) -> ToolkitError:
    run = RunDescription.read(checkpoint.parent)
    if run and run.processes is None and _is_as_of_0_1(checkpoint):
        return ToolkitError(
            f"{checkpoint} is of an interrupted run of version 0.1, which this version cannot go on with: finish it with that "
            f"version, or delete {checkpoint.parent} to begin again"
        )
    return ToolkitError(
        f"{checkpoint} has no {RUN_FILE} of this toolkit's, so nothing proves whose it is; "
        "it is neither read nor deleted: move it away, or choose another --output or checkpoint_dir"
    )


def _is_ours(checkpoint: Path) -> bool:
    """Whether a run of this toolkit began it, or there is nothing in it to lose."""
    if checkpoint.is_symlink() or not checkpoint.is_dir():
        return False
    return not any(checkpoint.iterdir()) or RunDescription.read(checkpoint) is not None


def _of_a_finished_0_1(folder: Path) -> list[Path]:
    """The checkpoints of a run of version 0.1 that has published its adapter; the folder says so, they themselves do not."""
    run = RunDescription.read(folder)
    if run is None or run.processes is not None or not run.finished:
        return []
    return [checkpoint for checkpoint in checkpoints(folder) if _is_as_of_0_1(checkpoint)]


def _is_as_of_0_1(checkpoint: Path) -> bool:
    """Whether it holds nothing but files that version 0.1 wrote."""
    if checkpoint.is_symlink() or not checkpoint.is_dir():
        return False
    return all(
        path.is_file() and not path.is_symlink() and any(fnmatchcase(path.name, pattern) for pattern in _OF_0_1)
        for path in checkpoint.iterdir()
    )


def _last_complete(folder: Path) -> Path | None:
    return next((each for each in reversed(checkpoints(folder)) if (each / SEAL_FILE).is_file()), None)


def _is_finished(folder: Path) -> bool:
    if not (folder / RUN_FILE).is_file():
        _logger.warning(
            "%s is missing, so nothing says that the run of these checkpoints has finished", folder / RUN_FILE
        )
        return False
    return read_json_object(folder / RUN_FILE).get("finished") is True
