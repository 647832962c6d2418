"""Small files that would take gigabytes or for ever: each is refused in a line, in little memory, and nothing is written."""

import csv
import gzip
import io
import json
import os
import subprocess
import sys
import tarfile
import time
from pathlib import Path

import pytest

from tests.conftest import FakePredictor
from toolkit.datasets.importers import ImportOptions, import_dataset
from toolkit.datasets.splits import read_reviews
from toolkit.errors import DataError, ToolkitError
from toolkit.formats.limits import MAX_COLUMNS
from toolkit.formats.tables import read_rows
from toolkit.models.bundle import Kind, Manifest
from toolkit.streaming import Source, make_writer, read_records
from toolkit.streaming.files import FileJob
from toolkit.text.tokenisation import ReviewTokenizer

MEMORY = 800  # MB that a process may have had at its most: Python, numpy and Arrow take 200 before they read anything
# The process's own peak; its parent's would count in what `wait4` says.
RUN = """
import atexit, re, sys
from pathlib import Path
from toolkit.cli import cli
status = Path("/proc/self/status")
peak = Path(sys.argv.pop())
atexit.register(lambda: peak.write_text(re.search(r"VmHWM:\\s+(\\d+)", status.read_text())[1]))
cli(prog_name="toolkit")
"""


def toolkit(tmp_path: Path, *arguments, stdin: bytes = b"") -> subprocess.CompletedProcess:
    """Run a command, which must not take much memory."""
    if not Path("/proc/self/status").exists():
        pytest.skip("this system does not say how much memory a process took")
    peak = tmp_path / "peak"
    process = subprocess.run(
        [sys.executable, "-c", RUN, *map(str, arguments), str(peak)], input=stdin, capture_output=True, timeout=120
    )
    assert int(peak.read_text()) / 1024 < MEMORY
    return process


def refused(tmp_path: Path, source: Path) -> str:
    """Import a source; returns the line that refuses it."""
    process = toolkit(tmp_path, "dataset", "import", source, "--output", tmp_path / "out")
    message = process.stderr.decode()
    assert process.returncode == 1, message
    assert message.startswith("Error: ")
    assert len(message.splitlines()) == 1, message
    assert not (tmp_path / "out").exists()
    return message


def archive(path: Path, *headers: bytes) -> Path:
    path.write_bytes(gzip.compress(b"".join(headers) + bytes(1024)))
    return path


def header(name: str, kind: bytes = b"0", size: int = 0, link: str = "") -> bytes:
    member = tarfile.TarInfo(name)
    member.type, member.size, member.linkname = kind, size, link
    return member.tobuf(tarfile.GNU_FORMAT)


def with_size(block: bytes, size: bytes) -> bytes:
    """A header whose size is spelt otherwise, its checksum right again."""
    block = block[:124] + size.ljust(12, b"\0")[:12] + block[136:148] + b" " * 8 + block[156:]
    return block[:148] + b"%06o\0 " % sum(block) + block[156:]


REVIEW = "aclImdb/train/pos/0_9.txt"
NEGATIVE = (-(1 << 20)).to_bytes(12, "big", signed=True)  # base 256, as GNU spells large numbers
PAX = b"22 GNU.sparse.major=1\n"


@pytest.mark.parametrize(
    ("headers", "message"),
    [
        ([header(REVIEW, b"S", 0)], "is a sparse file"),
        ([with_size(header(REVIEW, b"S"), (1 << 60).to_bytes(12, "big"))], "is a sparse file"),
        ([header(REVIEW, b"2", link="/etc/passwd")], "is a symbolic link"),
        ([header(REVIEW, b"1", link="other")], "is a hard link"),
        ([header(REVIEW, b"6")], "is a FIFO"),
        ([header(REVIEW, b"3")], "is a device"),
        ([header("anything else", b"2", link="x")], "is a symbolic link"),
        ([header(REVIEW, size=6 << 30)], f"has {6 << 30} bytes"),
        ([header("aclImdb/other", size=6 << 30)], "unpacks to more than 256 MiB"),
        ([with_size(header(REVIEW), NEGATIVE)], "a negative size"),
        ([with_size(header("x", b"L"), NEGATIVE)], "a negative size"),
        ([header("x", b"L", size=1 << 40)], "an extended header of"),
        ([header("x", b"x", size=len(PAX)), PAX.ljust(512, b"\0"), header(REVIEW)], "of another size"),
        ([header("x", b"x", size=4), b"0 a=".ljust(512, b"\0"), header(REVIEW)], "a broken extended header"),
        ([header(REVIEW, size=1 << 19)], "ends in the middle"),
        ([header("a\x1b[2J" + "b" * 80, b"6")], r"\x1b[2J"),
    ],
)  # fmt: skip
def test_archives(tmp_path, headers, message):
    """In one process: none of them may begin to read what it announces."""
    with pytest.raises(ToolkitError) as caught:
        import_dataset(str(archive(tmp_path / "a.tar.gz", *headers)), tmp_path / "out", ImportOptions())
    assert message in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1
    assert not (tmp_path / "out").exists()


