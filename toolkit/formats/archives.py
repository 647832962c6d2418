"""The files in a .tar.gz or a ZIP, read as a stream: nothing is unpacked, and no header is believed.

Python's `tarfile` is made for archives that one trusts: until 3.11.14, 3.12.12 and 3.13.6 a negative size made it turn in
circles (CVE-2025-8194), and a header of 512 bytes can make it reserve any amount of memory. Only its parser of a single
header is used here.
"""

import gzip
import tarfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO, cast

from toolkit.errors import ToolkitError
from toolkit.formats import zips
from toolkit.formats.limits import UnpackedSize, shown
from toolkit.formats.names import format_of, is_system_file

_BLOCK = 512
_GZIP = b"\x1f\x8b"
_PIECE = 1 << 20  # bytes read at a time
_MAX_EXTENSION = 1 << 16  # bytes of a long name, or of what pax says of a member
_LONG_NAME, _PAX, _PAX_FOR_ALL = b"L", b"x", b"g"
_KINDS = {
    b"1": "a hard link", b"2": "a symbolic link", b"3": "a device", b"4": "a device", b"6": "a FIFO", b"S": "a sparse file",
}  # fmt: skip


def is_archive(path: Path) -> bool:
    """Whether a file holds a folder of files, by its first bytes, and by its name where those do not say."""
    with path.open("rb") as stream:
        head = stream.read(_BLOCK)
        if head.startswith(zips.MAGIC):
            return packed_format(path) is None
        if head.startswith(_GZIP):
            stream.seek(0)
            try:
                with gzip.open(stream) as unpacked:
                    head = unpacked.read(_BLOCK)
            except (OSError, EOFError, zlib.error):
                pass
    return head[257:262] == b"ustar" or path.name.lower().endswith((".tar.gz", ".tgz", ".tar"))


def packed_format(path: Path) -> str | None:
    """The format of the first file in a ZIP, by that one's name; None of another file."""
    with path.open("rb") as stream:
        if stream.read(len(zips.MAGIC)) != zips.MAGIC:
            return None
        stream.seek(0)
        try:
            for name, _ in zips.zip_members(_blocks(stream), f"{path}: ", UnpackedSize.of(path)):
                if not name.endswith("/") and not is_system_file(name):
                    return format_of(name)
        except ToolkitError:
            pass  # who reads it says what is wrong
    return None


def archive_members(
    path: Path,
    wanted: Callable[[str], object],
    largest: int,
    advance: Callable[[int, int], None] = lambda done, total: None,
) -> Iterator[tuple[str, bytes]]:
    """Name and content of the members whose names are `wanted`, those apart that macOS and Windows add.

    Args:
        path: a `.tar.gz`, a `.tar` or a ZIP, whatever it is called.
        wanted: takes a name.
        largest: bytes that such a member may have.
        advance: takes the bytes of the archive that have been read, and all of them.

    Raises:
        ToolkitError: the archive is damaged, unpacks to too much, has a member that is too large, or one that is neither a
            regular file nor a folder.
    """

    def is_wanted(name: str) -> bool:
        return not is_system_file(name) and bool(wanted(name))

    size = path.stat().st_size
    with path.open("rb") as raw:
        head = raw.read(len(zips.MAGIC))
        raw.seek(0)
        members = _zip_members if head == zips.MAGIC else _tar_members
        for member in members(raw, path, is_wanted, largest):
            advance(raw.tell(), size)
            yield member


def _zip_members(
    raw: BinaryIO, path: Path, wanted: Callable[[str], object], largest: int
) -> Iterator[tuple[str, bytes]]:
    for name, blocks in zips.zip_members(_blocks(raw), f"{path}: ", UnpackedSize.of(path)):
        if wanted(name):
            content = bytearray()
            for block in blocks:
                content += block
                if len(content) > largest:
                    raise _too_large(path, name, f"over {largest}", largest)
            yield name, bytes(content)


