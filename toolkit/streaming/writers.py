"""From records and predictions to bytes: tab-separated lines, bare labels, JSON lines, CSV."""

import csv
import io
import json
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from typing import Any

from toolkit.choices import OutputFormat
from toolkit.errors import ToolkitError
from toolkit.formats.limits import listed, shown
from toolkit.formats.parsing import unwritable
from toolkit.formats.places import RecordError
from toolkit.formats.records import Record
from toolkit.models.files import to_json
from toolkit.prediction import Prediction

NEW_FIELDS = ("label", "score", "probabilities", "tokens", "tokens_read")
ERROR_FIELD = "error"


class Writer(ABC):
    """One output format.

    Args:
        label: The word that is written for a prediction's verdict.
        show: Turns what came of the input into what is written.
    """

    def __init__(self, label: Callable[[Prediction], str], show: Callable[[bytes], bytes] = bytes) -> None:
        self._label = label
        self._show = show

    @abstractmethod
    def answer(self, record: Record, prediction: Prediction) -> bytes:
        """A record with its answer.

        Raises:
            RecordError: this record does not fit into the format.
            ToolkitError: none would.
        """

    def problem(self, record: Record, error: RecordError) -> bytes | None:
        """A record without one; None where the format has no place for that."""
        return None


class NoWriter(Writer):
    """Writes nothing, for those who only count."""

    def answer(self, record: Record, prediction: Prediction) -> bytes:
        """Nothing."""
        return b""


class LabelWriter(Writer):
    """A label a line.

    Args:
        label: see `Writer`.
        end: The bytes that end a line.
        show: See `Writer`.
    """

    def __init__(self, label: Callable[[Prediction], str], end: bytes, show: Callable[[bytes], bytes] = bytes) -> None:
        super().__init__(label, show)
        self._end = end

    def answer(self, record: Record, prediction: Prediction) -> bytes:
        """The label alone."""
        return self._label(prediction).encode() + self._end


class TabWriter(LabelWriter):
    """Label, score and text between tabs; the text last, because it may hold tabs itself."""

    def answer(self, record: Record, prediction: Prediction) -> bytes:
        """Four decimals of the score."""
        head = f"{self._label(prediction)}\t{prediction.score:.4f}\t".encode()
        return b"".join((head, self._show(record.line()), self._end))  # one copy of a text that may be huge


class _FieldWriter(Writer):
    """Adds fields to the input's own."""

    def __init__(self, label: Callable[[Prediction], str], prefix: str, show: Callable[[bytes], bytes] = bytes) -> None:
        super().__init__(label, show)
        self._prefix = prefix
        self._names = [prefix + name for name in NEW_FIELDS]
        self._error_name = prefix + ERROR_FIELD
        self._taken = {*self._names, self._error_name}

    def _new_fields(self, prediction: Prediction) -> dict[str, Any]:
        values = {**prediction.to_dict(), "label": self._label(prediction)}
        return {name: values[field] for name, field in zip(self._names, NEW_FIELDS, strict=True)}

    def _check_names(self, record: Record, names: Iterable[str], new: Iterable[str] = ()) -> None:
        if taken := self._taken.union(new).intersection(names):
            raise ToolkitError(
                f"{record.place}: the input already has a field {min(taken)!r}; "
                "give the new fields other names, for example with: --prefix predicted_"
            )


class JsonWriter(_FieldWriter):
    """The input's object with the answer behind its own fields.

    Args:
        label: See `Writer`.
        prefix: Stands before the names of new fields.
        show: See `Writer`.
        why: Of a text, what made its answer, as JSON; nothing where it is None.
    """

    def __init__(
        self,
        label: Callable[[Prediction], str],
        prefix: str,
        show: Callable[[bytes], bytes] = bytes,
        why: Callable[[str], dict[str, Any]] | None = None,
    ) -> None:
        super().__init__(label, prefix, show)
        self._why = why

    def answer(self, record: Record, prediction: Prediction) -> bytes:
        """What the input wrote stands there letter by letter; what else there is to say is named, see `Prediction.remarks`."""
        remarks = prediction.remarks() | ({"why": self._why(record.text)} if self._why else {})
        return self._extend(
            record, self._new_fields(prediction) | {self._prefix + name: value for name, value in remarks.items()}
        )

    def problem(self, record: Record, error: RecordError) -> bytes:
        """The input's fields, as far as it had any, and `error`."""
        return self._extend(record, {self._error_name: str(error)})

    def _extend(self, record: Record, new: dict[str, Any]) -> bytes:
        self._check_names(record, record.names(), new)
        members = record.json()[:-1].rstrip()  # without the closing brace
        comma = "" if members == "{" else ", "
        if unwritable(members):
            _check_encodable(record, record.names())
        return self._show(f"{members}{comma}{to_json(new)[1:]}\n".encode())


