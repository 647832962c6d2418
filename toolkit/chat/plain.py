"""Text of strangers, made harmless where it is shown: in Markdown, and in a log."""

import logging
import re

_MARKDOWN = re.compile(r"([\\`*_\[\]<>~|#&$!{}]|:(?=\S))")  # the last begins a directive, such as `:name[text]`
_LINKS = re.compile(r"(://|www(?=\.)|@)", re.IGNORECASE)  # by which Markdown knows an address that nothing marks
_CONTROLS = {number: f"\\x{number:02x}" for number in [*range(0x20), *range(0x7F, 0xA0)]}
_CONTROLS |= {
    number: f"\\u{number:04x}"
    for number in [0x061C, 0x200E, 0x200F, 0x2028, 0x2029, *range(0x202A, 0x202F), *range(0x2066, 0x206A)]
}
_LINES = _CONTROLS | {ord("\n"): "\n  "}


def inert(text: str) -> str:
    """Markdown that shows a text as it is: no link, no image, no emphasis."""
    escaped = _MARKDOWN.sub(r"\\\1", text.translate(_CONTROLS | {ord("\n"): "\n"}))
    return _LINKS.sub("\\1\N{WORD JOINER}", escaped)


class PlainFormatter(logging.Formatter):
    """Writes control characters as `\\x1b`: a message is one line, and no line of a traceback looks like another."""

    def formatMessage(self, record: logging.LogRecord) -> str:
        """The message in one line."""
        return super().formatMessage(record).translate(_CONTROLS)

    def formatException(self, ei: object) -> str:
        """A traceback, each line of it indented."""
        return f"  {super().formatException(ei)}".translate(_LINES)  # type: ignore[arg-type]


def log_plainly() -> None:
    """Have every handler of the root logger escape, and every library write through those alone."""
    for name in ("engineio.server", "socketio.server", "chainlit", "uvicorn", "uvicorn.error", "uvicorn.access"):
        logging.getLogger(name).handlers.clear()
    for handler in logging.getLogger().handlers:
        old = handler.formatter
        handler.setFormatter(PlainFormatter(old._fmt, old.datefmt) if old else PlainFormatter())
