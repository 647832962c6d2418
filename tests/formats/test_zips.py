"""ZIPs as people send them: of one file they are read as gzip is, of a folder as a .tar.gz is."""

import gzip
import io
import tarfile
import zipfile

import pytest

from tests.streaming.conftest import Reads
from toolkit.chat.texts import TEXTS
from toolkit.chat.uploads import read_upload
from toolkit.datasets.importers import ImportOptions, import_dataset
from toolkit.datasets.splits import read_reviews, read_splits
from toolkit.errors import ToolkitError
from toolkit.formats.archives import is_archive, packed_format
from toolkit.formats.limits import UnpackedSize
from toolkit.formats.zips import zip_members
from toolkit.streaming import Source
from toolkit.streaming.files import FileJob

CSV = "".join(["text,label\n", *(f"film number {number},{number % 2}\n" for number in range(500))]).encode()
JUNK = b"\0\5\x16\7\0\2\0\0Mac OS X        "


class Unseekable(io.BytesIO):
    """As a pipe: the sizes of a file come behind it."""

    def seekable(self):
        return False

    def seek(self, *_):
        raise OSError("no")

    def tell(self):
        raise OSError("no")


def pack(*members, method=zipfile.ZIP_DEFLATED, stream=None):
    stream = stream or io.BytesIO()
    with zipfile.ZipFile(stream, "w", method) as archive:
        for name, content in members:
            archive.writestr(name, content)
    return stream.getvalue()


def read(content, size=1 << 16, name="a.csv"):
    blocks = (content[start : start + size] for start in range(0, len(content), size))
    return b"".join(Source(name, Reads(*blocks)).blocks())


@pytest.mark.parametrize("size", [1, 3, 1000, 1 << 16])
@pytest.mark.parametrize("stream", [io.BytesIO, Unseekable])
@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_the_file_in_it_is_read(method, stream, size):
    members = (("IMDB/", b""), ("IMDB/a.csv", CSV), ("__MACOSX/IMDB/._a.csv", JUNK), ("IMDB/.DS_Store", JUNK))
    content = pack(*members, method=method, stream=stream())
    if (stream, method) == (Unseekable, zipfile.ZIP_STORED):
        with pytest.raises(ToolkitError, match="is packed in an unusual way"):
            read(content, size)
    else:
        assert read(content, size) == CSV


def test_every_door_reads_it_under_any_name(tmp_path, fake_predictor):
    content = pack(("IMDB Dataset.csv", CSV))
    for name in ("a.csv", "a.csv.zip", "A.CSV.ZIP", "archive.zip"):
        (tmp_path / name).write_bytes(content)
        assert len(read_reviews(tmp_path / name)) == 500
        tally = FileJob(tmp_path / name, tmp_path / "out.jsonl", prefix="p_").run(lambda: fake_predictor)
        assert tally.kept == 500
    assert len(read_upload(tmp_path / "a.csv", "a.csv.zip", TEXTS["en"])) == 500
    assert packed_format(tmp_path / "archive.zip") == ".csv"
    assert not is_archive(tmp_path / "archive.zip")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (pack(("a.csv", CSV), ("b.csv", CSV)), r"the ZIP holds several files, a\.csv, b\.csv; unpack it"),
        (pack(("__MACOSX/._a.csv", JUNK)), "the ZIP holds no file"),
        (pack(), "this is an empty ZIP"),
        (pack(("[Content_Types].xml", b"<"), ("xl/a.xml", b"<")), "this is an Excel or Word document; save the table"),
        (pack(("mimetype", b"x")), "this is an OpenDocument"),
        (pack(("a.csv", CSV), method=zipfile.ZIP_BZIP2), "packed in an unusual way"),
        (pack(("a.csv", CSV))[:100], "the ZIP ends in the middle"),
        (pack(("a.csv", CSV))[:20], "the ZIP ends in the middle"),
        (pack(("a.csv", gzip.compress(CSV))), "this is compressed twice"),
        (gzip.compress(pack(("a.csv", CSV))), "this is compressed twice"),
        (b"BZh91AY&SY", "this is bzip2 data, expected text; unpack it first"),
        (b"%PDF-1.7\n", "this is a PDF"),
        (b"PAR1", "this is Parquet"),
    ],
)
def test_what_cannot_be_read_is_named(content, message):
    with pytest.raises(ToolkitError, match=rf"^a\.csv: .*{message}"):
        read(content)


