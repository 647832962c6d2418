"""`toolkit evaluate`."""

import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from toolkit.choices import Split, choices
from toolkit.commands.options import (
    PATH,
    USUAL_COLUMNS,
    SectionCommand,
    encoding_option,
    label_arguments,
    label_options,
    language_option,
    load,
    precision_option,
    prediction_options,
    progress_option,
    say,
    say_json,
    section_option,
    uncertain_options,
)
from toolkit.commands.redirection import refuse_own_output
from toolkit.formats.names import LABEL_COLUMNS, wanted_column
from toolkit.progress import track

if TYPE_CHECKING:
    from toolkit.text.labels import LabelSet

_logger = logging.getLogger(__name__)

_CHANGED = 20  # reviews listed on the terminal; all are in the JSON and on the page


@click.command(cls=SectionCommand)
@section_option(
    "Reviews", "--dataset", "folder", type=PATH, default="dataset", show_default=True, help="Data set folder."
)
@section_option(
    "Reviews",
    "--split",
    type=click.Choice(choices(Split)),
    default="test",
    show_default=True,
    help="Which of its splits.",
)
@section_option(
    "Reviews", "--file", "file", type=PATH, help="A CSV, TSV, JSON, JSONL or Parquet file of labelled reviews instead."
)
@section_option("Reviews", "--text-column", help=f"The text's column.  [default: {USUAL_COLUMNS}]")
@section_option("Reviews", "--label-column", help=f"The label's.  [default: {wanted_column(None, LABEL_COLUMNS)}]")
@encoding_option("Reviews")
@label_options("Labels")
@section_option(
    "Report", "--output", type=PATH, help="Folder for report.html, its figures, pictures and predictions; new, or an earlier report's."
)  # fmt: skip
@section_option(
    "Report", "--slice", "slices", multiple=True, metavar="COLUMN", help="Accuracy by what stands in this column, too; may be repeated."
)  # fmt: skip
@section_option("Report", "--no-texts", is_flag=True, help="Leave the reviews' texts out of the report.")
@section_option(
    "Report", "--compare", nargs=2, type=PATH, metavar="A B", help="Compare two reports on the same reviews; no model is asked."
)  # fmt: skip
@section_option("Output", "--json", "as_json", is_flag=True, help="Print one JSON object.")
@uncertain_options("Output")
@language_option("Output")
@progress_option("Output")
@precision_option("Model")
@prediction_options
def evaluate(
    folder: Path,
    split: str,
    file: Path | None,
    text_column: str | None,
    label_column: str | None,
    encoding: str | None,
    label_map: str | None,
    rating_column: str | None,
    negative_up_to: float | None,
    positive_from: float | None,
    output: Path | None,
    slices: tuple[str, ...],
    no_texts: bool,
    compare: tuple[Path, Path] | None,
    as_json: bool,
    lang: str,
    **model: Any,  # noqa: ANN401 - load's arguments
) -> None:
    """Measure a model on labelled reviews, write a report, compare two reports.

    Without options, the reviews are the test split of the project's own corpus in dataset/: 66 short ones, written to be
    hard. Name your own, or IMDB's, for figures that say something about a model.

    \b
    Examples:
      toolkit evaluate --split test
      toolkit evaluate --file reviews.parquet --backend torch --json
      toolkit evaluate --dataset build/imdb --slice rating --output build/report
      toolkit evaluate --compare build/report build/other-report
    """
    if compare:
        if file or slices:
            raise click.UsageError("--compare reads two reports; --file and --slice belong to making one")
        _compare(*compare, output, as_json)
        return
    if (slices or no_texts) and not output:
        raise click.UsageError("--slice and --no-texts are about a report; name its folder with --output")

    from toolkit.datasets.demo import demo_note
    from toolkit.datasets.labelling import RATING
    from toolkit.datasets.scanning import scan_reviews
    from toolkit.datasets.splits import label_scanned
    from toolkit.errors import needs_extra
    from toolkit.evaluation.measuring import measure, run_evaluation

    labels = label_arguments(label_map, rating_column, negative_up_to, positive_from)
    source = file or folder / f"{split}.csv"
    refuse_own_output(source)
    scanned = scan_reviews(source, text_column, rating_column or label_column, slices, encoding=encoding)
    if output:
        from toolkit.evaluation.folder import EVALUATION, refuse_foreign_folder
        from toolkit.evaluation.slices import find_columns

        refuse_foreign_folder(output, EVALUATION)  # what is missing is said before the work
        if rows := scanned[0]:
            wanted = [name for name in slices if not rating_column or name != RATING]
            if not rows[0].columns.keys() >= set(wanted):  # for the error, which names those that there are
                rows = scan_reviews(source, text_column, rating_column or label_column, encoding=encoding)[0]
            find_columns(rows, wanted, str(source))
        with needs_extra("evaluate", "writing a report"):
            import jinja2  # noqa: F401
            import matplotlib  # noqa: F401
    if note := demo_note(source):
        _logger.info("%s", note)
    predictor = load(**model)
    reviews = label_scanned(source, scanned, predictor.labels, labels)
    with track("evaluating", "reviews", len(reviews)) as progress:
        result = run_evaluation(predictor, reviews, progress.advance)
    if output:
        from toolkit.evaluation.report import describe, write_report

        content = describe(predictor, source, reviews, result, predictor.threshold, slices, with_texts=not no_texts)
        write_report(output, content, reviews, result)
        figures = content["figures"]
    else:
        figures = measure(result, predictor.threshold)
    if as_json:
        say_json(figures)
    else:
        _print(figures, predictor.labels, lang)
    if output:
        _logger.info("the report: %s", output / "report.html")


