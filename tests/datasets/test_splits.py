import json

import numpy as np
import pytest

from toolkit.datasets.splits import (
    SPLITS,
    Review,
    Splits,
    check_splits,
    label_rows,
    merge_problems,
    read_reviews,
    read_splits,
    scan_reviews,
    write_reviews,
)
from toolkit.errors import DataError
from toolkit.text.labels import NEGATIVE, POSITIVE, SENTIMENT
from toolkit.text.tokenisation import ReviewTokenizer

REVIEWS = [Review('said "never", twice', NEGATIVE), Review("好看, très bon", POSITIVE)]


def test_csv_round_trip(tmp_path):
    write_reviews(tmp_path / "a.csv", REVIEWS)
    assert read_reviews(tmp_path / "a.csv") == REVIEWS


def test_formats_agree(tmp_path):
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame({"text": [review.text for review in REVIEWS], "label": [0, 1]})
    frame.to_csv(tmp_path / "a.csv", index=False)
    frame.to_json(tmp_path / "a.jsonl", orient="records", lines=True)
    frame.to_parquet(tmp_path / "a.parquet")
    for ending in ("csv", "jsonl", "parquet"):
        assert read_reviews(tmp_path / f"a.{ending}") == REVIEWS


def test_byte_order_mark_crlf_and_line_breaks_inside_a_field(tmp_path):
    (tmp_path / "a.csv").write_bytes(b'\xef\xbb\xbftext,label\r\n"two\r\nlines",pos\r\n\r\nplain,0\r\n')
    assert read_reviews(tmp_path / "a.csv") == [Review("two lines", POSITIVE), Review("plain", NEGATIVE)]


def test_other_columns_are_kept_beside_the_review(tmp_path):
    (tmp_path / "a.csv").write_text("id,text,label,rating\n7,fine,1,9\n8,dull,0,\n")
    reviews = read_reviews(tmp_path / "a.csv")
    assert [review.columns for review in reviews] == [{"id": "7", "rating": "9"}, {"id": "8", "rating": ""}]
    write_reviews(tmp_path / "b.csv", reviews, ["rating"])
    assert (tmp_path / "b.csv").read_text() == "text,label,rating\nfine,1,9\ndull,0,\n"


@pytest.mark.parametrize("header", ["review,sentiment", "Text,Label", "content,labels"])
def test_columns_are_recognised(tmp_path, header):
    (tmp_path / "a.csv").write_text(f"id,{header}\n7,fine,positive\n")
    assert read_reviews(tmp_path / "a.csv") == [Review("fine", POSITIVE)]


def test_columns_can_be_named(tmp_path):
    (tmp_path / "a.csv").write_text("body,stars\nfine,1\n")
    assert read_reviews(tmp_path / "a.csv", "body", "stars") == [Review("fine", POSITIVE)]
    with pytest.raises(DataError, match=r"expected columns text or review .* found body, stars"):
        read_reviews(tmp_path / "a.csv")


def test_everything_wrong_is_reported_at_once_with_its_row(tmp_path):
    (tmp_path / "a.csv").write_bytes(
        b"text,label\n"
        b"good,1\n"
        b"bad label,2\n"
        b",0\n"
        b"NaN,0\n"
        b"too,many,1\n"
        b'"an\nopen field",0\n'
        b"caf\xe9,1\n"
        b"   <br />,1\n"
        b"no label,\n"
    )
    rows, of_texts = scan_reviews(tmp_path / "a.csv")
    reviews, of_labels = label_rows(rows, SENTIMENT)
    problems = merge_problems(of_texts, of_labels)
    assert [review.text for review in reviews] == ["good", "an open field"]
    assert problems == [
        "a.csv row 2 (line 3): the label is '2', expected 0/1, neg/pos or negative/positive",
        "a.csv row 3 (line 4): the text is empty",
        "a.csv row 4 (line 5): the text is missing (NaN)",
        "a.csv row 5 (line 6): broken row: expected 2 fields, found 3",
        "a.csv row 7 (line 9): the column 'text' is not valid UTF-8, likeliest cp1252 (--encoding cp1252)",
        "a.csv row 8 (line 10): the text is empty",
        "a.csv row 9 (line 11): the label is '', expected 0/1, neg/pos or negative/positive",
    ]


@pytest.mark.parametrize(("name", "is_split"), [("test.csv", True), ("my-reviews.csv", False)])
def test_a_missing_split_says_how_it_is_made_and_no_other_file_does(tmp_path, name, is_split):
    with pytest.raises(DataError) as raised:
        read_reviews(tmp_path / name)
    (problem,) = raised.value.problems
    made = f"; make a data set with: toolkit dataset import SOURCE --output {tmp_path}" if is_split else ""
    assert problem == f"{tmp_path / name}: no such file{made}"


