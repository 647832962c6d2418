"""A JSON array is read as JSON lines are: an object a record, however it is laid out and cut."""

import io
import json
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from toolkit.datasets.splits import read_reviews, scan_reviews
from toolkit.errors import ToolkitError
from toolkit.formats.arrays import UNFINISHED, array_elements
from toolkit.streaming import Source, read_records

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)


def elements(content: bytes, cuts=(), longest=1 << 20):
    edges = [0, *sorted(cuts), len(content)]
    blocks = (content[start:stop] for start, stop in pairwise(edges) if start < stop)
    return list(array_elements(blocks, longest))


@settings(deadline=None)
@given(data=st.data(), values=st.lists(st.dictionaries(st.text(), VALUES, max_size=3), max_size=4))
def test_any_array_in_any_layout_and_blocks(data, values):
    indent, ascii_only = data.draw(st.sampled_from([None, 0, 2])), data.draw(st.booleans())
    content = json.dumps(values, indent=indent, ensure_ascii=ascii_only).encode()
    cuts = data.draw(st.sets(st.integers(0, len(content)), max_size=5))
    found = elements(content, cuts)
    assert [(json.loads(each), problem) for each, problem in found] == [(value, None) for value in values]


@pytest.mark.parametrize("cut", range(1, 20))
def test_a_backslash_at_the_end_of_a_block(cut):
    content = rb'[{"a":"\\"},{"b":"\","},{"c":1}]'
    assert [each for each, _ in elements(content, [cut])] == [rb'{"a":"\\"}', rb'{"b":"\","}', b'{"c":1}']


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"[]", []),
        (b" [ \n ] ", []),
        (b"[1,,2]", [(b"1", None), (b"", "broken JSON (nothing between two commas)"), (b"2", None)]),
        (b"[1,]", [(b"1", None), (b"", "broken JSON (nothing between two commas)")]),
        (b"[1", [(b"1", UNFINISHED)]),
        (b"[1,", [(b"1", None), (b"", UNFINISHED)]),
        (b'["]', [(b'"]', UNFINISHED)]),
        (b"[1] x", [(b"1", None), (b"x", "broken JSON (something behind the array's end)")]),
        (b"[1]\n\n", [(b"1", None)]),
        (b"[{]}", [(b"{]", None)]),
    ],
)
def test_broken_ones_are_said(content, expected):
    assert elements(content) == expected


def test_an_element_that_is_too_long_is_dropped_as_it_comes():
    content = b'[{"a": 1}, "' + b"x" * 1000 + b'", {"b": 2}]'
    assert elements(content, range(0, len(content), 50), longest=100) == [
        (b'{"a": 1}', None), (None, None), (b'{"b": 2}', None),
    ]  # fmt: skip


@pytest.mark.parametrize("name", ["a.json", "A.JSON", "a.jsonl", "a.json.gz"])
def test_a_file_of_an_array(tmp_path, name):
    rows = [{"review": "fine, [x]", "sentiment": "positive"}, {"review": 'a "b"', "sentiment": "negative"}]
    (tmp_path / name).write_text(json.dumps(rows, indent=1))
    assert [(review.text, review.label.name) for review in read_reviews(tmp_path / name)] == [
        ("fine, [x]", "positive"), ('a "b"', "negative"),
    ]  # fmt: skip
    (tmp_path / name).write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert len(read_reviews(tmp_path / name)) == 2


def test_the_places_in_an_array(tmp_path):
    (tmp_path / "a.json").write_text('[{"text": "fine", "label": 1},\n 7,\n {"text": "", "label": 0}]')
    assert scan_reviews(tmp_path / "a.json")[1] == [
        "a.json object 2: expected a JSON object, found a number",
        "a.json object 3: the text is empty",
    ]
    records = list(read_records(Source("", io.BytesIO(b'[{"text": "a"}, 7]')), "jsonl"))
    assert [record.place.in_stream for record in records] == ["object 1", "object 2"]


def test_one_object_over_many_lines_is_refused_in_one():
    for content in (b'{\n "text": "a"\n}\n', b"\n {\r\n}", b"{"):
        with pytest.raises(ToolkitError, match=r"^a\.json: expected an array of JSON objects, or an object a line"):
            list(read_records(Source("a.json", io.BytesIO(content)), "jsonl"))


def test_a_line_of_another_list_is_a_broken_line():
    records = list(read_records(Source("", io.BytesIO(b'[1]\n{"text": "a"}\n')), "jsonl"))
    assert [record.problem for record in records] == ["expected a JSON object, found a list", None]
