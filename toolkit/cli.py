"""The command line: parse, call, print. Heavy imports wait inside the commands."""

import json
import logging
import os
import sys
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, cast

import click

from toolkit.errors import DataError, ToolkitError
from toolkit.training.config import DEFAULT_PRESET, PRESETS, TrainingConfig

if TYPE_CHECKING:
    from toolkit.prediction import Prediction, Predictor
    from toolkit.streaming import BinaryReader

_Command = TypeVar("_Command", bound=Callable[..., Any])
_logger = logging.getLogger(__name__)
_PATH = click.Path(path_type=Path)


class _ToolkitGroup(click.Group):
    """Turns the library's errors into one message and exit code 1, and keeps the commands in their natural order."""

    def invoke(self, context: click.Context) -> Any:  # noqa: ANN401 - click's own signature
        try:
            return super().invoke(context)
        except BrokenPipeError:
            raise  # click ends quietly
        except (ToolkitError, OSError) as error:  # a full disk or a forbidden folder is the user's to mend as well
            if context.params.get("debug"):
                raise
            raise click.ClickException(str(error)) from error

    def list_commands(self, context: click.Context) -> list[str]:
        return list(self.commands)


@click.group(cls=_ToolkitGroup, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(package_name="distilbert-review-toolkit", prog_name="toolkit")
@click.option("-v", "--verbose", is_flag=True, help="Say more on stderr.")
@click.option("-q", "--quiet", is_flag=True, help="Say nothing on stderr but errors.")
@click.option("--debug", is_flag=True, help="Show the traceback of an error.")
def cli(verbose: bool, quiet: bool, debug: bool) -> None:
    """Is this film review positive or negative? Train, export and ask a small classifier on your own machine."""
    level = logging.DEBUG if verbose else logging.ERROR if quiet else logging.INFO
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("%(message)s"))
    for name in ("toolkit", "export"):
        logger = logging.getLogger(name)
        logger.setLevel(level)
        logger.handlers = [handler]
        logger.propagate = False
    # Why this backend is told with -v, not on every call.
    logging.getLogger("toolkit.prediction").setLevel(level if verbose else max(level, logging.WARNING))
    # What the libraries below say of themselves is no news to a user; -v shows it.
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "info" if verbose else "error")
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "true")


def main() -> None:
    """Entry point of the `toolkit` command."""
    cli(prog_name="toolkit")


def _prediction_options(command: _Command) -> _Command:
    """The options of every command that asks a model."""
    for option in (
        click.option("--max-length", type=click.IntRange(min=3), help="Tokens to read of a review; the model's own number by default."),
        click.option("--base-model", help="For torch, the base to use instead of the one the adapter names."),
        click.option("--adapter", type=_PATH, help="Adapter folder for torch.  [default: $TOOLKIT_ADAPTER or ./lora_model]"),
        click.option("--onnx-model", type=_PATH, help="ONNX bundle.  [default: $TOOLKIT_ONNX_MODEL or ./onnx_model]"),
        click.option("--backend", type=click.Choice(["auto", "onnx", "torch"]), default="auto", show_default=True,
                     help="auto: the kind of model that is named; else torch where it sees a GPU and an adapter, else ONNX."),
    ):  # fmt: skip
        command = option(command)
    return command


def _load(**model: Any) -> "Predictor":  # noqa: ANN401 - load_predictor's arguments
    from toolkit.prediction import load_predictor

    return load_predictor(**model)


def _read_all(stream: "BinaryReader") -> str:
    return b"".join(iter(stream.read1, b"")).decode(errors="replace")


def _stdin() -> "BinaryReader":
    if sys.stdin is None:
        raise ToolkitError("stdin is closed; pipe reviews in, or redirect a file with <")
    return cast("BinaryReader", sys.stdin.buffer)


@cli.group()
def dataset() -> None:
    """Make and check data sets of labelled reviews."""


