"""What decides a run's result, as `run.json` and every checkpoint of the run have it."""

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from toolkit.datasets.splits import SPLITS
from toolkit.errors import BundleError
from toolkit.models.base_models import BaseModel
from toolkit.models.bundle import ADAPTER_WEIGHTS
from toolkit.models.completion import RUN_FILE
from toolkit.models.files import read_json_object, sha256
from toolkit.training.config import TrainingConfig
from toolkit.training.launch import Launch
from toolkit.training.result import Conditions


@dataclass(frozen=True)
class RunDescription:
    """A run, by what decides its result.

    Attributes:
        settings: The settings, as JSON has them, places and the base apart.
        data: The SHA-256 of each split, under `base_model` of the base's weights, and where there are any, under
            `soft_labels` of their files and under `start_from` of the adapters' weights; a folder may have another name tomorrow.
        processes: The number of processes; None in a run of version 0.1, which did not say.
        conditions: The conditions under which a checkpoint was computed; None for the run as a whole.
        finished: Whether the adapter is published.
    """

    settings: Mapping[str, object]
    data: Mapping[str, str]
    processes: int | None
    conditions: Conditions | None = None
    finished: bool = False

    @classmethod
    def of(cls, config: TrainingConfig, base: BaseModel, launch: Launch, soft_labels: Sequence[Path] = ()) -> Self:
        """The run of a configuration, before its first step; `soft_labels` are the files that it learns from beside the splits."""
        data = {split: sha256(Path(config.dataset) / f"{split}.csv") for split in SPLITS}
        if soft_labels:
            data["soft_labels"] = _sha256_of_all(soft_labels)
        if config.start_from:
            weights = [Path(adapter) / ADAPTER_WEIGHTS for adapter in config.start_from]
            # Version 0.2 knew one and wrote its own hash: such a run still goes on.
            data["start_from"] = sha256(weights[0]) if len(weights) == 1 else _sha256_of_all(weights)
        settings = {name: value for name, value in config.recipe.items() if name != "base_model"}
        as_read = json.loads(json.dumps(settings))  # tuples become lists, as they do on disk
        return cls(as_read, {**data, "base_model": base.sha256}, launch.processes)

    @classmethod
    def read(cls, folder: Path) -> Self | None:
        """The description in a folder; None where there is none of ours."""
        try:
            content = read_json_object(folder / RUN_FILE)
        except (OSError, BundleError):
            return None
        settings, data, processes = (content.get(name) for name in ("settings", "data", "processes"))
        if not (isinstance(settings, dict) and isinstance(data, dict) and isinstance(processes, int | None)):
            return None
        conditions = Conditions.from_json(content.get("conditions"))
        return cls(settings, data, processes, conditions, content.get("finished") is True)

    def to_json(self) -> dict[str, object]:
        """As `run.json` has it."""
        content: dict[str, object] = {"settings": self.settings, "data": self.data, "processes": self.processes}
        if self.conditions:
            content["conditions"] = self.conditions.to_json()
        return {**content, "finished": True} if self.finished else content

    def differences(self, earlier: Self) -> Iterator[str]:
        """The names of what is another now; a setting that an earlier version did not have was as it is by default."""
        defaults = json.loads(json.dumps(TrainingConfig().recipe))
        yield from (name for name in self.settings if earlier.settings.get(name, defaults[name]) != self.settings[name])
        yield from (name for name in {**earlier.data, **self.data} if earlier.data.get(name) != self.data.get(name))
        if earlier.processes != self.processes:
            yield f"{earlier.processes} processes, now {self.processes}"


def _sha256_of_all(files: Sequence[Path]) -> str:
    return hashlib.sha256("".join(map(sha256, files)).encode()).hexdigest()
