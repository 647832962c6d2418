"""Reviews with labels in files: read them, check them, say everything that is wrong at once."""

import csv
import re
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from toolkit.choices import Split, choices
from toolkit.errors import BundleError, DataError
from toolkit.formats.limits import listed, shown
from toolkit.formats.names import FORMATS, TEXT_COLUMNS, find_column, format_of
from toolkit.formats.parsing import is_undecodable
from toolkit.formats.tables import read_rows
from toolkit.models.files import read_json_object
from toolkit.text.labels import SENTIMENT, Label, LabelSet
from toolkit.text.normalisation import normalise
from toolkit.text.tokenisation import ReviewTokenizer

SPLITS = choices(Split)
INFO_FILE = "dataset_info.json"
LABEL_COLUMNS = ("label", "sentiment", "labels", "polarity", "corrected")  # the last is the chat app's
QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95, 1.0)

_ROW = re.compile(r" row (\d+)")
_ADVICE = "Nothing was written. Correct these rows, or leave them out, and run the command again."


@dataclass(frozen=True, slots=True)
class Review:
    """One labelled review, its text normalised.

    Attributes:
        text: The text that the model reads.
        label: The true label.
        columns: The other cells of its row, as they stand there, by column; no part of the review's identity.
    """

    text: str
    label: Label
    columns: Mapping[str, Any] = field(default_factory=dict, compare=False)


class Splits(dict[str, list[Review]]):
    """The reviews of a data set by split.

    Attributes:
        labels: The data set's labels, whether each split has all of them or not.

    Args:
        splits: The reviews.
        labels: The labels.
    """

    def __init__(self, splits: Mapping[str, list[Review]], labels: LabelSet = SENTIMENT) -> None:
        super().__init__(splits)
        self.labels = labels


@dataclass(frozen=True, slots=True)
class LabelledRow:
    """A row whose text is sound and whose label is still what stands there.

    Attributes:
        place: The file and the row.
        text: The text, normalised.
        value: The label's cell.
        columns: See `Review`.
    """

    place: str
    text: str
    value: object
    columns: Mapping[str, Any]


@dataclass(frozen=True)
class SplitReport:
    """What one split holds.

    Attributes:
        rows: reviews.
        per_label: reviews of each label, by name.
        duplicates: rows whose text stands earlier in the same split.
        leaks: rows whose text stands in another split too, by that split's name.
        token_lengths: (rows,) tokens of each review, [CLS] and [SEP] included.
        over_length: share of reviews longer than `max_length`, 0 to 1.
    """

    rows: int
    per_label: dict[str, int]
    duplicates: int
    leaks: dict[str, int]
    token_lengths: np.ndarray
    over_length: float

    @property
    def token_quantiles(self) -> dict[str, int]:
        """Token lengths at `QUANTILES`, keyed `p05` to `p100`."""
        values = np.quantile(self.token_lengths, QUANTILES, method="inverted_cdf")
        return {f"p{quantile * 100:02.0f}": int(value) for quantile, value in zip(QUANTILES, values, strict=True)}

    def to_dict(self) -> dict[str, Any]:
        """The report as JSON has it."""
        return {
            "rows": self.rows,
            "per_label": self.per_label,
            "duplicates": self.duplicates,
            "leaks": self.leaks,
            "token_quantiles": self.token_quantiles,
            "over_max_length": self.over_length,
        }


def read_reviews(
    path: Path,
    text_column: str | None = None,
    label_column: str | None = None,
    others: Collection[str] | None = None,
    labels: LabelSet | None = None,
) -> list[Review]:
    """Read a CSV, JSONL or Parquet file of labelled reviews.

    Args:
        path: the file; its ending says the format.
        text_column: name of the text's column; one of `TEXT_COLUMNS` by default.
        label_column: name of the label's column; one of `LABEL_COLUMNS` by default.
        others: names of further columns to keep; every one by default.
        labels: The labels to expect, as of a model that is to be measured; by default those of the data set that the file
            is a split of, or those that it holds.

    Raises:
        DataError: lists every unusable row by file and row number.
    """
    rows, problems = scan_reviews(path, text_column, label_column, others)
    labels = labels or imported_labels(path.parent, path.name) or infer_labels(rows, path)
    reviews, more = label_rows(rows, labels)
    if problems or more:
        wanted = "0 or 1" if labels == SENTIMENT else labels.expected
        raise DataError(
            f"{path} cannot be used; expected text and a label {wanted} in every row, found:",
            merge_problems(problems, more),
            _ADVICE,
        )
    return reviews


