"""A batch in parts, whose gradients add up to the batch's and need less memory on the way."""

from collections.abc import Mapping

import torch

_PADDED = ("input_ids", "attention_mask", "token_type_ids")


def split_batch(inputs: Mapping[str, torch.Tensor], tokens: int) -> list[dict[str, torch.Tensor]]:
    """A batch in parts of some `tokens` at most, or of one text: those of similar length together, with as little padding.

    Args:
        inputs: `input_ids` and `attention_mask`, (B, N), and what else there is of each text, (B, ...).
        tokens: The most tokens of a part, padding included.
    """
    if inputs["input_ids"].numel() <= tokens:
        return [dict(inputs)]
    mask = inputs["attention_mask"].bool()
    lengths = mask.sum(dim=1)
    waiting, parts = lengths.argsort(descending=True, stable=True), []
    while len(waiting):
        size = max(1, tokens // int(lengths[waiting[0]]))
        chosen, waiting = waiting[:size], waiting[size:]
        seen = int(mask[chosen].any(dim=0).nonzero().max()) + 1  # columns, up to the padding at the end
        parts.append({name: each[chosen, :seen] if name in _PADDED else each[chosen] for name, each in inputs.items()})
    return parts
