import json
import tracemalloc

import pytest

from tests.streaming.conftest import Reads
from toolkit.errors import ToolkitError
from toolkit.formats import records


def problems(complaints):
    return [complaint.partition(": ")[2] for complaint in complaints]


def test_bad_lines_are_named_and_stop_nothing(run):
    written, complaints, tally = run(b"fine\n\n  \ncaf\xe9\ncrlf\r\nlast")
    assert complaints == ["line 2: empty review", "line 3: empty review", "line 4: not valid UTF-8"]
    assert [line.split(b"\t")[2] for line in written.splitlines()] == [b"fine", b"crlf", b"last"]
    assert (tally.kept, tally.problems) == (3, 3)


def test_bad_objects_are_named_and_keep_their_fields(run):
    lines = [b'{"text": "fine"}', b'{"text": ', b"[1]", b'{"a": 1.50}', b'{"text": null}', b"", b'"\xff"', b"{}"]
    written, complaints, _ = run(b"\n".join(lines), "jsonl", "jsonl")
    rows = [json.loads(line) for line in written.splitlines()]
    assert complaints == []
    assert [list(row) for row in rows[1:]] == [
        ["input", "error"], ["input", "error"], ["a", "error"], ["text", "error"], ["input", "error"],
        ["input", "error"], ["error"],
    ]  # fmt: skip
    assert [row["input"] for row in rows if "input" in row] == ['{"text":', "[1]", "", '"\ufffd"']
    assert b'{"a": 1.50, "error"' in written
    _, complaints, _ = run(b"\n".join(lines), "jsonl", "tsv")
    assert [each.partition(" (")[0] for each in problems(complaints)] == [
        "broken JSON",
        "expected a JSON object, found a list",
        "no field 'text'; it has a",
        "expected a string in the field 'text', found null",
        "blank line",
        "not valid UTF-8",
        "no field 'text'; it has none",
    ]


def test_numbers_of_any_size_and_depth_of_any_kind(run):
    number = "9" * 5000  # more digits than Python turns into an int
    written, _, tally = run(f'{{"id": {number}, "x": 1e999, "text": "a"}}\n'.encode(), "jsonl", "jsonl")
    assert written.startswith(f'{{"id": {number}, "x": 1e999, "text": "a", '.encode())
    assert tally.kept == 1
    _, complaints, _ = run(b"[" * 100_000 + b"\n", "jsonl")
    assert problems(complaints)[0].startswith("broken JSON")


def test_bad_rows_are_named_by_the_line_they_begin_on(run):
    data = b'\xef\xbb\xbfid,text\r\n1,"two\r\nlines"\r\n2\r\n3,caf\xe9\r\n\r\n4,a,b,c\r\n5," "\r\n6,"x"y\r\n7,last'
    written, complaints, tally = run(data, "csv")
    assert complaints == [
        "line 4: expected 2 fields, found 1",
        "line 5: not valid UTF-8 in the column text",
        "line 6: blank line",
        "line 7: expected 2 fields, found 4, the last b, c",
        "line 8: empty review",
        "line 9: broken CSV (',' expected after '\"')",
    ]
    assert [line.split(b"\t")[2] for line in written.splitlines()] == [b"two  lines", b"last"]
    assert tally.problems == 6


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"id,review\n1,a\n", "expected a column 'text', found id, review; name the text's with --column"),
        (b"text,id,text\n", "expected every column once, found text more often"),
        (b"\n", "expected a column 'text', found a blank line"),
        (b'"text"x\n', "the header is broken CSV"),
    ],
)
def test_a_header_without_the_column_is_an_error(run, data, message):
    with pytest.raises(ToolkitError, match=message):
        run(data, "csv")


def test_the_column_and_the_field_may_be_named(run):
    assert run(b"review\na\n", "csv", field="review")[2].kept == 1
    assert run(b'{"review": "a"}\n', "jsonl", field="review")[2].kept == 1


@pytest.mark.parametrize("input_format", records.INPUTS)
def test_nothing_is_no_record(run, input_format):
    for data in (b"", b"\xef\xbb\xbf"):
        written, complaints, tally = run(
            b"text\n" * (input_format == "csv") + data * (input_format != "csv"), input_format
        )
        assert (written, complaints, tally.kept, tally.problems) == (b"", [], 0, 0)


@pytest.mark.parametrize("input_format", ["lines", "jsonl", "csv"])
def test_a_record_without_an_end_is_dropped_as_it_comes(run, monkeypatch, input_format):
    monkeypatch.setattr("toolkit.formats.sources.MAX_VALUE", 1 << 20)
    head = [b"text\n"] * (input_format == "csv")
    good = b'{"text": "a film"}\n' if input_format == "jsonl" else b"a film\n"
    stream = Reads(*head, good, *[b"x" * (1 << 16)] * 1000, b"\n", good)
    tracemalloc.start()
    written, complaints, _ = run(stream, input_format)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert written.count(b"\ta film\n") == 2
    assert complaints == [f"line {3 if input_format == 'csv' else 2}: longer than 1 MiB"]
    assert peak < 10e6  # the stream has 65 MB


def test_only_the_head_of_a_huge_line_is_decoded_but_all_of_it_is_checked(run):
    huge = "é a film ".encode() * 400_000
    written, complaints, _ = run(huge + b"\n" + huge + b"\xff")
    assert written.endswith(b"\t" + huge + b"\n")
    assert complaints == ["line 2: not valid UTF-8"]
    assert run(b" " * 5_000_000 + b"x")[1] == ["line 1: empty review"]  # nothing in the part that is looked at
