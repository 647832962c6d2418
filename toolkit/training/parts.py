"""A batch in parts, whose gradients add up to the batch's and need less memory on the way."""

from collections.abc import Mapping

import torch

# oneDNN compiles its products for every number of rows and keeps the last thousand: with each number of tokens a run took
# twice the memory.
COLUMNS = 32
_PADDED = ("input_ids", "attention_mask", "token_type_ids")


def split_batch(inputs: Mapping[str, torch.Tensor], tokens: int) -> list[dict[str, torch.Tensor]]:
    """A batch in parts of some `tokens` at most, or of one text: those of similar length together, with little padding.

    Args:
        inputs: `input_ids` and `attention_mask`, (B, N), and what else there is of each text, (B, ...).
        tokens: The most tokens of a part, padding included.

    Returns:
        The parts, each of a multiple of `COLUMNS` columns, or of all N.
    """
    if inputs["input_ids"].numel() <= tokens:
        return [dict(inputs)]
    mask = inputs["attention_mask"].bool()
    lengths, width = mask.sum(dim=1), mask.shape[1]
    waiting, parts = lengths.argsort(descending=True, stable=True), []
    while len(waiting):
        size = max(1, tokens // min(width, _whole_columns(int(lengths[waiting[0]]))))
        chosen, waiting = waiting[:size], waiting[size:]
        seen = _whole_columns(int(mask[chosen].any(dim=0).nonzero().max()) + 1)  # up to the padding at the end
        parts.append({name: each[chosen, :seen] if name in _PADDED else each[chosen] for name, each in inputs.items()})
    return parts


def _whole_columns(count: int) -> int:
    return -(-count // COLUMNS) * COLUMNS
