"""How a CSV is written: what separates its columns, and how quotes stand inside quotes."""

import csv
import re
from collections.abc import Collection

from toolkit.formats.names import plain

SEPARATORS = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "bars"}  # in the order of preference
_LONG = 1 << 16  # characters of a header, of which no column is looked up
_QUOTED = re.compile(r'"[^"]*+"?')
_SAID = re.compile(r'"?sep=([^\w\s"]|\t)"?\r?\n?', re.IGNORECASE)
# A quote behind an odd number of backslashes. Behind it stands no end of a field: in a CSV without such escapes it would be
# one that ends in a backslash.
_ESCAPED = re.compile(r'(?<!\\)((?:\\\\)*+)\\"')
_CERTAIN = re.compile(r'(?<!\\)(?:\\\\)*+\\"[^",;\t|\r\n]')


def said_separator(line: str) -> str | None:
    """What a line `sep=;` says; None of any other."""
    found = _SAID.fullmatch(line)
    return found[1] if found else None


def find_separator(header: str, known: Collection[str], usual: str | None = None) -> str:
    """What separates the columns of a header: what makes known names of it, or else what is most frequent outside quotes.

    Args:
        header: its first line.
        known: names that a column may have.
        usual: what is preferred.
    """
    bare = _QUOTED.sub("", header)
    wanted = set(map(plain, known))

    def rank(separator: str) -> tuple[int, bool, int]:
        try:
            names = next(csv.reader([header], delimiter=separator), []) if len(header) < _LONG else []
        except csv.Error:
            names = []
        return len(wanted.intersection(map(plain, names))), separator == usual, bare.count(separator)

    ranks = {separator: rank(separator) for separator in SEPARATORS if separator in bare}
    if ranks.get("|", (1,))[0] == 0:
        del ranks["|"]  # too rare to be believed without a name
    return max(ranks, key=ranks.__getitem__, default=",")


def has_escaped_quotes(line: str) -> bool:
    """Whether quotes are surely escaped with backslashes, as Spark does, and not doubled."""
    return _CERTAIN.search(line) is not None


def with_doubled_quotes(line: str) -> str:
    """A line with quotes escaped with backslashes, as any other CSV writes it."""
    return _ESCAPED.sub(r'\1""', line) if '\\"' in line else line
