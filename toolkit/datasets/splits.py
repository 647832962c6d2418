"""Reviews with labels in files: read them, check them, say everything that is wrong at once."""

import csv
import logging
import re
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from toolkit.choices import Split, choices
from toolkit.datasets.labelling import RATING, LabelledRow, Labelling, LabelOptions, advice, infer_labelling
from toolkit.datasets.scanning import scan_reviews
from toolkit.errors import BundleError, DataError, ToolkitError
from toolkit.formats.limits import shown
from toolkit.models.files import read_json_object
from toolkit.text.labels import SENTIMENT, Label, LabelSet
from toolkit.text.tokenisation import ReviewTokenizer

SPLITS = choices(Split)
INFO_FILE = "dataset_info.json"
QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95, 1.0)

_logger = logging.getLogger(__name__)
_ROW = re.compile(r" (?:row|object) (\d+)")
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
    encoding: str | None = None,
    options: LabelOptions | None = None,
) -> list[Review]:
    """Read a CSV, TSV, JSON, JSONL or Parquet file of labelled reviews.

    Args:
        path: the file; its ending says the format.
        text_column: name of the text's column; one of `TEXT_COLUMNS` by default.
        label_column: name of the label's column; one of `LABEL_COLUMNS` by default.
        others: names of further columns to keep; every one by default.
        labels: The labels to expect, as of a model that is to be measured; by default those of the data set that the file
            is a split of, or those that it holds.
        encoding: The encoding of text without a byte order mark; UTF-8 by default.
        options: What a user says of the labels; None where nobody was asked.

    Raises:
        DataError: lists every unusable row by file and row number.
    """
    column = (options and options.rating_column) or label_column
    scanned = scan_reviews(path, text_column, column, others, encoding=encoding)
    return label_scanned(path, scanned, labels, options)


def label_scanned(
    path: Path,
    scanned: tuple[Sequence[LabelledRow], Sequence[str]],
    labels: LabelSet | None = None,
    options: LabelOptions | None = None,
) -> list[Review]:
    """The reviews of a file that `scan_reviews` has read; see `read_reviews`."""
    rows, problems = scanned
    labelling = infer_labelling(rows, path.name, options, labels or imported_labels(path.parent, path.name))
    reviews, more = label_rows(rows, labelling)
    if problems or more:
        wanted = "0 or 1" if labelling == Labelling(SENTIMENT) else labelling.expected
        raise DataError(
            f"{path} cannot be used; expected text and a label {wanted} in every row, found:",
            merge_problems(problems, more),
            _ADVICE + (advice(rows, labelling) if more else ""),
        )
    return reviews


def read_splits(
    folder: Path,
    splits: Sequence[str] = SPLITS,
    others: Collection[str] | None = None,
    encoding: str | None = None,
) -> Splits:
    """Read `train.csv`, `validation.csv` and `test.csv` of a data set folder.

    Args:
        folder: The data set.
        splits: The splits to read.
        others: names of further columns to keep; every one by default.
        encoding: The encoding of text without a byte order mark; UTF-8 by default.

    Raises:
        ToolkitError: there is no such folder.
        DataError: lists every missing file and every unusable row of all of them.
    """
    if not folder.is_dir():
        state = "is a file" if folder.exists() else "does not exist"
        raise ToolkitError(
            f"the data set {folder} {state}; expected a folder with {', '.join(f'{split}.csv' for split in splits)}, "
            f"make one with: toolkit dataset import SOURCE --output {'FOLDER' if folder.exists() else folder}"
        )
    scanned = {split: scan_reviews(folder / f"{split}.csv", others=others, encoding=encoding) for split in splits}
    every = [row for rows, _ in scanned.values() for row in rows]
    labelling = infer_labelling(every, folder, known=imported_labels(folder, "train.csv"))
    found, problems = Splits({}, labelling.labels), []
    for split, (rows, wrong) in scanned.items():
        found[split], more = label_rows(rows, labelling)
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


def label_rows(
    rows: Iterable[LabelledRow], labelling: Labelling | LabelSet, left_out: Counter[str] | None = None
) -> tuple[list[Review], list[str]]:
    """The reviews, and a line for each row whose label is none of those expected.

    Args:
        rows: The rows.
        labelling: How their labels are read, or what they are.
        left_out: Takes how many rows were left out, by reason; by default they are logged.
    """
    reviews, problems = [], []
    counts: Counter[str] = Counter()
    is_rated = isinstance(labelling, Labelling) and labelling.bounds is not None
    for row in rows:
        label = labelling.parse(row.value)
        if isinstance(label, Label):
            columns = {**row.columns, RATING: row.value} if is_rated else row.columns
            reviews.append(Review(row.text, label, columns))
        elif label is None:
            problems.append(f"{row.place}: the label is {shown(row.value)}, expected {labelling.expected}")
        else:
            counts[label] += 1
    if left_out is not None:
        left_out.update(counts)
    elif counts:
        _logger.info("left out: %s", ", ".join(f"{count} {reason}" for reason, count in counts.items()))
    return reviews, problems


def merge_problems(of_texts: Sequence[str], of_labels: Sequence[str]) -> list[str]:
    """The problems of one file in the order of its rows."""

    def row(problem: str) -> int:
        return int(found[1]) if (found := _ROW.search(problem)) else 0

    return sorted([*of_texts, *of_labels], key=row)


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
