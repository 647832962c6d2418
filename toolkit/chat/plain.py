"""Text of strangers, made harmless where it is shown: in Markdown, and in a log."""

import logging
import re

from toolkit.formats.limits import printable

_MARKDOWN = re.compile(r"([\\`*_\[\]<>~|#&$!{}]|:(?=\S))")  # the last begins a directive, such as `:name[text]`
_LINKS = re.compile(r"(://|www(?=\.)|@)", re.IGNORECASE)  # by which Markdown knows an address that nothing marks


def inert(text: str) -> str:
    """Markdown that shows a text as it is: no link, no image, no emphasis."""
    escaped = _MARKDOWN.sub(r"\\\1", printable(text.replace("\t", " ")))
    return _LINKS.sub("\\1\N{WORD JOINER}", escaped)


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
