"""How much arithmetic a review is, and how much the machine can do."""

import time
from collections.abc import Callable, Iterable, Mapping
from importlib.util import find_spec
from typing import Any

import numpy as np

_PEAK_SIDE = 2048  # a product of 17 GFLOP: past the caches, a quarter of a second on two AVX2 cores
_PEAK_SECONDS = 0.7
# DistilBERT's names, and those of the other encoders.
_SIZES = {
    "dim": "hidden_size",
    "hidden_dim": "intermediate_size",
    "n_layers": "num_hidden_layers",
    "n_heads": "num_attention_heads",
}


def model_sizes(config: Mapping[str, Any]) -> dict[str, int]:
    """`dim`, `hidden_dim`, `n_layers` and `n_heads` of any encoder's configuration."""
    return {name: config[name] if name in config else config[other] for name, other in _SIZES.items()}


def flops_per_review(config: Mapping[str, Any], tokens: int) -> float:
    """Floating-point operations of one forward pass, a multiplication and an addition counted as two.

    With width d, inner width h, L layers and T tokens: each token costs 2 L (4 d² + 2 d h) in the linear layers (q, k, v
    and out are d x d, the two of the feed-forward d x h and h x d) and 4 L T d in the attention's two products, q k' and
    its product with v. The head adds 2 d² + 4 d a review. Embeddings, normalisation, softmax and GELU are left out, and what
    other encoders have besides, as DeBERTa's products with positions.

    Args:
        config: What `model_sizes` takes.
        tokens: T, padding not counted.
    """
    sizes = model_sizes(config)
    d, h, layers = sizes["dim"], sizes["hidden_dim"], sizes["n_layers"]
    linear = 2 * layers * (4 * d * d + 2 * d * h)
    attention = 4 * layers * tokens * d
    return float(tokens * (linear + attention) + 2 * d * d + 4 * d)


def total_flops(config: Mapping[str, Any], lengths: Iterable[int]) -> float:
    """The sum of `flops_per_review` over reviews of these lengths in tokens."""
    return sum(flops_per_review(config, tokens) for tokens in lengths)


def measure_peak(seconds: float = _PEAK_SECONDS) -> dict[str, float]:
    """The fastest float32 product of two large matrices on every core, in GFLOP/s, by library: numpy, and torch's.

    Args:
        seconds: spent on each; the best of what fits in, of two at least.
    """
    generator = np.random.default_rng(0)
    left, right = (generator.standard_normal((_PEAK_SIDE, _PEAK_SIDE), dtype=np.float32) for _ in range(2))
    products: dict[str, Callable[[], object]] = {"numpy": lambda: left @ right}
    if find_spec("torch") is not None:
        import torch

        products["torch"] = lambda: torch.from_numpy(left) @ torch.from_numpy(right)
    return {name: 2e-9 * _PEAK_SIDE**3 / _least(product, seconds) for name, product in products.items()}


def _least(action: Callable[[], object], seconds: float) -> float:
    """The least time of an action, repeated for so many seconds."""
    times: list[float] = []
    while len(times) < 2 or sum(times) < seconds:
        started = time.perf_counter()
        action()
        times.append(time.perf_counter() - started)
    return min(times)
