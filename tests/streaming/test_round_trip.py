"""For any list of strings: exactly one record each, in order, with the input unchanged."""

import csv
import io
import json
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from toolkit.errors import ToolkitError

ANY = st.characters(exclude_categories=["Cs"])
TEXTS = {
    # A byte order mark at the very start and a carriage return before a line's end belong to the encoding.
    "lines": st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\n\r\ufeff")),
    "nul": st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0\ufeff")),
    "jsonl": st.text(ANY),
    "csv": st.text(ANY),
}
OUTPUTS = ("tsv", "jsonl", "csv", "label")


def encode(input_format, texts):
    if input_format == "lines":
        return "".join(f"{text}\n" for text in texts).encode()
    if input_format == "nul":
        return "".join(f"{text}\0" for text in texts).encode()
    if input_format == "jsonl":
        return "".join(json.dumps({"id": number, "text": text}) + "\n" for number, text in enumerate(texts)).encode()
    stream = io.StringIO()
    csv.writer(stream).writerows([("id", "text"), *enumerate(texts)])
    return stream.getvalue().encode()


@settings(deadline=None)
@pytest.mark.parametrize("output_format", OUTPUTS)
@pytest.mark.parametrize("input_format", TEXTS)
@given(data=st.data())
def test_one_record_each_in_order_unchanged(run, predictor, input_format, output_format, data):
    texts = data.draw(st.lists(TEXTS[input_format], max_size=12))
    answers = list(predictor.predict_each(texts))
    good = [text for text, answer in zip(texts, answers, strict=True) if answer]
    verdicts = [answer.label.name for answer in answers if answer]
    end = "\0" if input_format == "nul" else "\n"
    written, complaints, tally = run(encode(input_format, texts), input_format, output_format, end=end.encode())
    text = written.decode()
    assert (tally.kept, tally.problems) == (len(good), len(texts) - len(good))

    if output_format in ("tsv", "label"):
        records = text.split(end)[:-1]
        assert len(complaints) == len(texts) - len(good)
        assert [record.split("\t")[0] for record in records] == verdicts
        if output_format == "tsv":
            as_lines = str.maketrans("\r\n", "  ") if input_format in ("jsonl", "csv") else {}
            assert [record.split("\t", 2)[2] for record in records] == [each.translate(as_lines) for each in good]
        return

    if output_format == "jsonl":
        rows = [json.loads(line) for line in text.split("\n")[:-1]]
    else:
        rows = list(csv.DictReader(io.StringIO(text, newline=""), strict=True))
    assert not complaints
    assert [row["text"] for row in rows] == texts
    if input_format in ("jsonl", "csv"):
        assert [str(row["id"]) for row in rows] == [str(number) for number in range(len(texts))]
    assert [row["label"] for row in rows if row.get("label")] == verdicts
    assert [bool(row.get("error")) for row in rows] == [answer is None for answer in answers]


@settings(deadline=None)
@given(st.dictionaries(st.text(ANY).map("f".__add__),
                       st.recursive(st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(ANY),
                                    lambda inner: st.lists(inner) | st.dictionaries(st.text(ANY), inner), max_leaves=5)),
       st.booleans())  # fmt: skip
def test_a_json_object_goes_out_letter_by_letter(run, fields, ascii_only):
    source = json.dumps({**fields, "text": "a film"}, ensure_ascii=ascii_only)
    written, _, _ = run(source.encode() + b"\n", "jsonl", "jsonl")
    assert written.startswith(source[:-1].encode() + b', "label": ')
    assert {**fields, "text": "a film"}.items() <= json.loads(written).items()


@settings(deadline=None)
@given(data=st.data())
def test_any_blocks_give_the_same_answers(run, data):
    from tests.streaming.conftest import Reads

    stream = b"-" + data.draw(st.binary(max_size=80))  # so that it is no compressed data
    cuts = sorted(data.draw(st.sets(st.integers(1, max(1, len(stream) - 1)))))
    blocks = [stream[start:stop] for start, stop in zip([0, *cuts], [*cuts, len(stream)], strict=True)]

    def answers(source, input_format):
        """All but the guess of an encoding, for which a reader looks at what has come."""
        try:
            return re.sub(rb", likeliest [^)]+\)", b"", run(source, input_format, "jsonl")[0])
        except ToolkitError as error:  # it may look like UTF-16
            return str(error)

    for input_format in ("lines", "nul", "jsonl"):
        assert answers(Reads(*filter(None, blocks)), input_format) == answers(stream, input_format)


@settings(deadline=None)
@pytest.mark.parametrize("input_format", TEXTS)
@pytest.mark.parametrize("output_format", OUTPUTS)
@given(garbage=st.binary(max_size=200))
def test_any_bytes_are_answered_or_refused_in_words(run, input_format, output_format, garbage):
    garbage = b"text\n" * (input_format == "csv") + garbage
    try:
        written, complaints, tally = run(garbage, input_format, output_format)
    except ToolkitError as error:
        assert str(error)
    else:
        assert tally.problems or not complaints
        assert bool(written) or not tally.kept
