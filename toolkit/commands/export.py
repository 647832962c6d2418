"""`toolkit export`."""

import json
from dataclasses import asdict
from pathlib import Path

import click

from toolkit.choices import Quantization, Truncation, choices
from toolkit.commands.options import PATH, encoding_option, progress_option, renamed_option, say, say_json
from toolkit.commands.redirection import refuse_own_output


@click.command()
@click.option("--adapter", type=PATH, default="lora_model", show_default=True, help="Adapter folder.")
@click.option("--output", type=PATH, default="onnx_model", show_default=True, help="Folder for the ONNX bundle.")
@click.option("--parity-set", type=PATH, default="dataset/validation.csv", show_default=True,
              help="Labelled reviews on which every step has to agree with the adapter.")  # fmt: skip
@encoding_option()
@click.option("--quantize", type=click.Choice(choices(Quantization)), default="none", show_default=True,
              help="auto: int8 where it passes its gate, else float.")  # fmt: skip
@click.option(
    "--truncation",
    type=click.Choice(choices(Truncation)),
    help="What is read of a review with more tokens: its first, its first and its last, or all in overlapping windows.  [default: the adapter's way]",
)
@click.option(
    "--uncertain-below",
    type=click.FloatRange(0.5, 1),
    metavar="P",
    help="Store that a score below P, 0.5 to 1, is no verdict.",
)
@click.option(
    "--target-accuracy",
    type=click.FloatRange(0.5, 1),
    metavar="A",
    help="Store the smallest P with which A of the decided reviews of the parity set are right.",
)
@click.option(
    "--small-parity-set", is_flag=True, help="Accept fewer than 500 reviews in the parity set (2,000 for int8)."
)
@renamed_option("--proof", "--parity-set")
@renamed_option("--small-proof", "--small-parity-set")
@renamed_option("--reading", "--truncation")
@click.option(
    "--standard",
    type=PATH,
    help="Folder for a plain graph that other tools open and may give padded batches; alone, unless --output is given too.",
)
@click.option("--base-model", help="The base to use instead of the one the adapter names.")
@progress_option()
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def export(
    adapter: Path,
    output: Path,
    parity_set: Path,
    encoding: str | None,
    quantize: Quantization,
    truncation: Truncation | None,
    uncertain_below: float | None,
    target_accuracy: float | None,
    small_parity_set: bool,
    standard: Path | None,
    base_model: str | None,
    as_json: bool,
) -> None:
    """Merge an adapter, convert it to ONNX and check on the parity set that the model is the same.

    A model that fails its gate is not published: the command says which gate, by how much and on which reviews, and
    exits with 1.

    \b
    Examples:
      toolkit export --parity-set build/imdb/validation.csv --quantize int8
      toolkit export --standard build/plain --parity-set imdb/validation.csv
      toolkit export --adapter build/lora --output build/onnx --small-parity-set
    """
    if uncertain_below is not None and target_accuracy is not None:
        raise click.UsageError("--uncertain-below and --target-accuracy are two ways to choose one threshold; give one")
    refuse_own_output(parity_set)
    from export import ExportOptions, export_model
    from export.report import table, table_of_readers

    options = ExportOptions(
        quantize, truncation, uncertain_below, target_accuracy, small_parity_set, base_model, encoding, standard
    )
    by_default = click.get_current_context().get_parameter_source("output") is click.core.ParameterSource.DEFAULT
    result = export_model(adapter, None if standard and by_default else output, parity_set, options=options)
    if as_json:
        report = json.loads((result.bundle / "report.json").read_text(encoding="utf-8")) if result.bundle else {}
        folders = {"bundle": result.bundle and str(result.bundle), "standard": result.standard and str(result.standard)}
        stages = {"stages": [asdict(stage) for stage in result.stages]}
        say_json(
            {**{name: folder for name, folder in folders.items() if folder}, "bytes": result.bytes, **stages, **report}
        )
        return
    click.echo(table(result.stages))
    if result.readers:
        click.echo("\n" + table_of_readers(result.readers) + "\n")
    if result.standard:
        say(
            f"{result.standard}: {', '.join(sorted(path.name for path in result.standard.glob('*.onnx')))}; see README.md in it"
        )
    if not result.bundle:
        return
    say(f"{result.bundle}: {'int8' if result.quantized else 'float'}, {result.bytes / 1e6:.1f} MB, compared on "
               f"{result.stages[0].reviews} reviews; see report.png in it")  # fmt: skip
