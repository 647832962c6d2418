"""Files through predictors on every core that Ray has, a predictor a core, each piece of work done whole or not at all."""

import hashlib
import json
import logging
import os
import secrets
import socket
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from toolkit.cluster.partitions import Partition, Storage, find_partitions
from toolkit.compat import import_ray
from toolkit.errors import ToolkitError, needs_extra
from toolkit.models.bundle import Kind, read_manifest
from toolkit.prediction import Abstention, InferenceOptions, load_predictor
from toolkit.prediction.abstention import display
from toolkit.streaming.files import FileJob, count_rows

DONE, ERRORS, SUCCESS = "_done", "_errors", "_SUCCESS"
_PATIENCE = 10.0  # seconds for a connection to the cluster
_logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Job:
    """What decides the answers and how they are written.

    Attributes:
        bundle: an ONNX bundle.
        column: The column of the text.
        prefix: Stands before the names of the new columns.
        lang: The language of the verdicts.
        options: How reviews are read.
        abstention: Which verdicts are withheld.
        strict: Whether to end at the first row or file that cannot be classified.
    """

    bundle: Path
    column: str = "text"
    prefix: str = ""
    lang: str = "en"
    options: InferenceOptions = InferenceOptions()
    abstention: Abstention = Abstention()
    strict: bool = False

    def fingerprint(self) -> str:
        """Of everything that decides an answer: model and options."""
        files = read_manifest(self.bundle, Kind.ONNX).files
        given = {**asdict(self.options), **asdict(self.abstention), "workers": None}  # these decide no answer
        model = {name: value for name, value in given.items() if value is not None}
        parts = [files, self.column, self.prefix, self.lang, model]
        return hashlib.sha256(json.dumps(parts, sort_keys=True, default=str).encode()).hexdigest()


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

    def add(self, outcome: dict[str, Any], skipped: bool = False) -> None:
        """Count the outcome of a partition."""
        self.partitions += 1
        self.skipped += skipped
        self.rows_in += outcome["rows_in"]
        self.rows_out += outcome["rows_out"]
        self.rows_now += 0 if skipped else outcome["rows_in"]
        self.verdicts.update(outcome["verdicts"])
        self.problems += outcome["problems"]
        self.failed += outcome["failed"] is not None

    def summary(self) -> str:
        """Counts, rows/s and seconds, on one line."""
        verdicts = ", ".join(f"{count} {verdict}" for verdict, count in sorted(self.verdicts.items())) or "none"
        return (
            f"{self.rows_in} rows in, {self.rows_out} out: {verdicts}; {self.problems} not classified, {self.failed} files "
            f"failed; {self.skipped} of {self.partitions} partitions were finished before; "
            f"{self.rows_now / self.seconds:.1f} rows/s, {self.seconds:.1f} s"
        )


def classify_files(
    pattern: str,
    output: str,
    job: Job,
    address: str | None = None,
    concurrency: int | None = None,
    resume: bool = False,
    advance: Callable[[int, int], None] = lambda done, total: None,
) -> Totals:
    """Classify every row of the files that a pattern names, each file into one of the same name below a folder.

    A partition's output takes its place whole, then a mark in `_done/` that counts its rows: a worker or a machine that
    dies leaves nothing half, and what is done a second time takes the place of the first. Rows and files that cannot be
    classified are listed in `_errors/`, as JSON lines with file, row and reason.

    Args:
        pattern: see `find_partitions`.
        output: a folder, empty or new unless the run is resumed; a path or a URI that every machine reaches.
        job: model and options.
        address: The address of a Ray cluster, or `auto` for the one of this machine; by default one is started for the job.
        concurrency: predictors at a time, one a core; every core of the cluster by default.
        resume: skip what an earlier run with the same model and options has finished.
        advance: Takes the bytes done and all bytes, after each partition.

    Raises:
        ToolkitError: nothing to read, an output that is not ours, another model than the one resumed, or with
            `job.strict` the first bad row or file.
    """
    with needs_extra("ray", "the engine ray"):
        if not address:
            os.environ.update(_closed())
        ray = import_ray()
    started = time.perf_counter()
    storage, partitions = find_partitions(pattern)
    target = Storage(output)
    fingerprint = job.fingerprint()
    finished = _finished(target, output, fingerprint, resume)
    totals = Totals()
    whole = sum(partition.size for partition in partitions)
    done = 0
    todo = []
    for piece in partitions:
        if (outcome := finished.get(piece.target)) and outcome["partition"] == _as_json(piece):
            totals.add(outcome, skipped=True)
            done += piece.size
        else:
            todo.append(piece)
    target.remove(SUCCESS)
    if todo:
        files = {
            path.relative_to(job.bundle).as_posix(): path.read_bytes()
            for path in job.bundle.rglob("*")
            if path.is_file()
        }
        with _connected(ray, address):
            cores = int(ray.cluster_resources().get("CPU", 1))
            workers = max(1, min(concurrency or cores, len(todo)))
            _logger.info("%d partitions for %d predictors", len(todo), workers)
            # One at a time, so that no worker waits at the end for what another has in its queue. A worker that dies is
            # started again, its partition too, as often as it takes: Ray Data's default.
            pool = ray.data.ActorPoolStrategy(size=workers, max_tasks_in_flight_per_actor=1)
            outcomes = ray.data.from_items(
                [{"partition": json.dumps(asdict(piece))} for piece in todo], override_num_blocks=len(todo)
            ).map_batches(
                _Worker, fn_constructor_args=(ray.put(files), job, fingerprint, storage, target),
                batch_size=1, num_cpus=1, compute=pool,
            )  # fmt: skip
            try:
                for row in outcomes.iter_rows():
                    outcome = json.loads(row["outcome"])
                    if job.strict and outcome["errors"]:
                        raise ToolkitError(_place(outcome["errors"][0]))
                    totals.add(outcome)
                    done += outcome["size"]
                    advance(done, whole)
            except ray.exceptions.RayError as error:
                raise ToolkitError(
                    f"the Ray job failed ({_cause(error)}); what is finished stays in {output}, go on with --resume"
                ) from error
    totals.seconds = time.perf_counter() - started
    if totals.rows_in != totals.rows_out or totals.partitions != len(partitions):
        raise ToolkitError(
            f"{totals.rows_in} rows went in and {totals.rows_out} came out, of {totals.partitions} of {len(partitions)} "
            "partitions; run again with --resume, and report this"
        )
    _put_json(target, SUCCESS, {**vars(totals), "fingerprint": fingerprint})
    target.remove("_temporary")
    return totals