def read_splits(folder: Path, splits: Sequence[str] = SPLITS) -> Splits:
    """Read `train.csv`, `validation.csv` and `test.csv` of a data set folder.

    Raises:
        DataError: lists every missing file and every unusable row of all of them.
    """
    scanned = {split: scan_reviews(folder / f"{split}.csv", "text", "label") for split in splits}
    labels = imported_labels(folder, "train.csv") or infer_labels(
        [row for rows, _ in scanned.values() for row in rows], folder
    )
    found, problems = Splits({}, labels), []
    for split, (rows, wrong) in scanned.items():
        found[split], more = label_rows(rows, labels)
        problems += merge_problems(wrong, more)
    if problems:
        raise DataError(f"the data set {folder} cannot be used; found:", problems, _ADVICE)
    return found


def imported_labels(folder: Path, name: str) -> LabelSet | None:
    """The labels that `toolkit dataset import` found for the splits of a folder; None where the file is none of them.

    Raises:
        DataError: They are garbled.
    """
    try:
        info = read_json_object(folder / INFO_FILE)
    except (OSError, BundleError):
        return None
    listed_files = info.get("sha256")
    if not isinstance(listed_files, dict) or name not in listed_files:
        return None
    try:
        return LabelSet.of_model(info.get("labels", SENTIMENT.names))
    except (TypeError, ValueError) as error:
        raise DataError(
            f"{folder / INFO_FILE} garbles the labels; found:", [str(error)], "Import the data set again."
        ) from error


def infer_labels(rows: Sequence[LabelledRow], source: object) -> LabelSet:
    """The labels that a column holds.

    Raises:
        DataError: It holds none, or something else.
    """
    try:
        return LabelSet.of_values(row.value for row in rows)
    except ValueError as error:
        raise DataError(f"the labels of {source} cannot be used; found:", [str(error)], _ADVICE) from error


def label_rows(rows: Iterable[LabelledRow], labels: LabelSet) -> tuple[list[Review], list[str]]:
    """The reviews, and a line for each row whose label is none of these."""
    reviews, problems = [], []
    for row in rows:
        if (label := labels.parse(row.value)) is not None:
            reviews.append(Review(row.text, label, row.columns))
        else:
            problems.append(f"{row.place}: the label is {shown(row.value)}, expected {labels.expected}")
    return reviews, problems


def merge_problems(of_texts: Sequence[str], of_labels: Sequence[str]) -> list[str]:
    """The problems of one file in the order of its rows."""

    def row(problem: str) -> int:
        return int(found[1]) if (found := _ROW.search(problem)) else 0

    return sorted([*of_texts, *of_labels], key=row)


