"""The attention of a training step or an evaluation on a CPU, one review at a time.

torch's own kernel for CPUs computes the backward pass in blocks of a few rows, and falls back on plain operations on the whole
batch where there is dropout. The scores of one review, (heads, tokens, tokens), or of as many of its heads as fit, stay in the
processor's cache, where whole matrix products take a third of the time; see docs/decisions.md.
"""

from typing import Any

import torch

from toolkit.training.dropout import kept as kept_by_dropout
from toolkit.training.dropout import share_dropped
from toolkit.training.replacing import Replacing

_attention = torch.nn.functional.scaled_dot_product_attention
_BLOCK = 2**21  # bytes of scores at once: 12 heads of 288 tokens, 4 of 512, which took 1.3 times as long all at once


class ReviewwiseAttention(Replacing):
    """Within it, `torch.nn.functional.scaled_dot_product_attention` on a CPU is ours, in bfloat16 or with dropout.

    What it is not made for goes to torch: other devices and types, causal or grouped attention, queries of another text than
    the keys, and float32 without dropout, where torch's own is as quick.
    """

    def __init__(self) -> None:
        super().__init__(_attention, _attend)


def _attend(*args: Any, **kwargs: Any) -> torch.Tensor:  # noqa: ANN401 - as torch's own
    ours = _reviewwise(*args, **kwargs)
    return _attention(*args, **kwargs) if ours is None else ours


def _reviewwise(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attn_mask: torch.Tensor | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    scale: float | None = None,
    enable_gqa: bool = False,
) -> torch.Tensor | None:
    """As torch's own, whose names these are; None for what is left to it."""
    if (
        query.device.type != "cpu"
        or not (query.dtype == key.dtype == value.dtype)
        or not (query.dtype == torch.bfloat16 or (query.dtype == torch.float32 and dropout_p))
        or not (query.dim() == 4 and query.shape == key.shape == value.shape)
        or is_causal
        or enable_gqa
        or share_dropped(dropout_p) == 1
    ):
        return None
    if attn_mask is not None:
        if attn_mask.requires_grad or attn_mask.dim() != 4:
            return None
        if attn_mask.stride(2) == 0:  # one row for all queries
            attn_mask = attn_mask[:, :, :1]
        if attn_mask.dtype == torch.bool:
            attn_mask = torch.zeros(attn_mask.shape, dtype=query.dtype).masked_fill_(~attn_mask, -torch.inf)
        heads, tokens = query.shape[1], query.shape[2]
        attn_mask = attn_mask.to(query.dtype).expand(query.shape[0], -1, -1, -1)
        if not (attn_mask.shape[1] in (1, heads) and attn_mask.shape[3] == tokens):
            return None
    ours: torch.Tensor = _Attention.apply(  # type: ignore[no-untyped-call]
        query, key, value, attn_mask, dropout_p, query.shape[-1] ** -0.5 if scale is None else scale
    )
    return ours


class _Attention(torch.autograd.Function):
    """softmax(q kᵀ · scale + mask) v, and its gradients, as in Dao et al. 2022 (arXiv:2205.14135), appendix B.

    Unlike there, the weights are kept for the backward pass: computed again, they cost 7% of a step.
    """

    @staticmethod
    def forward(
        ctx: Any,  # noqa: ANN401 - takes any attribute
        query: torch.Tensor,
        key: torch.Tensor,
        value: torch.Tensor,
        mask: torch.Tensor | None,
        dropout: float,
        scale: float,
    ) -> torch.Tensor:
        query, key, value = (query * scale).contiguous(), key.contiguous(), value.contiguous()
        result = _like_projections(query)
        kept, dropped, learns = [], [], any(ctx.needs_input_grad)
        blind = _blind(mask)
        for block in _blocks(query):
            scores = torch.bmm(query[block], key[block].transpose(1, 2))
            if mask is not None:
                scores += _of_heads(mask, block)
            weights = torch.softmax(scores, dim=-1)  # (heads of the block, tokens, tokens)
            if blind is not None:
                weights.masked_fill_(_of_heads(blind, block), 0)
            if learns:
                kept.append(weights)
            if dropout:
                mask_of_block = kept_by_dropout(weights.shape, dropout, weights.dtype)
                weights = weights * mask_of_block
                if learns:
                    dropped.append(mask_of_block)
            result[block] = torch.bmm(weights, value[block])
        result /= 1 - share_dropped(dropout)
        ctx.save_for_backward(query, key, value, result, *kept, *dropped)
        ctx.scale, ctx.dropout = scale, share_dropped(dropout)
        return result

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor | None, ...]:  # noqa: ANN401
        query, key, value, result, *rest = ctx.saved_tensors
        blocks = _blocks(query)
        kept, dropped = rest[: len(blocks)], rest[len(blocks) :]
        # Σⱼ Pᵢⱼ ∂Pᵢⱼ = Σ oᵢ ∂oᵢ, which needs the small matrices only.
        inner = (gradient.float() * result.float()).sum(dim=-1, keepdim=True).to(query.dtype)
        gradient = gradient.contiguous() / (1 - ctx.dropout)
        by_query, by_key, by_value = (_like_projections(query) for _ in range(3))
        for number, block in enumerate(blocks):
            weights = kept[number]
            by_scores = torch.bmm(gradient[block], value[block].transpose(1, 2))
            if dropped:
                by_scores.mul_(dropped[number])
            by_scores.sub_(inner[block]).mul_(weights)
            if dropped:
                weights = weights * dropped[number]
            by_value[block] = torch.bmm(weights.transpose(1, 2), gradient[block])
            by_query[block] = torch.bmm(by_scores, key[block])
            by_key[block] = torch.bmm(by_scores.transpose(1, 2), query[block])
        return by_query.mul_(ctx.scale), by_key, by_value, None, None, None


def _blocks(query: torch.Tensor) -> list[tuple[int, slice]]:
    """The heads of one review that are computed at once, for every review of a batch, (B, heads, tokens, columns)."""
    reviews, heads, tokens, _ = query.shape
    at_once = max(1, _BLOCK // (tokens * tokens * query.element_size()))
    return [(review, slice(head, head + at_once)) for review in range(reviews) for head in range(0, heads, at_once)]


def _of_heads(mask: torch.Tensor, block: tuple[int, slice]) -> torch.Tensor:
    """Of a mask (B, 1 or heads, ...) that of some heads of a review, (1 or heads of the block, ...)."""
    return mask[block] if mask.shape[1] > 1 else mask[block[0]]


def _blind(mask: torch.Tensor | None) -> torch.Tensor | None:
    """The queries from which every key is hidden, of whose scores there is no softmax; as torch's own, they attend to nothing.

    Padding is, where a model's tokens look at their neighbours alone.

    Args:
        mask: (B, 1 or heads, 1 or tokens, tokens), added to the scores.

    Returns:
        (B, 1 or heads, 1 or tokens, 1), or None where there is none.
    """
    blind = None if mask is None else mask.amax(dim=-1, keepdim=True) == -torch.inf
    return blind if blind is not None and blind.any() else None


def _like_projections(heads: torch.Tensor) -> torch.Tensor:
    """An empty (B, heads, tokens, columns) that lies in memory as the models' projections do, (B, tokens, heads, columns)."""
    return torch.empty_like(heads.transpose(1, 2), memory_format=torch.contiguous_format).transpose(1, 2)
