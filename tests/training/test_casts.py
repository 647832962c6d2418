"""The casts of a training step in bfloat16 on a CPU: as few as can be, and the same numbers."""

from collections import Counter

import pytest
import torch
from peft import LoraConfig, get_peft_model
from torch.utils._python_dispatch import TorchDispatchMode

from toolkit.training.casts import fewer_casts


class _Casts(TorchDispatchMode):
    """Counts what is cast, by shape and the types before and after."""

    def __init__(self) -> None:
        super().__init__()
        self.counted: Counter = Counter()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        if func is torch.ops.aten._to_copy.default:
            self.counted[tuple(result.shape), args[0].dtype, result.dtype] += 1
        return result


class _Attention(torch.nn.Module):
    """The layers that share an input, and one that reads what bfloat16 computed."""

    def __init__(self) -> None:
        super().__init__()
        self.q, self.k, self.v, self.out = (torch.nn.Linear(8, 8) for _ in range(4))

    def forward(self, given):
        return given + self.out(torch.sigmoid(self.q(given)) * self.k(given) + self.v(given))


@pytest.fixture
def model():
    torch.manual_seed(1)
    found = get_peft_model(_Attention(), LoraConfig(r=2, target_modules=["q", "k", "v", "out"]))
    for name, weight in found.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(weight)
    return found


def _given() -> torch.Tensor:
    return torch.randn(5, 3, 8, generator=torch.Generator().manual_seed(2)).requires_grad_()


def _step(model, given, precision=torch.bfloat16):
    model.zero_grad()
    with torch.autocast("cpu", precision, enabled=precision != torch.float32):
        result = model(given)
    result.sum().backward()
    return [result.detach(), given.grad, *(each.grad for each in model.parameters() if each.grad is not None)]


def test_an_activation_is_cast_once_and_never_back_and_the_numbers_are_the_same(model):
    with _Casts() as usual:
        expected = _step(model, _given())
    with _Casts() as ours, fewer_casts(model):
        found = _step(model, _given())
    shape, back = ((5, 3, 8), torch.float32, torch.bfloat16), ((5, 3, 8), torch.bfloat16, torch.float32)
    assert usual.counted[shape] > ours.counted[shape]
    assert ours.counted[shape] == 2  # forwards that of the residual stream, backwards that of its gradient
    assert ours.counted[back] < usual.counted[back]
    assert torch.equal(found[0], expected[0])
    for ours_, usual_ in zip(found[1:], expected[1:], strict=True):
        assert ours_.dtype == usual_.dtype == torch.float32
        assert float((ours_ - usual_).norm() / usual_.norm()) < 0.01


def test_what_changes_in_place_is_cast_again():
    layer, given = torch.nn.Linear(4, 4), torch.ones(2, 4)
    with torch.autocast("cpu", torch.bfloat16), fewer_casts(layer):
        before = layer(given)
        given.mul_(2)
        after = layer(given)
    assert not torch.equal(before, after)


@pytest.mark.parametrize("precision", [torch.float32, torch.float16])
def test_other_precisions_are_left_alone(model, precision):
    expected = _step(model, _given(), precision)
    with fewer_casts(model):
        found = _step(model, _given(), precision)
    for ours, usual in zip(found, expected, strict=True):
        torch.testing.assert_close(ours, usual)


def test_peft_casts_again_afterwards(model):
    with fewer_casts(model):
        pass
    assert all(layer.cast_input_dtype_enabled for layer in model.modules() if hasattr(layer, "lora_A"))
