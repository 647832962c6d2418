"""The stdin filter's engine: lines in, predictions out, in order, as soon as they can be had."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain
from typing import Protocol

from toolkit.prediction import Prediction, Predictor
from toolkit.text import normalise

READ_BYTES = 1 << 16  # a pipe's capacity on Linux, some 50 reviews: enough to keep every worker busy


class BinaryReader(Protocol):
    """A stream that hands over what is there without waiting for more, as stdin's buffer and files do."""

    def read1(self, size: int = ..., /) -> bytes:
        """At most `size` bytes from at most one read of the raw stream; empty at the end."""


@dataclass(frozen=True, slots=True)
class Record:
    """One input line and what became of it: a prediction, or a problem in words.

    Attributes:
        number: of the line, from 1.
        text: the line as it came, without its end.
        prediction: None where there is a problem.
        problem: None where there is a prediction.
    """

    number: int
    text: str
    prediction: Prediction | None
    problem: str | None = None


def classify_lines(stream: BinaryReader, predictor: Predictor) -> Iterator[list[Record]]:
    """Classify a stream, one review a line.

    Each list holds the lines that one read brought: a single one when somebody types, many when input is plentiful.
    A line that cannot be classified becomes a record with a problem and stops nothing.
    """
    number = 0
    for lines in _available_lines(stream):
        records = []
        for line in lines:
            number += 1
            records.append(_open_record(number, line))
        predictions = predictor.predict_many(record.text for record in records if record.problem is None)
        yield [
            record if record.problem else Record(record.number, record.text, next(predictions)) for record in records
        ]


def _open_record(number: int, line: bytes) -> Record:
    try:
        text = line.removesuffix(b"\r").decode()
    except UnicodeDecodeError as error:
        return Record(number, line.decode(errors="replace"), None, f"not valid UTF-8 at byte {error.start}")
    return Record(number, text, None, None if normalise(text) else "empty review")


def _available_lines(stream: BinaryReader) -> Iterator[list[bytes]]:
    """Split what each read brings into lines; an unfinished one waits for its end."""
    unfinished: list[bytes] = []  # joined once, so that a huge line costs linear time
    while block := stream.read1(READ_BYTES):
        head, *rest = block.split(b"\n")
        unfinished.append(head)
        if rest:
            *complete, last = rest
            yield list(chain([b"".join(unfinished)], complete))
            unfinished = [last]
    if last_line := b"".join(unfinished):
        yield [last_line]
