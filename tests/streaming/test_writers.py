import csv
import io
import json

import pytest

from toolkit.errors import ToolkitError
from toolkit.streaming import NEW_FIELDS


@pytest.mark.parametrize("output_format", ["jsonl", "csv"])
@pytest.mark.parametrize("taken", [*NEW_FIELDS, "error"])
def test_a_field_that_is_there_already_names_the_way_out(run, output_format, taken):
    data = json.dumps({"text": "a film", taken: 1}).encode()
    with pytest.raises(ToolkitError, match=f"line 1: the input already has a field '{taken}'.*--prefix"):
        run(data, "jsonl", output_format)
    written, _, _ = run(data, "jsonl", output_format, prefix="model_")
    if output_format == "jsonl":
        assert list(json.loads(written)) == ["text", taken, *(f"model_{name}" for name in NEW_FIELDS)]
    else:
        header = ["text", taken, *(f"model_{name}" for name in NEW_FIELDS), "model_error"]
        assert next(csv.reader(io.StringIO(written.decode()))) == header
    assert run(data, "jsonl", "tsv")[2].kept == 1  # no fields, no matter


@pytest.mark.parametrize("output_format", ["jsonl", "csv"])
def test_the_answer_is_the_predictors(run, predictor, output_format):
    prediction = predictor.predict("a film").to_dict()
    written, _, _ = run(b"a film\n", output_format=output_format)
    if output_format == "jsonl":
        assert json.loads(written) == {"text": "a film", **prediction}
        return
    row = next(csv.DictReader(io.StringIO(written.decode())))
    assert json.loads(row.pop("probabilities")) == prediction.pop("probabilities")
    assert row == {"text": "a film", **{name: str(value) for name, value in prediction.items()}, "error": ""}


def test_objects_become_rows_under_the_first_ones_columns(run):
    lines = [
        '{"id": 12345678901234567890, "text": "a", "x": 1.10, "l": [1, {"b": null}], "n": null, "t": true}',
        '{"text": "b"}',
        '{"text": "c", "other": 1}',
        "nope",
    ]
    written, complaints, tally = run("\n".join(lines).encode(), "jsonl", "csv")
    rows = list(csv.DictReader(io.StringIO(written.decode())))
    assert list(rows[0]) == ["id", "text", "x", "l", "n", "t", *NEW_FIELDS, "error"]
    assert [rows[0][name] for name in ("id", "text", "x", "l", "n", "t")] == [
        "12345678901234567890", "a", "1.10", '[1, {"b": null}]', "", "true",
    ]  # fmt: skip
    assert (rows[1]["id"], rows[1]["text"], rows[1]["error"]) == ("", "b", "")
    assert rows[2]["error"] == "line 3: 'other' is not among the first record's columns, id, text, x, l, n, t"
    assert rows[3]["error"].startswith("line 4: broken JSON")
    assert (complaints, tally.kept, tally.problems) == ([], 2, 2)


def test_a_row_without_columns_has_no_place_in_a_csv_yet(run):
    written, complaints, _ = run(b'nope\n{"text": "a"}\n', "jsonl", "csv")
    assert len(complaints) == 1
    assert written.startswith(b"text,label")


def test_a_first_record_that_cannot_be_written_takes_no_header_with_it(run):
    written, _, tally = run(b'{"text": "a", "x": "\\ud800"}\n{"text": "b", "x": "1"}\n', "jsonl", "csv")
    rows = list(csv.DictReader(io.StringIO(written.decode())))
    assert [(row["text"], row["x"]) for row in rows] == [("a", "?"), ("b", "1")]
    assert "half a character" in rows[0]["error"]
    assert (tally.kept, tally.problems) == (1, 1)


def test_surrogates_are_no_trouble(run):
    data = b'{"text": "half \\ud83d"}\n'
    assert b'"half \\ud83d", "label"' in run(data, "jsonl", "jsonl")[0]
    assert b"\thalf ?\n" in run(data, "jsonl", "tsv")[0]
    assert b"half ?,positive" in run(data, "jsonl", "csv")[0].replace(b"negative", b"positive")
