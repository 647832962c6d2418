"""The comparison: every engine, the same reviews, in turn, so that a drifting machine is fair to all."""

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from toolkit.benchmark.arithmetic import measure_peak, model_sizes, total_flops
from toolkit.benchmark.engines import Engine, OwnEngine, Torch
from toolkit.benchmark.process import Usage, run_measured
from toolkit.benchmark.shares import time_shares
from toolkit.errors import MissingExtraError
from toolkit.machine import available_cores, instruction_sets, processor_name
from toolkit.text.normalisation import normalise
from toolkit.text.tokenisation import ReviewTokenizer

if TYPE_CHECKING:
    from toolkit.benchmark.models import Models

_Figure = TypeVar("_Figure")
REFERENCE = Torch.name
SINGLE_REVIEWS = 50  # asked for alone in each round
# Of these at a time: a virtual machine's cores slow down for seconds, and then it is on reviews of every engine.
_TURN_REVIEWS = 10
_TRIAL_REVIEWS = 64  # on which an engine's batch size is chosen
_PAUSE = 0.3  # seconds; worker threads of the engine before spin for a while after its last product
_START_REVIEW = "A quiet film."


def compare_engines(
    models: "Models",
    engines: Sequence[type[Engine]],
    texts: Sequence[str],
    rounds: int,
    advance: Callable[[str], None] = lambda step: None,
) -> dict[str, Any]:
    """Measure engines on the same reviews.

    Args:
        models: the model, in every form.
        engines: to compare; those whose packages are missing are left out and named.
        texts: reviews; mark-up and white space are normalised beforehand, since the peers' tokenizers do not.
        rounds: measurements of each figure, after one that is not counted; every engine has its turn in each.
        advance: Takes what is about to be done, in words.

    Returns:
        `machine` with its matrix-multiply peak of each round in GFLOP/s; `model`; `reviews`, `tokens`, `rounds`; `not_installed`:
        packages by engine; `time_shares` of the first engine that is the toolkit's own, see `time_shares`; and `engines`,
        by name: `settings`, `agreement` (share of labels that are torch's, None without torch), and each figure's values
        in the order measured: `share_of_peak` (its arithmetic, padding not counted, over that round's peak); `reviews_per_second` and `tokens_per_second`, tokenisation included; `p50_ms` and `p95_ms` of
        reviews asked for alone; `cold_start_seconds` and `peak_megabytes` of a process that answers one review.
    """
    texts = [normalise(text) for text in texts]
    missing = {engine.name: engine.missing() for engine in engines if engine.missing()}
    present = [engine for engine in engines if engine.name not in missing]
    if not present:
        extra = next(iter(engines)).extra
        raise MissingExtraError(
            f"none of the engines can run: {', '.join(sorted({name for names in missing.values() for name in names}))} "
            f"not installed; in a checkout of the project, run: python -m pip install -c constraints.txt '.[{extra}]'"
        )
    folders = {}
    for engine in present:
        advance(f"preparing {engine.name}")
        folders[engine.name] = engine.prepare(models)
    starts = _measure_starts(present, folders, models.max_length, rounds, advance)
    loaded = {engine.name: engine(folders[engine.name], models.max_length) for engine in present}
    for name, each in loaded.items():
        advance(f"choosing batches for {name}")
        _choose_batch_size(each, texts[:_TRIAL_REVIEWS])
    labels = {name: engine.classify(texts) for name, engine in loaded.items()}  # the uncounted round
    peaks: list[dict[str, float]] = []
    throughput = _in_turn(_reviews_per_second, loaded, texts, rounds, advance, lambda: peaks.append(measure_peak()))
    latencies = _latencies(loaded, texts[:SINGLE_REVIEWS], rounds, advance)
    tokenizer = ReviewTokenizer.from_file(models.bundle / "tokenizer.json", models.max_length)
    lengths = [len(encoding.input_ids) for encoding in tokenizer.encode(texts)]
    flops = total_flops(models.config, lengths) / len(texts)  # a review
    own = next((engine for engine in loaded.values() if isinstance(engine, OwnEngine)), None)
    reference = labels.get(REFERENCE)
    return {
        "machine": {
            "processor": processor_name(),
            "cores": available_cores(),
            "instruction_sets": instruction_sets(),
            "peak_gflops": {library: [peak[library] for peak in peaks] for library in peaks[0]},
        },
        "model": model_sizes(models.config),
        "max_length": models.max_length,
        "reviews": len(texts),
        "tokens": sum(lengths),
        "rounds": rounds,
        "not_installed": {
            engine.name: {"packages": missing[engine.name], "extra": engine.extra}
            for engine in engines
            if engine.name in missing
        },
        "time_shares": time_shares(own.predictor, texts, rounds) if own else None,
        "engines": {
            name: {
                "settings": engine.settings(),
                "reviews_per_second": throughput[name],
                "tokens_per_second": [speed * sum(lengths) / len(texts) for speed in throughput[name]],
                "p50_ms": latencies[name][0].tolist(),
                "p95_ms": latencies[name][1].tolist(),
                "cold_start_seconds": [usage.seconds for usage in starts[name]],
                "peak_megabytes": [usage.megabytes for usage in starts[name]],
                "agreement": None if reference is None else float((labels[name] == reference).mean()),
                "share_of_peak": [
                    speed * flops * getattr(engine, "asked", 1.0) / (1e9 * max(peak.values()))
                    for speed, peak in zip(throughput[name], peaks, strict=True)
                ],
            }
            for name, engine in loaded.items()
        },
    }


