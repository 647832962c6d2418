"""An uploaded file of reviews: read through once, classified a few rows at a time, and given back with the answers."""

import codecs
import io
import re
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import count, islice
from pathlib import Path

from toolkit.chat.limits import LARGEST_MESSAGE
from toolkit.chat.settings import LARGEST_UPLOAD, upload_format
from toolkit.chat.texts import Texts
from toolkit.errors import MissingColumnError, ToolkitError
from toolkit.formats.encodings import EncodingError, Undecodable
from toolkit.formats.limits import shown
from toolkit.formats.names import TEXT_COLUMNS, find_column
from toolkit.formats.parsing import BLANK, unwritable
from toolkit.formats.places import RecordError
from toolkit.formats.records import EMPTY, READERS, LineRecord, Record, read_records
from toolkit.formats.sources import Source
from toolkit.prediction import Prediction, Predictor
from toolkit.prediction.abstention import FOREIGN
from toolkit.streaming.writers import ERROR_FIELD, NEW_FIELDS, CsvWriter
from toolkit.text.labels import UNCERTAIN, LabelSet

MAX_ROWS = 50_000  # half an hour or more on two cores; anything larger belongs on the command line
MAX_CELLS = LARGEST_UPLOAD << 20  # of the result; a table that is whole has a byte for each
BATCH = 8  # reviews before somebody else's message gets its turn
PREVIEW_ROWS = 20
UNREADABLE = "unreadable"
_TAKEN_PREFIX = "predicted_"  # as `toolkit predict-files` proposes it
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")  # the last four of double width
_NUMBER = re.compile(r"[+-]?(\d+([.,]\d*)?|[.,]\d+)([eE][+-]?\d+)?", re.ASCII)


@dataclass(frozen=True, slots=True)
class Row:
    """One row of a file.

    Attributes:
        record: the row as the file has it.
        problem: why it cannot be classified, in the user's language; None where it can.
    """

    record: Record
    problem: str | None

    @property
    def text(self) -> str:
        """The review, empty where there is a problem."""
        return self.record.text

    @property
    def place(self) -> str:
        """The place in the file, as `row 3`."""
        return self.record.place.in_table


@dataclass(frozen=True, slots=True)
class Upload(Collection[Row]):
    """A file that was read through once; each time it is iterated over, it is read again.

    Attributes:
        path: where it lies.
        name: what its user calls it.
        texts: the language of its problems.
        columns: The names of all its columns, in order.
        rows: The number of its rows; blank lines are none.
    """

    path: Path
    name: str
    texts: Texts
    columns: tuple[str, ...] = ()
    rows: int = 0

    def __len__(self) -> int:
        """The number of rows."""
        return self.rows

    def __contains__(self, row: object) -> bool:
        """Whether there is such a row."""
        return any(row == each for each in self)

    def __iter__(self) -> Iterator[Row]:
        """The rows in order, each with its problem in words."""
        source = Source(self.name, self.path, LARGEST_UPLOAD << 20, LARGEST_MESSAGE)
        for record in read_records(source, READERS.get(upload_format(self.name) or "", "lines")):
            if not _is_blank(record):
                yield Row(record, self._problem(record.problem))

    def _problem(self, problem: str | None) -> str | None:
        if isinstance(problem, Undecodable):
            return self.texts.undecodable(problem.likeliest)
        return self.texts.empty_row if problem == EMPTY else problem


@dataclass(frozen=True, slots=True)
class ClassifiedRow:
    """A row and what became of it: a label, `uncertain` or `unreadable`, and the prediction unless it is the last."""

    row: Row
    verdict: str
    prediction: Prediction | None


class UploadError(ToolkitError):
    """A file that is not taken, in the words of its user's language."""


def read_upload(path: Path, name: str, texts: Texts) -> Upload:
    """Read an uploaded file through; its name says the format: a review a line in .txt, a text column in the others.

    Raises:
        UploadError: It is of another type, cannot be read, has no text column, no row or too many.
    """
    if upload_format(name) is None:
        raise UploadError(f"{name}: {texts.upload_type}")
    upload = Upload(path, name, texts)
    try:
        upload = _measured(upload)
    except UploadError:
        raise
    except EncodingError as error:
        raise UploadError(f"{name}: {texts.undecodable(error.likeliest)}") from error
    except MissingColumnError as error:
        raise _no_text_column(upload, error.found) from error
    except ToolkitError as error:
        raise UploadError(texts.unreadable_file.format(error=error)) from error
    if not upload.rows:
        raise UploadError(texts.no_rows.format(name=name))
    if (column := next(filter(unwritable, upload.columns), None)) is not None:
        raise UploadError(texts.unreadable_file.format(error=f"{name}: {shown(column)} {unwritable(column)}"))
    if upload.rows * len(upload.columns) > MAX_CELLS:
        raise UploadError(texts.too_many_columns.format(name=name, columns=len(upload.columns)))
    return upload


