"""One target under atheris, which follows the branches that a case takes: `python -m tests.fuzz.guided TARGET [OPTIONS]`."""

import sys

import atheris

with atheris.instrument_imports(include=["toolkit", "tomllib", "json", "csv"]):
    from tests.fuzz.targets import TARGETS

if __name__ == "__main__":
    target, _ = TARGETS[sys.argv.pop(1)]
    atheris.Setup(sys.argv, target)
    atheris.Fuzz()
