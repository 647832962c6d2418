"""Where a record stands, and what is wrong with one; both are put into words where somebody reads them."""

from typing import NamedTuple


class Place(NamedTuple):
    """The place of a record in its input.

    Attributes:
        file: name of the input; empty for stdin.
        row: number of the record, from 1, blank lines not counted; None of a header.
        line: number of the line that it begins on, from 1; None where the format has no lines.
        unit: what such a format calls a record.
    """

    file: str = ""
    row: int | None = None
    line: int | None = None
    unit: str = "row"

    @property
    def in_stream(self) -> str:
        """As an editor counts: `line 3`; or `record 3`, `row 3` where there are no lines."""
        return f"{self.unit} {self.row}" if self.line is None else f"line {self.line}"

    @property
    def in_table(self) -> str:
        """As a table counts: `row 2 (line 3)`; `row 2` where the line has the same number, or none."""
        if self.row is None:
            return "header"
        return f"{self.unit} {self.row}" + (f" (line {self.line})" if self.line not in (None, self.row) else "")

    def __str__(self) -> str:
        """The input and the place in it."""
        return f"{self.file}: {self.in_stream}" if self.file else self.in_stream


class RecordError(Exception):
    """One record cannot be classified or written; the others can.

    Attributes:
        place: where it stands.
        reason: why not, in words.
    """

    def __init__(self, place: Place, reason: str) -> None:
        super().__init__(place, reason)
        self.place = place
        self.reason = reason

    def __str__(self) -> str:
        """On one line."""
        return f"{self.place}: {self.reason}"