@dataset.command("import")
@click.argument("source")
@click.option(
    "--output", type=_PATH, required=True, help="Folder for train.csv, validation.csv, test.csv and dataset_info.json."
)
@click.option("--validation", type=float, default=0.1, show_default=True, help="Share for validation.")
@click.option("--test", type=float, default=0.2, show_default=True, help="Share for test.")
@click.option("--official", is_flag=True, help="Keep the source's own test split; validation comes out of train.")
@click.option("--limit", type=int, help="Keep a balanced sample of so many reviews in all.")
@click.option("--seed", type=int, default=42, show_default=True, help="Of the shuffle and the sample.")
@click.option("--text-column", help="Name of the text's column, where it is not text, review, content or sentence.")
@click.option("--label-column", help="Name of the label's column, where it is not label, sentiment or polarity.")
def import_command(source: str, output: Path, **options: Any) -> None:  # noqa: ANN401 - ImportOptions' fields
    """Split SOURCE into train, validation and test, without duplicates or leaks.

    SOURCE is the aclImdb folder or .tar.gz; a CSV, JSONL or Parquet file with a text and a label column; a folder of
    train.* and test.* such files; or imdb, the hub's stanfordnlp/imdb.

    \b
    Examples:
      toolkit dataset import aclImdb_v1.tar.gz --output build/imdb --official
      toolkit dataset import "IMDB Dataset.csv" --output build/imdb
      toolkit dataset import imdb --output build/sample --limit 4000
    """
    from toolkit.importers import ImportOptions, import_dataset

    info = import_dataset(source, output, ImportOptions(**options))
    for split, counts in info.counts.items():
        click.echo(
            f"{split:<11} {sum(counts.values()):>6} reviews: "
            + ", ".join(f"{n} {label}" for label, n in counts.items())
        )
    left_out = ", ".join(f"{count} {reason.replace('_', ' ')}" for reason, count in info.dropped.items() if count)
    _logger.info("left out: %s", left_out or "nothing")


@dataset.command()
@click.argument("folder", type=_PATH, default="dataset")
@click.option(
    "--max-length", type=click.IntRange(min=3), default=512, show_default=True, help="Tokens a model would read."
)
@click.option("--base-model", default="minilm", show_default=True,
              help="Whose tokenizer counts; minilm's vocabulary is distilbert-base-uncased's.")  # fmt: skip
@click.option("--plot", type=_PATH, help="Draw the token lengths' histogram into this file (.png, .pdf or .svg).")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def check(folder: Path, max_length: int, base_model: str, plot: Path | None, as_json: bool) -> None:
    """Report rows, balance, duplicates, leaks and token lengths of FOLDER; exit 1 if a row cannot be used.

    \b
    Examples:
      toolkit dataset check
      toolkit dataset check build/imdb --plot build/lengths.png
    """
    from toolkit.base_models import resolve_base_model
    from toolkit.splits import check_splits, read_splits
    from toolkit.text import ReviewTokenizer

    try:
        splits = read_splits(folder)
    except DataError as error:
        click.echo("\n".join(error.problems))  # the report that was asked for, every row of it
        raise ToolkitError(
            f"{folder} cannot be used: {len(error.problems)} problems; correct or leave out these rows"
        ) from error
    tokenizer = ReviewTokenizer.from_file(resolve_base_model(base_model).folder / "tokenizer.json", max_length)
    reports = check_splits(splits, tokenizer)
    if plot:
        from toolkit.plots import plot_token_lengths

        plot_token_lengths(reports, max_length, plot)
    if as_json:
        click.echo(json.dumps({split: report.to_dict() for split, report in reports.items()}))
        return
    for split, report in reports.items():
        click.echo(
            f"{split}: {report.rows} rows; " + ", ".join(f"{n} {label}" for label, n in report.per_label.items())
        )
        leaks = ", ".join(f"{n} in {other}" for other, n in report.leaks.items() if n) or "none"
        click.echo(f"  duplicates: {report.duplicates}; leaks: {leaks}")
        quantiles = ", ".join(f"{name} {value}" for name, value in report.token_quantiles.items())
        click.echo(f"  tokens: {quantiles}; {report.over_length:.1%} of the reviews over {max_length}")


def _settings_epilog() -> str:
    lines = [f"  {each.name} = {json.dumps(each.default)}: {each.metadata['help']}" for each in fields(TrainingConfig)]
    return "\b\nSettings of a --config FILE.toml, with their defaults:\n" + "\n".join(lines)


