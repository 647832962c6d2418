"""Who started this process, and what they left in its environment that must not decide a run's result."""

import logging
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

from toolkit.errors import ToolkitError

_PLACES = ("RANK", "LOCAL_RANK", "WORLD_SIZE")  # torchrun and accelerate launch set all of them
_SETTINGS = "ACCELERATE_"
# These choose the device, or show more; every other one overrides a setting of the run, or replaces its algorithm.
_KEPT = ("USE_CPU", "TORCH_DEVICE", "CPU_AFFINITY", "LOG_LEVEL", "DEBUG_MODE", "DEBUG_RDV_FILE", "ENABLE_RICH")
_NOTHING = ("", "0", "1", "no", "none", "false", "default", "fp32")  # what accelerate launch sets for "as usual"
_logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Launch:
    """The place of this process among those of a run.

    Attributes:
        rank: 0 for the first, which speaks and writes for all.
        processes: how many there are.
    """

    rank: int = 0
    processes: int = 1


def read_launch(environment: Mapping[str, str]) -> Launch:
    """The place that a launcher gave this process; the only one where none did.

    Raises:
        ToolkitError: a number is none, or a half set of variables tells of other processes.
    """
    numbers = {}
    for name in _PLACES:
        value = environment.get(name, "").strip()
        try:
            number = int(value or -1)
        except ValueError as error:
            raise ToolkitError(f"${name} is {value!r}, expected a number; unset it, or use torchrun") from error
        if number >= 0:
            numbers[name] = number
    processes = numbers.get("WORLD_SIZE", 1)
    missing = [name for name in _PLACES if name not in numbers]
    if not missing and numbers["RANK"] < processes:
        return Launch(numbers["RANK"], processes)
    if processes > 1:
        found = f"lacks {', '.join(missing)}" if missing else f"has RANK={numbers['RANK']}"
        raise ToolkitError(
            f"the environment has WORLD_SIZE={processes} but {found}; start with torchrun or accelerate launch, "
            f"which set all of {', '.join(_PLACES)}, or unset them to train in one process"
        )
    return Launch()


@contextmanager
def settled_environment() -> Iterator[Launch]:
    """Within the block, the environment has a launcher's variables only of several processes, and no settings of its own.

    Raises:
        ToolkitError: as `read_launch`.
    """
    launch = read_launch(os.environ)
    removed = {}
    if launch.processes == 1:
        removed = {name: os.environ.pop(name) for name in _PLACES if name in os.environ}
        said = [f"${name}" for name, value in removed.items() if value.strip()]
        if 0 < len(said) < len(_PLACES):
            _logger.warning(
                "%s left out of account: no launcher set all of %s; training in one process",
                ", ".join(said), ", ".join(_PLACES),
            )  # fmt: skip
    for name in list(os.environ):
        setting = name.removeprefix(_SETTINGS)
        if setting != name and setting not in _KEPT:
            removed[name] = os.environ.pop(name)
            if removed[name].strip().lower() not in _NOTHING and launch.rank == 0:
                _logger.warning("$%s=%s left out of account: the run's settings decide", name, removed[name])
    names = set(os.environ)
    try:
        yield launch
    finally:
        for name in [each for each in os.environ if each.startswith(_SETTINGS) and each not in names]:
            del os.environ[name]  # the Trainer's, which a later run of the process would take for its caller's
        os.environ.update(removed)
