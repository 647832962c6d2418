"""A log in which text of strangers stays harmless."""

import logging

from toolkit.formats.limits import printable


class PlainFormatter(logging.Formatter):
    """Writes control characters as `\\x1b`: a message is one line, and no line of a traceback looks like another."""

    def formatMessage(self, record: logging.LogRecord) -> str:
        """The message in one line."""
        return printable(super().formatMessage(record), on_one_line=True)

    def formatException(self, ei: object) -> str:
        """A traceback, each line of it indented."""
        lines = super().formatException(ei).split("\n")  # type: ignore[arg-type]
        return "\n".join(f"  {printable(line, on_one_line=True)}" for line in lines)


def log_plainly() -> None:
    """Have every handler of the root logger escape, and every library write through those alone."""
    for name in ("engineio.server", "socketio.server", "chainlit", "uvicorn", "uvicorn.error", "uvicorn.access"):
        logging.getLogger(name).handlers.clear()
    for handler in logging.getLogger().handlers:
        handler.setFormatter(PlainFormatter("%(message)s"))
