"""How an output folder is filled, whichever engine does the work: files whole or not at all, marks, lists of what is wrong."""

import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from toolkit.cluster.jobs import Job, Outcome, Problem, Totals
from toolkit.cluster.partitions import Partition
from toolkit.cluster.storage import Storage
from toolkit.errors import ToolkitError
from toolkit.formats.places import RecordError
from toolkit.models.files import to_json, write_text
from toolkit.prediction import Predictor
from toolkit.streaming.files import FileJob, count_rows

DONE, ERRORS, SUCCESS, TEMPORARY = "_done", "_errors", "_SUCCESS", "_temporary"


@dataclass(frozen=True, slots=True)
class OutputFolder:
    """Where the outputs of a job go.

    Attributes:
        storage: the folder.
        name: as the user calls it.
        fingerprint: see `Job.fingerprint`.
    """

    storage: Storage
    name: str
    fingerprint: str

    def finished(self, resume: bool) -> dict[str, Outcome]:
        """The outcomes that lie there, by target; those of files that could not be read are left out, to be tried again.

        Raises:
            ToolkitError: the folder is not empty and nobody asked to resume, or not ours, damaged, or made otherwise.
        """
        names = [file.path.removeprefix(f"{self.storage.root}/") for file in self.storage.list_files()]
        if not names:
            return {}
        marks = [name for name in names if name.startswith(f"{DONE}/")]
        if not marks and not all(name.startswith((f"{ERRORS}/", f"{TEMPORARY}/")) for name in names):
            raise ToolkitError(
                f"{self.name} holds other files ({names[0]}, …); expected a new or empty folder, choose another for the output"
            )
        if not resume:
            raise ToolkitError(
                f"{self.name} holds {len(marks)} finished partitions; go on with --resume, or choose another folder"
            )
        outcomes = {name.removeprefix(f"{DONE}/").removesuffix(".json"): self._read_mark(name) for name in marks}
        if any(outcome.fingerprint != self.fingerprint for outcome in outcomes.values()):
            raise ToolkitError(
                f"{self.name} was begun with another model or other options; give the same, or choose another folder"
            )
        return {name: outcome for name, outcome in outcomes.items() if outcome.failed is None}

    def publish(self, outcome: Outcome, problems: Sequence[Problem], answers: Path) -> None:
        """Put a partition's output into place; the mark comes last: what it stands for is there."""
        target = outcome.partition.target
        if problems:
            self._put_text(f"{ERRORS}/{target}.jsonl", "".join(f"{problem.to_json()}\n" for problem in problems))
        else:
            self.storage.remove(f"{ERRORS}/{target}.jsonl")
        if outcome.failed is None:
            self.storage.put(target, answers)
        self._put_text(f"{DONE}/{target}.json", outcome.to_json())

    def begin(self) -> None:
        """Say that the work is not finished."""
        self.storage.remove(SUCCESS)

    def succeed(self, totals: Totals) -> None:
        """Say that it is."""
        self._put_text(SUCCESS, to_json({**vars(totals), "fingerprint": self.fingerprint}))
        self.storage.remove(TEMPORARY)

    def _read_mark(self, name: str) -> Outcome:
        try:
            return Outcome.from_json(self.storage.read(name) or b"")
        except ValueError as error:
            raise ToolkitError(f"{self.name}/{name} is damaged ({error}); remove it and go on with --resume") from error

    def _put_text(self, name: str, text: str) -> None:
        with tempfile.TemporaryDirectory(prefix="mark.") as folder:
            path = Path(folder) / "mark"
            write_text(path, text)
            self.storage.put(name, path)


def classify_partition(
    piece: Partition,
    job: Job,
    predictor: Predictor,
    source: Storage,
    output: OutputFolder,
    advance: Callable[[int], None] = lambda count: None,
) -> Outcome:
    """Classify a partition and publish what came of it; with `job.strict` nothing of one that has a problem."""
    problems: list[Problem] = []

    def note(error: RecordError) -> None:
        problems.append(Problem(piece.source, error.place.in_stream, error.reason))

    outcome = Outcome(piece, output.fingerprint)
    with tempfile.TemporaryDirectory(prefix="partition.") as folder:
        answers = Path(folder) / f"answers{Path(piece.target).suffix}"
        file = None
        try:
            file = source.local(piece.source, Path(folder))
            tally = FileJob(
                file, answers, job.column, job.prefix, job.lang, piece.row_groups, piece.first_row, True, job.encoding
            ).run(lambda: predictor, advance, note)
            outcome = Outcome(
                piece,
                output.fingerprint,
                rows_in=tally.verdicts.total() + tally.problems,
                rows_out=count_rows(answers),
                verdicts=dict(tally.verdicts),
                problems=tally.problems,
                first_problem=problems[0] if problems else None,
            )
        except (ToolkitError, OSError) as error:
            reason = str(error).replace(str(file), piece.source) if file else str(error)
            problems = [Problem(piece.source, None, reason)]
            outcome = Outcome(piece, output.fingerprint, failed=reason, first_problem=problems[0])
        if not (job.strict and problems):
            output.publish(outcome, problems, answers)
    return outcome
