"""A function of torch that is another one for a while, wherever it is called from."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch.overrides import TorchFunctionMode


class Replacing(TorchFunctionMode):
    """Within it, a function of torch is another one, which may call torch's own.

    Args:
        function: Of torch.
        ours: What takes its place, with the same arguments.
    """

    def __init__(self, function: Callable[..., torch.Tensor], ours: Callable[..., torch.Tensor]) -> None:
        super().__init__()
        self._function, self._ours = function, ours

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:  # noqa: ANN401 - any function of torch
        return (self._ours if func is self._function else func)(*args, **(kwargs or {}))