def scan_reviews(
    path: Path,
    text_column: str | None = None,
    label_column: str | None = None,
    others: Collection[str] | None = None,
    advance: Callable[[int], None] = lambda count: None,
) -> tuple[list[LabelledRow], list[str]]:
    """Read what can be read, labels as they stand there; the second part lists what cannot, one line a row, starting with file and row.

    Args:
        path: as `read_reviews` takes it, like the columns.
        text_column: See `read_reviews`.
        label_column: See `read_reviews`.
        others: See `read_reviews`.
        advance: takes the bytes of the file that were read since it was last called.
    """
    if not path.is_file():
        return [], [f"{path}: no such file; make a data set with: toolkit dataset import SOURCE --output {path.parent}"]
    ending = format_of(path)
    if ending is None:
        return [], [f"{path}: expected a file ending in {', '.join(FORMATS)}"]

    def needed(names: Sequence[str]) -> list[str]:
        found = _find_columns(names, text_column, label_column) or ()
        return [*found, *(name for name in names if name not in found and (others is None or name in others))]

    rows: list[LabelledRow] = []
    problems: list[str] = []
    columns: tuple[str, str] | None = None
    for place, row, problem in read_rows(path, ending, needed, advance=advance):
        if problem:
            problems.append(f"{path.name} {place.in_table}: {problem}")
            continue
        columns = columns or _find_columns(row, text_column, label_column)
        if columns is None:
            wanted = f"{text_column or ' or '.join(TEXT_COLUMNS)}, and {label_column or ' or '.join(LABEL_COLUMNS)}"
            return [], [f"{path.name}: expected columns {wanted}; found {listed(row) or 'none'}"]
        parsed = _parse_row(f"{path.name} {place.in_table}", row, *columns, others)
        if isinstance(parsed, str):
            problems.append(f"{path.name} {place.in_table}: {parsed}")
        else:
            rows.append(parsed)
    if not rows and not problems:
        problems.append(f"{path.name}: expected reviews, found no row")
    return rows, problems


def write_reviews(
    path: Path, reviews: Sequence[Review], columns: Sequence[str] = (), labels: LabelSet = SENTIMENT
) -> None:
    """Write a split as CSV with the columns `text`, `label` and those named, empty where a review has none of them.

    The sentiment pair is written as 0 and 1, other labels by their names.
    """
    with path.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(["text", "label", *columns])
        for review in reviews:
            label = review.label.index if labels == SENTIMENT else review.label.name
            writer.writerow([review.text, label, *(review.columns.get(name) for name in columns)])


def count_labels(reviews: Sequence[Review], labels: LabelSet = SENTIMENT) -> dict[str, int]:
    """Reviews of each label, by name."""
    counts = Counter(review.label.index for review in reviews)
    return {label.name: counts[label.index] for label in labels}


def check_splits(splits: Splits, tokenizer: ReviewTokenizer) -> dict[str, SplitReport]:
    """Measure balance, duplicates, leaks and token lengths of each split; `tokenizer.max_length` is the limit."""
    texts = {name: {review.text for review in reviews} for name, reviews in splits.items()}
    reports = {}
    for name, reviews in splits.items():
        lengths = np.fromiter(
            (encoding.tokens for encoding in tokenizer.encode([review.text for review in reviews])),
            np.int64,
            len(reviews),
        )
        reports[name] = SplitReport(
            rows=len(reviews),
            per_label=count_labels(reviews, splits.labels),
            duplicates=len(reviews) - len(texts[name]),
            leaks={other: len(texts[name] & texts[other]) for other in splits if other != name},
            token_lengths=lengths,
            over_length=float((lengths > tokenizer.max_length).mean()),
        )
    return reports


def _find_columns(
    present: Collection[str], text_column: str | None, label_column: str | None
) -> tuple[str, str] | None:
    text = find_column(present, text_column)
    label = find_column(present, label_column, LABEL_COLUMNS)
    return None if text is None or label is None else (text, label)


def _parse_row(
    place: str, row: Mapping[str, Any], text_column: str, label_column: str, others: Collection[str] | None
) -> LabelledRow | str:
    text = row.get(text_column)
    if text is None or str(text).strip().lower() == "nan":  # a null, a float NaN, or pandas' spelling of either
        return "the text is missing (NaN)"
    if not isinstance(text, str):
        return f"the text is {shown(text)}, expected a string"
    if is_undecodable(text):
        return "the text is not valid UTF-8"
    cleaned = normalise(text)
    if not cleaned:
        return "the text is empty"
    kept = row if others is None else [name for name in others if name in row]
    columns = {name: row[name] for name in kept if name not in (text_column, label_column)}
    return LabelledRow(place, cleaned, row.get(label_column), columns)
