"""`toolkit filter`."""

import logging
import sys
from collections.abc import Iterator
from functools import cache, partial
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from toolkit.choices import OnError, OutputFormat, choices
from toolkit.commands.options import (
    INPUT_FILE,
    USUAL_COLUMNS,
    SectionCommand,
    check_writable,
    encoding_option,
    hint_many_withheld,
    label_writer,
    language_option,
    load,
    open_stdin,
    prediction_options,
    progress_option,
    say,
    section_option,
    uncertain_options,
)
from toolkit.commands.redirection import refuse_own_output
from toolkit.formats.limits import listed, printable
from toolkit.progress import track

if TYPE_CHECKING:
    from toolkit.prediction import Predictor
    from toolkit.streaming import ResultWriter, Source
    from toolkit.streaming.writers import Writer

_logger = logging.getLogger(__name__)


@click.command("filter", cls=SectionCommand)
@click.argument("files", nargs=-1, type=INPUT_FILE)
@section_option(
    "Input", "-0", "--null", is_flag=True, help="Reviews are separated by NUL bytes, not lines; so is the output."
)
@section_option("Input", "--jsonl", is_flag=True, help="JSON objects, a line each or in an array.")
@section_option(
    "Input", "--csv", "csv_input", is_flag=True, help="CSV with a header, between commas, semicolons or tabs."
)
@section_option("Input", "--field", help=f"Of an object, the text's field.  [default: {USUAL_COLUMNS}]")
@section_option("Input", "--column", help=f"Of a CSV, the text's column.  [default: {USUAL_COLUMNS}]")
@encoding_option("Input")
@section_option(
    "Output",
    "--format",
    "output_format",
    type=click.Choice(choices(OutputFormat)),
    default="tsv",
    show_default=True,
    help="tsv: label, score, text. jsonl, csv: the input's fields and the answer's.",
)
@section_option(
    "Output",
    "--why",
    is_flag=True,
    help="In jsonl, what words, phrases and sentences each verdict comes from; up to 16 times the work.",
)
@section_option(
    "Output",
    "--prefix",
    default="",
    callback=check_writable,
    help="Put before the names of new fields in jsonl and csv.",
)
@language_option("Output")
@progress_option("Output")
@section_option("Output", "-c", "--count", is_flag=True, help="Print how many reviews were kept, nothing else.")
@section_option(
    "Output", "--summary", is_flag=True, help="Say counts, mean score, reviews/s and seconds on stderr at the end."
)
@section_option(
    "Choice",
    "--keep",
    metavar="LABEL",
    multiple=True,
    help="Keep these only: labels by name, or uncertain; may be given more than once.",
)
@section_option(
    "Choice",
    "--min-score",
    type=click.FloatRange(0, 1),
    default=0.0,
    metavar="P",
    help="Keep what has a score of P or more, 0 to 1.",
)
@section_option("Choice", "--invert", is_flag=True, help="Keep what would be left out.")
@uncertain_options("Choice")
@section_option(
    "Broken records",
    "--on-error",
    type=click.Choice(choices(OnError)),
    default="report",
    show_default=True,
    help="report: an error record in jsonl and csv, else a line on stderr; exit 2 at the end. skip: say nothing. stop: exit 2 at the first.",
)
@section_option("Broken records", "--strict", is_flag=True, help="The same as --on-error stop.")
@prediction_options  # fmt: skip
def filter_command(
    files: tuple[Path, ...],
    null: bool,
    jsonl: bool,
    csv_input: bool,
    field: str | None,
    column: str | None,
    encoding: str | None,
    output_format: OutputFormat,
    why: bool,
    prefix: str,
    lang: str,
    count: bool,
    summary: bool,
    keep: tuple[str, ...],
    min_score: float,
    invert: bool,
    on_error: OnError,
    strict: bool,
    **model: Any,  # noqa: ANN401 - load's arguments
) -> None:
    """Classify FILES or stdin, a review a line, as label, score and text between tabs.

    Answers come in the order of the input, as soon as they can be had. gzip, zstd, ZIP and UTF-16 are recognised. Exit code 0: something
    was kept; 1: nothing was; 2: an error, or a record that could not be classified; 130: Ctrl-C; 141: a closed pipe.

    A record may have 64 MiB, a CSV field 16 million characters. The number of tokens counts the first 200,000 characters
    of a review.

    \b
    Examples:
      toolkit filter < reviews.txt > verdicts.tsv
      tail -f reviews.log | toolkit filter --keep negative --min-score 0.9
      toolkit filter --csv --column body --format csv in.csv.gz > out.csv
      toolkit filter --jsonl --format jsonl --prefix m_ < in.jsonl | jq .m_label
      find notes -name "*.txt" -exec cat {} + | toolkit filter -c --keep positive
    """
    if sum((null, jsonl, csv_input)) > 1:
        raise click.UsageError("--null, --jsonl and --csv are three kinds of input; name one")
    if (field and not jsonl) or (column and not csv_input):
        raise click.UsageError("--field goes with --jsonl, --column with --csv")
    if invert and not keep and not min_score:
        raise click.UsageError("--invert needs something to turn round: --keep or --min-score")
    if why and (count or output_format != "jsonl"):
        raise click.UsageError("--why goes with --format jsonl, without --count")
    sources = _open(files, encoding)

    from toolkit.formats.hints import hinted
    from toolkit.streaming import NoWriter, ResultWriter, Selection, classify, make_writer, read_records
    from toolkit.streaming.writers import JsonWriter

    on_terminal = sys.stdout.isatty()
    label = label_writer(lang, on_terminal and output_format in ("tsv", "label"))
    show = _for_terminal if on_terminal else bytes
    load_once = cache(partial(_load, keep, **model))
    if count:
        writer: Writer = NoWriter(label)
    elif why:
        writer = JsonWriter(label, prefix, show, lambda text: load_once().explain(text).to_dict())
    else:
        writer = make_writer(output_format, label, prefix, b"\0" if null else b"\n", show)
    results = ResultWriter(
        writer,
        Selection(keep, min_score, invert),
        "stop" if strict else on_error,
        lambda error: say(str(error), err=True),
    )
    input_format = "nul" if null else "jsonl" if jsonl else "csv" if csv_input else "lines"
    records = chain.from_iterable(
        hinted(read_records(source, input_format, field or column), source.name, input_format) for source in sources
    )
    try:
        _copy(results.write(classify(records, load_once)), sources)
    finally:
        hint_many_withheld(results.tally, lang)
        if summary:
            click.echo(results.tally.summary(), err=True)
    if count:
        click.echo(results.tally.kept)
    _finish(results)


