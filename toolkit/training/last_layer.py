"""The last layer of a DistilBERT where only its first token is read: the classifier's, in training and in its evaluations."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from transformers.models.distilbert.modeling_distilbert import DistilBertForSequenceClassification, TransformerBlock


class FirstTokenAlone:
    """A model whose last layer computes the first token's output and no other's, within `in_use`.

    Its keys and values are of all tokens still. Of a base of six layers that leaves out a seventh of the products.

    Args:
        model: A DistilBERT classifier or what wraps one; of others, and of one whose last layer is wrapped, nothing is changed.
    """

    def __init__(self, model: torch.nn.Module) -> None:
        classifiers = [each for each in model.modules() if isinstance(each, DistilBertForSequenceClassification)]
        layers = [each.distilbert.transformer.layer[-1] for each in classifiers]
        # PEFT wraps a layer that it trains whole; the wrapper has no parts of a layer's.
        self._blocks = [each for each in layers if type(each) is TransformerBlock]

    @contextmanager
    def in_use(self) -> Iterator[None]:
        """Compute so."""
        for block in self._blocks:
            block.__class__ = _LastBlock  # and not a function bound to it, which a copy on another GPU would call
        try:
            yield
        finally:
            for block in self._blocks:
                block.__class__ = TransformerBlock


class _LastBlock(TransformerBlock):
    def forward(
        self,
        x: torch.Tensor,
        attn_mask: torch.Tensor | None = None,
        head_mask: torch.Tensor | None = None,
        output_attentions: bool = False,
    ) -> tuple[torch.Tensor, ...]:
        """As of any block, whose names these are, with `x` (B, N, dim); (B, 1, dim)."""
        if output_attentions or head_mask is not None:
            whole: tuple[torch.Tensor, ...] = super().forward(x, attn_mask, head_mask, output_attentions)
            return whole
        if attn_mask is not None and attn_mask.dim() == 4:  # a row for each query; otherwise one for all
            attn_mask = attn_mask[:, :, :1]
        first = x[:, :1]
        attended = self.sa_layer_norm(self.attention(first, x, x, attn_mask)[0] + first)
        return (self.output_layer_norm(self.ffn(attended) + attended),)
