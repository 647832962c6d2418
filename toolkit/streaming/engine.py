"""Records through a predictor: read ahead while the model works, answer at once when there is nothing to wait for."""

import threading
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass, field

from toolkit.choices import OnError
from toolkit.errors import ToolkitError
from toolkit.formats.places import RecordError
from toolkit.formats.records import EMPTY, Record
from toolkit.prediction import Prediction, Predictor
from toolkit.prediction.abstention import FOREIGN
from toolkit.streaming.writers import Writer

# Records; doubled up to the chunk of a predictor, so that the first answers do not wait for a whole one.
_FIRST_BATCH = 16
_AHEAD_SIZE = 1 << 22  # some 3,000 reviews; a bound for inputs of a few huge records

Results = list[tuple[Record, Prediction | None]]


def classify(records: Iterable[Record], load: Callable[[], Predictor]) -> Iterator[Results]:
    """Classify records, in order; those with a problem come back without a prediction.

    Each list holds what there was to read when the model was free: a single record when somebody types, soon a
    predictor's chunk when input is plentiful. Another thread reads, at most a chunk ahead, and starts before the model is
    loaded.

    Args:
        records: an iterator that may wait for its input.
        load: gives the predictor.

    Raises:
        Exception: whatever reading raises, after everything read before it has been classified.
    """
    ahead = _ReadAhead(records)
    with closing(ahead):
        predictor = load()
        for batch in ahead.batches(predictor.chunk_size):
            predictions = predictor.predict_each(record.text for record in batch if record.problem is None)
            yield [(record, None if record.problem else next(predictions)) for record in batch]


class _ReadAhead:
    """Takes records from an iterator in a thread of its own, and hands out what it has."""

    def __init__(self, records: Iterable[Record]) -> None:
        self._changed = threading.Condition()
        self._held: list[Record] = []
        self._size = 0
        self._limit = 64  # records, until the predictor says how many it takes
        self._finished = False
        self._closed = False
        self._error: BaseException | None = None
        # A daemon, because nothing can wake a thread that waits for somebody to type.
        threading.Thread(target=self._read, args=(records,), name="reader", daemon=True).start()

    def batches(self, limit: int) -> Iterator[list[Record]]:
        """What there is, as soon as there is something: few records at first, `limit` at most."""
        with self._changed:
            self._limit = limit
            self._changed.notify_all()
        most = min(_FIRST_BATCH, limit)
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._held or self._finished)
                batch, self._held = self._held[:most], self._held[most:]
                self._size = sum(record.size for record in self._held)
                self._changed.notify_all()
            most = min(2 * most, limit)
            if batch:
                yield batch
            elif self._error:
                raise self._error
            else:
                return

    def close(self) -> None:
        """Let the thread end."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def _read(self, records: Iterable[Record]) -> None:
        try:
            for record in records:
                with self._changed:
                    self._changed.wait_for(self._has_room)
                    if self._closed:
                        return
                    self._held.append(record)
                    self._size += record.size
                    self._changed.notify_all()
        except BaseException as error:  # noqa: BLE001 - raised again where the records are asked for
            self._error = error
        finally:
            with self._changed:
                self._finished = True
                self._changed.notify_all()

    def _has_room(self) -> bool:
        return self._closed or (len(self._held) < self._limit and self._size < _AHEAD_SIZE)


@dataclass(frozen=True, slots=True)
class Selection:
    """Which answers are kept, as grep would.

    Attributes:
        verdicts: The verdicts to keep; none named means all.
        min_score: calibrated probability that the label needs, 0 to 1.
        invert: keep the others instead.
    """

    verdicts: Collection[str] = ()
    min_score: float = 0.0
    invert: bool = False

    def keeps(self, prediction: Prediction) -> bool:
        """Whether this answer goes out."""
        wanted = (not self.verdicts or prediction.verdict in self.verdicts) and prediction.score >= self.min_score
        return wanted != self.invert


@dataclass
class Tally:
    """What went through so far.

    Attributes:
        verdicts: answers by verdict, kept or not.
        kept: answers written.
        problems: records that could not be classified or written.
        foreign: texts without a verdict because they are not for the model, see `toolkit.prediction.abstention.FOREIGN`.
        score_sum: The sum of all scores.
        started: The time when the first record was asked for, by `time.perf_counter`.
    """

    verdicts: Counter[str] = field(default_factory=Counter)
    kept: int = 0
    problems: int = 0
    foreign: int = 0
    score_sum: float = 0.0
    started: float = field(default_factory=time.perf_counter)

    def count(self, prediction: Prediction, kept: bool) -> None:
        """Add an answer."""
        self.verdicts[prediction.verdict] += 1
        self.score_sum += prediction.score
        self.kept += kept
        self.foreign += prediction.reason in FOREIGN

    def summary(self) -> str:
        """Counts, mean score, reviews/s and seconds, on one line."""
        reviews = self.verdicts.total()
        seconds = time.perf_counter() - self.started
        mean = f"{self.score_sum / reviews:.4f}" if reviews else "none"
        counts = ", ".join(f"{count} {verdict}" for verdict, count in sorted(self.verdicts.items())) or "none"
        return (
            f"{reviews} reviews: {counts}; {self.kept} kept, {self.problems} not classified; mean score {mean}; "
            f"{reviews / seconds:.1f} reviews/s, {seconds:.1f} s"
        )


@dataclass
class ResultWriter:
    """Turns results into output.

    Attributes:
        writer: Writes a record in the output format.
        selection: Says which results are written.
        on_error: `report`, `skip` or `stop`: put a bad record into the output, or tell it where the format has no place for it;
            leave it out and do not count it; end with it.
        report: Takes what is wrong with a record that the output has no place for.
        note: Takes what is wrong with any record.
        tally: Counts what is written and what is not.
    """

    writer: Writer
    selection: Selection
    on_error: OnError
    report: Callable[[RecordError], None]
    note: Callable[[RecordError], None] = lambda error: None
    tally: Tally = field(default_factory=Tally)

    def write(self, batches: Iterable[Results]) -> Iterator[bytes]:
        """The output of each batch, to be written whole before the next is asked for.

        Raises:
            ToolkitError: at the first bad record, if those end the stream; what came before it has been yielded.
        """
        for batch in batches:
            lines: list[bytes] = []
            for record, prediction in batch:
                try:
                    if prediction is None:
                        raise RecordError(record.place, record.problem or EMPTY)
                    lines.append(self._answer(record, prediction))
                except RecordError as error:
                    self.note(error)
                    if self.on_error == "stop":
                        yield b"".join(lines)
                        raise ToolkitError(str(error)) from error
                    self.tally.problems += 1
                    if self.on_error == "report":
                        lines.append(self._complain(record, error))
            yield b"".join(lines)

    def _answer(self, record: Record, prediction: Prediction) -> bytes:
        line = self.writer.answer(record, prediction) if self.selection.keeps(prediction) else None
        self.tally.count(prediction, kept=line is not None)
        return line or b""

    def _complain(self, record: Record, error: RecordError) -> bytes:
        line = self.writer.problem(record, error)
        if line is None:
            self.report(error)
        return line or b""
