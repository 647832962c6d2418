"""In which script a text is written, as far as a model that reads English needs to know."""

import unicodedata
from collections import Counter


def is_mostly_foreign(text: str) -> bool:
    """Whether most of its letters are in no Latin script; a text without letters is in none."""
    if text.isascii():
        return False
    letters = Counter(filter(str.isalpha, text))  # few of them differ, so that few names are looked up
    latin = sum(times for letter, times in letters.items() if "LATIN" in unicodedata.name(letter, ""))
    return 2 * latin < letters.total()