def _for_terminal(line: bytes) -> bytes:
    """A pipe gets every byte as it came, a terminal none that it would obey."""
    return printable(line.decode(errors="replace")).encode()


def _load(keep: tuple[str, ...], **model: Any) -> "Predictor":  # noqa: ANN401 - load's arguments
    from toolkit.text.labels import UNCERTAIN

    predictor = load(**model)
    known = (*predictor.labels.names, UNCERTAIN)
    if unknown := [name for name in keep if name not in known]:
        raise click.BadParameter(f"{unknown[0]!r} is not one of {listed(map(repr, known))}.", param_hint="'--keep'")
    if UNCERTAIN in keep and not predictor.threshold.withholds(predictor.labels.lowest_score):
        raise click.UsageError(
            "--keep uncertain needs --uncertain-below P or --target-accuracy A, which say what is uncertain"
        )
    return predictor


def _open(files: tuple[Path, ...], encoding: str | None) -> "list[Source]":
    """Every input; click has seen that the files are there."""
    from toolkit.formats.sources import Source

    if sys.stdin is not None and sys.stdin.isatty() and (not files or Path("-") in files):
        _logger.info("reviews, one a line; Ctrl-D ends")
    paths = files or (Path("-"),)
    refuse_own_output(*(path for path in paths if path != Path("-")))
    return [
        Source("", open_stdin(), encoding=encoding) if path == Path("-") else Source.open(path, encoding)
        for path in paths
    ]


def _copy(output: Iterator[bytes], sources: "list[Source]") -> None:
    """Write each batch at once; answers on a terminal show the progress themselves."""
    sizes = [source.size for source in sources]
    size = None if None in sizes else sum(filter(None, sizes))
    with track("classifying", "bytes", size, bar=not sys.stdout.isatty()) as progress:
        for block in output:
            if block:
                sys.stdout.buffer.write(block)
                sys.stdout.buffer.flush()
            progress.advance(sum(source.position for source in sources) - progress.done)


def _finish(results: "ResultWriter") -> None:
    if results.tally.problems and results.on_error != "skip":
        click.echo(f"records that could not be classified: {results.tally.problems}", err=True)
        sys.exit(2)
    sys.exit(0 if results.tally.kept else 1)
