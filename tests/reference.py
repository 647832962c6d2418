"""The Python reference, from the docstrings: `python -m tests.reference FOLDER`, which `nox -s docs` runs for build/reference."""

import sys
import warnings
from pathlib import Path

import pdoc

import toolkit

# What may be imported from outside; a name after ! leaves out what an earlier one brought.
MODULES = (
    "toolkit",
    r"!toolkit\.",
    "toolkit.prediction",
    r"!toolkit\.prediction\.",
    "toolkit.sklearn",
    "toolkit.errors",
    "toolkit.text.labels",
    "toolkit.datasets.splits",
    "toolkit.training.config",
    "toolkit.evaluation.measuring",
    "export.pipeline",
)


def main(folder: Path) -> None:
    """Write it; a name or an annotation that does not resolve is an error."""
    warnings.filterwarnings("error", module=r"pdoc\.")
    for name in toolkit.__all__:
        setattr(toolkit, name, getattr(toolkit, name))  # pdoc looks at what a module holds, not at what it would import
    pdoc.render.configure(docformat="google", show_source=False)
    pdoc.pdoc(*MODULES, output_directory=folder)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
