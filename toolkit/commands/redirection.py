"""Input that is also the output, which grows as it is read: refused before a byte is written, as grep and cat do."""

import os
import stat
from pathlib import Path

import click

_STDIN, _STDOUT, _STDERR = range(3)


def refuse_own_output(*paths: Path | str) -> None:
    """Refuse files to read that this process writes to; one that is not there is its reader's to name.

    Raises:
        UsageError: stdout or stderr are redirected to one of them.
    """
    for path in paths:
        try:
            status = Path(path).stat()
        except OSError:
            continue
        if stream := _written_by(status):
            raise click.UsageError(f"the input file {path} is also {stream}; redirect that into another file")


def refuse_own_stdin() -> None:
    """Refuse stdin where it is a file that this process writes to, and there is more of it to read.

    Raises:
        UsageError: stdout or stderr are redirected to the same file.
    """
    try:
        status, position = os.fstat(_STDIN), os.lseek(_STDIN, 0, os.SEEK_CUR)
    except OSError:  # closed, or a pipe
        return
    if position < status.st_size and (stream := _written_by(status)):
        raise click.UsageError(f"the file on stdin is also {stream}; redirect that into another file")


def _written_by(status: os.stat_result) -> str | None:
    """Which of the output streams goes to this regular file."""
    for descriptor, name in ((_STDOUT, "the output"), (_STDERR, "where errors are written to")):
        try:
            other = os.fstat(descriptor)
        except OSError:  # closed
            continue
        if stat.S_ISREG(status.st_mode) and os.path.samestat(status, other):
            return name
    return None
