"""The toolkit beside what people would pick instead: prints the tables of docs/benchmarks.md.

    python benchmarks/peers.py --file build/imdb/test.csv --limit 100 --rounds 3 --markdown

The transformers and optimum pipelines, CTranslate2, OpenVINO and OpenVINO in int8, each converted from the same adapter, each with the batch size
that is fastest here; the comparison is `toolkit bench`'s. One that is not installed is named and left out.
"""

from functools import partial
from pathlib import Path
from typing import Any

import click

from peer_engines import PEERS, OpenVinoInt8
from random_model import random_models
from toolkit.benchmark.engines import OWN
from toolkit.benchmark.models import Models
from toolkit.commands.bench import compare, comparison_options, find_models, select_engines
from toolkit.errors import ToolkitError

ENGINES = (*OWN, *PEERS)


@click.command(epilog=f"Engines: {', '.join(engine.name for engine in ENGINES)}.")
@comparison_options
@click.option("--calibration", type=click.Path(path_type=Path), default=OpenVinoInt8.calibration, show_default=True,
              help="Reviews of train, on which OpenVINO's int8 is calibrated.")  # fmt: skip
@click.option("--size", type=click.Choice(["bundle", "distilbert"]), default="bundle", show_default=True,
              help="distilbert: random weights in the size of distilbert-base-uncased, 66 million; for speed alone.")  # fmt: skip
def main(
    onnx_model: Path | None, adapter: Path | None, engines: tuple[str, ...], size: str, calibration: Path,
    **comparison: Any  # noqa: ANN401
) -> None:  # fmt: skip
    """Time the toolkit's engines and its peers', in turn on the same reviews."""
    OpenVinoInt8.calibration = calibration
    chosen = select_engines(ENGINES, engines or [engine.name for engine in ENGINES])
    bundle, adapter = find_models(onnx_model, adapter)
    random = size == "distilbert"
    make_models = partial(random_models, bundle) if random else partial(Models, bundle, adapter)
    try:
        compare(make_models, chosen, **comparison, agreement=not random)
    except ToolkitError as error:
        raise click.ClickException(str(error)) from error


if __name__ == "__main__":
    main()
