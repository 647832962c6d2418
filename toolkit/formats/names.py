"""What the names of files and of columns say."""

from collections.abc import Collection, Iterable
from pathlib import PurePath

FORMATS = (".csv", ".jsonl", ".parquet")
TEXT_COLUMNS = ("text", "review", "content", "sentence")  # where nobody names the text's, the first of these
_COMPRESSED = (".gz", ".zst")


def split_name(path: PurePath | str) -> tuple[str, str]:
    """A file's name without its endings, and the ending that says what is in it, in lower case.

    An ending for a compression says nothing here: the first bytes do.
    """
    path = PurePath(path)
    name = path.name
    suffixes = path.suffixes
    while suffixes and suffixes[-1].lower() in _COMPRESSED:
        name = name[: -len(suffixes.pop())]
    ending = suffixes[-1] if suffixes else ""
    return name.removesuffix(ending), ending.lower()


def format_of(path: PurePath | str) -> str | None:
    """One of `FORMATS`, by the file's name; None of other files."""
    ending = split_name(path)[1]
    return ending if ending in FORMATS else None


def find_column(present: Collection[str], named: str | None, usual: Iterable[str] = TEXT_COLUMNS) -> str | None:
    """The column that is meant: the one of that name, or else the first of the usual; None if there is none.

    Case and spaces around a name do not matter, unless there is a column of exactly that name.
    """
    wanted = tuple(usual) if named is None else (named,)
    exactly = next((name for name in wanted if name in present), None)
    if exactly is not None:
        return exactly
    by_lower_name = {str(name).strip().lower(): name for name in present}
    return next((by_lower_name[name.lower()] for name in wanted if name.lower() in by_lower_name), None)
