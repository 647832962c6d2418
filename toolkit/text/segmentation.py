"""Where a normalised text falls apart: sentences, clauses and words, as spans of its characters."""

import re
from collections.abc import Callable
from itertools import pairwise

Span = tuple[int, int]  # the first character and the one after the last

_IDEOGRAPHS = "\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"  # words of their own, as to the tokenizer
_WORD = re.compile(rf"[{_IDEOGRAPHS}]|[^\s{_IDEOGRAPHS}]+")
_CLOSING = "\"'”’)\\]」』）》"  # may stand between the end of a sentence and what follows
# A run of characters up to a space or to marks that end a sentence, or a clause, without one. No two parts of a pattern
# can take the same character, so that every character is looked at once.
_RUN = re.compile(rf"[^\s。！？；]+(?:[。！？；]+[{_CLOSING}]*)?|[。！？；]+[{_CLOSING}]*")
_CLAUSE_RUN = re.compile(rf"[^\s，、：；。！？]+(?:[，、：；。！？]+[{_CLOSING}]*)?|[，、：；。！？]+[{_CLOSING}]*")
_SENTENCE_ENDS = (".", "!", "?", "…")
_WIDE_ENDS = ("。", "！", "？", "；")
_CLAUSE_ENDS = (",", ";", ":", "–", "—")
_WIDE_CLAUSE_ENDS = ("，", "、", "：", *_WIDE_ENDS)
_NO_SENTENCE_END = re.compile(r"^(?:Mr|Mrs|Ms|Dr|St|vs|etc|[A-Z])\.$")
_STRIPPED = "\"'”’)]」』）》"


def words(text: str) -> list[Span]:
    """Runs between white space; an ideograph is a word of its own."""
    return [match.span() for match in _WORD.finditer(text)]


def sentences(text: str, span: Span) -> list[Span]:
    """The sentences within a span; full-width marks end one wherever they stand, others before a space."""

    def ends(run: str, closed: bool) -> bool:
        stripped = run.rstrip(_STRIPPED)
        if stripped.endswith(_WIDE_ENDS):
            return True
        return closed and stripped.endswith(_SENTENCE_ENDS) and not _NO_SENTENCE_END.match(run)

    return _parts(text, span, _RUN, ends, lambda run: False)


def clauses(text: str, span: Span) -> list[Span]:
    """What commas, semicolons, colons, dashes and the word "but" part within a span."""

    def ends(run: str, closed: bool) -> bool:
        stripped = run.rstrip(_STRIPPED)
        return stripped.endswith(_WIDE_CLAUSE_ENDS) or (closed and stripped.endswith(_CLAUSE_ENDS))

    return _parts(text, span, _CLAUSE_RUN, ends, lambda run: run.lower() == "but")


def merge(spans: list[Span], limit: int) -> list[Span]:
    """Join neighbours until there are `limit`, in groups of as equal a number of spans as can be."""
    groups = min(limit, len(spans))
    edges = [round(index * len(spans) / groups) for index in range(groups + 1)] if groups else [0]
    return [(spans[first][0], spans[end - 1][1]) for first, end in pairwise(edges)]


def _parts(
    text: str, span: Span, run: re.Pattern[str], ends: Callable[[str, bool], bool], begins: Callable[[str], bool]
) -> list[Span]:
    """Runs put together, up to one that ends a part or that is followed by one that begins another."""
    parts: list[Span] = []
    start: int | None = None
    end = span[0]
    for match in run.finditer(text, *span):
        if start is not None and begins(match.group()):
            parts.append((start, end))
            start = None
        start, end = match.start() if start is None else start, match.end()
        closed = end == span[1] or text[end].isspace()
        if ends(match.group(), closed):
            parts.append((start, end))
            start = None
    return [*parts, (start, end)] if start is not None else parts