def _train_option(name: str, setting: str, **kwargs: Any) -> Callable[[_Command], _Command]:  # noqa: ANN401 - click's
    """An option that overrides one setting; its help is the setting's own."""
    help_text = next(each.metadata["help"] for each in fields(TrainingConfig) if each.name == setting)
    return click.option(name, setting, default=None, help=help_text[0].upper() + help_text[1:] + ".", **kwargs)


@cli.command(epilog=_settings_epilog())
@click.option(
    "--preset", type=click.Choice(PRESETS), help=f"Settings that belong together.  [default: {DEFAULT_PRESET}]"
)
@click.option("--config", "config_file", type=_PATH, help="Settings from a TOML file.")
@_train_option("--dataset", "dataset")
@_train_option("--output", "output")
@_train_option("--base-model", "base_model")
@_train_option("--epochs", "num_train_epochs", type=float)
@_train_option("--max-steps", "max_steps", type=int)
@_train_option("--batch-size", "per_device_train_batch_size", type=int)
@_train_option("--learning-rate", "learning_rate", type=float)
@_train_option("--max-length", "max_length", type=int)
@_train_option("--seed", "seed", type=int)
@_train_option("--early-stopping", "early_stopping", type=int)
@click.option("--resume", is_flag=True, help="Go on from the last checkpoint of an interrupted run.")
def train(preset: str | None, config_file: Path | None, resume: bool, **settings: Any) -> None:  # noqa: ANN401
    """Fine-tune a base model with LoRA and save the adapter.

    \b
    Examples:
      toolkit train                                     # distilbert-base-uncased, as documented
      toolkit train --preset demo --output build/demo/lora_model
      toolkit train --preset imdb-minilm-cpu --dataset build/imdb --output build/run/lora_model
      accelerate launch -m toolkit train --dataset build/imdb
    """
    from toolkit.training.config import load_config

    overrides = {name: value for name, value in settings.items() if value is not None}
    config = load_config(preset, config_file, overrides)

    from toolkit.training.run import train as run_training

    result = run_training(config, resume)
    if result is None:
        return
    for split, metrics in (("validation", result.validation), ("test", result.test)):
        click.echo(f"{split}: " + ", ".join(f"{name} {value:.4f}" for name, value in metrics.items()))
    _logger.info("adapter saved in %s after %d steps, %.0f s", result.adapter, result.steps, result.seconds)


@cli.command()
@click.option("--adapter", type=_PATH, default="lora_model", show_default=True, help="Adapter folder.")
@click.option("--output", type=_PATH, default="onnx_model", show_default=True, help="Folder for the ONNX bundle.")
@click.option("--proof", type=_PATH, default="dataset/validation.csv", show_default=True,
              help="Labelled reviews on which every step has to agree.")  # fmt: skip
@click.option("--quantize", type=click.Choice(["none", "int8", "auto"]), default="none", show_default=True,
              help="auto: int8 where it passes its gate, else float.")  # fmt: skip
