"""Which files a graph in ONNX reads beside its own, without the package onnx: what protobuf says, and no more."""

import mmap
from collections.abc import Iterator
from pathlib import Path

from toolkit.errors import BundleError

# Numbers of the fields in onnx.proto that hold tensors, or messages with tensors in them.
_FIELDS = {
    "model": {7: "graph", 25: "function"},
    "graph": {1: "node", 5: "tensor", 15: "sparse"},
    "function": {7: "node", 11: "attribute"},
    "node": {5: "attribute"},
    "attribute": {5: "tensor", 6: "graph", 10: "tensor", 11: "graph", 22: "sparse", 23: "sparse"},
    "sparse": {1: "tensor", 2: "tensor"},
    "tensor": {13: "entry"},
}
_VARINT, _EIGHT_BYTES, _LENGTH, _FOUR_BYTES = 0, 1, 2, 5


def external_files(path: Path) -> set[str]:
    """The places, as the graph spells them, of weights that lie outside its file.

    Raises:
        BundleError: it is no ONNX.
    """
    places = set()
    try:
        with path.open("rb") as stream, mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as data:
            waiting = [("model", 0, len(data))]
            while waiting:
                kind, start, end = waiting.pop()
                for number, begin, stop in _messages(data, start, end):
                    inner = _FIELDS[kind].get(number)
                    if inner == "entry":
                        entry = {key: data[first:last] for key, first, last in _messages(data, begin, stop)}
                        places |= {entry.get(2, b"").decode()} if entry.get(1) == b"location" else set()
                    elif inner:
                        waiting.append((inner, begin, stop))
    except (ValueError, IndexError) as error:
        raise BundleError(f"{path} is no graph in ONNX ({error}); make it with: toolkit export") from error
    return places


def _messages(data: mmap.mmap, position: int, end: int) -> Iterator[tuple[int, int, int]]:
    """Number, begin and end of each field with a length."""
    while position < end:
        tag, position = _varint(data, position)
        if tag >> 32:  # protobuf's own reader drops what is above, and sees another field than one that keeps it
            raise ValueError("a number of a field over 2^29")
        size = {_EIGHT_BYTES: 8, _FOUR_BYTES: 4}.get(tag & 7, 0)
        if tag & 7 in (_VARINT, _LENGTH):
            value, position = _varint(data, position)
            size = value if tag & 7 == _LENGTH else 0
        elif not size:
            raise ValueError(f"an unknown kind of field, {tag & 7}")
        if position + size > end:
            raise ValueError("a field is longer than what holds it")
        if tag & 7 == _LENGTH:
            yield tag >> 3, position, position + size
        position += size


def _varint(data: mmap.mmap, position: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 70, 7):
        byte = data[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, position
    raise ValueError("a number of more than ten bytes")
