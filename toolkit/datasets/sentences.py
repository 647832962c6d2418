"""The sentences of a text, by its punctuation: single ones are what a model of whole reviews reads worst."""

import re

_FEWEST, _MOST = 3, 60  # words; shorter ones say nothing, longer ones are lists
# A sentence ends at a mark, and the next begins with a capital, a digit or a quotation mark.
_END = re.compile(r"""[.!?…]["'”’)\]]{0,3}\s(?=["'“‘(\[]?[A-Z0-9])""")
_ABBREVIATION = re.compile(r"(?:\b(?:Mr|Mrs|Ms|Dr|St|Jr|Sr|Prof|vs|etc|No|Vol)|\b[A-Z])\.$")
_LONGEST_ABBREVIATION = 8  # characters, the mark and what is before it counted


def sentences(text: str) -> list[str]:
    """The sentences of a normalised text that have 3 to 60 words, in order."""
    found = []
    start = 0
    for end in _END.finditer(text):
        if _ABBREVIATION.search(text, max(start, end.start() + 1 - _LONGEST_ABBREVIATION), end.start() + 1):
            continue
        found.append(text[start : end.end() - 1])
        start = end.end()
    found.append(text[start:])
    return [each for each in found if _FEWEST <= len(each.split()) <= _MOST]