def test_damage_and_encryption_are_seen():
    content = bytearray(pack(("a.csv", CSV), method=zipfile.ZIP_STORED))
    content[100] ^= 1
    with pytest.raises(ToolkitError, match="the ZIP is damaged"):
        read(bytes(content))
    content = bytearray(pack(("a.csv", CSV)))
    content[6] |= 1
    with pytest.raises(ToolkitError, match=r"'a\.csv' is encrypted"):
        read(bytes(content))
    content = bytearray(pack(("a.csv", CSV)))
    content[40:60] = b"\xff" * 20
    with pytest.raises(ToolkitError, match=r"broken ZIP data|ZIP is damaged|ZIP ends"):
        read(bytes(content))


def test_a_bomb_is_refused_before_it_is_unpacked():
    bomb = pack(("a.csv", bytes(1 << 26)))
    source = Source("a.csv", Reads(bomb), most=1 << 20)
    with pytest.raises(ToolkitError, match=r"a\.csv unpacks to more than 1 MiB"):
        sum(map(len, source.blocks()))
    sizes = [len(block) for _, blocks in zip_members(iter([bomb]), "", UnpackedSize("", 1 << 30)) for block in blocks]
    assert (sum(sizes), max(sizes) < 5_000_000) == (1 << 26, True)


def acl(add):
    for number in range(40):
        split, label = ("train", "test")[number % 4 // 2], ("neg", "pos")[number % 2]
        add(f"aclImdb/{split}/{label}/{number}_7.txt", b"film number %d" % number)
        add(f"aclImdb/{split}/{label}/._{number}_7.txt", JUNK)
    add("aclImdb/.DS_Store", JUNK)
    add("aclImdb/train/neg/.DS_Store", JUNK)
    add("__MACOSX/aclImdb/train/neg/0_7.txt", b"no review")


def tar(mode):
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode=mode) as archive:

        def add(name, content):
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))

        acl(add)
    return stream.getvalue()


def zipped():
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("aclImdb/", b"")
        acl(archive.writestr)
    return stream.getvalue()


@pytest.mark.parametrize("name", ["aclImdb.tar.gz", "AclImdb.TGZ", "downloaded", "a.csv"])
@pytest.mark.parametrize("content", [tar("w:gz"), tar("w"), zipped()], ids=["tar.gz", "tar", "zip"])
def test_aclimdb_as_macos_packs_it(tmp_path, content, name):
    (tmp_path / name).write_bytes(content)
    info = import_dataset(str(tmp_path / name), tmp_path / "out", ImportOptions(official=True))
    assert sum(sum(counts.values()) for counts in info.counts.values()) == 40
    texts = {review.text for reviews in read_splits(tmp_path / "out").values() for review in reviews}
    assert texts == {f"film number {number}" for number in range(40)}


def test_a_folder_that_a_mac_wrote_to(tmp_path):
    def add(name, content):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)

    acl(add)
    info = import_dataset(str(tmp_path / "aclImdb"), tmp_path / "out", ImportOptions(official=True))
    assert sum(sum(counts.values()) for counts in info.counts.values()) == 40


def test_a_review_in_a_zip_has_a_size_too(tmp_path):
    (tmp_path / "a.zip").write_bytes(pack(("aclImdb/train/pos/0_9.txt", bytes((1 << 20) + 1))))
    with pytest.raises(ToolkitError, match=r"aclImdb/train/pos/0_9\.txt' has over 1048576 bytes"):
        import_dataset(str(tmp_path / "a.zip"), tmp_path / "out", ImportOptions())
    assert not (tmp_path / "out").exists()


def test_a_tar_is_no_table(tmp_path):
    for content in (tar("w:gz"), tar("w")):
        (tmp_path / "a.csv").write_bytes(content)
        with pytest.raises(ToolkitError, match=r"a\.csv: this is a tar archive, expected text; unpack it first$"):
            read_reviews(tmp_path / "a.csv")
