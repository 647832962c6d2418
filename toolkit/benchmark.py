"""The backends against each other on the same reviews, in turn, so that a drifting machine is fair to both."""

import importlib.util
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from toolkit.errors import ToolkitError
from toolkit.machine import available_cores, processor_name
from toolkit.prediction import Predictor, load_predictor
from toolkit.prediction.selection import choose_backend

SINGLE_REVIEWS = 50  # asked for alone in each round


def compare_backends(
    texts: Sequence[str], rounds: int, onnx_model: Path | None = None, adapter: Path | None = None
) -> dict[str, Any]:
    """Measure the ONNX backend, and the torch backend where torch and an adapter are there.

    Args:
        texts: reviews.
        rounds: measurements of each figure, after one that is not counted.
        onnx_model: see `load_predictor`.
        adapter: likewise.

    Returns:
        `machine`, `reviews`, `rounds`, and `backends`: by name, each figure's values in the order measured:
        `reviews_per_second` over all texts, tokenisation included; `single_review_ms`, the median of reviews asked for
        alone; `cold_start_seconds` and `peak_megabytes` of one `toolkit predict` in a process of its own.
    """
    folders = {name: choose_backend(name, onnx_model=onnx_model, adapter=adapter).folder for name in ("onnx", "torch")}
    if importlib.util.find_spec("torch") is None or not folders["torch"].is_dir():
        del folders["torch"]
    # Cold starts first: a process counts the peak of the one it was forked from as its own.
    starts = {name: [_start_cold(name, folder) for _ in range(rounds + 1)][1:] for name, folder in folders.items()}
    predictors = {name: load_predictor(name, onnx_model=onnx_model, adapter=adapter) for name in folders}
    throughput = _in_turn(_reviews_per_second, predictors, texts, rounds)
    single = _in_turn(_single_review_ms, predictors, texts[:SINGLE_REVIEWS], rounds)
    return {
        "machine": {"processor": processor_name(), "cores": available_cores()},
        "reviews": len(texts),
        "rounds": rounds,
        "backends": {
            name: {
                "device": predictor.device,
                "reviews_per_second": throughput[name],
                "single_review_ms": single[name],
                "cold_start_seconds": [seconds for seconds, _ in starts[name]],
                "peak_megabytes": [megabytes for _, megabytes in starts[name]],
            }
            for name, predictor in predictors.items()
        },
    }


def _in_turn(
    measure: Callable[[Predictor, Sequence[str]], float],
    predictors: dict[str, Predictor],
    texts: Sequence[str],
    rounds: int,
) -> dict[str, list[float]]:
    """One warm-up, then `rounds` measurements of each predictor, taking turns."""
    results: dict[str, list[float]] = {name: [] for name in predictors}
    for number in range(rounds + 1):
        for name, predictor in predictors.items():
            value = measure(predictor, texts)
            if number:
                results[name].append(value)
    return results


def _reviews_per_second(predictor: Predictor, texts: Sequence[str]) -> float:
    started = time.perf_counter()
    for _ in predictor.predict_many(texts):
        pass
    return len(texts) / (time.perf_counter() - started)


def _single_review_ms(predictor: Predictor, texts: Sequence[str]) -> float:
    milliseconds = []
    for text in texts:
        started = time.perf_counter()
        predictor.predict(text)
        milliseconds.append(1000 * (time.perf_counter() - started))
    return statistics.median(milliseconds)


def _start_cold(backend: str, folder: Path) -> tuple[float, float]:
    """Seconds and megabytes (resident, at the peak) of one `toolkit predict`."""
    model = ["--onnx-model" if backend == "onnx" else "--adapter", str(folder)]
    command = [sys.executable, "-m", "toolkit", "-q", "predict", "--backend", backend, *model, "A quiet film."]
    started = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise ToolkitError(f"the {backend} backend does not work here; see: {' '.join(command[2:])}")
    return time.perf_counter() - started, usage.ru_maxrss / 1000  # Linux counts in kB
