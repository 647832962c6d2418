"""Text of strangers, made harmless where it is shown in Markdown."""

import re

from toolkit.formats.limits import printable

_MARKDOWN = re.compile(r"([\\`*_\[\]<>~|#&$!{}]|:(?=\S))")  # the last begins a directive, such as `:name[text]`
_LINKS = re.compile(r"(://|www(?=\.)|@)", re.IGNORECASE)  # by which Markdown knows an address that nothing marks


def inert(text: str) -> str:
    """Markdown that shows a text as it is: no link, no image, no emphasis."""
    escaped = _MARKDOWN.sub(r"\\\1", printable(text.replace("\t", " ")))
    return _LINKS.sub("\\1\N{WORD JOINER}", escaped)
