"""What a teacher said of texts: its probabilities, as `toolkit predict-files` writes them."""

import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from toolkit.datasets.splits import Splits
from toolkit.errors import DataError, ToolkitError
from toolkit.formats.limits import listed, shown
from toolkit.formats.names import FORMATS, TEXT_COLUMNS, find_column, format_of
from toolkit.formats.parsing import is_undecodable
from toolkit.formats.tables import read_rows
from toolkit.text.labels import LabelSet
from toolkit.text.normalisation import normalise

_PROBABILITIES = "probabilities"
_ERROR = "error"  # of a row that was not classified
_TOLERANCE = 0.01  # by which a row of probabilities may miss 1, as after rounding
_logger = logging.getLogger(__name__)
_ADVICE = "Write the file again with toolkit predict-files, or leave these rows out."


@dataclass(frozen=True, slots=True)
class SoftLabel:
    """A text with a teacher's probabilities.

    Attributes:
        text: The text, normalised.
        probabilities: (k,) float32 in the labels' order, summing to 1.
    """

    text: str
    probabilities: np.ndarray


def soft_label_files(paths: Sequence[str | Path]) -> list[Path]:
    """The files that are meant: each that is named, and of a folder those by their names, but for `.json`, which says of it what it is.

    Raises:
        DataError: one does not exist, or a folder has none.
    """
    files, problems = [], []
    for path in map(Path, paths):
        inside = (each for each in path.glob("*") if each.is_file() and format_of(each) not in (None, ".json"))
        found = sorted(inside) if path.is_dir() else [path]
        wrong = [each for each in found if not each.is_file() or not format_of(each)]
        problems += [f"{each}: expected a file ending in {', '.join(FORMATS)}" for each in wrong]
        if not found:
            problems.append(f"{path}: expected files ending in {', '.join(FORMATS)}, found none")
        files += found
    if problems:
        raise DataError("the soft labels cannot be read; found:", problems, _ADVICE)
    return files


def read_soft_labels(files: Sequence[Path], labels: LabelSet) -> list[SoftLabel]:
    """Read texts with a teacher's probabilities; of a text that comes twice the first is kept.

    Args:
        files: CSV, JSONL or Parquet files with a column of text and one named `probabilities`; further columns are passed over.
        labels: The labels that the probabilities must be of.

    Raises:
        DataError: lists every unusable row.
    """
    kept: dict[str, SoftLabel] = {}
    problems: list[str] = []
    for path in files:
        for place, row, problem in read_rows(path, format_of(path) or "", _needed, structs=(_PROBABILITIES,)):
            parsed = problem or _parse(row, labels)
            if isinstance(parsed, str):
                problems.append(f"{path.name} {place.in_table}: {parsed}")
            elif parsed is not None:
                kept.setdefault(parsed.text, parsed)
    if not kept and not problems:
        problems.append("no row with a text and its probabilities")
    if problems:
        raise DataError(
            f"the soft labels cannot be used; expected text and probabilities of {labels.expected} in every row, found:",
            problems,
            _ADVICE,
        )
    return list(kept.values())


def read_teacher(files: Sequence[Path], splits: Splits) -> list[SoftLabel]:
    """The soft labels that may be learnt from: not of the texts on which the model is measured.

    Args:
        files: See `read_soft_labels`; none of them means none.
        splits: The splits, of which `validation` and `test` are held back.

    Raises:
        DataError: A row is unusable.
        ToolkitError: No text is left.
    """
    if not files:
        return []
    found = read_soft_labels(files, splits.labels)
    held_back = {review.text for split in ("validation", "test") for review in splits[split]}
    kept = [each for each in found if each.text not in held_back]
    if len(kept) < len(found):
        _logger.warning("%d soft labels left out: their texts are in validation or test", len(found) - len(kept))
    if not kept:
        raise ToolkitError(
            "every text with a soft label is in validation or test; label others, see docs/distillation.md"
        )
    return kept


def _needed(names: Sequence[str]) -> list[str]:
    wanted = {find_column(names, None), _PROBABILITIES, _ERROR}
    return [name for name in names if name in wanted]


def _parse(row: Mapping[str, Any], labels: LabelSet) -> SoftLabel | str | None:
    """The row; what is wrong with it; or None for one that the teacher did not classify."""
    if row.get(_ERROR):
        return None
    column = find_column(row, None)
    if column is None or _PROBABILITIES not in row:
        return f"expected columns {TEXT_COLUMNS[0]} and {_PROBABILITIES}, found {listed(row) or 'none'}"
    value, text = row[_PROBABILITIES], row[column]
    if not isinstance(text, str) or is_undecodable(text) or not (text := normalise(text)):
        return "there is no text"
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except (ValueError, RecursionError):
            return f"the probabilities are {shown(value)}, expected a JSON object"
    if not isinstance(value, Mapping) or value.keys() != set(labels.names):
        return f"the probabilities are {shown(value)}, expected one for each of {', '.join(labels.names)}"
    numbers = [value[name] for name in labels.names]
    if not all(type(each) in (int, float) and 0 <= each <= 1 for each in numbers) or abs(sum(numbers) - 1) > _TOLERANCE:
        return f"the probabilities are {shown(value)}, expected numbers of 0 to 1 that sum to 1"
    return SoftLabel(text, np.array(numbers, np.float32) / np.float32(sum(numbers)))