def test_an_archive_that_unpacks_to_gigabytes(tmp_path):
    """Its reviews are small, and there are as many as it likes."""
    review = header(REVIEW, size=1 << 20) + b"a" * (1 << 20)
    path = tmp_path / "a.tar.gz"
    with gzip.open(path, "wb", compresslevel=1) as stream:
        for _ in range(600):
            stream.write(review)
    assert path.stat().st_size < 5e6
    assert "unpacks to more than" in refused(tmp_path, path)


def test_names_that_an_extended_header_gives(tmp_path):
    """What tar and Python write for long names, and for times with fractions, is still read."""
    long = "a/" * 60
    for number, form in enumerate((tarfile.PAX_FORMAT, tarfile.GNU_FORMAT, tarfile.USTAR_FORMAT)):
        path = tmp_path / f"{number}.tar.gz"
        with tarfile.open(path, "w:gz", format=form) as opened:
            for index in range(80):
                kind = ("neg", "pos")[index % 2]
                member = tarfile.TarInfo(f"{long}train/{kind}/{index}_7.txt")
                text = f"film {index} é".encode()
                member.size, member.mtime = len(text), 1.5
                opened.addfile(member, io.BytesIO(text))
        info = import_dataset(str(path), tmp_path / f"out{number}", ImportOptions())
        assert sum(sum(counts.values()) for counts in info.counts.values()) == 80


@pytest.mark.parametrize("kind", ["link", "FIFO", "folder of links", "large"])
def test_folders(tmp_path, kind):
    folder = tmp_path / "aclImdb" / "train" / "pos"
    (folder.parent / "neg").mkdir(parents=True)
    secret = tmp_path / "secret" / "0_1.txt"
    secret.parent.mkdir()
    secret.write_text("mine")
    if kind == "folder of links":
        folder.symlink_to(secret.parent)
    else:
        folder.mkdir()
        path = folder / "0_1.txt"
        if kind == "link":
            path.symlink_to(secret)
        elif kind == "FIFO":
            os.mkfifo(path)
        else:
            path.write_bytes(b"a" * (1 << 21))
    with pytest.raises(ToolkitError, match=r"is a link or no regular file|has 2097152 bytes"):
        import_dataset(str(folder.parents[1]), tmp_path / "out", ImportOptions())


def repeated(path: Path, value: str | None, rows: int, name: str = "text", width: int = 0) -> Path:
    """A Parquet file that says one thing many times."""
    pytest.importorskip("pyarrow", reason="the extra train is not installed")
    import pyarrow.parquet

    if width:
        text = pyarrow.array([b"a" * width] * rows, pyarrow.binary(width))
    else:
        indices = pyarrow.array([0 if value is not None else None], pyarrow.int32()).take(pyarrow.array([0] * rows))
        text = pyarrow.DictionaryArray.from_arrays(indices, pyarrow.array([value or ""]))
    columns = {name: text, "label": pyarrow.array([0] * rows, pyarrow.int8())}
    pyarrow.parquet.write_table(pyarrow.table(columns), path, compression="zstd", store_schema=False)
    assert path.stat().st_size < 20_000
    return path


