"""A file means the same to whoever reads it: the filter, a data set, the chat app."""

import gzip
import io

import pytest

from toolkit.chat.settings import LARGEST_UPLOAD
from toolkit.chat.texts import TEXTS
from toolkit.chat.uploads import read_upload
from toolkit.datasets.importers import ImportOptions, import_dataset
from toolkit.datasets.splits import read_reviews, scan_reviews
from toolkit.errors import ToolkitError
from toolkit.formats.names import find_column, format_of, split_name
from toolkit.formats.places import Place, RecordError
from toolkit.streaming import Source, read_records

CSV = 'Title,Review,label\r\nx,"Good, and\nlong.",1\r\n\r\ny,Bad.,0\r\nz,\xff,0\r\nbroken,1\r\n'
JSONL = '{"review": "Good, and\\nlong.", "label": 1}\r\n\r\n{"review": "Bad.", "label": 0}\n{"review": "\xff", "label": 0}\nbroken\n'


def streamed(content: bytes, ending: str) -> list[str]:
    """What the filter classifies, blank lines and broken ones left out."""
    records = read_records(Source("", io.BytesIO(content)), ending.removeprefix("."))
    return [" ".join(record.text.split()) for record in records if record.problem is None]


@pytest.mark.parametrize("pack", [bytes, gzip.compress], ids=["plain", "gzip"])
@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"], ids=["", "mark"])
@pytest.mark.parametrize(("ending", "text"), [(".csv", CSV), (".jsonl", JSONL), (".csv", CSV.replace("\r\n", "\r"))])
def test_every_door_reads_the_same_reviews(tmp_path, ending, text, mark, pack):
    content = pack(mark + text.encode("latin-1"))
    path = tmp_path / f"a{ending}"
    path.write_bytes(content)
    reviews, problems = scan_reviews(path)
    assert [review.text for review in reviews] == ["Good, and long.", "Bad."]
    assert len(problems) == 2
    assert "not valid UTF-8" in problems[0]
    assert streamed(content, ending) == ["Good, and long.", "Bad."]
    rows = read_upload(path, path.name, TEXTS["en"])
    assert [" ".join(row.text.split()) for row in rows if row.problem is None] == ["Good, and long.", "Bad."]
    assert len(rows) == 4  # blank lines are no rows of a table


@pytest.mark.parametrize("name", ["a.csv", "a.CSV", "a.csv.gz", "a.csv.zst", "a.b.csv"])
def test_a_name_says_the_format_once_for_all(tmp_path, name):
    assert format_of(name) == ".csv"
    assert split_name(f"folder/{name}")[0] == ("a.b" if name == "a.b.csv" else "a")
    assert format_of("a.csv.txt") is None
    (tmp_path / name).write_text("text,label\nfine,1\n")
    assert [review.text for review in read_reviews(tmp_path / name)] == ["fine"]


def test_a_folder_of_compressed_splits_is_imported(tmp_path):
    (tmp_path / "in").mkdir()
    rows = "".join(f"film number {number},{number % 2}\n" for number in range(40))
    (tmp_path / "in" / "train.csv.gz").write_bytes(gzip.compress(f"text,label\n{rows}".encode()))
    steps = []
    info = import_dataset(
        str(tmp_path / "in"), tmp_path / "out", ImportOptions(), lambda done, total: steps.append((done, total))
    )
    assert sum(sum(counts.values()) for counts in info.counts.values()) == 40
    size = (tmp_path / "in" / "train.csv.gz").stat().st_size
    assert steps[-1] == (size, size)


def test_compressed_files_that_are_kept_in_memory_are_bounded(tmp_path, monkeypatch):
    monkeypatch.setattr("toolkit.formats.limits._LEAST_UNPACKED", 1 << 20)
    path = tmp_path / "a.csv.gz"
    path.write_bytes(gzip.compress(b"text,label\n" + b"fine" * 10_000 + b",1\n" + b"fine,1\n" * 300_000))
    with pytest.raises(ToolkitError, match="unpacks to more than 1 MiB"):
        read_reviews(path)
    upload = tmp_path / "stored"
    upload.write_bytes(gzip.compress(b"text\n" + (b"fine " * 300_000 + b"\n") * 20))
    with pytest.raises(ToolkitError, match=rf"^mine\.csv unpacks to more than {LARGEST_UPLOAD} MiB"):
        read_upload(upload, "mine.csv", TEXTS["en"])


def test_a_column_is_found_by_its_name():
    assert find_column(["id", "Review", "text"], None) == "text"
    assert find_column(["id", " Review "], None) == " Review "
    assert find_column(["Body", "body"], "body") == "body"
    assert find_column(["Body"], "body") == "Body"
    assert find_column(["text"], "body") is None
    assert find_column(["label"], None) is None


def test_places_are_put_into_words_where_they_are_read():
    error = RecordError(Place("a.csv", 2, 4), "empty review")
    assert str(error) == "a.csv: line 4: empty review"
    assert error.place.in_table == "row 2 (line 4)"
    assert Place("", 3, 3).in_table == "row 3"
    assert (str(Place("", 3, None, "record")), Place("", 3).in_stream, Place("a").in_table) == (
        "record 3",
        "row 3",
        "header",
    )
