"""In what a step's products are computed: bfloat16 where the hardware is made for it."""

import torch

from toolkit.training.compat import cpu_bf16_units


def computes_in_bf16(precision: str) -> bool:
    """Whether products are computed in bfloat16; weights, gradients and sums stay in float32 either way.

    `auto` follows the hardware: a GPU with bf16 units, or a CPU with AMX or AVX512-BF16, where a step took half its time.
    """
    return precision == "bf16" or (precision == "auto" and _bf16_units() is not None)


def describe_precision(precision: str) -> str:
    """The precision of the products, and why where `auto` chose it."""
    if precision != "auto":
        return precision
    units = _bf16_units()
    return f"bf16, for which the {units} is made" if units else "fp32"


def _bf16_units() -> str | None:
    if torch.cuda.is_available():
        return "GPU" if torch.cuda.is_bf16_supported() else None
    units = cpu_bf16_units()
    return f"CPU's {units}" if units else None
