"""The casts of a training step in bfloat16 on a CPU: as few as can be, and the same numbers."""

import copy
from collections import Counter

import pytest
import torch
from peft import LoraConfig, get_peft_model
from torch.utils._python_dispatch import TorchDispatchMode

from toolkit.training.casts import FewerCasts


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


def test_an_activation_is_cast_once_and_never_back(model):
    with _Casts() as usual:
        expected = _step(model, _given())
    with _Casts() as ours, FewerCasts(model).in_use():
        found = _step(model, _given())
    shape, back = ((5, 3, 8), torch.float32, torch.bfloat16), ((5, 3, 8), torch.bfloat16, torch.float32)
    assert usual.counted[shape] > ours.counted[shape]
    assert ours.counted[shape] == 2  # forwards that of the residual stream, backwards that of its gradient
    assert ours.counted[back] < usual.counted[back]
    assert [each.dtype for each in found] == [each.dtype for each in expected] == [torch.float32] * len(found)


def test_what_changes_in_place_is_cast_again():
    layer, given = torch.nn.Linear(4, 4), torch.ones(2, 4)
    with torch.autocast("cpu", torch.bfloat16), FewerCasts(layer).in_use():
        before = layer(given)
        given.mul_(2)
        after = layer(given)
    assert not torch.equal(before, after)


@pytest.mark.parametrize("precision", [torch.float32, torch.float16])
def test_other_precisions_are_left_alone(model, precision):
    expected = _step(model, _given(), precision)
    with FewerCasts(model).in_use():
        found = _step(model, _given(), precision)
    for ours, usual in zip(found, expected, strict=True):
        torch.testing.assert_close(ours, usual)


def test_peft_casts_again_afterwards(model):
    with FewerCasts(model).in_use():
        pass
    assert all(layer.cast_input_dtype_enabled for layer in model.modules() if hasattr(layer, "lora_A"))


def _exactly(model, given):
    """In float64."""
    exact = copy.deepcopy(model).double()
    return [each.float() for each in _step(exact, given.detach().double().requires_grad_(), torch.float32)]


def test_results_and_gradients_are_as_near_to_exact_ones_as_autocasts(model):
    expected, usual = _exactly(model, _given()), _step(model, _given())
    with FewerCasts(model).in_use():
        found = _step(model, _given())
    for exact, ours, theirs in zip(expected, found, usual, strict=True):
        error, other = (float((each - exact).norm() / exact.norm()) for each in (ours, theirs))
        assert error < max(0.01, 1.5 * other)


def test_frozen_weights_are_cast_once_and_those_that_learn_at_every_step(model):
    layer = torch.nn.Linear(8, 8)
    casts = FewerCasts(torch.nn.ModuleList([model, layer]))
    for expected in (4 + 1, 1):
        with _Casts() as counted, casts.in_use(), torch.autocast("cpu", torch.bfloat16):
            layer(model(_given()))
        assert counted.counted[(8, 8), torch.float32, torch.bfloat16] == expected
    before = model(_given())
    with torch.no_grad():
        model.get_base_model().out.base_layer.weight.mul_(2)
    with casts.in_use():
        assert not torch.equal(_step(model, _given())[0], before)
