"""Where records come from: stdin, a file or bytes, compressed or not, a block at a time."""

import os
import stat
import sys
import zlib
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Any, Protocol, Self

from toolkit.errors import ToolkitError, needs_extra
from toolkit.formats.limits import UnpackedSize

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
        largest: The most bytes of a record; `limits.MAX_VALUE` by default.

    Attributes:
        size: bytes to come, where that is known; else None.
        position: bytes read so far.
    """

    def __init__(
        self, name: str, stream: RawReader | Path, most: int | None = None, largest: int | None = None
    ) -> None:
        self.name = name
        self.largest = largest
        self._most = most
        self.size = _file_size(stream)
        self.position = 0
        self._stream = stream

    @classmethod
    def open(cls, path: Path) -> Self:
        """A file, whatever its name ends with."""
        return cls(str(path), path)

    def blocks(self) -> Iterator[bytes]:
        """What is in it, decompressed where its first bytes say gzip or zstd.

        Raises:
            OSError: it cannot be read.
            ToolkitError: the compressed data is broken or ends in the middle; what came before it has been yielded.
            MissingExtraError: it is zstd and no package reads that.
        """
        head = b""
        blocks = self._read()
        for block in blocks:
            head += block
            for magic, (name, step, new_decompressor) in _COMPRESSIONS.items():
                if head.startswith(magic):
                    yield from self._decompress(head, blocks, name, step, new_decompressor())
                    return
            if not any(magic.startswith(head) for magic in _COMPRESSIONS):
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
        unpacked = UnpackedSize(self.name, sys.maxsize if self._most is None else self._most)
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
                            f"{self._place}broken {name} data ({error}); the records before it were read"
                        ) from error
                    if data:
                        unpacked.add(len(data))
                        yield data
                    rest = decompressor.unused_data if decompressor.eof else b""
                    decompressor = None if decompressor.eof else decompressor
            block = next(blocks, None)
        if decompressor:
            raise ToolkitError(
                f"{self._place}the {name} data ends in the middle; the records before that were read, get the rest"
            )

    @property
    def _place(self) -> str:
        return f"{self.name}: " if self.name else ""


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
