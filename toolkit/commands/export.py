"""`toolkit export`."""

import json
from pathlib import Path

import click

from toolkit.commands.options import PATH


@click.command()
@click.option("--adapter", type=PATH, default="lora_model", show_default=True, help="Adapter folder.")
@click.option("--output", type=PATH, default="onnx_model", show_default=True, help="Folder for the ONNX bundle.")
@click.option("--proof", type=PATH, default="dataset/validation.csv", show_default=True,
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
