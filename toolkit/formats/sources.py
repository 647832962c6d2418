"""Where records come from: stdin, a file or bytes, compressed or not, in any encoding, a block at a time."""

import os
import stat
import sys
import zlib
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from itertools import chain
from pathlib import Path
from typing import Any, Protocol, Self

from toolkit.errors import ToolkitError, needs_extra
from toolkit.formats import encodings, zips
from toolkit.formats.limits import MAX_VALUE, UnpackedSize

READ_BYTES = 1 << 16  # a pipe's capacity on Linux
# Decompressed at a time, so few that they make 4 MiB at most, whoever wrote them: deflate makes up to 1032 bytes of one,
# zstd 128 KiB of a block of four (RFC 8878, section 3.1.1.2.2).
_GZIP_BYTES, _ZSTD_BYTES = 1 << 12, 1 << 7
_ZSTD_WINDOW = 1 << 27  # bytes, 128 MiB: what the command zstd decompresses without being told to


class RawReader(Protocol):
    """A stream that hands over what is there without waiting for more, as unbuffered files and pipes do."""

    def read(self, size: int, /) -> bytes | None:
        """At most `size` bytes from at most one system call; empty at the end."""


class Source:
    """One input.

    Args:
        name: The name shown to people; empty for stdin.
        stream: unbuffered, so that a typed line is there at once, and no lock is held while a thread waits for it; or the
            path of a file, which is opened when its turn comes.
        most: bytes that compressed data may become, for who keeps it all in memory; any number by default.
        longest: The most bytes in one record; 64 MiB by default.
        encoding: The encoding of text without a byte order mark; UTF-8 by default.

    Attributes:
        size: bytes to come, where that is known; else None.
        position: bytes read so far.
        has_undecodable: whether anything was read that is not in the encoding, and that its parser let pass.
    """

    has_undecodable = False

    def __init__(
        self,
        name: str,
        stream: RawReader | Path,
        most: int | None = None,
        longest: int | None = None,
        encoding: str | None = None,
    ) -> None:
        self.name = name
        self.longest = MAX_VALUE if longest is None else longest
        self._most = most
        self.size = _file_size(stream)
        self.position = 0
        self._stream = stream
        self._encoding = encoding or "utf-8"
        self._latest = b""  # block, in which a guess of the encoding finds more than one record
        self._likeliest: str | None = None  # until it is asked for

    @classmethod
    def open(cls, path: Path, encoding: str | None = None) -> Self:
        """A file, whatever its name ends with."""
        return cls(str(path), path, encoding=encoding)

    def blocks(self, zeros: bool = False) -> Iterator[bytes]:
        """What is in it as UTF-8 without a mark, decompressed where its first bytes say gzip, zstd or ZIP.

        Args:
            zeros: whether NUL bytes belong to the format, and are no sign of UTF-16 without a mark.

        Raises:
            OSError: it cannot be read.
            ToolkitError: the compressed data is broken or ends in the middle; what came before it has been yielded. Or it
                is no text at all, or in UTF-16 without a mark.
            MissingExtraError: it is zstd and no package reads that.
        """
        self._encoding, blocks = encodings.sniff(self._unpacked(), self._encoding)
        if not zeros:
            head, blocks = first_line(blocks)
            if foreign := _foreign(head):
                raise ToolkitError(f"{self.place}this is {foreign[0]}, expected text; {foreign[1]}")
            if self._encoding == "utf-8" and (wide := encodings.unmarked_wide(head)):
                raise encodings.EncodingError(
                    f"{self.place}this looks like {wide} without a byte order mark; say so with --encoding {wide}", wide
                )
        if self._encoding != "utf-8":
            yield from encodings.as_utf8(blocks, self._encoding)
            return
        for block in blocks:
            self._latest = block
            yield block

    def undecodable(self, record: bytes, what: str = "") -> encodings.Undecodable:
        """The problem of a record that is not in the encoding; the encoding that it names is the same for all of them.

        Args:
            record: its bytes, or those of the cell.
            what: the name of the cell.
        """
        if self._likeliest is None:
            utf8 = self._encoding == "utf-8"
            self._likeliest = encodings.likeliest(b"\n".join((record, self._latest))) if utf8 else ""
        return encodings.Undecodable(self._encoding, self._likeliest, what)

    def text(self) -> str:
        """All of it.

        Raises:
            EncodingError: It is not in its encoding; the message names the likeliest. See `blocks` too.
        """
        content = b"".join(self.blocks())
        try:
            return content.decode()
        except UnicodeDecodeError as error:
            problem = self.undecodable(content)
            raise encodings.EncodingError(f"{self.place}{problem}", problem.likeliest) from error

    def _unpacked(self) -> Iterator[bytes]:
        head = b""
        blocks = self._read()
        for block in blocks:
            head += block
            if head.startswith(zips.MAGIC):
                yield from zips.unpack_single(chain((head,), blocks), self.place, self._counter())
                return
            for magic, (name, step, new_decompressor) in _COMPRESSIONS.items():
                if head.startswith(magic):
                    yield from self._decompress(head, blocks, name, step, new_decompressor())
                    return
            if not any(magic.startswith(head) for magic in (*_COMPRESSIONS, zips.MAGIC)):
                break  # no more bytes could make it one of them
        if head:
            yield head
        yield from blocks

    def _read(self) -> Iterator[bytes]:
        source = self._stream
        opened = source.open("rb", buffering=0) if isinstance(source, Path) else nullcontext(source)
        with opened as stream:
            while block := stream.read(READ_BYTES):
                self.position += len(block)
                yield block

    def _decompress(
        self,
        head: bytes,
        blocks: Iterator[bytes],
        name: str,
        step: int,
        new_decompressor: Callable[[], Any],
    ) -> Iterator[bytes]:
        """Members one after the other, as `cat a.gz b.gz` makes them; zero bytes between and after them are padding."""
        decompressor = None
        unpacked = self._counter()
        block: bytes | None = head
        while block is not None:
            for start in range(0, len(block), step):
                rest = block[start : start + step]
                while rest := rest if decompressor else rest.lstrip(b"\0"):
                    decompressor = decompressor or new_decompressor()
                    try:
                        data = decompressor.decompress(rest)
                    except Exception as error:  # zlib.error or zstandard's own, which is not imported here
                        raise ToolkitError(
                            f"{self.place}broken {name} data ({error}); the records before it were read"
                        ) from error
                    if data:
                        unpacked.add(len(data))
                        yield data
                    rest = decompressor.unused_data if decompressor.eof else b""
                    decompressor = None if decompressor.eof else decompressor
            block = next(blocks, None)
        if decompressor:
            raise ToolkitError(
                f"{self.place}the {name} data ends in the middle; the records before that were read, get the rest"
            )

    def _counter(self) -> UnpackedSize:
        return UnpackedSize(self.name or "stdin", sys.maxsize if self._most is None else self._most)

    @property
    def place(self) -> str:
        """What a message about it begins with."""
        return f"{self.name}: " if self.name else ""


