"""The sentences of a text, by its punctuation: single ones are what a model of whole reviews reads worst."""

import re
from collections.abc import Callable, Iterator

_FEWEST, _MOST = 3, 60  # words; shorter ones say nothing, longer ones are lists
# A sentence ends at a mark, and the next begins with a capital, a digit or a quotation mark.
_END = re.compile(r"""[.!?…]["'”’)\]]{0,3}\s(?=["'“‘(\[]?[A-Z0-9])""")
_ABBREVIATION = re.compile(r"(?:\b(?:Mr|Mrs|Ms|Dr|St|Jr|Sr|Prof|vs|etc|No|Vol)|\b[A-Z])\.$")
_LONGEST_ABBREVIATION = 8  # characters, the mark and what is before it counted


def sentences(text: str) -> list[str]:
    """The sentences of a normalised text that have 3 to 60 words, in order."""
    return list(runs(text, lambda sentence: 1))


def runs(text: str, count: Callable[[str], int]) -> Iterator[str]:
    """Sentences in a row, from each of `sentences` on.

    Args:
        text: A normalised text.
        count: How many to take from a sentence on, 0 for none. Shorter sentences among them count and stay, for they may turn what
            is said; a run ends before a longer one.
    """
    every = _split(text)
    words = [len(sentence.split()) for sentence in every]
    for start, sentence in enumerate(every):
        if _FEWEST <= words[start] <= _MOST:
            stop = start + count(sentence)
            too_long = (place for place in range(start, min(stop, len(every))) if words[place] > _MOST)
            if run := every[start : next(too_long, stop)]:
                yield " ".join(run)


def _split(text: str) -> list[str]:
    found = []
    start = 0
    for end in _END.finditer(text):
        if _ABBREVIATION.search(text, max(start, end.start() + 1 - _LONGEST_ABBREVIATION), end.start() + 1):
            continue
        found.append(text[start : end.end() - 1])
        start = end.end()
    found.append(text[start:])
    return found