def classify_rows(rows: Iterable[Row], predictor: Predictor, empty: str = EMPTY) -> Iterator[list[ClassifiedRow]]:
    """Classify `BATCH` rows at a time, in order; those with a problem pass through, and `empty` is one."""
    remaining = iter(rows)
    while batch := list(islice(remaining, BATCH)):
        predictions = predictor.predict_each(row.text for row in batch if row.problem is None)
        classified = []
        for row in batch:
            prediction = next(predictions) if row.problem is None else None
            if prediction is None:
                classified.append(ClassifiedRow(replace(row, problem=row.problem or empty), UNREADABLE, None))
            else:
                classified.append(ClassifiedRow(row, prediction.verdict, prediction))
        yield classified


class Report:
    """What became of the rows so far: counts, the first of them, and the CSV of all.

    Args:
        columns: The file's columns.
        labels: The model's labels.

    Attributes:
        labels: The model's labels.
        rows: The number of rows so far.
        foreign: Those without a verdict because they are not for the model.
        in_part: Those of which some tokens were not read.
        first: The first `PREVIEW_ROWS` of them.
    """

    def __init__(self, columns: Collection[str], labels: LabelSet) -> None:
        self.labels = labels
        self.rows = self.foreign = self.in_part = 0
        self.first: list[ClassifiedRow] = []
        self._verdicts: Counter[str] = Counter()
        self._writer = SpreadsheetWriter(lambda each: each.display("en"), _free_prefix(columns), columns=columns)
        self._content = io.BytesIO()
        self._content.write(codecs.BOM_UTF8)  # by which spreadsheets know UTF-8

    def add(self, batch: Iterable[ClassifiedRow]) -> None:
        """Take more rows."""
        for each in batch:
            done = self._write(each)
            self.rows += 1
            self._verdicts[done.verdict] += 1
            if done.prediction is not None:
                self.foreign += done.prediction.reason in FOREIGN
                self.in_part += done.prediction.tokens_read < done.prediction.tokens
            if len(self.first) < PREVIEW_ROWS:
                self.first.append(done)

    def counts(self) -> dict[str, int]:
        """Rows of each verdict: both labels, or of more those that occur, and what else occurs."""
        always = self.labels.names if len(self.labels) == 2 else ()
        names = (*self.labels.names, UNCERTAIN, UNREADABLE)
        return {name: self._verdicts[name] for name in names if self._verdicts[name] or name in always}

    def csv(self) -> bytes:
        """The file's own columns and the answers, as `toolkit predict-files` writes them, without a cell that is a formula."""
        return self._content.getvalue()

    def _write(self, each: ClassifiedRow) -> ClassifiedRow:
        record, prediction = each.row.record, each.prediction
        try:
            if prediction is None:
                raise RecordError(record.place, each.row.problem or EMPTY)
            line = self._writer.answer(record, prediction)
        except RecordError as error:
            each = ClassifiedRow(replace(each.row, problem=error.reason), UNREADABLE, None)
            line = self._writer.problem(record, error) or b""
        self._content.write(line)
        return each


class SpreadsheetWriter(CsvWriter):
    """Writes no cell that a spreadsheet runs: what begins like a formula begins with an apostrophe (OWASP, CSV Injection).

    A number is none, whatever its sign, so that its column can still be joined.
    """

    def csv_line(self, cells: Iterable[str]) -> bytes:
        """One line of the output, its cells harmless."""
        return super().csv_line(
            f"'{cell}" if cell.startswith(_FORMULA) and not _NUMBER.fullmatch(cell) else cell for cell in cells
        )


def _measured(upload: Upload) -> Upload:
    """The upload with the number of its rows and the names of its columns."""
    rows, columns, latest = 0, dict[str, None](), None
    for row in upload:
        rows += 1
        if rows > MAX_ROWS:
            raise UploadError(upload.texts.too_many_rows.format(name=upload.name, limit=MAX_ROWS))
        names = row.record.names()
        if names and not columns and find_column(names, None) is None:
            raise _no_text_column(upload, names)
        if names is not latest:  # those of a CSV are the same for every row
            columns |= dict.fromkeys(names)
            latest = names
    return replace(upload, rows=rows, columns=tuple(columns))


def _no_text_column(upload: Upload, names: Iterable[str]) -> UploadError:
    expected, found = " / ".join(TEXT_COLUMNS), ", ".join(map(str, names))
    return UploadError(upload.texts.no_text_column.format(name=upload.name, expected=expected, found=found[:200]))


def _is_blank(record: Record) -> bool:
    return record.problem == BLANK or (isinstance(record, LineRecord) and not record.line().strip())


def _free_prefix(columns: Collection[str]) -> str:
    """What stands before the names of new columns, so that none is there already."""
    prefixes = (_TAKEN_PREFIX * number for number in count())
    new: Sequence[str] = (*NEW_FIELDS, ERROR_FIELD)
    return next(prefix for prefix in prefixes if not {prefix + name for name in new} & set(columns))
