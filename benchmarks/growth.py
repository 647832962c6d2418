"""How time and memory grow: prints the tables of docs/benchmarks.md, and draws docs/images/growth.png.

    python benchmarks/growth.py --file build/imdb/test.csv --image docs/images/growth.png

Against the tokens of a review, the number of reviews (through `toolkit filter`, in a process of its own), and workers.
"""

import csv
import itertools
import statistics
import sys
import tempfile
import time
from collections.abc import Iterable, Sequence
from pathlib import Path

import click
import numpy as np

from toolkit.benchmark.process import Usage, run_measured
from toolkit.benchmark.report import as_markdown
from toolkit.datasets.splits import read_reviews
from toolkit.evaluation.plots import blank_figure
from toolkit.machine import available_cores
from toolkit.prediction import InferenceOptions
from toolkit.prediction.onnx_backend import OnnxPredictor

TOKENS = (16, 32, 64, 128, 256, 512)
SHORT = 24  # tokens read of a review where many are classified
_SHORT_CHARACTERS = 200  # of a text, enough for so many tokens


@click.command()
@click.option("--file", type=click.Path(path_type=Path), default="build/imdb/test.csv", show_default=True)
@click.option("--onnx-model", type=click.Path(path_type=Path), default="onnx_model", show_default=True)
@click.option("--rounds", default=3, show_default=True, help="Measurements of each point; medians are shown.")
@click.option("--reviews", default=32, show_default=True, help="Reviews of each length, and for the workers.")
@click.option("--most", default=100_000, show_default=True, help="The largest number of reviews through the filter.")
@click.option("--image", type=click.Path(path_type=Path), help="Draw the curves into this PNG.")
def main(file: Path, onnx_model: Path, rounds: int, reviews: int, most: int, image: Path | None) -> None:
    """Print the tables as Markdown."""
    texts = [review.text for review in read_reviews(file)]
    longest = sorted(texts, key=len)[-reviews:]  # each fills every length
    with tempfile.TemporaryDirectory(prefix="growth.") as folder:
        tokens = _against_tokens(longest, onnx_model, rounds, Path(folder))
        counts = _against_reviews(texts, onnx_model, rounds, most, Path(folder))
    workers = _against_workers(texts[:reviews], onnx_model, rounds)
    cores = available_cores()
    _print(("tokens read", "ms a review, one core", "peak MB of a filter"),
           ([f"{length}", f"{1000 * seconds:.2f}", f"{megabytes:.0f}"] for length, (seconds, megabytes) in tokens.items()))  # fmt: skip
    _print((f"reviews of {SHORT} tokens", "s", "reviews/s", "peak MB"),
           ([f"{count:,}", f"{usage.seconds:.2f}", f"{count / usage.seconds:.0f}", f"{usage.megabytes:.0f}"]
            for count, usage in counts.items()))  # fmt: skip
    if len(counts) > 2:
        slope = _slope({count: usage.seconds for count, usage in counts.items()})
        click.echo(f"\nTime grows with the number of reviews to the power {slope:.2f}, from 1,000 on.")
    _print(("workers", "reviews/s", "against one"),
           ([f"{number}", f"{speed:.1f}", f"{speed / workers[1]:.2f} ×"] for number, speed in workers.items()))  # fmt: skip
    if image:
        _draw(image, tokens, counts, workers, cores)


def _against_tokens(texts: Sequence[str], model: Path, rounds: int, folder: Path) -> dict[int, tuple[float, float]]:
    """Seconds a review on one core without tokenisation, and the peak in MB of a filter that reads so many tokens."""
    source = _write_csv(folder / "long.csv", texts)
    seconds: dict[int, list[float]] = {length: [] for length in TOKENS}
    peaks: dict[int, list[float]] = {length: [] for length in TOKENS}
    predictors = {length: OnnxPredictor.load(model, InferenceOptions(length, workers=1)) for length in TOKENS}
    for _ in range(rounds):
        for length, predictor in predictors.items():
            encodings = [each for each in predictor.tokenizer.encode(texts) if len(each.input_ids) == length]
            predictor.logits(encodings[:2])  # opens the session
            started = time.perf_counter()
            predictor.logits([*encodings, *encodings])  # twice: a lone review would get every core
            seconds[length].append((time.perf_counter() - started) / (2 * len(encodings)))
            peaks[length].append(_filter(source, model, length).megabytes)
    return {length: (statistics.median(seconds[length]), statistics.median(peaks[length])) for length in TOKENS}