_READERS = {"ngrams": "read by n-grams alone", "both": "read by both", "model": "read by the transformer alone"}


def _print(figures: dict[str, Any], labels: "LabelSet", lang: str) -> None:
    _print_figure("accuracy", figures["accuracy"], figures["accuracy_interval"])
    for name, interval in figures["intervals"].items():
        macro = "macro " if len(labels) > 2 and name != "brier" else ""
        _print_figure(macro + name, figures[name], interval)
    calibration = figures["calibration"]
    click.echo(f"ece        {figures['ece']:.4f} (by chance up to {calibration['ece_by_chance']:.4f})")
    if readers := figures["readers"]:
        for name, each in readers.items():
            words = _READERS[name]
            _print_figure(f"{words}: {each['reviews']} reviews, accuracy", each["accuracy"], each["interval"])
            click.echo(f"{words}: ece {each['ece']:.4f}")
    if calibration["temperature"] != 1:
        click.echo(
            f"without the temperature {calibration['temperature']:.3f}: "
            f"ece {calibration['before']['ece']:.4f}, brier {calibration['before']['brier']:.4f}"
        )
    if calibration["note"]:
        click.echo(calibration["note"])
    if abstention := figures["abstention"]:
        click.echo(f"decided at {abstention['uncertain_below']} or more: {abstention['coverage']:.1%} of the reviews")
        if abstention["unfamiliar"]:
            click.echo(
                f"undecided as unlike what the model has learnt from, unless --any-text is given: {abstention['unfamiliar']}"
            )
        if abstention["accuracy"] is not None:
            _print_figure("of these, accuracy", abstention["accuracy"], abstention["interval"])
    noun = " reviews" if lang == "en" else ""  # the Chinese labels have it in them
    for label, row in zip(labels, figures["confusion_matrix"], strict=True):
        called = [f"{count} called {other.display(lang)}" for count, other in zip(row, labels, strict=True)
                  if other != label and (count or len(labels) == 2)]  # fmt: skip
        say(f"{label.display(lang)}{noun}: {', '.join([f'{row[label.index]} right', *called])}")
    click.echo(f"{figures['reviews']} reviews, {figures['truncated']} truncated, {figures['reviews_per_second']:.1f} reviews/s "
               f"with {figures['backend']} on {figures['device']}")  # fmt: skip


def _print_figure(name: str, value: float | None, interval: tuple[float, float] | None) -> None:
    if value is None or interval is None:
        click.echo(f"{name:<10} undefined: one class only")
    else:
        click.echo(f"{name:<10} {value:.4f} (95%: {interval[0]:.4f} to {interval[1]:.4f})")


def _compare(first: Path, second: Path, output: Path | None, as_json: bool) -> None:
    from toolkit.evaluation.comparison import compare, write_comparison
    from toolkit.evaluation.folder import COMPARISON, refuse_foreign_folder

    if output:
        refuse_foreign_folder(output, COMPARISON)
    content = compare(first, second)
    if output:
        write_comparison(output, content)
    if as_json:
        say_json(content)
    else:
        _print_comparison(content)
    if output:
        _logger.info("the comparison: %s", output / "report.html")


def _print_comparison(content: dict[str, Any]) -> None:
    for letter in ("a", "b"):
        report = content[letter]
        say(f"{letter.upper()}  accuracy {report['figures']['accuracy']:.4f}  {report['name']}")
    low, high = content["interval"]
    say(f"B - A: {content['difference']:+.4f} (95%: {low:+.4f} to {high:+.4f}), {content['reviews']} reviews")
    say(f"right: both {content['both_right']}, only A {content['only_a']}, only B {content['only_b']}, "
               f"neither {content['neither']}")  # fmt: skip
    say(f"McNemar: exact p {content['mcnemar']['exact']:.3g}, mid-p {content['mcnemar']['mid_p']:.3g}")
    changed = content["changed"]
    for each in changed[:_CHANGED]:
        verdicts = ", ".join(
            f"{letter.upper()} {each[letter]['verdict']} {each[letter]['score']:.4f}" for letter in ("a", "b")
        )
        say(f"row {each['row']}, {each['label']}: {verdicts}  {each['excerpt'][:60]}".rstrip())
    if len(changed) > _CHANGED:
        say(f"… and {len(changed) - _CHANGED} more; --json or --output has all")
