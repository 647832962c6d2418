"""Dropout on a CPU from sixteen random bits a number, where torch's own draws a float one after the other: a third of a step."""

import math
from collections.abc import Sequence
from typing import Any

import torch

from toolkit.training.replacing import Replacing

_dropout = torch.nn.functional.dropout
_LEVELS = 2**16


class Dropout(Replacing):
    """Within it, `torch.nn.functional.dropout` on a CPU is ours."""

    def __init__(self) -> None:
        super().__init__(_dropout, _of_a_cpu)


def kept(shape: Sequence[int], share: float, dtype: torch.dtype) -> torch.Tensor:
    """Which numbers dropout keeps, `shape`: 1 for these, 0 for the others, drawn from torch's generator.

    Args:
        shape: Of the result.
        share: What is dropped, over 0 and under 1; taken as `share_dropped` says.
        dtype: Of the result.
    """
    count = math.prod(shape)
    bits = torch.empty(-(-count // 4), dtype=torch.int64).random_(-(2**63), None).view(torch.int16)[:count]
    result = torch.empty(count, dtype=dtype)
    return torch.ge(bits, round(share * _LEVELS) - _LEVELS // 2, out=result).view(tuple(shape))


def share_dropped(share: float) -> float:
    """The nearest share that sixteen bits can decide."""
    return round(share * _LEVELS) / _LEVELS


def _of_a_cpu(input: torch.Tensor, p: float = 0.5, training: bool = True, inplace: bool = False) -> torch.Tensor:
    """As torch's own, whose names these are."""
    if (
        not (training and 0 < share_dropped(p) < 1)
        or inplace
        or not (input.device.type == "cpu" and input.is_floating_point())
    ):
        return _dropout(input, p, training, inplace)
    result: torch.Tensor = _Dropped.apply(input, p)  # type: ignore[no-untyped-call]
    return result


class _Dropped(torch.autograd.Function):
    """Srivastava et al. 2014 (JMLR 15), scaled while training."""

    @staticmethod
    def forward(ctx: Any, given: torch.Tensor, share: float) -> torch.Tensor:  # noqa: ANN401 - takes any attribute
        mask = kept(given.shape, share, given.dtype)
        ctx.save_for_backward(mask)
        ctx.scale = 1 / (1 - share_dropped(share))
        return given.mul(mask).mul_(ctx.scale)

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor, None]:  # noqa: ANN401
        (mask,) = ctx.saved_tensors
        return gradient.mul(mask).mul_(ctx.scale), None