def _finished(target: Storage, output: str, fingerprint: str, resume: bool) -> dict[str, dict[str, Any]]:
    """The outcomes that lie in the output folder, by target.

    Raises:
        ToolkitError: the folder is not empty and nobody asked to resume, or not ours, or made otherwise.
    """
    names = [info.path.removeprefix(f"{target.root}/") for info in target.list() if info.is_file]
    if not names:
        return {}
    marks = [name for name in names if name.startswith(f"{DONE}/")]
    ours = marks or all(name.startswith((f"{DONE}/", f"{ERRORS}/", "_temporary/")) for name in names)
    if not ours:
        raise ToolkitError(
            f"{output} holds other files ({names[0]}, …); expected a new or empty folder, choose another --output"
        )
    if not resume:
        raise ToolkitError(
            f"{output} holds {len(marks)} finished partitions; go on with --resume, or choose another --output"
        )
    outcomes = {
        name.removeprefix(f"{DONE}/").removesuffix(".json"): json.loads(target.read(name) or b"{}") for name in marks
    }
    if any(outcome.get("fingerprint") != fingerprint for outcome in outcomes.values()):
        raise ToolkitError(
            f"{output} was begun with another model or other options; give the same, or choose another --output"
        )
    return {name: outcome for name, outcome in outcomes.items() if outcome["failed"] is None}


class _Worker:
    """One predictor on one core, in a process of its own."""

    def __init__(self, files: Any, job: Job, fingerprint: str, source: Storage, target: Storage) -> None:  # noqa: ANN401
        import ray

        self._job, self._fingerprint, self._source, self._target = job, fingerprint, source, target
        self._folder = tempfile.TemporaryDirectory(prefix="toolkit.")
        for name, content in ray.get(files).items():
            path = Path(self._folder.name) / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
        self._predictor = load_predictor(
            "onnx", onnx_model=self._folder.name, options=replace(job.options, workers=1), abstention=job.abstention
        )

    def __call__(self, batch: dict[str, Any]) -> dict[str, list[str]]:
        """Outcomes of partitions, JSON both."""
        return {"outcome": [json.dumps(self._classify(_from_json(each))) for each in batch["partition"]]}

    def _classify(self, piece: Partition) -> dict[str, Any]:
        job, errors = self._job, []

        def note(row: str | None, reason: str) -> None:
            errors.append({"file": piece.source, "row": row, "error": reason})

        outcome: dict[str, Any] = {
            "partition": _as_json(piece), "fingerprint": self._fingerprint, "size": piece.size,
            "rows_in": 0, "rows_out": 0, "verdicts": {}, "problems": 0, "failed": None,
        }  # fmt: skip
        with tempfile.TemporaryDirectory(prefix="partition.") as folder:
            source, answers = (
                Path(folder) / Path(piece.source).name,
                Path(folder) / f"answers{Path(piece.target).suffix}",
            )
            try:
                self._source.fetch(piece.source, source)
                tally = FileJob(
                    source, answers, job.column, job.prefix, partial(display, language=job.lang), lambda count: None,
                    note, piece.row_groups, piece.first_row, empty=True,
                ).run(lambda: self._predictor)  # fmt: skip
                outcome["rows_in"] = tally.verdicts.total() + tally.problems
                outcome["rows_out"] = count_rows(answers)
                outcome["verdicts"], outcome["problems"] = dict(tally.verdicts), tally.problems
            except (ToolkitError, OSError) as error:
                outcome["failed"] = str(error).replace(str(source), piece.source)
                errors[:] = []
                note(None, outcome["failed"])
            if not (job.strict and errors):
                self._publish(piece, outcome, errors, answers)
        return {**outcome, "errors": errors[:1]}

    def _publish(self, piece: Partition, outcome: dict[str, Any], errors: list[dict[str, Any]], answers: Path) -> None:
        """The mark comes last: what it stands for is there."""
        listed = f"{ERRORS}/{piece.target}.jsonl"
        if errors:
            lines = answers.with_name("errors.jsonl")
            lines.write_text("".join(json.dumps(each, ensure_ascii=False) + "\n" for each in errors))
            self._target.put(listed, lines)
        else:
            self._target.remove(listed)
        if outcome["failed"] is None:
            self._target.put(piece.target, answers)
        _put_json(self._target, f"{DONE}/{piece.target}.json", outcome)


