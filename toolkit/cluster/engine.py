"""Many files into a folder: what is left to do, shared out by an engine, counted and checked."""

import os
import time
from collections.abc import Callable, Iterable, Sequence

from toolkit.cluster.jobs import Job, Outcome, Totals
from toolkit.cluster.partitions import Partition, find_partitions
from toolkit.cluster.publication import OutputFolder, classify_partition
from toolkit.cluster.storage import Storage, open_storage
from toolkit.errors import ToolkitError
from toolkit.models.bundle import Manifest
from toolkit.prediction import Predictor

Engine = Callable[[Sequence[Partition], Storage, OutputFolder], Iterable[Outcome]]
Progress = Callable[[int, int], None]


def classify_files(
    inputs: str | Sequence[str],
    output: str,
    predictor: Predictor,
    job: Job,
    resume: bool = False,
    advance: Progress = lambda done, total: None,
) -> Totals:
    """Classify files one after the other with a predictor of this process, see `run_job`.

    Args:
        inputs: see `run_job`.
        output: see `run_job`.
        predictor: gives the answers.
        job: how they are written; its options are those that the predictor was loaded with.
        resume: see `run_job`.
        advance: takes the bytes done and all bytes.
    """

    def outcomes(todo: Sequence[Partition], source: Storage, folder: OutputFolder) -> Iterable[Outcome]:
        return (classify_partition(piece, job, predictor, source, folder) for piece in todo)

    return run_job(inputs, output, predictor.manifest, job, outcomes, resume, advance)


def run_job(
    inputs: str | Sequence[str],
    output: str,
    manifest: Manifest,
    job: Job,
    engine: Engine,
    resume: bool,
    advance: Progress,
) -> Totals:
    """Classify every row of the files that patterns name, each file into one of the same name below a folder.

    A partition's output takes its place whole, then a mark in `_done/` that counts its rows: a process or a machine that
    dies leaves nothing half, and what is done a second time takes the place of the first. Rows and files that cannot be
    classified are listed in `_errors/`, as JSON lines with file, row and reason.

    Args:
        inputs: see `find_partitions`; one pattern or several.
        output: a folder, empty or new unless the run is resumed; a path or a URI.
        manifest: The manifest of the model.
        job: what decides the answers.
        engine: does partitions; gives the outcome of each as soon as it is published.
        resume: skip what an earlier run with the same model and options has finished.
        advance: Takes the bytes done and all bytes, after each partition.

    Raises:
        ToolkitError: nothing to read, an output that is not ours, another model than the one resumed, or with
            `job.strict` the first bad row or file.
    """
    started = time.perf_counter()
    source, partitions = find_partitions((inputs,) if isinstance(inputs, str) else inputs)
    folder = OutputFolder(open_storage(output), output, job.fingerprint(manifest))
    if source.is_same_system(folder.storage):
        partitions = _outside(partitions, folder)
    finished = folder.finished(resume)
    totals, todo, done = Totals(), [], 0
    whole = sum(piece.size for piece in partitions)
    for piece in partitions:
        if (outcome := finished.get(piece.target)) and outcome.partition == piece:
            totals.add(outcome, skipped=True)
            done += piece.size
        else:
            todo.append(piece)
    folder.begin()
    for outcome in engine(todo, source, folder) if todo else ():
        if job.strict and outcome.first_problem:
            raise ToolkitError(str(outcome.first_problem))
        totals.add(outcome)
        done += outcome.partition.size
        advance(done, whole)
    totals.seconds = time.perf_counter() - started
    if totals.rows_in != totals.rows_out or totals.partitions != len(partitions):
        raise ToolkitError(
            f"{totals.rows_in} rows went in and {totals.rows_out} came out, of {totals.partitions} of {len(partitions)} "
            "partitions; run again with --resume, and report this"
        )
    folder.succeed(totals)
    return totals


def _outside(partitions: Sequence[Partition], output: OutputFolder) -> list[Partition]:
    """The inputs that do not lie in the output's folder: what an earlier run wrote below its input is none.

    Raises:
        ToolkitError: all of them lie there, and would be replaced by what is made of them.
    """
    root = os.path.realpath(output.storage.root) + os.sep
    outside = [piece for piece in partitions if not os.path.realpath(piece.source).startswith(root)]
    if not outside:
        raise ToolkitError(f"every input lies in {output.name}, the folder of the output; choose another for that")
    return outside