def test_a_table_without_the_ending_of_one_is_told_which(tmp_path):
    (tmp_path / "a.txt").write_text("text\tlabel\n")
    with pytest.raises(DataError, match=r"expected a file ending in .*; if it is a table, .* call it \.tsv"):
        read_reviews(tmp_path / "a.txt")


@pytest.mark.parametrize("header", ["review;sentiment", "Review\tSentiment"])
def test_a_folder_of_splits_may_have_other_columns_and_separators(tmp_path, header):
    separator = header[6]
    for split in SPLITS:
        (tmp_path / f"{split}.csv").write_text(f"{header}\nfine, {split}{separator}1\ndull{separator}0\n")
    splits = read_splits(tmp_path)
    assert [[review.text for review in splits[split]] for split in SPLITS] == [
        [f"fine, {split}", "dull"] for split in SPLITS
    ]


def test_an_open_quote_is_a_broken_row(tmp_path):
    (tmp_path / "a.csv").write_text('text,label\ngood,1\n"never closed,0\n')
    assert "broken CSV" in scan_reviews(tmp_path / "a.csv")[1][0]


def test_broken_jsonl(tmp_path):
    rows = [
        json.dumps({"text": "fine", "label": 1}), "{", "[" * 100_000, f'{{"label": {"9" * 5000}}}', "[1]",
        json.dumps("text"), json.dumps({"text": 5, "label": 1}), json.dumps({"text": None, "label": 0}), "",
    ]  # fmt: skip
    (tmp_path / "a.jsonl").write_text("\n".join(rows))
    reviews, problems = scan_reviews(tmp_path / "a.jsonl")
    assert len(reviews) == 1
    assert [problem.partition(": ")[0] for problem in problems] == [f"a.jsonl row {row}" for row in range(2, 9)]


def test_a_column_twice_is_an_error(tmp_path):
    (tmp_path / "a.csv").write_text("text,text,label\none,two,1\n")
    assert scan_reviews(tmp_path / "a.csv")[1] == ["a.csv header: expected every column once, found text more often"]


def test_nulls_in_parquet(tmp_path):
    pandas = pytest.importorskip("pandas")
    pandas.DataFrame({"text": ["fine", None], "label": [1.0, 0.0]}).to_parquet(tmp_path / "a.parquet")
    assert scan_reviews(tmp_path / "a.parquet")[1] == ["a.parquet row 2: the text is missing (NaN)"]


@pytest.mark.parametrize("content", ["", "text,label\n"])
def test_a_file_without_reviews(tmp_path, content):
    (tmp_path / "a.csv").write_text(content)
    with pytest.raises(DataError, match="expected reviews, found no row"):
        read_reviews(tmp_path / "a.csv")


def test_a_data_set_folder_reports_all_its_files(tmp_path):
    (tmp_path / "train.csv").write_text("text,label\nx,7\n")
    (tmp_path / "test.csv").write_text("words,label\nx,1\n")
    with pytest.raises(DataError) as error:
        read_splits(tmp_path)
    assert [problem.split(" ")[0] for problem in error.value.problems] == [
        "train.csv", f"{tmp_path / 'validation.csv'}:", "test.csv:",
    ]  # fmt: skip


def test_a_long_report_is_cut_but_counted(tmp_path):
    (tmp_path / "a.csv").write_text("text,label\n" + "x,7\n" * 50)
    with pytest.raises(DataError, match="and 30 more") as error:
        read_reviews(tmp_path / "a.csv")
    assert len(error.value.problems) == 50


def test_check_counts_duplicates_leaks_and_lengths(tiny_tokenizer):
    def review(text, label=POSITIVE):
        return Review(text, label)

    splits = {
        "train": [review("a"), review("a"), review("b", NEGATIVE)],
        "test": [review("b"), review("c " * 50)],
    }
    reports = check_splits(Splits(splits), ReviewTokenizer(tiny_tokenizer, 20))
    assert reports["train"].per_label == {"negative": 1, "positive": 2}
    assert (reports["train"].duplicates, reports["test"].duplicates) == (1, 0)
    assert reports["train"].leaks == {"test": 1}
    assert reports["test"].over_length == 0.5
    assert np.array_equal(reports["test"].token_lengths, [3, 52])
    assert reports["test"].token_quantiles["p100"] == 52