def _closed() -> dict[str, str]:
    """What makes a cluster of one's own refuse everybody else: its ports are open on every interface, whatever one asks.

    A secret that only this process and its workers know, drawn anew by each; Ray would keep one for all in the home folder.
    Ray reads the mode when it is imported, and asks for the secret by itself where that was before.
    """
    mode = {} if "ray" in sys.modules else {"RAY_AUTH_MODE": "token"}
    return {**mode, "RAY_AUTH_TOKEN": secrets.token_hex(32)}


@contextmanager
def _connected(ray: Any, address: str | None) -> Iterator[None]:  # noqa: ANN401 - a module
    """A cluster to work on; one that is running already in this process is used and left."""
    if ray.is_initialized():
        yield
        return
    for name in ("ray", "ray.data"):
        logging.getLogger(name).setLevel(logging.ERROR)
    # Ray opens its folder to everybody on the machine, to exchange its sockets, to read its logs and what it spills: it gets
    # one in a folder that is closed.
    place = os.environ.get("RAY_TMPDIR") or "/tmp"  # noqa: S108 - Ray's own, so short that a socket's path fits
    with tempfile.TemporaryDirectory(prefix="ray-", dir=place, ignore_cleanup_errors=True) as folder:
        try:
            _knock(address)
            with _without_stderr():
                ray.init(
                    address=address or "local", log_to_driver=False, logging_level=logging.ERROR,
                    **({} if address else {"include_dashboard": False, "_temp_dir": f"{folder}/r"}),
                )  # fmt: skip
        except (OSError, ValueError, RuntimeError) as error:
            raise ToolkitError(
                f"no Ray cluster at {address or 'this machine'} ({str(error).splitlines()[0]}); "
                "start one with: ray start --head"
            ) from error
        context = ray.data.DataContext.get_current()
        context.enable_progress_bars = False
        try:
            yield
        finally:
            ray.shutdown()


def _knock(address: str | None) -> None:
    """Ray itself tries for minutes to reach a machine where nobody listens.

    Raises:
        OSError: nobody listens there.
    """
    parts = urlsplit(address if "://" in (address or "") else f"//{address or ''}")
    if isinstance(parts.hostname, str) and parts.port:
        socket.create_connection((parts.hostname, parts.port), timeout=_PATIENCE).close()


@contextmanager
def _without_stderr() -> Iterator[None]:
    """Ray's core announces its log level there, whatever that is; what goes wrong is raised."""
    kept = os.dup(2)
    with Path(os.devnull).open("w") as nowhere:
        os.dup2(nowhere.fileno(), 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)


def _place(problem: dict[str, Any]) -> str:
    return ": ".join(problem[key] for key in ("file", "row", "error") if problem[key])


def _cause(error: Exception) -> str:
    """The line that says what happened: of an exception in a worker the last, below the traceback."""
    return [line for line in str(error).splitlines() if line.strip()][-1].strip()


def _as_json(piece: Partition) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(json.dumps(asdict(piece)))
    return content


def _from_json(text: str) -> Partition:
    content = json.loads(text)
    groups = content["row_groups"]
    return Partition(**{**content, "row_groups": None if groups is None else tuple(groups)})


def _put_json(target: Storage, name: str, content: dict[str, Any]) -> None:
    with tempfile.TemporaryDirectory(prefix="mark.") as folder:
        path = Path(folder) / "mark.json"
        path.write_text(json.dumps(content, ensure_ascii=False))
        target.put(name, path)
