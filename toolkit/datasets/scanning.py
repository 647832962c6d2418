"""The rows of a file of labelled reviews as they stand there, and everything that is wrong with the others."""

from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from toolkit.choices import Split, choices
from toolkit.datasets.labelling import RATING, LabelledRow
from toolkit.formats.archives import packed_format
from toolkit.formats.limits import listed, shown
from toolkit.formats.names import FORMATS, LABEL_COLUMNS, TEXT_COLUMNS, find_column, format_of, say_columns
from toolkit.formats.parsing import unwritable
from toolkit.formats.tables import read_rows
from toolkit.text.normalisation import normalise

_SPLITS = {f"{split}.csv" for split in choices(Split)}
_RATING_COLUMNS = (RATING, "stars", "score", "overall", "ratings", "star_rating")


def scan_reviews(
    path: Path,
    text_column: str | None = None,
    label_column: str | None = None,
    others: Collection[str] | None = None,
    advance: Callable[[int], None] = lambda count: None,
    encoding: str | None = None,
) -> tuple[list[LabelledRow], list[str]]:
    """Read what can be read, labels as they stand there; the second part lists what cannot, one line a row, starting with file and row.

    Args:
        path: as `read_reviews` takes it, like the columns.
        text_column: See `read_reviews`.
        label_column: See `read_reviews`.
        others: See `read_reviews`.
        advance: takes the bytes of the file that were read since it was last called.
        encoding: See `read_reviews`.
    """
    if not path.is_file():
        if path.name not in _SPLITS:
            return [], [f"{path}: no such file"]
        return [], [f"{path}: no such file; make a data set with: toolkit dataset import SOURCE --output {path.parent}"]
    ending = format_of(path) or packed_format(path)
    if ending is None:
        table = "; if it is a table, as Excel's Unicode text is, call it .tsv" if path.suffix.lower() == ".txt" else ""
        return [], [f"{path}: expected a file ending in {', '.join(FORMATS)}{table}"]

    def needed(names: Sequence[str]) -> list[str]:
        found = _find_columns(names, text_column, label_column) or ()
        return [*found, *(name for name in names if name not in found and (others is None or name in others))]

    rows: list[LabelledRow] = []
    problems: list[str] = []
    columns: tuple[str, str] | None = None
    named = [name for name in (text_column, label_column) if name]
    for place, row, problem in read_rows(path, ending, needed, advance=advance, encoding=encoding, known=named):
        if problem:
            problems.append(f"{path.name} {place.in_table}: {problem}")
            continue
        if columns is None:
            columns = _find_columns(row, text_column, label_column)
            if columns is None:
                return [], [f"{path.name}: {_missing_columns(row, text_column, label_column)}"]
            text, label = columns
            say_columns(path.name, text=None if text_column else text, label=None if label_column else label)
        parsed = _parse_row(f"{path.name} {place.in_table}", row, *columns, others)
        if isinstance(parsed, str):
            problems.append(f"{path.name} {place.in_table}: {parsed}")
        else:
            rows.append(parsed)
    if not rows and not problems:
        problems.append(f"{path.name}: expected reviews, found no row")
    return rows, problems


def _find_columns(
    present: Collection[str], text_column: str | None, label_column: str | None
) -> tuple[str, str] | None:
    text = find_column(present, text_column)
    label = find_column(present, label_column, LABEL_COLUMNS)
    return None if text is None or label is None else (text, label)


def _missing_columns(row: Mapping[str, Any], text_column: str | None, label_column: str | None) -> str:
    """What was expected and found, and the option that names it."""
    wanted = f"{text_column or ' or '.join(TEXT_COLUMNS)}, and {label_column or ' or '.join(LABEL_COLUMNS)}"
    said = f"expected columns {wanted}; found {listed(row) or 'none'}"
    rating = find_column(row, None, _RATING_COLUMNS)
    if label_column is None and rating is not None and find_column(row, text_column) is not None:
        said += f"; if {rating} is a rating of 1 to 10: --rating-column {rating} --negative-up-to 4 --positive-from 7"
    return said


def _parse_row(
    place: str, row: Mapping[str, Any], text_column: str, label_column: str, others: Collection[str] | None
) -> LabelledRow | str:
    text = row.get(text_column)
    if text is None or str(text).strip().lower() == "nan":  # a null, a float NaN, or pandas' spelling of either
        return "the text is missing (NaN)"
    if not isinstance(text, str):
        return f"the text is {shown(text)}, expected a string"
    cleaned = normalise(text)
    if not cleaned:
        return "the text is empty"
    kept = row if others is None else [name for name in others if name in row]
    columns = {name: row[name] for name in kept if name not in (text_column, label_column)}
    for name in () if others is None else columns:  # those that are asked for are written again
        if unwritable(value := columns[name]):
            return f"the column {shown(name)} is {shown(value)}, which is no text: half of a character is missing"
    return LabelledRow(place, cleaned, row.get(label_column), columns)
