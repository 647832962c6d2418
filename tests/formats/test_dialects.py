"""A CSV says in its first line how it is written."""

import io
import logging

import pytest

from toolkit.datasets.splits import read_reviews, scan_reviews
from toolkit.errors import ToolkitError
from toolkit.formats.dialects import find_separator, has_escaped_quotes, with_doubled_quotes
from toolkit.formats.names import find_column, is_system_file
from toolkit.streaming import Source, read_records


def rows(content: bytes, name: str = "", field: str | None = None) -> list[str]:
    return [record.text or record.problem for record in read_records(Source(name, io.BytesIO(content)), "csv", field)]


@pytest.fixture
def said(caplog):
    """What was logged."""
    caplog.set_level(logging.INFO, "toolkit.formats")
    return lambda: [record.getMessage() for record in caplog.records]


@pytest.mark.parametrize(
    ("content", "name", "word"),
    [
        (b"review;sentiment\r\nGood, long, and slow;1\r\nBad;0\r\n", "", "semicolons"),
        (b'"review";"sentiment"\n"Good, long, and slow";1\nBad;0\n', "", "semicolons"),
        (b"review\tsentiment\nGood, long, and slow\t1\nBad\t0\n", "", "tabs"),
        (b"id\treview, all of it, at length\ttext\n1\tx\tGood, long, and slow\n2\tx\tBad\n", "a.tsv", "tabs"),
        (b"id|review\n1|Good, long, and slow\n2|Bad\n", "", "bars"),
        (b"sep=;\r\nreview;sentiment\r\nGood, long, and slow;1\r\nBad;0\r\n", "", "semicolons"),
        (b"\xef\xbb\xbfsep=\t\r\nreview\tsentiment\r\nGood, long, and slow\t1\r\nBad\t0\r\n", "", "tabs"),
        (b'"sep=^"\nreview^sentiment\nGood, long, and slow^1\nBad^0\n', "", "'^'"),
    ],
)
def test_the_separator_is_found_and_said(said, content, name, word):
    assert rows(content, name) == ["Good, long, and slow", "Bad"]
    assert said()[0] == (f"{name}: " if name else "") + f"columns are separated by {word}"


@pytest.mark.parametrize(
    ("header", "separator"),
    [
        ("text", ","),
        ("", ","),
        ("text,label;of,the;critics;all", ","),  # names that are known say more than their number
        ('text,"a;b;c;d"', ","),
        ("a,b;c", ","),
        ("a;b;c,d", ";"),
        ("a|b|c", ","),  # which is one column
        ("a|b|text", "|"),
        ("\ufeffText;Label", ";"),
        ("a;b\rc", ";"),  # a broken one is said where it is read
    ],
)
def test_which_separator(header, separator):
    assert find_separator(header, ("text", "label", "review")) == separator


def test_a_named_column_is_a_known_one(said):
    assert rows(b"a;b;c,body\nx,Good\n", field="body") == ["Good"]
    assert said() == []


def test_a_comma_and_the_name_text_need_no_word(said):
    assert rows(b"id,text\n1,Good\n") == ["Good"]
    assert rows(b"id, Text\n1,Good\n") == ["Good"]
    assert said() == []
    assert rows(b"id,Review \n1,Good\n") == ["Good"]
    assert said() == ["the text from the column Review"]


def test_columns_without_a_name_at_the_end_are_none(said, tmp_path):
    content = b"v1,v2,,,\r\npos,Good,,,\r\nneg,Bad,and more,,\r\nneg,Worse\r\npos,Best,,,,\r\n"
    assert rows(content, field="v2") == ["Good", "Bad", "Worse", "expected 2 fields, found 6, the last , , , "]
    assert said() == ["cells in columns without a name, which were left out: 1"]
    (tmp_path / "a.csv").write_bytes(b"v1,v2,,,\r\npos,Good,,,\r\nneg,Bad,,,\r\n")
    assert [review.text for review in read_reviews(tmp_path / "a.csv", "v2", "v1")] == ["Good", "Bad"]
    assert [record.names() for record in read_records(Source("", io.BytesIO(b"text,\na,\n")), "csv")] == [["text"]]
    with pytest.raises(ToolkitError, match="expected every column once"):
        rows(b"text,,,label\nGood,,,1\n")


