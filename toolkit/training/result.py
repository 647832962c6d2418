"""What a training run achieved, and under which conditions it was computed."""

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Self


@dataclass(frozen=True)
class Conditions:
    """What decides the last bits of a run besides its settings and its data.

    Attributes:
        device: The kind of device: `cpu`, `cuda` or `mps`.
        precision: The precision of the matrix products: `bf16` or `fp32`.
        threads: The threads of each process, which decide the last bits of sums on a CPU.
        processes: The number of processes.
    """

    device: str
    precision: str
    threads: int
    processes: int

    def differences(self, earlier: "Conditions") -> Iterator[tuple[str, object, object]]:
        """Of each that is another now: its name, what it was, what it is."""
        for each in fields(self):
            before, now = getattr(earlier, each.name), getattr(self, each.name)
            if before != now:
                yield each.name, before, now

    def to_json(self) -> dict[str, str | int]:
        """As a checkpoint and a manifest have them."""
        return asdict(self)

    @classmethod
    def from_json(cls, content: object) -> Self | None:
        """Those that a checkpoint has; None where it has none, or not all."""
        types = {"device": str, "precision": str, "threads": int, "processes": int}
        if not isinstance(content, Mapping) or any(type(content.get(name)) is not kind for name, kind in types.items()):
            return None
        return cls(**{name: content[name] for name in types})


@dataclass(frozen=True)
class TrainingResult:
    """What a run achieved.

    Attributes:
        adapter: The published folder.
        metrics: By split, `validation` and where it was measured `test`: the accuracy, precision, recall, f1, roc_auc and
            loss of the kept checkpoint on the whole of it, and the calibration error (`ece`) and Brier score (`brier`) of
            its scores, before and after calibration.
        temperature: The temperature, fitted on the validation split.
        steps: The optimiser steps taken, over all resumptions.
        conditions: The conditions under which it was computed.
        seconds: The wall-clock time of the training, over all resumptions, final evaluations apart.
        warnings: What the figures do not mean, a sentence each.
    """

    adapter: Path
    metrics: dict[str, dict[str, float]]
    temperature: float
    steps: int
    conditions: Conditions
    seconds: float
    warnings: tuple[str, ...] = ()

    @property
    def validation(self) -> dict[str, float]:
        """Those of the validation split."""
        return self.metrics["validation"]

    @property
    def test(self) -> dict[str, float]:
        """Those of the test split; empty where it was not measured."""
        return self.metrics.get("test", {})
