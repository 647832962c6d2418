"""What somebody probably meant: said where an input is visibly something else than it is read as, and read as it was asked."""

import logging
from collections.abc import Iterator, Sequence
from pathlib import Path

from toolkit.errors import ToolkitError
from toolkit.formats.dialects import find_separator
from toolkit.formats.names import LABEL_COLUMNS, TEXT_COLUMNS, find_column, format_of, plain
from toolkit.formats.records import READERS, Record

_FEW_WORDS = 3  # arguments of a word each that are rather one sentence
_BEGINNING = 1000  # characters of a record that are looked at

_logger = logging.getLogger(__name__)


def hint_at_arguments(texts: Sequence[str]) -> None:
    """Say that an argument is a file's name, or that several are words of one sentence."""
    for text in filter(_is_file, texts):
        one, each = f"toolkit predict - < {text}", f"toolkit filter {text}"
        instead = (
            f"toolkit predict-files {text} OUTPUT"
            if format_of(text)
            else f"{one} for one review, {each} for one a line"
        )
        _logger.warning("%s is a file, and its name is what is classified; for what is in it: %s", text, instead)
    if len(texts) >= _FEW_WORDS and all(len(text.split()) == 1 and text != "-" for text in texts):
        _logger.warning(
            "these are %d reviews of a word each; for one review of them, put it between quotes", len(texts)
        )


def hinted(records: Iterator[Record], name: str, input_format: str) -> Iterator[Record]:
    """The records, and a word on the first if it shows another format than it is read as.

    Raises:
        ToolkitError: It is none of those that were asked for, and of another format by its name.
    """
    for number, record in enumerate(records):
        if number == 0 and (found := _other_format(record, name, input_format)):
            option, why = found
            said = f"{name or 'stdin'} {why}; to read it so: toolkit filter {option}"
            if input_format == "jsonl" and record.problem:
                raise ToolkitError(said)
            _logger.warning("%s", said)
        yield record


def _is_file(text: str) -> bool:
    try:
        return Path(text).is_file()
    except (OSError, ValueError):  # too long, or with a zero byte, to be a name
        return False


def _other_format(record: Record, name: str, input_format: str) -> tuple[str, str] | None:
    """The option that fits better, and why."""
    ending = format_of(name)
    meant = READERS.get(ending or "")
    if meant and meant != input_format and input_format in ("lines", "jsonl"):
        return f"--{meant}", f"is {ending[1:].upper() if ending else meant} by its name"
    if input_format != "lines":
        return None
    beginning = record.line()[:_BEGINNING].decode(errors="replace").strip()
    if beginning.startswith(('{"', "[{")):
        return "--jsonl", "looks like JSON"
    separator = find_separator(beginning, (*TEXT_COLUMNS, *LABEL_COLUMNS))
    names = [plain(part.strip('"')) for part in beginning.split(separator)]
    is_header = len(names) > 1 and all(len(name.split()) <= _FEW_WORDS for name in names)
    return ("--csv", "looks like a CSV") if is_header and find_column(names, None) else None
