"""Files through predictors on every core that Ray has, a predictor a core."""

import json
import logging
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from toolkit.cluster.engine import Progress, run_job
from toolkit.cluster.jobs import Job, Outcome, Totals, partition_from_json
from toolkit.cluster.partitions import Partition
from toolkit.cluster.publication import OutputFolder, classify_partition
from toolkit.cluster.ray_cluster import connected, load_ray
from toolkit.cluster.storage import Storage
from toolkit.errors import ToolkitError
from toolkit.models.bundle import Kind, read_manifest
from toolkit.prediction import load_predictor

_logger = logging.getLogger(__name__)


def classify_files(
    inputs: str | Sequence[str],
    output: str,
    bundle: Path,
    job: Job,
    address: str | None = None,
    concurrency: int | None = None,
    resume: bool = False,
    advance: Progress = lambda done, total: None,
) -> Totals:
    """Classify files on a cluster, see `run_job`.

    Args:
        inputs: see `run_job`; paths or URIs that every machine reaches, like the output.
        output: see `run_job`.
        bundle: an ONNX bundle, which travels with the job.
        job: what decides the answers.
        address: The address of a Ray cluster, or `auto` for the one of this machine; by default one is started for the job.
        concurrency: predictors at a time, one a core; every core of the cluster by default.
        resume: see `run_job`.
        advance: see `run_job`.

    Raises:
        ToolkitError: see `run_job`; or there is no such cluster, or it failed.
    """
    ray = load_ray(address)

    def outcomes(todo: Sequence[Partition], source: Storage, folder: OutputFolder) -> Iterator[Outcome]:
        with connected(ray, address):
            yield from _outcomes(ray, todo, bundle, job, source, folder, concurrency)

    return run_job(inputs, output, read_manifest(bundle, Kind.ONNX), job, outcomes, resume, advance)


def _outcomes(
    ray: Any,  # noqa: ANN401 - a module
    todo: Sequence[Partition],
    bundle: Path,
    job: Job,
    source: Storage,
    folder: OutputFolder,
    concurrency: int | None,
) -> Iterator[Outcome]:
    files = {path.relative_to(bundle).as_posix(): path.read_bytes() for path in bundle.rglob("*") if path.is_file()}
    cores = int(ray.cluster_resources().get("CPU", 1))
    workers = max(1, min(concurrency or cores, len(todo)))
    _logger.info("%d partitions for %d predictors", len(todo), workers)
    # One at a time, so that no worker waits at the end for what another has in its queue. A worker that dies is
    # started again, its partition too, as often as it takes: Ray Data's default.
    pool = ray.data.ActorPoolStrategy(size=workers, max_tasks_in_flight_per_actor=1)
    rows = ray.data.from_items(
        [{"partition": json.dumps(asdict(piece))} for piece in todo], override_num_blocks=len(todo)
    ).map_batches(
        _Worker, fn_constructor_args=(ray.put(files), job.to_json(), source, folder),
        batch_size=1, num_cpus=1, compute=pool,
    )  # fmt: skip
    try:
        for row in rows.iter_rows():
            yield Outcome.from_json(row["outcome"])
    except ray.exceptions.RayError as error:
        raise ToolkitError(
            f"the Ray job failed ({_cause(error)}); what is finished stays in {folder.name}, go on with --resume"
        ) from error


class _Worker:
    """One predictor on one core, in a process of its own."""

    def __init__(self, files: Any, job: str, source: Storage, output: OutputFolder) -> None:  # noqa: ANN401
        import ray

        self._job, self._source, self._output = Job.from_json(job), source, output
        self._folder = tempfile.TemporaryDirectory(prefix="toolkit.")
        for name, content in ray.get(files).items():
            path = Path(self._folder.name) / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
        self._predictor = load_predictor(
            "onnx",
            onnx_model=self._folder.name,
            options=replace(self._job.options, workers=1),
            abstention=self._job.abstention,
        )

    def __call__(self, batch: dict[str, Any]) -> dict[str, list[str]]:
        """Outcomes of partitions, JSON both."""
        pieces = [partition_from_json(json.loads(each)) for each in batch["partition"]]
        return {"outcome": [self._classify(piece).to_json() for piece in pieces]}

    def _classify(self, piece: Partition) -> Outcome:
        return classify_partition(piece, self._job, self._predictor, self._source, self._output)


def _cause(error: Exception) -> str:
    """The line that says what happened: of an exception in a worker the last, below the traceback."""
    return [line for line in str(error).splitlines() if line.strip()][-1].strip()
