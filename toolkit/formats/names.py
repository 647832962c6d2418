"""What the names of files and of columns say."""

import logging
from collections.abc import Collection, Iterable, Sequence
from pathlib import PurePath

FORMATS = (".csv", ".tsv", ".jsonl", ".json", ".parquet")  # that are read
WRITTEN = (".csv", ".jsonl", ".parquet")
TEXT_COLUMNS = ("text", "review", "content", "sentence")  # where nobody names the text's, the first of these
LABEL_COLUMNS = ("label", "sentiment", "labels", "polarity", "corrected")  # the last is the chat app's
_COMPRESSED = (".gz", ".zst", ".zip")
_SYSTEM_FILES = ("thumbs.db", "desktop.ini")  # of Windows; those of macOS begin with a point
_MARK = "\ufeff"
_logger = logging.getLogger(__name__)


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
    by_plain_name: dict[str, str] = {}
    for name in present:
        by_plain_name.setdefault(plain(name), name)
    return next((by_plain_name[plain(name)] for name in wanted if plain(name) in by_plain_name), None)


def say_columns(place: str, **columns: str | None) -> None:
    """Log which columns were taken for what, where their names do not say it; None stands for one that the user named."""
    found = [
        f"the {what} from the column {name.strip(_MARK).strip()}"
        for what, name in columns.items()
        if name and plain(name) != what
    ]
    if found:
        _logger.info("%s%s", f"{place}: " if place else "", ", ".join(found))


def wanted_column(named: str | None, usual: Sequence[str] = TEXT_COLUMNS) -> str:
    """The column that was looked for, in words."""
    return repr(named) if named is not None else f"{', '.join(usual[:-1])} or {usual[-1]}"


def plain(name: object) -> str:
    """A column's name as names are compared: in small letters, without spaces or a byte order mark around it."""
    return str(name).strip().strip(_MARK).strip().lower()


def is_system_file(name: str) -> bool:
    """Whether a name in an archive or a folder is nobody's file but what macOS or Windows put there."""
    parts = PurePath(name).parts
    last = parts[-1] if parts else ""
    return "__MACOSX" in parts or last.startswith(("._", ".DS_Store")) or last.lower() in _SYSTEM_FILES
