"""A file of reviews into another file with the answers beside them, whole or not at all."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import IO, Any, cast

from toolkit.choices import OutputFormat
from toolkit.errors import ToolkitError, needs_extra
from toolkit.formats.archives import packed_format
from toolkit.formats.limits import header_problem, listed, shown
from toolkit.formats.names import FORMATS, WRITTEN, find_column, format_of, say_columns, wanted_column
from toolkit.formats.parquet import parquet_batches, parquet_errors, parquet_file, to_values
from toolkit.formats.parsing import parse_csv, parse_json
from toolkit.formats.places import Place, RecordError
from toolkit.formats.records import EMPTY, READERS, read_records
from toolkit.formats.sources import Source
from toolkit.models.publishing import replacing_file
from toolkit.prediction import Predictor
from toolkit.streaming.engine import ResultWriter, Selection, Tally, classify
from toolkit.streaming.writers import ERROR_FIELD, NEW_FIELDS, make_writer
from toolkit.text.labels import LabelSet
from toolkit.text.normalisation import TEXT_LIMIT, normalise

_FIELDS = (*NEW_FIELDS, ERROR_FIELD)
_ROWS = 4096  # of a Parquet row group; some 5 MB of reviews


@dataclass(frozen=True, slots=True)
class FileJob:
    """What to classify, and how the answers are to be written.

    Attributes:
        source: a CSV, TSV, JSON, JSONL or Parquet file; its ending says which, one for a compression apart.
        target: CSV or JSONL for any of these, Parquet for Parquet; takes its place when it is finished.
        column: The column of the text; one of the usual by default.
        prefix: Stands before the names of the new columns.
        lang: The language of the verdicts.
        row_groups: The row groups of a Parquet source to take; all by default.
        first_row: the number that the first of their rows is noted with.
        empty: whether a source without a row is one to accept.
        encoding: The encoding of text without a byte order mark; UTF-8 by default.
    """

    source: Path
    target: Path
    column: str | None = None
    prefix: str = ""
    lang: str = "en"
    row_groups: Sequence[int] | None = None
    first_row: int = 1
    empty: bool = False
    encoding: str | None = None

    def run(
        self,
        load: Callable[[], Predictor],
        advance: Callable[[int], None] = lambda count: None,
        note: Callable[[RecordError], None] = lambda error: None,
    ) -> Tally:
        """Classify every row; one that cannot be has its reason in the column `error`.

        Args:
            load: gives the predictor.
            advance: Takes the bytes of the source that were done since it was last called.
            note: Takes what is wrong with each row that cannot be classified; what it raises ends the job.

        Raises:
            ToolkitError: the two files do not go together, the text's column is missing, a new one is there already, or
                there is nothing to classify.
            OSError: a file cannot be read or written. Whatever is raised, the target is as it was.
        """
        source_format, target_format = _format(self.source), _format(self.target, WRITTEN)
        if ".parquet" in (source_format, target_format) and source_format != target_format:
            raise ToolkitError(
                f"{self.source} into {self.target}: Parquet goes into Parquet, CSV and JSON into CSV or JSONL"
            )
        if self.target.exists() and self.target.samefile(self.source):
            raise ToolkitError(f"{self.target} is the input; choose another file for the output")
        with replacing_file(self.target) as stream:
            if source_format == ".parquet":
                tally = self._run_parquet(load, stream, advance, note)
            else:
                writer = make_writer(
                    cast("OutputFormat", target_format.removeprefix(".")),
                    lambda prediction: prediction.display(self.lang),
                    self.prefix,
                )
                tally = self._run_text(
                    load,
                    stream,
                    READERS[source_format],
                    ResultWriter(writer, Selection(), "report", _refuse, note),
                    advance,
                )
            if not tally.problems and not tally.kept and not self.empty:
                raise ToolkitError(f"{self.source}: expected reviews, found no row")
        return tally

    def _run_text(
        self,
        load: Callable[[], Predictor],
        stream: IO[bytes],
        source_format: str,
        results: ResultWriter,
        advance: Callable[[int], None],
    ) -> Tally:
        source = Source.open(self.source, self.encoding)
        done = 0
        for block in results.write(classify(read_records(source, source_format, self.column), load)):
            stream.write(block)
            advance(source.position - done)
            done = source.position
        return results.tally

    def _run_parquet(
        self,
        load: Callable[[], Predictor],
        stream: IO[bytes],
        advance: Callable[[int], None],
        note: Callable[[RecordError], None],
    ) -> Tally:
        with needs_extra("parquet", "reading Parquet"):
            import pyarrow
            import pyarrow.parquet
        with parquet_errors(self.source):
            file = pyarrow.parquet.ParquetFile(parquet_file(self.source))
            column = self._find_column(file.schema_arrow.names)
            predictor, tally = load(), Tally()
            schema = self._extend_schema(file.schema_arrow, predictor.labels)
            groups = range(file.num_row_groups) if self.row_groups is None else self.row_groups
            count_row = self._count_rows(sum(file.metadata.row_group(group).num_rows for group in groups), advance)
            with pyarrow.parquet.ParquetWriter(stream, schema) as writer:
                for batch in parquet_batches(self.source, row_groups=groups, rows=_ROWS):
                    texts = to_values(batch.column(column))
                    rows = list(self._parquet_rows(texts, predictor, tally, count_row, note))
                    new = [
                        pyarrow.array([row.get(name) for row in rows], each.type)
                        for name, each in zip(_FIELDS, list(schema)[-len(_FIELDS) :], strict=True)
                    ]
                    columns = batch.cast(file.schema_arrow).columns
                    writer.write_batch(pyarrow.record_batch([*columns, *new], schema=schema))
        return tally

    def _find_column(self, names: Sequence[str]) -> str:
        if problem := header_problem(names):
            raise ToolkitError(f"{self.source}: {problem}")
        column = find_column(names, self.column)
        if column is None:
            raise ToolkitError(
                f"{self.source}: expected a column {wanted_column(self.column)}, found {listed(names)}; "
                "name it with --column"
            )
        if self.column is None:
            say_columns(str(self.source), text=column)
        return column

    def _extend_schema(self, schema: Any, labels: LabelSet) -> Any:  # noqa: ANN401 - pyarrow ships no types
        """The file's columns, types and metadata as they are, and the new columns behind them."""
        import pyarrow

        probabilities = pyarrow.struct([(label.name, pyarrow.float64()) for label in labels])
        types = (pyarrow.string(), pyarrow.float64(), probabilities, pyarrow.int64(), pyarrow.int64(), pyarrow.string())
        new = [pyarrow.field(self.prefix + name, each) for name, each in zip(_FIELDS, types, strict=True)]
        if taken := {each.name for each in new}.intersection(schema.names):
            raise ToolkitError(
                f"{self.source}: the input already has a field {min(taken)!r}; "
                "give the new fields other names, for example with: --prefix predicted_"
            )
        return pyarrow.schema([*schema, *new], metadata=schema.metadata)

    def _parquet_rows(
        self,
        texts: list[Any],
        predictor: Predictor,
        tally: Tally,
        count_row: Callable[[], None],
        note: Callable[[RecordError], None],
    ) -> Iterator[dict[str, Any]]:
        problems = [_problem(text) for text in texts]
        first = self.first_row + tally.verdicts.total() + tally.problems
        predictions = predictor.predict_each(text for text, problem in zip(texts, problems, strict=True) if not problem)
        for row, problem in enumerate(problems, start=first):
            count_row()
            prediction = None if problem else next(predictions)
            if prediction is None:
                tally.problems += 1
                note(RecordError(Place(str(self.source), row), problem or EMPTY))
                yield {ERROR_FIELD: problem or EMPTY}
                continue
            tally.count(prediction, kept=True)
            yield {**prediction.to_dict(), "label": prediction.display(self.lang)}

    def _count_rows(self, rows: int, advance: Callable[[int], None]) -> Callable[[], None]:
        """Tell the progress in bytes, as if every row had as many."""
        size = self.source.stat().st_size
        numbers = count(1)

        def count_row() -> None:
            number = next(numbers)
            advance(size * number // rows - size * (number - 1) // rows)

        return count_row


def count_rows(path: Path) -> int:
    """Rows of a finished file, counted by reading it again."""
    written = _format(path, WRITTEN)
    if written == ".parquet":
        import pyarrow.parquet

        rows: int = pyarrow.parquet.read_metadata(path).num_rows
        return rows
    source = Source.open(path)
    if written == ".csv":
        return max(0, sum(1 for _ in parse_csv(source)) - 1)
    return sum(1 for _ in parse_json(source))


def _format(path: Path, known: Sequence[str] = FORMATS) -> str:
    ending = format_of(path) or (packed_format(path) if path.is_file() else None)
    if ending is None or ending not in known:
        raise ToolkitError(f"{path}: expected a file ending in {', '.join(known)}")
    return ending


def _problem(text: object) -> str | None:
    if text is None:
        return "no text"
    if not isinstance(text, str):
        return f"expected a string, found {shown(text)}"
    return None if normalise(text[:TEXT_LIMIT]) else EMPTY


def _refuse(error: RecordError) -> None:
    """A CSV cannot say what is wrong with a record before the first that has columns."""
    raise ToolkitError(f"{error}; a CSV takes its columns from the first record: mend it, or write .jsonl")
