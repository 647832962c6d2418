"""One worker against two, and Ray against the plain predictor: prints the table of docs/scaling.md.

    python benchmarks/scaling.py --dataset build/imdb

The same real reviews each time, as whole commands: start, reading and writing included. Answers are compared to the bit.
"""

import csv
import itertools
import statistics
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import click

from toolkit.benchmark.process import Usage, run_measured
from toolkit.benchmark.report import as_markdown
from toolkit.datasets.splits import read_reviews
from toolkit.machine import available_cores

PLAIN = "toolkit predict-files"


@click.command()
@click.option("--dataset", type=click.Path(path_type=Path), default="build/imdb", show_default=True)
@click.option("--onnx-model", type=click.Path(path_type=Path), default="onnx_model", show_default=True)
@click.option("--reviews", default=20_000, show_default=True)
@click.option("--files", default=40, show_default=True, help="That the reviews are dealt to, for Ray.")
@click.option("--rounds", default=1, show_default=True, help="Of each; medians are shown.")
def main(dataset: Path, onnx_model: Path, reviews: int, files: int, rounds: int) -> None:
    """Print the table as Markdown."""
    every = (review.text for split in ("train", "test") for review in read_reviews(dataset / f"{split}.csv"))
    texts = list(itertools.islice(every, reviews))
    command = [sys.executable, "-m", "toolkit", "-q", "predict-files", "--onnx-model", str(onnx_model.absolute())]
    cores = available_cores()
    usages: dict[str, list[Usage]] = {}
    with tempfile.TemporaryDirectory(prefix="scaling.") as name:
        folder = Path(name)
        whole = _write(folder / "whole.csv", texts)
        (folder / "parts").mkdir()
        for number in range(files):
            start, stop = len(texts) * number // files, len(texts) * (number + 1) // files
            _write(folder / "parts" / f"{number:04}.csv", texts[start:stop])
        for number_of_round in range(rounds):
            ways = {PLAIN: [str(whole), str(folder / "answers.csv")]}
            for workers in (1, cores):
                output = folder / f"out-{workers}-{number_of_round}"
                ways[f"--engine ray --concurrency {workers}"] = [
                    "--engine", "ray", "--concurrency", str(workers), str(folder / "parts"), str(output),
                ]  # fmt: skip
            for way, options in ways.items():
                usages.setdefault(way, []).append(run_measured([*command, *options], None))
                click.echo(f"{way}: {usages[way][-1]}", err=True)
        plain = _answers([folder / "answers.csv"])
        same = [_answers(sorted((folder / f"out-{workers}-0").glob("*.csv"))) == plain for workers in (1, cores)]
    seconds = {way: statistics.median(usage.seconds for usage in measured) for way, measured in usages.items()}
    one, all_cores = (seconds[f"--engine ray --concurrency {workers}"] for workers in (1, cores))
    click.echo(as_markdown([
        ["command", "workers", "s", "reviews/s"],
        *([way, f"{1 if way.endswith(' 1') else cores}", f"{each:.1f}", f"{len(texts) / each:.1f}"]
          for way, each in seconds.items()),
    ]))  # fmt: skip
    click.echo(
        f"\n{len(texts):,} reviews in {files} files; {cores} workers {one / all_cores:.2f} x one; "
        f"Ray {all_cores / seconds[PLAIN] - 1:+.1%} against the plain predictor; "
        f"answers {'the same to the bit' if all(same) else 'DIFFER'}"
    )


def _write(path: Path, texts: Sequence[str]) -> Path:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["text"])
        writer.writerows([text] for text in texts)
    return path


def _answers(paths: Sequence[Path]) -> list[tuple[str, str]]:
    """Label and score of every row, as written."""
    answers = []
    for path in paths:
        with path.open(newline="", encoding="utf-8") as file:
            answers += [(row["label"], row["score"]) for row in csv.DictReader(file)]
    return answers


if __name__ == "__main__":
    main()
