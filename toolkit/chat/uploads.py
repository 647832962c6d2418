"""An uploaded file of reviews: its rows, their predictions a few at a time, and the CSV that goes back."""

import csv
import io
import json
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from toolkit.chat.limits import LARGEST_MESSAGE
from toolkit.chat.settings import LARGEST_UPLOAD, upload_format
from toolkit.chat.texts import Texts
from toolkit.errors import ToolkitError
from toolkit.formats.encodings import EncodingError, Undecodable
from toolkit.formats.names import TEXT_COLUMNS, find_column
from toolkit.formats.records import EMPTY
from toolkit.formats.tables import read_rows
from toolkit.prediction import Prediction, Predictor
from toolkit.text.labels import UNCERTAIN, LabelSet
from toolkit.text.normalisation import TEXT_LIMIT, normalise

MAX_ROWS = 50_000  # half an hour or more on two cores; anything larger belongs on the command line
BATCH = 8  # reviews before somebody else's message gets its turn
UNREADABLE = "unreadable"
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")  # the last four of double width


@dataclass(frozen=True, slots=True)
class Row:
    """One row of a file.

    Attributes:
        place: The place in the file, as `row 3`.
        text: the review, empty where there is a problem.
        problem: why it cannot be classified; None where it can.
    """

    place: str
    text: str
    problem: str | None = None


@dataclass(frozen=True, slots=True)
class ClassifiedRow:
    """A row and what became of it: a label, `uncertain` or `unreadable`, and the prediction unless it is the last."""

    row: Row
    verdict: str
    prediction: Prediction | None


def read_upload(path: Path, name: str, texts: Texts) -> list[Row]:
    """Read an uploaded file; its name says the format: a review a line in .txt, a text column in the others.

    Raises:
        ToolkitError: a sentence for the user: another type, no text column, no row or too many.
    """
    ending = upload_format(name)
    if ending is None:
        raise ToolkitError(f"{name}: {texts.upload_type}")
    rows = []
    try:
        for row in _text_column(path, ending, name, texts):
            rows.append(row)
            if len(rows) > MAX_ROWS:
                raise ToolkitError(texts.too_many_rows.format(name=name, limit=MAX_ROWS))
    except EncodingError as error:
        raise ToolkitError(f"{name}: {texts.undecodable(error.likeliest)}") from error
    if not rows:
        raise ToolkitError(texts.no_rows.format(name=name))
    return rows


def classify_rows(rows: Sequence[Row], predictor: Predictor, empty: str = EMPTY) -> Iterator[list[ClassifiedRow]]:
    """Classify `BATCH` rows at a time, in order; those with a problem pass through, and `empty` is one."""
    for start in range(0, len(rows), BATCH):
        batch = rows[start : start + BATCH]
        predictions = predictor.predict_each(row.text for row in batch if row.problem is None)
        classified = []
        for row in batch:
            prediction = next(predictions) if row.problem is None else None
            if prediction is None:
                classified.append(ClassifiedRow(replace(row, problem=row.problem or empty), UNREADABLE, None))
            else:
                classified.append(ClassifiedRow(row, prediction.verdict, prediction))
        yield classified


def count_verdicts(rows: Sequence[ClassifiedRow], labels: LabelSet) -> dict[str, int]:
    """Rows of each verdict: both labels, or of more those that occur, and what else occurs."""
    counts = Counter(row.verdict for row in rows)
    always = labels.names if len(labels) == 2 else ()
    return {name: counts[name] for name in (*labels.names, UNCERTAIN, UNREADABLE) if counts[name] or name in always}


def to_csv(rows: Sequence[ClassifiedRow], labels: LabelSet) -> bytes:
    """The rows with their predictions, in UTF-8 with the mark by which spreadsheets know it, and no cell that they would run.

    A verdict that was withheld has the reason beside it. Of two labels the second's probability has a column; of more, all of them are one cell of JSON.
    """
    two = len(labels) == 2
    probability = f"{labels[1].name}_probability" if two else "probabilities"
    stream = io.StringIO(newline="")
    writer = csv.writer(stream, lineterminator="\n")

    def write(*cells: object) -> None:
        writer.writerow([_harmless(cell) for cell in cells])

    write("row", "text", "verdict", "score", probability, "tokens", "tokens_read", "reason", "problem")
    for each in rows:
        prediction = each.prediction
        if prediction is None:
            write(each.row.place, each.row.text, "", "", "", "", "", "", each.row.problem)
            continue
        rounded = {name: round(value, 6) for name, value in prediction.probabilities.items()}
        shares = f"{rounded[labels[1].name]:.6f}" if two else json.dumps(rounded, ensure_ascii=False)
        numbers = (f"{prediction.score:.6f}", shares, prediction.tokens, prediction.tokens_read)
        write(each.row.place, each.row.text, each.verdict, *numbers, prediction.reason or "", "")
    return stream.getvalue().encode("utf-8-sig", errors="replace")


def _text_column(path: Path, ending: str, name: str, texts: Texts) -> Iterator[Row]:
    column = None

    def needed(names: Sequence[str]) -> list[str]:
        found = find_column(names, None)
        return [] if found is None else [found]

    for place, row, problem in read_rows(
        path, ending, needed, name=name, most=LARGEST_UPLOAD << 20, longest=LARGEST_MESSAGE
    ):
        if isinstance(problem, Undecodable):
            yield Row(place.in_table, "", texts.undecodable(problem.likeliest))
            continue
        if problem:
            yield Row(place.in_table, "", problem)
            continue
        column = column or find_column(row, None)
        if column is None:
            expected, found = " / ".join(TEXT_COLUMNS), ", ".join(map(str, row))
            raise ToolkitError(texts.no_text_column.format(name=name, expected=expected, found=found[:200]))
        yield _row(place.in_table, row.get(column), texts)


def _row(place: str, text: object, texts: Texts) -> Row:
    if not isinstance(text, str) or not normalise(text[:TEXT_LIMIT]):
        return Row(place, "", texts.empty_row)
    return Row(place, text)


def _harmless(cell: object) -> object:
    """A cell that no spreadsheet runs as a formula: what begins like one begins with an apostrophe (OWASP, CSV Injection)."""
    return f"'{cell}" if isinstance(cell, str) and cell.startswith(_FORMULA) else cell