def _against_reviews(texts: Sequence[str], model: Path, rounds: int, most: int, folder: Path) -> dict[int, Usage]:
    """What a filter takes, by the number of reviews, start included."""
    counts = [10**power for power in range(2, 7) if 10**power <= most]
    sources = {
        count: _write_csv(
            folder / f"{count}.csv",
            (text[:_SHORT_CHARACTERS] for text in itertools.islice(itertools.cycle(texts), count)),
        )
        for count in counts
    }
    usages: dict[int, list[Usage]] = {count: [] for count in counts}
    for _ in range(rounds):
        for count, source in sources.items():
            usages[count].append(_filter(source, model, SHORT))
    return {
        count: Usage(*(statistics.median(values) for values in zip(*measured, strict=True)))
        for count, measured in usages.items()
    }


def _against_workers(texts: Sequence[str], model: Path, rounds: int) -> dict[int, float]:
    """Reviews/s by the number of workers, from one to the cores."""
    predictors = {
        number: OnnxPredictor.load(model, InferenceOptions(workers=number))
        for number in range(1, available_cores() + 1)
    }
    speeds: dict[int, list[float]] = {number: [] for number in predictors}
    for number_of_round in range(rounds + 1):  # the first opens the sessions
        for number, predictor in predictors.items():
            started = time.perf_counter()
            for _ in predictor.predict_many(texts):
                pass
            if number_of_round:
                speeds[number].append(len(texts) / (time.perf_counter() - started))
    return {number: statistics.median(values) for number, values in speeds.items()}


def _filter(source: Path, model: Path, max_length: int) -> Usage:
    return run_measured(
        [sys.executable, "-m", "toolkit", "-q", "filter", "--csv", "--format", "csv", "--prefix", "model_",
         "--onnx-model", str(model), "--max-length", str(max_length)], source,
    )  # fmt: skip


def _write_csv(path: Path, texts: Iterable[str]) -> Path:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["text"])
        writer.writerows([text] for text in texts)
    return path


def _slope(seconds: dict[int, float]) -> float:
    """The exponent of a power law through the points from 1,000 reviews on, the start (the fewest's time) taken off."""
    start = min(seconds.values())
    points = [(count, each - start) for count, each in seconds.items() if count >= 1000 and each > start]
    counts, times = np.log(np.array(points)).T
    return float(np.polyfit(counts, times, 1)[0])


def _print(headings: Sequence[str], rows: Iterable[list[str]]) -> None:
    click.echo("\n" + as_markdown([list(headings), *rows]))


def _draw(
    path: Path, tokens: dict[int, tuple[float, float]], counts: dict[int, Usage], workers: dict[int, float], cores: int
) -> None:
    """Two rows: time against tokens, reviews and workers; memory against tokens and reviews."""
    figure = blank_figure(13, 7)
    (time_tokens, time_reviews, speed), (memory_tokens, memory_reviews, empty) = figure.subplots(2, 3)
    empty.set_axis_off()
    time_tokens.plot(list(tokens), [1000 * seconds for seconds, _ in tokens.values()], "o-")
    time_tokens.set(title="Time, one core", xlabel="tokens in a review", ylabel="ms a review")
    memory_tokens.plot(list(tokens), [megabytes for _, megabytes in tokens.values()], "o-")
    memory_tokens.set(title="Memory of a filter", xlabel="tokens in a review", ylabel="MB at the peak")
    time_reviews.loglog(list(counts), [usage.seconds for usage in counts.values()], "o-")
    time_reviews.set(title="Time of a filter", xlabel=f"reviews of {SHORT} tokens", ylabel="seconds")
    memory_reviews.semilogx(list(counts), [usage.megabytes for usage in counts.values()], "o-")
    memory_reviews.set(title="Memory of a filter", xlabel=f"reviews of {SHORT} tokens", ylabel="MB at the peak")
    speed.plot(list(workers), list(workers.values()), "o-")
    speed.plot([1, cores], [workers[1], cores * workers[1]], ":", color="gray", label="a core more, as much again")
    speed.set(title="Workers", xlabel="workers, a core each", ylabel="reviews/s", xticks=list(workers))
    speed.legend()
    for axes in (time_tokens, memory_tokens, time_reviews, memory_reviews, speed):
        axes.grid(alpha=0.3)
        if axes is not time_reviews:  # whose axes are logarithmic
            axes.set_ylim(0, 1.1 * axes.get_ylim()[1])
    figure.savefig(path, dpi=100)


if __name__ == "__main__":
    main()
