"""What is asked of many files, and what became of each of them, in words that every machine and a later run understand."""

import hashlib
import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Self

from toolkit.cluster.partitions import Partition
from toolkit.formats.names import TEXT_COLUMNS
from toolkit.models.bundle import Manifest
from toolkit.models.files import to_json
from toolkit.prediction import Abstention, InferenceOptions


@dataclass(frozen=True, slots=True)
class Job:
    """What decides the answers, beside the model, and how they are written.

    Attributes:
        column: The column of the text; one of the usual by default.
        prefix: Stands before the names of the new columns.
        lang: The language of the verdicts.
        options: How reviews are read.
        abstention: Which verdicts are withheld.
        strict: Whether to end at the first file with a row that cannot be classified, or that cannot be read.
        encoding: The encoding of text without a byte order mark; UTF-8 by default.
    """

    column: str | None = None
    prefix: str = ""
    lang: str = "en"
    options: InferenceOptions = InferenceOptions()
    abstention: Abstention = Abstention()
    strict: bool = False
    encoding: str | None = None

    def fingerprint(self, manifest: Manifest) -> str:
        """Of everything that decides an answer: model and options."""
        given = {**asdict(self.options), **asdict(self.abstention), "workers": None}  # these decide no answer
        model = {name: value for name, value in given.items() if value is not None}
        parts = [manifest.files, self.column or TEXT_COLUMNS[0], self.prefix, self.lang, model]
        parts += [self.encoding] if self.encoding else []  # that marks of earlier versions stay valid
        return hashlib.sha256(json.dumps(parts, sort_keys=True, default=str).encode()).hexdigest()

    def to_json(self) -> str:
        """For another process."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Self:
        """What `to_json` wrote."""
        content = json.loads(text)
        options, abstention = InferenceOptions(**content["options"]), Abstention(**content["abstention"])
        return cls(**{**content, "options": options, "abstention": abstention})


@dataclass(frozen=True, slots=True)
class Problem:
    """A row or file without an answer, as `_errors/` lists it.

    Attributes:
        file: path of the input.
        row: the place in it; None of a whole file.
        error: the reason.
    """

    file: str
    row: str | None
    error: str

    def __str__(self) -> str:
        """On one line."""
        return ": ".join(part for part in (self.file, self.row, self.error) if part)

    def to_json(self) -> str:
        """A line of `_errors/`."""
        return to_json(asdict(self))


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a partition, as its mark in `_done/` says it.

    Attributes:
        partition: what it was.
        fingerprint: see `Job.fingerprint`.
        rows_in: rows read.
        rows_out: rows counted in the output.
        verdicts: The number of answers by verdict.
        problems: rows without an answer.
        failed: why the file could not be read; None where it could.
        first_problem: the first row or file without an answer.
    """

    partition: Partition
    fingerprint: str
    rows_in: int = 0
    rows_out: int = 0
    verdicts: Mapping[str, int] = field(default_factory=dict)
    problems: int = 0
    failed: str | None = None
    first_problem: Problem | None = None

    def to_json(self) -> str:
        """For the mark, and from a worker."""
        return to_json(asdict(self))

    @classmethod
    def from_json(cls, text: str | bytes) -> Self:
        """What `to_json` wrote, this version's or an earlier one's.

        Raises:
            ValueError: it is nothing of the kind.
        """
        try:
            content: dict[str, Any] = json.loads(text)
            content.pop("size", None)  # that earlier versions wrote beside the partition's own
            problem = content.get("first_problem")
            partition = partition_from_json(content["partition"])
            return cls(**{**content, "partition": partition, "first_problem": problem and Problem(**problem)})
        except (KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"no outcome ({error})") from error


def partition_from_json(content: Mapping[str, Any]) -> Partition:
    """A partition of which `asdict` and JSON made an object."""
    groups = content["row_groups"]
    return Partition(**{**content, "row_groups": None if groups is None else tuple(groups)})


@dataclass
class Totals:
    """What was done, by this run and those it goes on from.

    Attributes:
        partitions: pieces of work.
        skipped: The pieces that an earlier run had finished.
        rows_in: rows read.
        rows_out: rows counted in the outputs.
        verdicts: The number of answers by verdict.
        problems: rows without an answer.
        failed: files that could not be read.
        seconds: The time of this run, the workers' start included.
    """

    partitions: int = 0
    skipped: int = 0
    rows_in: int = 0
    rows_out: int = 0
    verdicts: Counter[str] = field(default_factory=Counter)
    problems: int = 0
    failed: int = 0
    rows_now: int = 0
    seconds: float = 0.0

    def add(self, outcome: Outcome, skipped: bool = False) -> None:
        """Count the outcome of a partition."""
        self.partitions += 1
        self.skipped += skipped
        self.rows_in += outcome.rows_in
        self.rows_out += outcome.rows_out
        self.rows_now += 0 if skipped else outcome.rows_in
        self.verdicts.update(outcome.verdicts)
        self.problems += outcome.problems
        self.failed += outcome.failed is not None

    def summary(self) -> str:
        """Counts, rows/s and seconds, on one line."""
        verdicts = ", ".join(f"{count} {verdict}" for verdict, count in sorted(self.verdicts.items())) or "none"
        return (
            f"{self.rows_in} rows in, {self.rows_out} out: {verdicts}; {self.problems} not classified, {self.failed} files "
            f"failed; {self.skipped} of {self.partitions} partitions were finished before; "
            f"{self.rows_now / self.seconds:.1f} rows/s, {self.seconds:.1f} s"
        )