def test_quotes_that_spark_escapes_are_understood(said):
    content = (
        b'text,label\n"plain ""quotes""",0\n"He said \\"wow\\", twice",1\n"C:\\temp, \\"x\\"",0\n"line\n\\"two\\"",1\n'
    )
    assert rows(content) == ['plain "quotes"', 'He said "wow", twice', 'C:\\temp, "x"', 'line\n"two"']
    assert said() == ["the quotes are escaped with backslashes, as Spark writes them"]


def test_kaggles_labelled_training_data(tmp_path):
    path = tmp_path / "labeledTrainData.tsv"
    path.write_bytes(b'"id"\t"sentiment"\t"review"\n"1_8"\t1\t"\\"The Wiz\\", again"\n"2_3"\t0\t"Bad\\\\"\n')
    assert [(review.text, int(review.label)) for review in read_reviews(path)] == [
        ('"The Wiz", again', 1),
        ("Bad\\\\", 0),
    ]


def test_a_backslash_before_the_end_of_a_field_is_one(said):
    assert rows(b'text,label\n"C:\\dir\\",1\n"a\\""b",0\n') == ["C:\\dir\\", 'a\\"b']
    assert said() == []


def test_a_broken_row_without_such_quotes_stays_broken_and_the_places_stay_right(tmp_path):
    (tmp_path / "a.csv").write_bytes(b'text,label\n"a"b,1\n"x \\"y\\" z\nw",1\n"c"d,0\nfine,1\n')
    reviews, problems = scan_reviews(tmp_path / "a.csv")
    assert [review.text for review in reviews] == ['x "y" z w', "fine"]
    assert [problem.partition(": broken CSV")[0] for problem in problems] == [
        "a.csv row 1 (line 2)",
        "a.csv row 3 (line 5)",
    ]


@pytest.mark.parametrize(
    ("line", "certain", "doubled"),
    [
        ('"a \\"b"', True, '"a ""b"'),
        ('"a\\",', False, '"a"",'),
        ('"a\\\\"', False, '"a\\\\"'),
        ('"a\\\\\\"b', True, '"a\\\\""b'),
        ("no quote \\n", False, "no quote \\n"),
    ],
)
def test_what_counts_as_an_escaped_quote(line, certain, doubled):
    assert (has_escaped_quotes(line), with_doubled_quotes(line)) == (certain, doubled)


def test_names_of_columns_and_of_files():
    assert find_column(["\ufeffText", "x"], None) == "\ufeffText"
    assert find_column(["Review Text ", "Score "], " review text ") == "Review Text "
    assert is_system_file("aclImdb/train/neg/._0_2.txt")
    assert is_system_file("__MACOSX/aclImdb/x.txt")
    assert is_system_file("a/.DS_Store")
    assert is_system_file("a/Thumbs.db")
    assert not is_system_file("aclImdb/train/neg/0_2.txt")
    assert not is_system_file("")


@pytest.mark.parametrize("end", [b"\n", b"\r\n", b"\r"])
def test_every_line_end_of_every_format(end):
    lines = [b'{"text": "a"}', b"", b'{"text": "b"}']
    for ending in (b"", end):
        content = end.join(lines) + ending
        found = [record.text for record in read_records(Source("", io.BytesIO(content)), "jsonl") if not record.problem]
        assert found == ["a", "b"]
        content = end.join([b"a film", b"dull"]) + ending
        assert [record.text for record in read_records(Source("", io.BytesIO(content)), "lines")] == ["a film", "dull"]