@pytest.mark.parametrize(("value", "rows"), [("x" * 1_000_000, 4000), (None, 3_000_000), ("x" * (100 << 20), 2)])
def test_parquet(tmp_path, value, rows):
    message = refused(tmp_path, repeated(tmp_path / "a.parquet", value, rows))
    assert "unpacks to more than 256 MiB" in message or "has a row of 100 MiB" in message


def test_parquet_whose_other_columns_are_the_bomb(tmp_path):
    """A column that nobody asked for is not read."""
    pytest.importorskip("pyarrow", reason="the extra train is not installed")
    import pyarrow.parquet

    bomb = pyarrow.DictionaryArray.from_arrays(pyarrow.array([0] * 400, pyarrow.int32()), pyarrow.array(["x" * 10**7]))
    table = pyarrow.table({"text": [f"film {n}" for n in range(400)], "label": [n % 2 for n in range(400)], "b": bomb})
    pyarrow.parquet.write_table(table, tmp_path / "a.parquet", compression="zstd", store_schema=False)
    process = toolkit(tmp_path, "dataset", "import", tmp_path / "a.parquet", "--output", tmp_path / "out")
    assert process.returncode == 0, process.stderr
    process = toolkit(tmp_path, "predict-files", tmp_path / "a.parquet", tmp_path / "b.parquet", "--prefix", "p_")
    assert process.returncode == 1
    assert "unpacks to more than 256 MiB" in process.stderr.decode()
    assert not (tmp_path / "b.parquet").exists()


def test_parquet_of_every_kind_goes_through_unchanged(tmp_path, tiny_tokenizer):
    """Texts are read dictionary-encoded; what is written has the types that were there."""
    pytest.importorskip("pyarrow", reason="the extra train is not installed")
    import pyarrow.parquet

    table = pyarrow.table({
        "text": pyarrow.array(["a film", None, "", "a film", "é" * 50], pyarrow.large_string()),
        "list": [["a", "a"], [], None, ["b"], ["c"]],
        "map": pyarrow.array([[("k", "v")], [], None, [], []], pyarrow.map_(pyarrow.string(), pyarrow.string())),
        "struct": [{"x": "q", "y": [1, 2]}] * 5,
        "bytes": [b"\xff", None, b"", b"\xff", b"a"],
        "fixed": pyarrow.array([b"ab"] * 5, pyarrow.binary(2)),
        "category": pyarrow.array(["u", "u", None, "v", "v"]).dictionary_encode(),
        "number": [1.5, None, 2.5, 3.5, 4.5],
    })  # fmt: skip
    for limit in (1 << 26, 1):  # the other way to read, for columns too large for the first
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("toolkit.formats.parquet._SMALL", limit)
            pyarrow.parquet.write_table(table, tmp_path / "a.parquet", row_group_size=2)
            fake = FakePredictor(Manifest(Kind.ONNX, "fake", 64), ReviewTokenizer.wrap(tiny_tokenizer, 64))
            job = FileJob(tmp_path / "a.parquet", tmp_path / "b.parquet", prefix="p_")
            tally = job.run(lambda fake=fake: fake)
        assert (tally.kept, tally.problems) == (3, 2)
        read = pyarrow.parquet.read_table(tmp_path / "b.parquet").select(table.column_names)
        assert read.cast(table.schema).equals(table)


@pytest.mark.parametrize("kind", ["gzip", "zstd"])
@pytest.mark.parametrize("content", [b"a", b"\n"], ids=["a line", "lines"])
def test_compressed_streams(kind, content):
    """A stream may be endless; what is held of it at a time may not."""
    size = 1 << 27
    if kind == "zstd":
        zstandard = pytest.importorskip("zstandard")
        packed = zstandard.ZstdCompressor(level=19).compress(content * size)
    else:
        packed = gzip.compress(content * size, 9)
    assert len(packed) < 140_000
    source = Source("", io.BytesIO(packed))
    assert max(map(len, source.blocks())) < 5e6
    if content == b"a":
        (record,) = read_records(Source("", io.BytesIO(packed)), "lines", "")
        assert record.problem == "longer than 64 MiB"


