import gzip
import io
import sys

import pytest

from tests.streaming.conftest import Reads
from toolkit.errors import MissingExtraError, ToolkitError
from toolkit.formats.sources import READ_BYTES
from toolkit.streaming import Source

TEXT = b"".join(b"review number %d\n" % number for number in range(5000))


def zstd(data):
    return pytest.importorskip("zstandard", reason="the extra 'zstd' is not installed").compress(data)


def read(data, size=READ_BYTES):
    return b"".join(Source("", Reads(*(data[start : start + size] for start in range(0, len(data), size)))).blocks())


@pytest.mark.parametrize("size", [1, 7, 5000, READ_BYTES])
@pytest.mark.parametrize("compress", [bytes, gzip.compress, zstd])
def test_the_first_bytes_say_what_it_is(compress, size):
    assert read(compress(TEXT), size) == TEXT


@pytest.mark.parametrize("compress", [gzip.compress, zstd])
def test_members_follow_each_other_and_zeros_are_padding(compress):
    data = compress(TEXT) + b"\0" * 600 + compress(b"") + compress(b"last\n") + b"\0" * 512
    assert read(data) == read(data, 3) == TEXT + b"last\n"


@pytest.mark.parametrize("text", [b"", b"\x1f", b"\x1f\x8b", b"(", b"\x1f\x8b\x09 is no gzip", b"(\xb5/"])
@pytest.mark.parametrize("size", [1, 100])
def test_a_beginning_of_the_magic_is_no_compression(text, size):
    assert read(text, size) == text


@pytest.mark.parametrize(("compress", "name"), [(gzip.compress, "gzip"), (zstd, "zstd")])
def test_a_truncated_file_gives_what_is_in_it_and_then_one_error(compress, name):
    compressed = compress(TEXT)
    blocks = Source("a.z", io.BytesIO(compressed[: len(compressed) - 5])).blocks()
    found = b""
    with pytest.raises(ToolkitError, match=rf"a\.z: the {name} data ends in the middle"):
        for block in blocks:
            found += block
    assert TEXT.startswith(found)
    assert name == "zstd" or len(found) > len(TEXT) / 2  # zstd hands out whole blocks of 128 KiB


def test_broken_data_is_one_error():
    compressed = bytearray(gzip.compress(TEXT))
    compressed[len(compressed) // 2] ^= 255
    with pytest.raises(ToolkitError, match="broken gzip data"):
        read(bytes(compressed))


def test_without_the_package_the_extra_is_named(monkeypatch):
    data = zstd(TEXT)
    monkeypatch.setitem(sys.modules, "zstandard", None)
    with pytest.raises(MissingExtraError, match=r"reading zstd needs the package 'zstandard'[^§]*\.\[zstd\]"):
        read(data)


def test_a_little_compressed_data_never_becomes_much_at_once():
    blocks = list(Source("", io.BytesIO(gzip.compress(b"\n" * 20_000_000))).blocks())
    assert sum(map(len, blocks)) == 20_000_000
    assert max(map(len, blocks)) < 5_000_000


def test_size_and_position_of_a_file(tmp_path):
    path = tmp_path / "reviews.txt"
    path.write_bytes(TEXT)
    source = Source.open(path)
    assert (source.size, source.position) == (len(TEXT), 0)
    assert b"".join(source.blocks()) == TEXT
    assert source.position == len(TEXT)
    assert Source("", io.BytesIO(TEXT)).size is None
