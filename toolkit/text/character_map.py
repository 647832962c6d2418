"""SentencePiece's map of characters to what stands for them, looked at before the library reads it.

The map is a trie in an array of 32-bit units (darts-clone's double array) and, behind it, the texts, each ended by a zero.
The library follows every number in it without asking whether it leads out of the array or into the middle of a
character, which ends in a panic, and a text may be of any length, which would be written for each character of a review.
"""

import base64

import numpy as np

_LONGEST_TEXT = 64  # bytes for a character; NFKC's longest has 33
_IS_TEXT = 1 << 31  # of a unit that names a text, not a step


def is_character_map(encoded: str) -> bool:
    """Whether a `precompiled_charsmap` leads nowhere but to texts of its own, none of them long.

    Raises:
        ValueError: it is no base64, or its texts no UTF-8.
    """
    content = base64.b64decode(encoded, validate=True)
    size = int.from_bytes(content[:4], "little")
    if len(content) < 4 or size % 1024 or not 0 < size <= len(content) - 4:
        return False
    units = np.frombuffer(content, "<u4", size // 4, offset=4).astype(np.int64)
    texts = content[4 + size :]
    texts.decode("utf-8")
    ends = np.flatnonzero(np.frombuffer(texts, np.uint8) == 0)
    if not len(ends) or ends[-1] != len(texts) - 1:
        return False
    begins = np.concatenate([[0], ends[:-1] + 1])
    steps = (units & _IS_TEXT) == 0
    offsets = (units >> 10) << ((units & (1 << 9)) >> 6)
    targets = (np.arange(len(units)) ^ offsets)[steps]
    if targets.max(initial=0) | 0xFF >= len(units):  # from there a step goes on by any byte
        return False
    named = units[targets[(units[steps] >> 8) & 1 == 1]] & (_IS_TEXT - 1)
    return bool(np.isin(named, begins).all() and (ends - begins).max() <= _LONGEST_TEXT)
