"""`toolkit dataset`: make and check data sets."""

import logging
from pathlib import Path
from typing import Any

import click

from toolkit.choices import Split, choices
from toolkit.commands.options import (
    PATH,
    SummaryGroup,
    encoding_option,
    label_arguments,
    label_options,
    progress_option,
    say,
    say_json,
)
from toolkit.commands.redirection import refuse_own_output
from toolkit.errors import DataError, ToolkitError
from toolkit.formats.names import LABEL_COLUMNS, wanted_column
from toolkit.progress import track

_logger = logging.getLogger(__name__)


@click.group(cls=SummaryGroup)
def dataset() -> None:
    """Make and check data sets of labelled reviews."""


@dataset.command("import")
@click.argument("source")
@click.option(
    "--output", type=PATH, required=True, help="Folder for train.csv, validation.csv, test.csv and dataset_info.json."
)
@click.option("--validation", type=float, default=0.1, show_default=True, help="Share for validation.")
@click.option("--test", type=float, default=0.2, show_default=True, help="Share for test.")
@click.option("--official", is_flag=True, help="Keep the source's own test split; validation comes out of train.")
@click.option("--limit", type=int, help="Keep a balanced sample of so many reviews in all.")
@click.option("--seed", type=int, default=42, show_default=True, help="Of the shuffle and the sample.")
@click.option("--text-column", help=f"Name of the text's column, where it is not {wanted_column(None)}.")
@click.option(
    "--label-column", help=f"Name of the label's column, where it is not {wanted_column(None, LABEL_COLUMNS)}."
)
@label_options()
@encoding_option()
@progress_option()
def import_command(
    source: str,
    output: Path,
    label_map: str | None,
    rating_column: str | None,
    negative_up_to: float | None,
    positive_from: float | None,
    **options: Any,  # noqa: ANN401 - ImportOptions' fields
) -> None:
    """Split SOURCE into train, validation and test, without duplicates or leaks.

    SOURCE is the aclImdb folder or .tar.gz; a CSV, TSV, JSON, JSONL or Parquet file with a text and a label column; a
    folder of train.* and test.* such files; or imdb, the hub's stanfordnlp/imdb. A rating that it has is kept as a column.

    \b
    Examples:
      toolkit dataset import aclImdb_v1.tar.gz --output build/imdb --official
      toolkit dataset import "IMDB Dataset.csv" --output build/imdb
      toolkit dataset import a.csv --output a --label-map 1=negative,5=positive
      toolkit dataset import imdb --output build/sample --limit 4000
    """
    refuse_own_output(source)
    from toolkit.datasets.importers import ImportOptions, import_dataset

    labels = label_arguments(label_map, rating_column, negative_up_to, positive_from)
    with track("importing", "bytes", 1) as progress:
        info = import_dataset(source, output, ImportOptions(**options, labels=labels), progress.reach)
    for split, counts in info.counts.items():
        click.echo(
            f"{split:<11} {sum(counts.values()):>6} reviews: "
            + ", ".join(f"{n} {label}" for label, n in counts.items())
        )
    for warning in info.warnings:
        _logger.warning("%s", warning)
    left_out = ", ".join(f"{count} {reason.replace('_', ' ')}" for reason, count in info.dropped.items() if count)
    _logger.info("left out: %s", left_out or "nothing")


