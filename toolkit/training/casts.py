"""Casts to bfloat16 that a training step on a CPU need not make: each of an activation or a frozen weight once, none to float32 and back."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from peft.helpers import disable_input_dtype_casting
from peft.tuners.tuners_utils import BaseTunerLayer

from toolkit.training.replacing import Replacing

_linear = torch.nn.functional.linear


class FewerCasts:
    """A model that casts so within `in_use`, where autocast computes in bfloat16.

    The residual stream is float32, and queries, keys and values, each with its LoRA, would cast it six times. Autocast casts a
    frozen weight at every use. PEFT casts a layer's input to the type of LoRA's weights, which autocast takes back at once:
    it is told not to.

    Args:
        model: A model or what wraps one; its frozen weights are kept in bfloat16 too, from their first use on.
    """

    def __init__(self, model: torch.nn.Module) -> None:
        # A list of them, for PEFT looks through all modules of what it is given, at every step.
        self._layers = torch.nn.ModuleList(each for each in model.modules() if isinstance(each, BaseTunerLayer))
        self._mode = _CastOnce()

    @contextmanager
    def in_use(self) -> Iterator[None]:
        """Cast so."""
        with disable_input_dtype_casting(self._layers), self._mode:
            try:
                yield
            finally:
                self._mode.forget()


class _CastOnce(Replacing):
    """Remembers the last input of a linear layer, for those that share one are called one after the other, and frozen weights."""

    def __init__(self) -> None:
        super().__init__(_linear, self._linear)
        self._input: torch.Tensor | None = None
        self._version = 0  # which counts changes in place
        self._cast: torch.Tensor | None = None
        self._frozen: dict[int, tuple[torch.Tensor, int, torch.Tensor]] = {}

    def _linear(self, *args: Any, **kwargs: Any) -> torch.Tensor:  # noqa: ANN401 - as torch's own
        if args and _is_cast(args[0]):
            args = (self._activation(args[0]), *map(self._weight, args[1:]))
        return _linear(*args, **kwargs)

    def _activation(self, given: torch.Tensor) -> torch.Tensor:
        if given.dtype == torch.bfloat16:
            return given
        if self._cast is None or self._input is not given or self._version != given._version:
            self._input, self._version, self._cast = given, given._version, given.to(torch.bfloat16)
        return self._cast

    def _weight(self, given: torch.Tensor | None) -> torch.Tensor | None:
        if given is None or given.requires_grad or given.dtype != torch.float32:
            return given  # autocast's
        kept = self._frozen.get(id(given))
        if kept is None or kept[1] != given._version:
            kept = self._frozen[id(given)] = (given, given._version, given.to(torch.bfloat16))
        return kept[2]

    def forget(self) -> None:
        """Let go of the last input."""
        self._input = self._cast = None


def _is_cast(given: torch.Tensor) -> bool:
    """Whether autocast computes a linear layer of this in bfloat16, on a CPU."""
    return (
        given.device.type == "cpu"
        and given.dtype in (torch.float32, torch.bfloat16)
        and torch.is_autocast_enabled("cpu")
        and torch.get_autocast_dtype("cpu") == torch.bfloat16
    )
