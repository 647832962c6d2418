"""The linear layers of a training step in bfloat16 on a CPU: what is cast, is cast once, and LoRA adds to its layer's result in place."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Any

import torch
from peft.helpers import disable_input_dtype_casting
from peft.tuners.lora import Linear as LoraLinear
from torch.overrides import TorchFunctionMode

_linear = torch.nn.functional.linear


class FewerCasts:
    """A model whose linear layers are computed so within `in_use`.

    The residual stream is float32, and queries, keys and values, each with its LoRA, would cast it six times; autocast casts
    frozen weights anew at every use; PEFT casts a layer's input to the type of LoRA's weights, which autocast takes back at
    once. All three are float32 and rounded to bfloat16 here as there.

    Args:
        model: A model or what wraps one; its frozen weights are kept in bfloat16 too, from their first use on.
    """

    def __init__(self, model: torch.nn.Module) -> None:
        self._layers = torch.nn.ModuleList(each for each in model.modules() if type(each) is LoraLinear)
        self._mode = _CastOnce()

    @contextmanager
    def in_use(self) -> Iterator[None]:
        """Compute so, where autocast would cast to bfloat16 on a CPU."""
        with disable_input_dtype_casting(self._layers), self._mode, ExitStack() as stack:
            for layer in self._layers:
                layer.forward = partial(self._with_lora, layer)
                stack.callback(delattr, layer, "forward")
            yield
        self._mode.forget()

    def _with_lora(self, layer: LoraLinear, x: torch.Tensor, *args: Any, **kwargs: Any) -> torch.Tensor:  # noqa: ANN401
        """As PEFT's own `forward`, to which it leaves whatever is not plain LoRA beside a frozen layer."""
        base = layer.get_base_layer()
        frozen = not any(each.requires_grad for each in base.parameters(recurse=False))
        names = [name for name in layer.active_adapters if name in layer.lora_A]
        if (
            len(names) != 1 or names[0] in layer.lora_variant or layer.disable_adapters or layer.merged or args or kwargs
            or not frozen or layer.lora_bias[names[0]] or layer.fan_in_fan_out or not _is_cast(x)
        ):  # fmt: skip
            result: torch.Tensor = LoraLinear.forward(layer, x, *args, **kwargs)
            return result
        once, (name,) = self._mode, names
        x = once.activation(x)
        result = _Lora.apply(  # type: ignore[no-untyped-call]
            x, layer.lora_dropout[name](x), once.weight(base.weight), once.weight(base.bias), layer.lora_A[name].weight,
            layer.lora_B[name].weight, layer.scaling[name],
        )  # fmt: skip
        return result


class _Lora(torch.autograd.Function):
    """x Wᵀ + b + s (d Aᵀ) Bᵀ (Hu et al. 2021, arXiv:2106.09685) in bfloat16, with d the input after dropout."""

    @staticmethod
    def forward(
        ctx: Any,  # noqa: ANN401 - takes any attribute
        x: torch.Tensor,
        dropped: torch.Tensor,
        weight: torch.Tensor,
        bias: torch.Tensor | None,
        a: torch.Tensor,
        b: torch.Tensor,
        scaling: float,
    ) -> torch.Tensor:
        rows, a, b = dropped.flatten(0, -2), a.to(x.dtype), b.to(x.dtype)
        inner = rows @ a.T  # (tokens, r)
        result = _linear(x, weight, bias)
        result.view(-1, result.shape[-1]).addmm_(inner, b.T, alpha=scaling)
        ctx.save_for_backward(rows, inner, weight, a, b)
        ctx.scaling, ctx.one_input = scaling, dropped is x
        return result

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor | None, ...]:  # noqa: ANN401
        rows, inner, weight, a, b = ctx.saved_tensors
        shape = (*gradient.shape[:-1], a.shape[1])
        gradient = gradient.flatten(0, -2)
        by_inner = (gradient @ b).mul_(ctx.scaling)  # (tokens, r)
        by_b = (gradient.T @ inner).float().mul_(ctx.scaling)
        by_a = (by_inner.T @ rows).float()
        by_x = by_dropped = None
        if ctx.needs_input_grad[0]:
            by_x = gradient @ weight
            if ctx.one_input:
                by_x.addmm_(by_inner, a)
            by_x = by_x.view(shape)
        if ctx.needs_input_grad[1] and not ctx.one_input:
            by_dropped = (by_inner @ a).view(shape)
        return by_x, by_dropped, None, None, by_a, by_b, None


class _CastOnce(TorchFunctionMode):
    """Remembers the last input of a linear layer, for those that share one are called one after the other, and frozen weights."""

    def __init__(self) -> None:
        super().__init__()
        self._input: torch.Tensor | None = None
        self._version = 0  # which counts changes in place
        self._cast: torch.Tensor | None = None
        self._frozen: dict[int, tuple[torch.Tensor, int, torch.Tensor]] = {}

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:  # noqa: ANN401 - any function of torch
        if func is _linear and args and _is_cast(args[0]):
            args = (self.activation(args[0]), *map(self.weight, args[1:]))
        return func(*args, **(kwargs or {}))

    def activation(self, given: torch.Tensor) -> torch.Tensor:
        """An input in bfloat16."""
        if given.dtype == torch.bfloat16:
            return given
        if self._cast is None or self._input is not given or self._version != given._version:
            self._input, self._version, self._cast = given, given._version, given.to(torch.bfloat16)
        return self._cast

    def weight(self, given: torch.Tensor | None) -> torch.Tensor | None:
        """A weight or a bias in bfloat16 where it is frozen; one that learns is left to autocast."""
        if given is None or given.requires_grad or given.dtype != torch.float32:
            return given
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
