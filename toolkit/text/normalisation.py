"""The only normalisation in the project: mark-up, white space, what no encoder accepts."""

import re
import unicodedata

# Characters of a text that are looked at, so that a text of any size costs the same: some 40,000 tokens of English, a
# short novel, take 0.06 s and 25 MB to tokenise; 200,000 of punctuation, the worst seen, 0.13 s and 80 MB.
TEXT_LIMIT = 200_000
# Possessive: white space is never given back and tried again, which took quadratic time on "<br" and many spaces.
_LINE_BREAK_TAG = re.compile(r"<\s*+br\s*+/?\s*+>", re.IGNORECASE)
_LONE_SURROGATE = re.compile(r"[\ud800-\udfff]")


def normalise(text: str) -> str:
    """Turn `<br />` into a space, fold white space, and replace lone surrogates, which no encoder accepts.

    A text without a visible character is empty: BERT's own cleaning would leave nothing of it.
    """
    text = _LINE_BREAK_TAG.sub(" ", text)
    text = _LONE_SURROGATE.sub("\N{REPLACEMENT CHARACTER}", text)
    return " ".join(text.split()) if any(map(_is_visible, text)) else ""


def _is_visible(character: str) -> bool:
    """Whether it is no space, control or format character, no lone accent and no replacement of the unreadable."""
    category = unicodedata.category(character)
    unknown = category == "Cn"  # to this Python, maybe a newer emoji
    return unknown or (category[0] not in "CMZ" and character != "\N{REPLACEMENT CHARACTER}")