def _measure_starts(
    engines: Sequence[type[Engine]],
    folders: dict[str, Path],
    max_length: int,
    rounds: int,
    advance: Callable[[str], None],
) -> dict[str, list[Usage]]:
    """Cold starts, after one that brings the files into memory."""
    starts: dict[str, list[Usage]] = {engine.name: [] for engine in engines}
    for number in range(rounds + 1):
        for engine in engines:
            advance(f"starting {engine.name}")
            usage = run_measured(engine.start(folders[engine.name], max_length, _START_REVIEW))
            if number:
                starts[engine.name].append(usage)
    return starts


def _choose_batch_size(engine: Engine, texts: Sequence[str]) -> None:
    """Keep the fastest of the sizes, the best of two tries each."""
    seconds: dict[int, float] = {}
    for size in engine.batch_sizes if len(engine.batch_sizes) > 1 else ():
        engine.batch_size = size
        engine.classify(texts[: 2 * size])  # buffers of that shape
        seconds[size] = min(len(texts) / _reviews_per_second(engine, texts) for _ in range(2))
    if seconds:
        engine.batch_size = min(seconds, key=lambda size: seconds[size])
    elif not isinstance(engine, OwnEngine):
        (engine.batch_size,) = engine.batch_sizes


def _in_turn(
    measure: Callable[[Engine, Sequence[str]], _Figure],
    engines: dict[str, Engine],
    texts: Sequence[str],
    rounds: int,
    advance: Callable[[str], None],
    end_round: Callable[[], None] = lambda: None,
) -> dict[str, list[_Figure]]:
    """`rounds` measurements of each engine, taking turns, each round beginning with another."""
    results: dict[str, list[_Figure]] = {name: [] for name in engines}
    names = list(engines)
    for number in range(rounds):
        for name in names[number % len(names) :] + names[: number % len(names)]:
            advance(f"round {number + 1} of {rounds}: {name}")
            engines[name].classify_one(_START_REVIEW)  # wakes its threads
            time.sleep(_PAUSE)
            results[name].append(measure(engines[name], texts))
        end_round()
    return results


def _reviews_per_second(engine: Engine, texts: Sequence[str]) -> float:
    started = time.perf_counter()
    engine.classify(texts)
    return len(texts) / (time.perf_counter() - started)


def _latencies(
    engines: dict[str, Engine], texts: Sequence[str], rounds: int, advance: Callable[[str], None]
) -> dict[str, np.ndarray]:
    """By engine, (2, rounds): median and 95th percentile of each round, in ms."""
    starts = range(0, len(texts), _TURN_REVIEWS)
    turns = [_in_turn(_milliseconds, engines, texts[start:][:_TURN_REVIEWS], rounds, advance) for start in starts]
    return {
        name: np.percentile(np.concatenate([turn[name] for turn in turns], axis=1), [50, 95], axis=1)
        for name in engines
    }


def _milliseconds(engine: Engine, texts: Sequence[str]) -> list[float]:
    """Of each review, asked for alone."""
    milliseconds = []
    for text in texts:
        started = time.perf_counter()
        engine.classify_one(text)
        milliseconds.append(1000 * (time.perf_counter() - started))
    return milliseconds
