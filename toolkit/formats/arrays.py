"""The elements of a JSON array, as they come: an array may be larger than memory, and one broken element is no end."""

import re
from collections.abc import Iterator

_OUTSIDE = re.compile(rb'["{}\[\],]')
_IN_STRING = re.compile(rb'["\\]')
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
        start, at = 0, int(escapes)  # the character behind a backslash means nothing
        escapes = False
        while not finished and (found := (_IN_STRING if in_string else _OUTSIDE).search(block, at)):
            at, token = found.end(), found[0]
            if token == b'"':
                in_string = not in_string
            elif token == b"\\":
                escapes = at == len(block)
                at += 1
            elif token in b"[{":
                depth += 1
                start = at if depth == 1 else start
            elif token in b"]}":
                depth -= 1
            if (token == b"," and depth == 1) or depth == 0:
                keep(block[start : found.start()])
                element = take()
                finished, start = depth == 0, at
                if element == b"" and not (finished and count == 0):
                    yield b"", _EMPTY
                elif element != b"":
                    yield element, None
                count += 1
        keep(block[start:])
    if (element := take()) != b"":
        yield element, _BEHIND if finished else UNFINISHED
    elif not finished:
        yield b"", UNFINISHED
