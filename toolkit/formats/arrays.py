"""The elements of a JSON array, as they come: an array may be larger than memory, and one broken element is no end."""

import re
from collections.abc import Iterator

# A whole string at a time, or as much of one as a block has; a backslash at a block's end stays behind it.
_TOKEN = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+("?)|[{}\[\],]', re.DOTALL)
_REST = re.compile(rb'[^"\\]*+(?:\\.[^"\\]*+)*+("?)', re.DOTALL)
_QUOTE, _COMMA = b'",'
_OPENING = b"[{"
_SPACE = b" \t\r\n"
UNFINISHED = "the array does not end; get the rest"
_EMPTY = "broken JSON (nothing between two commas)"
_BEHIND = "broken JSON (something behind the array's end)"


def array_elements(blocks: Iterator[bytes], longest: int) -> Iterator[tuple[bytes | None, str | None]]:
    """What stands between the commas of an array, and what is wrong with it; None stands for what is too long.

    Args:
        blocks: text that begins with an array.
        longest: The most bytes in an element.
    """
    pieces: list[bytes] = []
    size = depth = count = 0
    in_string = escapes = finished = False

    def keep(piece: bytes) -> None:
        nonlocal size
        size += len(piece)
        if size <= longest:
            pieces.append(piece)
        else:
            pieces.clear()

    def take() -> bytes | None:
        nonlocal size
        element = b"".join(pieces).strip(_SPACE) if size <= longest else None
        pieces.clear()
        size = 0
        return element

    for block in blocks:
        start = at = 0
        if in_string:
            rest = _REST.match(block, int(escapes))  # the character behind a backslash means nothing
            assert rest is not None  # noqa: S101 - it may be empty
            at, in_string = rest.end(), not rest[1]
            escapes = at < len(block)
        for found in () if in_string or finished else _TOKEN.finditer(block, at):
            token = block[found.start()]
            if token == _QUOTE:
                in_string, escapes = not found[1], found.end() < len(block)
                continue
            if token in _OPENING:
                depth += 1
                start = found.end() if depth == 1 else start
                continue
            depth -= token != _COMMA
            if depth != (token == _COMMA):
                continue
            keep(block[start : found.start()])
            element = take()
            finished, start = depth == 0, found.end()
            if element == b"" and not (finished and count == 0):
                yield b"", _EMPTY
            elif element != b"":
                yield element, None
            count += 1
            if finished:
                break
        keep(block[start:])
    if (element := take()) != b"":
        yield element, _BEHIND if finished else UNFINISHED
    elif not finished:
        yield b"", UNFINISHED