def test_a_row_that_never_ends(monkeypatch):
    """A quoted field spans lines, and so may a row of many of them."""
    monkeypatch.setattr("toolkit.formats.parsing.MAX_VALUE", 1000)
    rows = b'text,b\n"' + b'x","\n' * 10_000 + b'y"\nfine,1\n'
    records = list(read_records(Source("", io.BytesIO(rows)), "csv", "text"))
    assert records[0].problem == "longer than 0 MiB"
    assert max(record.size for record in records) <= 1000
    assert records[-1].text == "fine"
    with pytest.raises(ToolkitError, match="the header is broken CSV"):
        list(read_records(Source("", io.BytesIO(b'"' + b'x","\n' * 10_000)), "csv", "text"))


@pytest.mark.parametrize("suffix", [".csv", ".jsonl"])
def test_a_row_of_a_table_that_never_ends(tmp_path, suffix):
    """Neither one line nor one quoted field of many lines is taken whole; the rows after it are."""
    long = {"line": "x" * 5000, "lines": "x\n" * 2500, "nested": [[]] * 2500}
    path = tmp_path / f"a{suffix}"
    with path.open("w", newline="") as stream:
        if suffix == ".csv":
            csv.writer(stream).writerows([["text"], ["fine"], [long["line"]], ["good"], [long["lines"]], ["bad"]])
            stream.write('"' + "y" * 5000)  # and never closed
        else:
            stream.writelines(json.dumps({"text": text}) + "\n" for text in ("fine", *long.values(), "bad"))
    texts = [problem or row["text"] for _, row, problem in read_rows(path, suffix, largest=1000)]
    assert texts[0] == "fine"
    assert texts.count("longer than 0 MiB") >= 3
    assert "bad" in texts or suffix == ".csv"  # the rest of a field of many lines looks like other rows
    assert ("good" in texts) == (suffix == ".csv")
    assert max(map(len, texts)) <= 1000


def wide(columns: int) -> str:
    return ",".join(["text", "label", *(f"c{number}" for number in range(columns - 2))]) + "\n"


def test_columns(tmp_path):
    """As many as a spreadsheet has; a hundred thousand took a minute to be compared with each other."""
    for columns, repeated in ((MAX_COLUMNS + 1, ""), (100_000, "text,")):
        (tmp_path / "a.csv").write_text(repeated + wide(columns))
        with pytest.raises(
            DataError, match=f"expected {MAX_COLUMNS} columns at most, found {columns + bool(repeated)}"
        ):
            read_reviews(tmp_path / "a.csv")
        with pytest.raises(ToolkitError, match=f"expected {MAX_COLUMNS} columns at most"):
            list(read_records(Source.open(tmp_path / "a.csv"), "csv", "text"))
    (tmp_path / "a.csv").write_text(wide(MAX_COLUMNS).replace("c7,", "c8,") + "fine,1" + "," * (MAX_COLUMNS - 2) + "\n")
    with pytest.raises(DataError, match="expected every column once, found c8 more often"):
        read_reviews(tmp_path / "a.csv")


def test_parquet_with_a_column_twice(tmp_path):
    pytest.importorskip("pyarrow", reason="the extra train is not installed")
    import pyarrow.parquet

    columns = [pyarrow.array(["a"]), pyarrow.array(["b"]), pyarrow.array([1])]
    pyarrow.parquet.write_table(pyarrow.table(columns, ["text", "text", "label"]), tmp_path / "a.parquet")
    with pytest.raises(DataError, match="expected every column once, found text more often"):
        read_reviews(tmp_path / "a.parquet")
    job = FileJob(tmp_path / "a.parquet", tmp_path / "b.parquet")
    with pytest.raises(ToolkitError, match="expected every column once"):
        job.run(lambda: None)


def test_an_object_of_many_fields_into_csv_takes_linear_time():
    """Each of its names was looked for in a list of all of them."""

    def seconds(fields: int) -> float:
        line = '{"text": "a", ' + ", ".join(f'"f{number}": 1' for number in range(fields)) + "}\n"
        records = list(read_records(Source("", io.BytesIO((2 * line).encode())), "jsonl", "text"))
        writer = make_writer("csv", str)
        started = time.perf_counter()
        for record in records:
            writer.problem(record, "")
        return time.perf_counter() - started

    assert seconds(16_000) < 100 * max(seconds(1000), 0.002)  # sixteen times as many; of their square, 256 times
