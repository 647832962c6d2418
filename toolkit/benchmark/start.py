"""A peer from nothing to its first answer, as a script of its user's would be: `python -m toolkit.benchmark.start`."""

import sys
from pathlib import Path

from toolkit.benchmark.peers import PEERS


def main(name: str, folder: str, max_length: str, text: str) -> None:
    """Load one engine and classify one review."""
    engine = next(each for each in PEERS if each.name == name)(Path(folder), int(max_length))
    engine.batch_size = 1
    engine.classify_one(text)


if __name__ == "__main__":
    main(*sys.argv[1:])