@dataset.command()
@click.argument("source", type=PATH)
@click.option("--output", type=PATH, required=True, help="Folder for texts-00001.csv, … and texts_info.json.")
@click.option(
    "--sentences", type=float, metavar="SHARE", help="Take single sentences, this share of them, over 0 to 1."
)
@click.option("--up-to", type=int, default=1, show_default=True, help="Take up to so many sentences in a row together.")
@click.option("--limit", type=int, help="Take so many texts at most.")
@click.option("--apart-from", type=PATH, help="Leave out the validation and test reviews of this data set.")
@click.option("--text-column", help=f"Name of the text's column, where it is not {wanted_column(None)}.")
@click.option("--per-file", type=int, default=1000, show_default=True, help="Texts in each file.")
@click.option("--seed", type=int, default=42, show_default=True, help="Of the sentences that are taken.")
@progress_option()
def texts(source: Path, output: Path, **options: Any) -> None:  # noqa: ANN401 - TextOptions' fields
    """Take the texts of SOURCE without labels, each once, for a teacher to label.

    SOURCE is a CSV, JSONL or Parquet file with a column of text, or a .txt with a text a line. The files are of a size
    that toolkit predict-files --resume goes on by.

    \b
    Examples:
      toolkit dataset texts unsup.parquet --output build/texts
      toolkit dataset texts unsup.csv --output build/parts --sentences 0.1
      toolkit dataset texts a.csv --output build/runs --sentences 0.05 --up-to 4
      toolkit dataset texts a.csv --output build/a --apart-from build/imdb
    """
    from toolkit.datasets.unlabelled import TextOptions, collect_texts

    with track("reading", "bytes", source.stat().st_size if source.is_file() else None) as progress:
        info = collect_texts(source, output, TextOptions(**options), progress.advance)
    click.echo(f"{info.texts} texts in {len(info.sha256)} files")
    _logger.info(
        "left out: %d duplicates, %d of the validation and test splits, %d rows without a text",
        info.duplicates, info.held_back, info.problems,
    )  # fmt: skip


@dataset.command()
@click.argument("folder", type=PATH, default="dataset")
@click.option(
    "--max-length", type=click.IntRange(min=3), default=512, show_default=True, help="Tokens a model would read."
)
@click.option("--base-model", default="minilm", show_default=True,
              help="Whose tokenizer counts; minilm's vocabulary is distilbert-base-uncased's.")  # fmt: skip
@click.option("--plot", type=PATH, help="Draw the token lengths' histogram into this file (.png, .pdf or .svg).")
@encoding_option()
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def check(
    folder: Path, max_length: int, base_model: str, plot: Path | None, encoding: str | None, as_json: bool
) -> None:
    """Report rows, balance, duplicates, leaks and token lengths of FOLDER; exit 1 if a row cannot be used.

    \b
    Examples:
      toolkit dataset check
      toolkit dataset check build/imdb --plot build/lengths.png
    """
    refuse_own_output(*(folder / f"{split}.csv" for split in choices(Split)))
    from toolkit.datasets.splits import check_splits, read_splits
    from toolkit.models.base_models import resolve_base_model
    from toolkit.text.tokenisation import ReviewTokenizer

    if plot:
        from toolkit.evaluation.plots import plot_token_lengths, refuse_picture

        refuse_picture(plot)  # what cannot be drawn is said before the work
    try:
        splits = read_splits(folder, others=(), encoding=encoding)
    except DataError as error:
        say("\n".join(error.problems))  # the report that was asked for, every row of it
        raise ToolkitError(
            f"{folder} cannot be used: {len(error.problems)} problems; correct or leave out these rows"
        ) from error
    tokenizer = ReviewTokenizer.from_file(resolve_base_model(base_model).folder / "tokenizer.json", max_length)
    reports = check_splits(splits, tokenizer)
    if plot:
        plot_token_lengths(reports, max_length, plot)
    if as_json:
        say_json({split: report.to_dict() for split, report in reports.items()})
        return
    for split, report in reports.items():
        click.echo(
            f"{split}: {report.rows} rows; " + ", ".join(f"{n} {label}" for label, n in report.per_label.items())
        )
        leaks = ", ".join(f"{n} in {other}" for other, n in report.leaks.items() if n) or "none"
        click.echo(f"  duplicates: {report.duplicates}; leaks: {leaks}")
        quantiles = ", ".join(f"{name} {value}" for name, value in report.token_quantiles.items())
        click.echo(f"  tokens: {quantiles}; {report.over_length:.1%} of the reviews over {max_length}")
