"""Casts to bfloat16 that a training step on a CPU need not make: of an activation once, and of none to float32 and back."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from peft.helpers import disable_input_dtype_casting
from torch.overrides import TorchFunctionMode

_linear = torch.nn.functional.linear


@contextmanager
def fewer_casts(model: torch.nn.Module) -> Iterator[None]:
    """Within it, each activation of `model` that several linear layers read is cast once where autocast computes in bfloat16.

    The residual stream is float32, and queries, keys and values, each with its LoRA, would cast it six times. PEFT casts a
    layer's input to the type of LoRA's weights, which autocast takes back at once: it is told not to.
    """
    with disable_input_dtype_casting(model), _CastOnce():
        yield


class _CastOnce(TorchFunctionMode):
    """Remembers the last input of a linear layer: those that share one are called one after the other."""

    def __init__(self) -> None:
        super().__init__()
        self._input: torch.Tensor | None = None
        self._version = 0  # which counts changes in place
        self._cast: torch.Tensor | None = None

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:  # noqa: ANN401 - any function of torch
        if func is _linear and args and _is_cast(args[0]):
            args = (self._once(args[0]), *args[1:])
        return func(*args, **(kwargs or {}))

    def _once(self, given: torch.Tensor) -> torch.Tensor:
        if self._cast is None or self._input is not given or self._version != given._version:
            self._input, self._version, self._cast = given, given._version, given.to(torch.bfloat16)
        return self._cast


def _is_cast(given: torch.Tensor) -> bool:
    """Whether autocast is about to cast this to bfloat16."""
    return (
        given.device.type == "cpu"
        and given.dtype == torch.float32
        and torch.is_autocast_enabled("cpu")
        and torch.get_autocast_dtype("cpu") == torch.bfloat16
    )
