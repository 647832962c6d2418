"""The attention of a training step in bfloat16 on a CPU, torch's own and ours: prints the table of docs/decisions.md.

    python benchmarks/attention.py

Forward and backward pass of one layer of the shipped model, whole reviews of each length, in turn in every round.
"""

import statistics
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext

import click
import torch

from toolkit.benchmark.report import as_markdown
from toolkit.training.attention import ReviewwiseAttention

HEADS, COLUMNS = 12, 32  # of all-MiniLM-L6-v2


@click.command()
@click.option("--reviews", default=16, show_default=True, help="Reviews in a batch.")
@click.option("--tokens", default="32,128,288,512", show_default=True, help="Tokens of each, each number a row.")
@click.option("--dropout", default=0.0, show_default=True, help="Share of the attention's weights that are dropped.")
@click.option("--rounds", default=5, show_default=True, help="Medians are shown.")
@click.option("--threads", default=torch.get_num_threads(), show_default=True)
def main(reviews: int, tokens: str, dropout: float, rounds: int, threads: int) -> None:
    """Print the table as Markdown."""
    torch.set_num_threads(threads)
    ways: dict[str, Callable[[], AbstractContextManager[object]]] = {"torch": nullcontext, "ours": ReviewwiseAttention}
    table = [["tokens", "torch forward ms", "backward", "ours forward", "backward", "torch / ours"]]
    for length in map(int, tokens.split(",")):
        seconds: dict[str, list[tuple[float, float]]] = {name: [] for name in ways}
        for _ in range(rounds + 1):  # the first warms up
            for name, way in ways.items():
                seconds[name].append(_time(way, reviews, length, dropout))
        medians = [
            1000 * statistics.median(each[part] for each in seconds[name][1:]) for name in ways for part in (0, 1)
        ]
        ratio = (medians[0] + medians[1]) / (medians[2] + medians[3])
        table.append([str(length), *(f"{each:.1f}" for each in medians), f"{ratio:.1f}"])
    click.echo(as_markdown(table))


def _time(
    way: Callable[[], AbstractContextManager[object]], reviews: int, tokens: int, dropout: float
) -> tuple[float, float]:
    """Seconds of the forward and of the backward pass."""
    projections = [
        torch.randn(reviews, tokens, HEADS * COLUMNS, dtype=torch.bfloat16).requires_grad_() for _ in range(3)
    ]
    query, key, value = (each.view(reviews, tokens, HEADS, COLUMNS).transpose(1, 2) for each in projections)
    started = time.perf_counter()
    with way():
        result = torch.nn.functional.scaled_dot_product_attention(query, key, value, dropout_p=dropout)
    between = time.perf_counter()
    torch.autograd.backward(result, torch.ones_like(result))
    return between - started, time.perf_counter() - between


if __name__ == "__main__":
    main()
