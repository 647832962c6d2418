"""Time this toolkit's backends against each other on the same reviews, in turn, so that a drifting machine is fair.

Whole batches: reviews a second, tokenisation included. Single reviews: milliseconds until the answer. Cold start: a
`toolkit predict` of one review in a process of its own, seconds from start to end and the peak of its memory.
"""

import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import click

from toolkit.machine import available_cores, processor_name
from toolkit.prediction import Predictor, load_predictor
from toolkit.splits import read_reviews


def time_batch(predictor: Predictor, texts: list[str]) -> float:
    """Reviews a second over all texts."""
    started = time.perf_counter()
    for _ in predictor.predict_many(texts):
        pass
    return len(texts) / (time.perf_counter() - started)


def time_single(predictor: Predictor, texts: list[str]) -> float:
    """Median milliseconds of one review asked for alone."""
    milliseconds = []
    for text in texts[:50]:
        started = time.perf_counter()
        predictor.predict(text)
        milliseconds.append(1000 * (time.perf_counter() - started))
    return statistics.median(milliseconds)


def start_cold(backend: str, onnx_model: Path, adapter: Path) -> tuple[float, float]:
    """Seconds and megabytes (resident, at the peak) of one `toolkit predict`."""
    model = ["--onnx-model", str(onnx_model), "--adapter", str(adapter)]
    command = [sys.executable, "-m", "toolkit", "-q", "predict", "--backend", backend, *model, "A quiet film."]
    started = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"{' '.join(command)} failed")
    return time.perf_counter() - started, usage.ru_maxrss / 1000  # Linux counts in kB


def in_turn(
    measure: Callable[[Predictor, list[str]], float], predictors: dict[str, Predictor], texts: list[str], rounds: int
) -> dict[str, list[float]]:
    """One warm-up, then `rounds` measurements of each predictor, taking turns."""
    results: dict[str, list[float]] = {name: [] for name in predictors}
    for round_number in range(rounds + 1):
        for name, predictor in predictors.items():
            value = measure(predictor, texts)
            if round_number:
                results[name].append(value)
    return results


@click.command(help=__doc__)
@click.option("--onnx-model", type=click.Path(path_type=Path), default="onnx_model", show_default=True)
@click.option("--adapter", type=click.Path(path_type=Path), default="lora_model", show_default=True)
@click.option("--file", type=click.Path(path_type=Path), default="dataset/test.csv", show_default=True)
@click.option("--limit", type=int, default=500, show_default=True, help="Reviews used.")
@click.option("--rounds", type=int, default=5, show_default=True)
def main(onnx_model: Path, adapter: Path, file: Path, limit: int, rounds: int) -> None:
    """Print medians with their spread, and the ratio of the backends."""
    for name in ("onnx", "torch"):  # first: a process counts the peak of the one it was forked from as its own
        starts = [start_cold(name, onnx_model, adapter) for _ in range(rounds + 1)][1:]
        seconds, megabytes = (statistics.median(values) for values in zip(*starts, strict=True))
        click.echo(f"{'cold start':<18} {name:<6} median {seconds:.2f} s, peak {megabytes:.0f} MB")
    texts = [review.text for review in read_reviews(file)][:limit]
    predictors = {name: load_predictor(name, onnx_model=onnx_model, adapter=adapter) for name in ("onnx", "torch")}
    click.echo(f"{len(texts)} reviews of {file}, {rounds} rounds, {available_cores()} cores ({processor_name()})")
    for title, measure in (("reviews/s", time_batch), ("ms a review alone", time_single)):
        results = in_turn(measure, predictors, texts, rounds)
        for name, values in results.items():
            device = predictors[name].device
            spread = f"{min(values):.1f} to {max(values):.1f}"
            click.echo(f"{title:<18} {name:<6} on {device:<12} median {statistics.median(values):8.1f}  ({spread})")
        ratios = [onnx / torch for onnx, torch in zip(results["onnx"], results["torch"], strict=True)]
        click.echo(f"{title:<18} onnx / torch, round by round: median {statistics.median(ratios):.2f}")


if __name__ == "__main__":
    main()