def _tar_members(
    raw: BinaryIO, path: Path, wanted: Callable[[str], object], largest: int
) -> Iterator[tuple[str, bytes]]:
    head = raw.read(len(_GZIP))
    raw.seek(0)
    try:
        with gzip.open(raw) if head == _GZIP else raw as stream:
            yield from _members(_Counted(cast(BinaryIO, stream), UnpackedSize.of(path)), path, wanted, largest)
    except (tarfile.TarError, EOFError, OSError, ValueError, zlib.error) as error:
        raise ToolkitError(f"{path} is not a complete .tar.gz ({error}); download it again") from error


def _blocks(stream: BinaryIO) -> Iterator[bytes]:
    while block := stream.read(_PIECE):
        yield block


def _too_large(path: Path, name: str, size: object, largest: int) -> ToolkitError:
    return ToolkitError(f"{path}: {shown(name)} has {size} bytes; expected {largest} at most in a review")


class _Counted:
    """A stream that ends in an error when too much has been read, or too little is there."""

    def __init__(self, stream: BinaryIO, size: UnpackedSize) -> None:
        self._stream = stream
        self._size = size

    def read(self, size: int) -> bytes:
        """Exactly `size` bytes; counted before they are made."""
        self._size.add(size)
        content = self._stream.read(size)
        if len(content) < size:
            raise EOFError("it ends in the middle")
        return content

    def skip(self, size: int) -> None:
        """Drop them."""
        if size > self._size.left:
            self._size.add(size)  # known to be too many, without reading them
        for start in range(0, size, _PIECE):
            self.read(min(_PIECE, size - start))

    def drain(self) -> None:
        """To the end, where gzip keeps its checksum."""
        while rest := self._stream.read(_PIECE):
            self._size.add(len(rest))


def _members(
    stream: _Counted, path: Path, wanted: Callable[[str], object], largest: int
) -> Iterator[tuple[str, bytes]]:
    name = ""  # that an extension gives to the member after it
    while (header := stream.read(_BLOCK)) != bytes(_BLOCK):
        member = tarfile.TarInfo.frombuf(header, "utf-8", "surrogateescape")
        if member.size < 0:
            raise ValueError("a negative size")
        padding = -member.size % _BLOCK
        if member.type in (_LONG_NAME, _PAX, _PAX_FOR_ALL):
            if member.size > _MAX_EXTENSION:
                raise ValueError(f"an extended header of {member.size} bytes")
            content = stream.read(member.size)
            stream.skip(padding)
            name = _long_name(member.type, content) or name
            continue
        name = name or member.name
        if member.isdir() or name.endswith("/"):
            stream.skip(member.size + padding)
        elif not member.isreg() or member.type in _KINDS:
            kind = _KINDS.get(member.type, f"of type {member.type!r}")
            raise ToolkitError(f"{path}: {shown(name)} is {kind}; expected regular files only, pack them again")
        elif wanted(name):
            if member.size > largest:
                raise _too_large(path, name, member.size, largest)
            yield name, stream.read(member.size)
            stream.skip(padding)
        else:
            stream.skip(member.size + padding)
        name = ""
    stream.drain()


def _long_name(kind: bytes, content: bytes) -> str:
    """The name in an extended header, if it has one."""
    if kind == _LONG_NAME:
        return content.partition(b"\0")[0].decode("utf-8", "surrogateescape")
    name, start = b"", 0
    while start < len(content):  # records of "LENGTH KEY=VALUE\n", the length counting itself
        space = content.index(b" ", start, start + 8)
        end = start + int(content[start:space])
        key, mark, value = content[space + 1 : end - 1].partition(b"=")
        if end <= space or not mark:
            raise ValueError("a broken extended header")
        if key == b"size" or key.startswith(b"GNU.sparse."):
            raise ValueError(f"a member of another size than its header says ({key.decode()})")
        name = value if key == b"path" and kind == _PAX else name
        start = end
    return name.decode("utf-8", "surrogateescape")
