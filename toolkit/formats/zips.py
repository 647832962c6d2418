"""The files in a ZIP, read as a stream: its directory at the end is neither waited for nor believed (APPNOTE.TXT, section 4.3)."""

import struct
import zlib
from collections.abc import Iterator

from toolkit.errors import ToolkitError
from toolkit.formats.limits import UnpackedSize, listed, shown
from toolkit.formats.names import is_system_file

MAGIC = b"PK\x03\x04"
_EMPTY = b"PK\x05\x06"
_ENDS = (b"PK\x01\x02", _EMPTY, b"PK\x06\x06", b"PK\x06\x08")  # what may follow the last file
_DESCRIPTOR = b"PK\x07\x08"
_HEADER = struct.Struct("<HHHHHIIIHH")  # of a file, behind its magic
_ENCRYPTED, _SIZES_BEHIND, _UTF8_NAME = 1 << 0, 1 << 3, 1 << 11
_STORED, _DEFLATED = 0, 8
_UNKNOWN = 0xFFFFFFFF  # a size that stands elsewhere
_STEP = 1 << 12  # bytes decompressed at a time: deflate makes 4 MiB of them at most
_OFFICE = {"[Content_Types].xml": "an Excel or Word document", "mimetype": "an OpenDocument"}


def unpack_single(blocks: Iterator[bytes], place: str, size: UnpackedSize) -> Iterator[bytes]:
    """The only file in a ZIP; folders and what macOS adds do not count.

    Args:
        blocks: the ZIP.
        place: what an error begins with.
        size: takes what is unpacked.

    Raises:
        ToolkitError: The ZIP is damaged, encrypted or packed in another way, unpacks to too much, or has several files or none.
    """
    found: list[str] = []
    for name, content in zip_members(blocks, place, size):
        if name in _OFFICE:
            raise ToolkitError(f"{place}this is {_OFFICE[name]}; save the table in it as CSV UTF-8")
        if name.endswith("/") or is_system_file(name):
            continue
        found.append(name)
        if len(found) > 1:
            raise ToolkitError(
                f"{place}the ZIP holds several files, {listed(found)}; unpack it and name those that are meant"
            )
        yield from content
    if not found:
        raise ToolkitError(f"{place}the ZIP holds no file; expected one of reviews")


def zip_members(blocks: Iterator[bytes], place: str, size: UnpackedSize) -> Iterator[tuple[str, Iterator[bytes]]]:
    """Every file and folder in turn, with its content; what was not taken of that is passed over.

    Args:
        blocks: the ZIP.
        place: what an error begins with.
        size: takes what is unpacked.

    Raises:
        ToolkitError: See `unpack_single`.
    """
    stream = _Stream(blocks)
    while (magic := stream.read(4)) == MAGIC:
        header = stream.read(_HEADER.size)
        if len(header) < _HEADER.size:
            raise ToolkitError(f"{place}the ZIP ends in the middle; get the rest")
        _, flags, method, _, _, checksum, packed, _, name_size, extra_size = _HEADER.unpack(header)
        raw = stream.read(name_size)
        stream.read(extra_size)
        name = raw.decode("utf-8" if flags & _UTF8_NAME else "cp437", errors="replace").replace("\\", "/")
        if flags & _ENCRYPTED:
            raise ToolkitError(f"{place}{shown(name)} is encrypted; unpack it first")
        if method not in (_STORED, _DEFLATED) or (method == _STORED and (flags & _SIZES_BEHIND or packed == _UNKNOWN)):
            raise ToolkitError(
                f"{place}{shown(name)} is packed in an unusual way (method {method}); pack it again or unpack it"
            )
        content = _content(stream, method, packed, None if flags & _SIZES_BEHIND else checksum, place, size)
        yield name, content
        for _ in content:
            pass
    if magic not in _ENDS:
        raise ToolkitError(
            f"{place}the ZIP ends in the middle, or is broken; the records before that were read, get the rest"
        )
    for _ in blocks:
        pass


class _Stream:
    """Bytes in any number, from blocks."""

    def __init__(self, blocks: Iterator[bytes]) -> None:
        self._blocks = blocks
        self._held = b""

    def read(self, size: int) -> bytes:
        """Exactly `size` bytes, fewer at the end only; few, since they are held at once."""
        while len(self._held) < size and (block := next(self._blocks, None)) is not None:
            self._held += block
        taken, self._held = self._held[:size], self._held[size:]
        return taken

    def some(self, most: int) -> bytes:
        """At least one byte, `most` at the most; none at the end."""
        self._held = self._held or next(self._blocks, b"")
        return self.read(min(most, len(self._held)))

    def unread(self, content: bytes) -> None:
        """Put back what was read too much."""
        self._held = content + self._held


def _content(
    stream: _Stream, method: int, packed: int, checksum: int | None, place: str, size: UnpackedSize
) -> Iterator[bytes]:
    """What a file holds, up to the next one's magic.

    Args:
        stream: stands at its first byte.
        method: how it is packed.
        packed: its bytes, where it is stored.
        checksum: Its CRC-32; None where that comes behind.
        place: what an error begins with.
        size: takes what is unpacked.
    """
    found = 0
    for data in _inflated(stream, place) if method == _DEFLATED else _stored(stream, packed):
        size.add(len(data))
        found = zlib.crc32(data, found)
        yield data
    if checksum is None:
        mark = stream.read(4)
        checksum = int.from_bytes(stream.read(4) if mark == _DESCRIPTOR else mark, "little")
        stream.read(8)  # both sizes, of four bytes each
        following = stream.read(4)
        if following[:2] != b"PK":  # or of eight
            stream.read(4)
            following = stream.read(4)
        stream.unread(following)
    if found != checksum:
        raise ToolkitError(f"{place}the ZIP is damaged (wrong checksum); get it again")


def _stored(stream: _Stream, size: int) -> Iterator[bytes]:
    while size and (data := stream.some(min(size, _STEP))):
        size -= len(data)
        yield data


def _inflated(stream: _Stream, place: str) -> Iterator[bytes]:
    decompressor = zlib.decompressobj(wbits=-zlib.MAX_WBITS)  # without a header
    while not decompressor.eof:
        block = stream.some(_STEP)
        if not block:
            raise ToolkitError(f"{place}the ZIP ends in the middle; the records before that were read, get the rest")
        try:
            data = decompressor.decompress(block)
        except zlib.error as error:
            raise ToolkitError(f"{place}broken ZIP data ({error}); the records before it were read") from error
        if data:
            yield data
    stream.unread(decompressor.unused_data)
