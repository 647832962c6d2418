"""Reviews with labels in files: read them, check them, say everything that is wrong at once."""

import csv
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from toolkit.choices import Split, choices
from toolkit.errors import DataError
from toolkit.formats.limits import listed, shown
from toolkit.formats.names import FORMATS, TEXT_COLUMNS, find_column, format_of
from toolkit.formats.parsing import is_undecodable
from toolkit.formats.tables import read_rows
from toolkit.text.labels import Label, parse_label
from toolkit.text.normalisation import normalise
from toolkit.text.tokenisation import ReviewTokenizer

SPLITS = choices(Split)
LABEL_COLUMNS = ("label", "sentiment", "labels", "polarity", "corrected")  # the last is the chat app's
QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95, 1.0)

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
) -> list[Review]:
    """Read a CSV, JSONL or Parquet file of labelled reviews.

    Args:
        path: the file; its ending says the format.
        text_column: name of the text's column; one of `TEXT_COLUMNS` by default.
        label_column: name of the label's column; one of `LABEL_COLUMNS` by default.
        others: names of further columns to keep; every one by default.

    Raises:
        DataError: lists every unusable row by file and row number.
    """
    reviews, problems = scan_reviews(path, text_column, label_column, others)
    if problems:
        raise DataError(
            f"{path} cannot be used; expected text and a label 0 or 1 in every row, found:", problems, _ADVICE
        )
    return reviews


def read_splits(folder: Path, splits: Sequence[str] = SPLITS) -> dict[str, list[Review]]:
    """Read `train.csv`, `validation.csv` and `test.csv` of a data set folder.

    Raises:
        DataError: lists every missing file and every unusable row of all of them.
    """
    found: dict[str, list[Review]] = {}
    problems: list[str] = []
    for split in splits:
        found[split], more = scan_reviews(folder / f"{split}.csv", "text", "label")
        problems += more
    if problems:
        raise DataError(f"the data set {folder} cannot be used; found:", problems, _ADVICE)
    return found


def scan_reviews(
    path: Path,
    text_column: str | None = None,
    label_column: str | None = None,
    others: Collection[str] | None = None,
    advance: Callable[[int], None] = lambda count: None,
) -> tuple[list[Review], list[str]]:
    """Read what can be read; the second part lists what cannot, one line a row, starting with file and row.

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

    reviews: list[Review] = []
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
        review = _parse_row(row, *columns, others)
        if isinstance(review, str):
            problems.append(f"{path.name} {place.in_table}: {review}")
        else:
            reviews.append(review)
    if not reviews and not problems:
        problems.append(f"{path.name}: expected reviews, found no row")
    return reviews, problems


def write_reviews(path: Path, reviews: Sequence[Review], columns: Sequence[str] = ()) -> None:
    """Write a split as CSV with the columns `text`, `label` and those named, empty where a review has none of them."""
    with path.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(["text", "label", *columns])
        for review in reviews:
            writer.writerow([review.text, int(review.label), *(review.columns.get(name) for name in columns)])


def count_labels(reviews: Sequence[Review]) -> dict[str, int]:
    """Reviews of each label, by name."""
    counts = Counter(review.label for review in reviews)
    return {label.text: counts[label] for label in Label}


def check_splits(splits: Mapping[str, Sequence[Review]], tokenizer: ReviewTokenizer) -> dict[str, SplitReport]:
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
            per_label=count_labels(reviews),
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
    row: Mapping[str, Any], text_column: str, label_column: str, others: Collection[str] | None
) -> Review | str:
    text, raw_label = row.get(text_column), row.get(label_column)
    if text is None or str(text).strip().lower() == "nan":  # a null, a float NaN, or pandas' spelling of either
        return "the text is missing (NaN)"
    if not isinstance(text, str):
        return f"the text is {shown(text)}, expected a string"
    if is_undecodable(text):
        return "the text is not valid UTF-8"
    cleaned = normalise(text)
    if not cleaned:
        return "the text is empty"
    label = parse_label(raw_label)
    if label is None:
        return f"the label is {shown(raw_label)}, expected 0/1, neg/pos or negative/positive"
    kept = row if others is None else [name for name in others if name in row]
    return Review(cleaned, label, {name: row[name] for name in kept if name not in (text_column, label_column)})
