"""The attention of a training step on a CPU against torch's own, and where it is used."""

from unittest import mock

import pytest
import torch
from torch.nn.functional import scaled_dot_product_attention

from toolkit.training import attention
from toolkit.training.attention import ReviewwiseAttention

SHAPE = (3, 4, 37, 8)  # reviews, heads, tokens, columns


@pytest.fixture(params=[None, 3 * 2 * 37 * 37], ids=["a review at a time", "three of its heads at a time"])
def block(request, monkeypatch):
    if request.param:
        monkeypatch.setattr(attention, "_BLOCK", request.param)


def _inputs(dtype: torch.dtype, shape: tuple[int, ...] = SHAPE) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    return [torch.randn(shape, generator=generator).to(torch.bfloat16).to(dtype).requires_grad_() for _ in range(3)]


def _results(inputs: list[torch.Tensor], **options: object) -> list[torch.Tensor]:
    """The attention and its three gradients."""
    result = scaled_dot_product_attention(*inputs, **options)
    weight = torch.randn(result.shape, generator=torch.Generator().manual_seed(2)).to(torch.bfloat16)
    result.backward(weight.to(result.dtype))
    gradients = [each.grad for each in inputs]
    assert all(each is not None for each in gradients)
    return [result.detach(), *gradients]  # type: ignore[list-item]


def _error(found: torch.Tensor, expected: torch.Tensor) -> float:
    return float((found.double() - expected.double()).norm() / expected.double().norm())


def _masks() -> dict[str, torch.Tensor | None]:
    seen = torch.ones(3, 1, 1, 37, dtype=torch.bool)
    seen[0, ..., 20:] = False
    return {
        "none": None,
        "bool": seen,
        "one row for each query": seen.expand(3, 1, 37, 37),
        "sum": torch.zeros(3, 1, 1, 37).masked_fill(~seen, torch.finfo(torch.float32).min),
        "some queries see nothing": seen.expand(3, 1, 37, 37) & (torch.arange(37) < 30)[:, None],
        "each head's own": torch.randn(3, 4, 37, 37, generator=torch.Generator().manual_seed(3)),
    }


@pytest.mark.usefixtures("block")
@pytest.mark.parametrize("mask", _masks())
@pytest.mark.parametrize("scale", [None, 0.1])
def test_attention_and_its_gradients_are_torchs(mask: str, scale: float | None) -> None:
    given = _masks()[mask]
    exact = given.double() if given is not None and given.is_floating_point() else given
    expected = _results(_inputs(torch.float64), attn_mask=exact, scale=scale)
    rounded = given.to(torch.bfloat16) if given is not None and given.is_floating_point() else given
    torchs = _results(_inputs(torch.bfloat16), attn_mask=rounded, scale=scale)
    with ReviewwiseAttention(), mock.patch.object(attention, "_Attention", wraps=attention._Attention) as used:
        ours = _results(_inputs(torch.bfloat16), attn_mask=rounded, scale=scale)
    assert used.apply.call_count == 1
    for found, other, exactly in zip(ours, torchs, expected, strict=True):
        assert found.dtype == torch.bfloat16
        assert found.shape == exactly.shape
        assert _error(found, exactly) < max(0.01, 2.5 * _error(other, exactly))


@pytest.mark.usefixtures("block")
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32])
def test_dropout_drops_its_share_and_its_gradients_are_those_of_what_was_kept(dtype: torch.dtype) -> None:
    query, key, value = _inputs(dtype, (2, 3, 64, 64))
    with torch.no_grad():
        value.copy_(torch.eye(64).expand(2, 3, 64, 64))  # the result is the weights then
    torch.manual_seed(5)
    with ReviewwiseAttention(), mock.patch.object(attention, "_Attention", wraps=attention._Attention) as used:
        weights = scaled_dot_product_attention(query, key, value, dropout_p=0.25)
    assert used.apply.call_count == 1
    dropped = weights == 0
    assert float(dropped.float().mean()) == pytest.approx(0.25, abs=0.02)
    gradient = torch.randn(weights.shape, generator=torch.Generator().manual_seed(6)).to(torch.bfloat16)
    weights.backward(gradient.to(dtype))

    exact = [each.detach().double().requires_grad_() for each in (query, key, value)]
    kept = torch.softmax(exact[0] @ exact[1].transpose(2, 3) / 8, dim=-1).masked_fill(dropped, 0) / 0.75
    expected = kept @ exact[2]
    expected.backward(gradient.double())
    assert _error(weights.detach(), expected.detach()) < 0.01
    for found, exactly in zip((query, key, value), exact, strict=True):
        assert found.grad is not None
        assert exactly.grad is not None
        assert _error(found.grad, exactly.grad) < 0.02


@pytest.mark.parametrize(
    ("change", "options"),
    [
        (lambda each: each.float().detach().requires_grad_(), {}),
        (lambda each: each, {"is_causal": True}),
        (lambda each: each, {"dropout_p": 1.0}),
    ],
    ids=["float32", "causal", "all dropped"],
)
def test_what_it_is_not_made_for_is_torchs(change, options) -> None:
    inputs = [change(each) for each in _inputs(torch.bfloat16)]
    expected = scaled_dot_product_attention(*inputs, **options)
    with ReviewwiseAttention(), mock.patch.object(attention, "_Attention") as used:
        found = scaled_dot_product_attention(*inputs, **options)
    used.apply.assert_not_called()
    assert torch.equal(found, expected)


def test_a_mask_without_a_dimension_for_the_heads_is_torchs() -> None:
    mask = torch.ones(37, 37, dtype=torch.bool).tril()
    expected = scaled_dot_product_attention(*_inputs(torch.bfloat16), attn_mask=mask)
    with ReviewwiseAttention():
        assert torch.equal(scaled_dot_product_attention(*_inputs(torch.bfloat16), attn_mask=mask), expected)


def test_a_query_of_another_length_than_its_keys_is_torchs() -> None:
    query, key, value = _inputs(torch.bfloat16)
    with ReviewwiseAttention():
        assert torch.equal(
            scaled_dot_product_attention(query[:, :, :5], key, value),
            scaled_dot_product_attention(query[:, :, :5], key, value),
        )


@pytest.mark.usefixtures("block")
def test_without_gradients_it_is_the_same() -> None:
    inputs = _inputs(torch.bfloat16)
    with ReviewwiseAttention():
        expected = scaled_dot_product_attention(*inputs)
        with torch.no_grad(), mock.patch.object(attention, "_Attention", wraps=attention._Attention) as used:
            found = scaled_dot_product_attention(*inputs)
    assert used.apply.call_count == 1
    assert torch.equal(found, expected)
    assert not found.requires_grad