@click.option("--base-model", help="The base to use instead of the one the adapter names.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def export(adapter: Path, output: Path, proof: Path, quantize: str, base_model: str | None, as_json: bool) -> None:
    """Merge an adapter, convert it to ONNX and prove that the model is the same.

    \b
    Examples:
      toolkit export
      toolkit export --adapter build/demo/lora_model --output build/demo/onnx_model --quantize auto
    """
    from toolkit.errors import needs_extra

    with needs_extra("train", "exporting"):
        import torch  # noqa: F401 - for its error, which names the extra, before the export's own imports
    from export import export_model

    result = export_model(adapter, output, proof, quantize, base_model)
    if as_json:
        stages = {stage.stage: {"max_difference": stage.max_difference, "flips": stage.flips, "accuracy": stage.accuracy}
                  for stage in result.stages}  # fmt: skip
        click.echo(
            json.dumps(
                {"bundle": str(result.bundle), "quantized": result.quantized, "bytes": result.bytes, "stages": stages}
            )
        )
        return
    click.echo(f"{result.bundle}: {'int8' if result.quantized else 'float'}, {result.bytes / 1e6:.1f} MB, proven on "
               f"{result.stages[0].reviews} reviews")  # fmt: skip
    for stage in result.stages:
        click.echo(
            f"  {stage.stage:<7} max |Δlogit| {stage.max_difference:.2e}, {stage.flips} flips, accuracy {stage.accuracy:.4f}"
        )


@cli.command()
@click.argument("texts", metavar="TEXT...", nargs=-1, required=True)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object a review.")
@_prediction_options
def predict(texts: tuple[str, ...], as_json: bool, **model: Any) -> None:  # noqa: ANN401 - _load's arguments
    """Classify each TEXT; - reads one review from stdin.

    \b
    Examples:
      toolkit predict "A quiet film that stays with you."
      toolkit predict --json - < review.txt
    """
    reviews = [_read_all(_stdin()) if text == "-" else text for text in texts]
    for review, prediction in zip(reviews, _load(**model).predict_many(reviews), strict=True):
        if as_json:
            click.echo(json.dumps(prediction.to_dict()))
            continue
        click.echo(_line(prediction, " ".join(review.split())))
        if prediction.tokens_read < prediction.tokens:
            _logger.info("read %d of %d tokens", prediction.tokens_read, prediction.tokens)


@cli.command("filter")
@_prediction_options
def filter_command(**model: Any) -> None:  # noqa: ANN401 - _load's arguments
    """Classify stdin, one review a line, as label, score and text between tabs.

    A line that cannot be classified is named on stderr and the exit code is 2; 1 means there was nothing to classify.

    \b
    Examples:
      toolkit filter < reviews.txt > verdicts.tsv
      tail -f reviews.log | toolkit filter | grep ^negative
    """
    from toolkit.streaming import classify_lines

    stdin = _stdin()
    predictor = _load(**model)
    written = problems = 0
    for records in classify_lines(stdin, predictor):
        for record in records:
            if record.prediction is None:
                problems += 1
                click.echo(f"line {record.number}: {record.problem}", err=True)
            else:
                written += 1
                sys.stdout.buffer.write(f"{_line(record.prediction, record.text)}\n".encode(errors="replace"))
        sys.stdout.buffer.flush()
    sys.exit(2 if problems else 0 if written else 1)


@cli.command()
@click.option("--dataset", "folder", type=_PATH, default="dataset", show_default=True, help="Data set folder.")
@click.option(
    "--split",
    type=click.Choice(["train", "validation", "test"]),
    default="test",
    show_default=True,
    help="Which of its splits.",
)
@click.option("--file", "file", type=_PATH, help="A CSV, JSONL or Parquet file of labelled reviews instead.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@_prediction_options
def evaluate(folder: Path, split: str, file: Path | None, as_json: bool, **model: Any) -> None:  # noqa: ANN401
    """Measure a model on labelled reviews.

    \b
    Examples:
      toolkit evaluate --split test
      toolkit evaluate --file reviews.parquet --backend torch --json
    """
    from toolkit.evaluation import evaluate as run_evaluation
    from toolkit.splits import read_reviews

    reviews = read_reviews(file or folder / f"{split}.csv")
    metrics = run_evaluation(_load(**model), reviews)
    if as_json:
        click.echo(json.dumps(metrics))
        return
    for name in ("accuracy", "precision", "recall", "f1", "roc_auc"):
        click.echo(
            f"{name:<10} {metrics[name]:.4f}" if metrics[name] is not None else f"{name:<10} undefined: one class only"
        )
    (true_negative, false_positive), (false_negative, true_positive) = metrics["confusion_matrix"]
    click.echo(f"negative reviews: {true_negative} right, {false_positive} called positive")
    click.echo(f"positive reviews: {true_positive} right, {false_negative} called negative")
    click.echo(f"{metrics['reviews']} reviews, {metrics['truncated']} truncated, {metrics['reviews_per_second']:.1f} reviews/s "
               f"with {metrics['backend']} on {metrics['device']}")  # fmt: skip


def _line(prediction: "Prediction", text: str) -> str:
    return f"{prediction.label.text}\t{prediction.score:.4f}\t{text}"