class CsvWriter(_FieldWriter):
    """The input's columns, those of the answer, and one for errors, under a header.

    The columns are those of the first record that has any. A JSON object with fewer fields leaves cells empty; one with
    others cannot be written.

    Args:
        label: See `Writer`.
        prefix: Stands before the names of new columns.
        show: See `Writer`.
        columns: The input's columns, where they are known before its first record.
    """

    def __init__(
        self,
        label: Callable[[Prediction], str],
        prefix: str,
        show: Callable[[bytes], bytes] = bytes,
        columns: Iterable[str] | None = None,
    ) -> None:
        super().__init__(label, prefix, show)
        self._columns = None if columns is None else dict.fromkeys(columns)  # in order, and found in no time
        self._has_header = False

    def answer(self, record: Record, prediction: Prediction) -> bytes:
        """The probabilities are one cell of JSON."""
        new = self._new_fields(prediction).values()
        return self._row(record, [json.dumps(value) if isinstance(value, dict) else str(value) for value in new], "")

    def problem(self, record: Record, error: RecordError) -> bytes | None:
        """Empty cells in the place of the answer; None as long as no record has said what the columns are."""
        if self._columns is None and not record.names():
            return None
        return self._row(record, [""] * len(NEW_FIELDS), str(error))

    def _row(self, record: Record, answer: list[str], message: str) -> bytes:
        columns = dict.fromkeys(record.names()) if self._columns is None else self._columns
        if not self._has_header:
            self._check_names(record, columns)
            _check_encodable(record, columns)
        cells = record.cells()
        if not message and (others := [name for name in cells if name not in columns]):
            raise RecordError(
                record.place, f"{shown(others[0])} is not among the first record's columns, {listed(columns)}"
            )
        for name, cell in () if message else cells.items():
            if cell != record.text and (
                why := unwritable(cell)
            ):  # of the review itself the model read a replacement too
                raise RecordError(record.place, f"the column {shown(name)} {why}: {shown(cell)}")
        header = b"" if self._has_header else self.csv_line([*columns, *self._names, self._error_name])
        self._columns, self._has_header = columns, True  # now that there is a line to stand under it
        return self._show(header + self.csv_line([*(cells.get(name, "") for name in columns), *answer, message]))

    def csv_line(self, cells: Iterable[str]) -> bytes:
        """One line of the output."""
        stream = io.StringIO()
        csv.writer(stream).writerow(cells)  # its own line end makes it quote \r and \n, so it is changed afterwards
        return (stream.getvalue().removesuffix("\r\n") + "\n").encode(errors="replace")


def _check_encodable(record: Record, names: Iterable[str]) -> None:
    if (found := next(filter(unwritable, names), None)) is not None:
        raise ToolkitError(
            f"{record.place}: the name of a column, {shown(found)}, {unwritable(found)}; "
            "give it another, or convert the file to UTF-8"
        )


def make_writer(
    output_format: OutputFormat,
    label: Callable[[Prediction], str],
    prefix: str = "",
    end: bytes = b"\n",
    show: Callable[[bytes], bytes] = bytes,
) -> Writer:
    """A writer of one of `OUTPUTS`.

    Args:
        output_format: One of `OUTPUTS`.
        label: The word that is written for a prediction's verdict.
        prefix: Stands before the names of new fields, for `jsonl` and `csv`.
        end: The bytes that end a record, for `tsv` and `label`.
        show: Turns what came of the input into what is written; every byte as it came by default.
    """
    return OUTPUTS[output_format](label, prefix, end, show)


OUTPUTS: dict[OutputFormat, Callable[[Callable[[Prediction], str], str, bytes, Callable[[bytes], bytes]], Writer]] = {
    "tsv": lambda label, _prefix, end, show: TabWriter(label, end, show),
    "jsonl": lambda label, prefix, _end, show: JsonWriter(label, prefix, show),
    "csv": lambda label, prefix, _end, show: CsvWriter(label, prefix, show),
    "label": lambda label, _prefix, end, show: LabelWriter(label, end, show),
}