def first_line(blocks: Iterator[bytes]) -> tuple[bytes, Iterator[bytes]]:
    """The first line that is not blank, with those before it and its end, 64 KiB at most; and all that comes, it included.

    Nobody waits for it longer than for the first record, and it is the same however the blocks are cut.
    """
    held = b""
    for block in blocks:
        held += block
        if b"\n" in held.lstrip() or len(held) >= READ_BYTES:
            break
    start = len(held) - len(held.lstrip())
    end = held.find(b"\n", start) + 1 or len(held)
    return held[: min(end, READ_BYTES)], chain((held,), blocks)


def _new_gzip() -> Callable[[], Any]:
    return lambda: zlib.decompressobj(wbits=31)  # 16 says gzip, 15 its largest window


def _new_zstd() -> Callable[[], Any]:
    with needs_extra("zstd", "reading zstd"):
        import zstandard
    return lambda: zstandard.ZstdDecompressor(max_window_size=_ZSTD_WINDOW).decompressobj()


# By the first bytes: RFC 1952, section 2.3.1 (deflate is its only method); RFC 8878, section 3.1.1.
_COMPRESSIONS: dict[bytes, tuple[str, int, Callable[[], Callable[[], Any]]]] = {
    b"\x1f\x8b\x08": ("gzip", _GZIP_BYTES, _new_gzip),
    b"\x28\xb5\x2f\xfd": ("zstd", _ZSTD_BYTES, _new_zstd),
}


# What people hand over in the place of text, by its first bytes, and what to do with it.
_UNPACK, _SAVE = "unpack it first", "save the table in it as CSV UTF-8"
_TAR = ("a tar archive", _UNPACK)
_FOREIGN = {
    b"PAR1": ("Parquet", "call it .parquet; toolkit predict-files, evaluate and dataset import read that"),
    b"%PDF-": ("a PDF", "save its text as .txt"),
    b"BZh91AY&SY": ("bzip2 data", _UNPACK),
    b"\xfd7zXZ\0": ("xz data", _UNPACK),
    b"7z\xbc\xaf\x27\x1c": ("a 7-Zip archive", _UNPACK),
    b"Rar!\x1a\x07": ("a RAR archive", _UNPACK),
    b"PK\x05\x06": ("an empty ZIP", "pack it again"),
    b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1": ("an Excel or Word document", _SAVE),
    b"SQLite format 3\0": ("an SQLite database", _SAVE),
    **dict.fromkeys((*_COMPRESSIONS, zips.MAGIC), ("compressed twice", _UNPACK)),
}


def _foreign(head: bytes) -> tuple[str, str] | None:
    if head[257:262] == b"ustar":
        return _TAR
    return next((said for magic, said in _FOREIGN.items() if head.startswith(magic)), None)


def _file_size(stream: RawReader | Path) -> int | None:
    """Bytes that a regular file still has; None of anything else."""
    if isinstance(stream, Path):
        return stream.stat().st_size if stream.is_file() else None
    try:
        descriptor = stream.fileno()  # type: ignore[attr-defined]
        status = os.fstat(descriptor)
        if stat.S_ISREG(status.st_mode):
            return status.st_size - os.lseek(descriptor, 0, os.SEEK_CUR)
    except (AttributeError, OSError):  # a stream of Python's own, which has no file descriptor
        pass
    return None
