"""Labels as people write them: understood and said, or refused with the option that settles it."""

import json
import logging

import pytest
from click.testing import CliRunner

from toolkit.cli import cli
from toolkit.datasets.importers import ImportOptions, import_dataset
from toolkit.datasets.labelling import LabelOptions
from toolkit.datasets.splits import read_reviews, read_splits
from toolkit.errors import DataError, ToolkitError
from toolkit.text.labels import SENTIMENT


@pytest.fixture
def said(caplog):
    """What was logged."""
    caplog.set_level(logging.INFO, "toolkit.datasets")
    return lambda: [record.getMessage() for record in caplog.records]


@pytest.fixture
def read(tmp_path):
    """Read a file with one row for each label: the labels' names."""

    def run(*labels, ending="csv", column="label", times=1, known=None, **options):
        path = tmp_path / f"a.{ending}"
        rows = [(f"film {number}", label) for number, label in enumerate(labels * times)]
        if ending == "csv":
            lines = [f"text,{column}", *(f'{text},"{label}"' for text, label in rows)]
        else:
            lines = [json.dumps({"text": text, column: label}) for text, label in rows]
        path.write_text("\n".join(lines))
        return [review.label.name for review in read_reviews(path, labels=known, options=LabelOptions(**options))]

    return run


@pytest.mark.parametrize("known", [None, SENTIMENT], ids=["of its own", "of a model"])
@pytest.mark.parametrize(
    "pair",
    [
        ("1", "2"), ("0", "4"), ("-1", "1"), ("-1", "+1"), ("True", "False")[::-1], ("Bad", "GOOD"), ("rotten", "fresh"),
        ("1.0", "2.00"), ("LABEL_0", "LABEL_1"), ("__label__1", "__label__2"), ("负面", "正面"), ("差评", "好评"),
    ],
)  # fmt: skip
def test_two_values_of_a_known_pair_are_understood_and_said(read, said, pair, known):
    assert read(*pair, times=20, known=known) == ["negative", "positive"] * 20
    (line,) = said()
    assert line.startswith("labels of a.csv: ")
    assert line.endswith(" = positive")
    assert " = negative, " in line


@pytest.mark.parametrize(
    ("ending", "pair"),
    [
        ("jsonl", (False, True)), ("jsonl", (-1, 1)), ("jsonl", (1.0, 2.0)), ("jsonl", (["negative"], ["positive"])),
        ("jsonl", ([0], [1])), ("csv", ("['negative']", "[1]")), ("csv", (" Negative ", " POS ")),
        ("csv", ("0.00", "1.00")), ("csv", ('[""negative""]', '[""positive""]')),
    ],
)  # fmt: skip
def test_spellings(read, ending, pair):
    assert read(*pair, ending=ending, times=12) == ["negative", "positive"] * 12


def test_the_original_pair_needs_no_word(read, said):
    assert read("0", "1", "neg", "POSITIVE") == ["negative", "positive", "negative", "positive"]
    assert said() == []


@pytest.mark.parametrize("pair", [("0", "2"), ("1", "5"), ("2", "3"), ("10", "20")])
def test_two_other_numbers_may_mean_anything(read, pair):
    with pytest.raises(ToolkitError) as caught:
        read(*pair, times=12)
    low, high = pair
    assert str(caught.value) == (
        f"the labels of a.csv are {low} and {high}, which may mean one thing or another; "
        f"say which: --label-map {low}=negative,{high}=positive"
    )
    assert read(*pair, times=12, label_map={low: "negative", high: "positive"}) == ["negative", "positive"] * 12
    assert read(*pair, times=12, label_map={low: low, high: high}) == [low, high] * 12


def test_of_a_models_labels_others_are_refused_with_the_option(read):
    with pytest.raises(DataError, match=r"Or say what they mean: --label-map 1=negative,5=positive$"):
        read("1", "5", known=SENTIMENT)
    with pytest.raises(
        DataError, match=r"If they are ratings: --rating-column COLUMN --negative-up-to 2 --positive-from 4$"
    ):
        read("1", "2", "3", "4", "5", known=SENTIMENT)
    with pytest.raises(DataError, match="--label-map 'good one=negative,meh=positive'"):
        read("meh", "good one", known=SENTIMENT)


@pytest.mark.parametrize(
    ("values", "word"),
    [
        (("1", "2", "3", "4", "5"), "are ratings: --rating-column COLUMN --negative-up-to 2 --positive-from 4"),
        (("1", "3", "7", "10"), "are ratings: --rating-column COLUMN --negative-up-to 4 --positive-from 7"),
        (("-1", "0", "1"), "mean anything else: --label-map"),
    ],
)
def test_more_numbers_stay_a_class_each_and_that_is_said(read, said, values, word):
    assert read(*values, times=12) == list(values) * 12
    assert said() == [f"labels of a.csv: {', '.join(values)}, a class each; if they {word}"]


def test_rows_of_no_label_are_left_out_and_counted(read, said):
    assert read("pos", "neg", "unsup", "Unsup") == ["positive", "negative"]
    assert said() == ["left out: 2 without a label"]
    assert read("1", "2", "unsupervised") == ["negative", "positive"]
    assert read("a", "b", "c", label_map={"a": "positive", "b": "negative", "c": ""}) == ["positive", "negative"]


def test_a_map_makes_any_labels(read):
    assert read("h", "s", times=2, label_map={"h": "ham", "s": "spam"}) == ["ham", "spam"] * 2
    with pytest.raises(DataError, match="the label is 'x', expected one of h, s"):
        read("h", "x", label_map={"h": "ham", "s": "spam"})
    with pytest.raises(ToolkitError, match=r"--label-map says 'ham', expected 0/1, neg/pos"):
        read("h", "s", label_map={"h": "ham", "s": "spam"}, known=SENTIMENT)
    with pytest.raises(ToolkitError, match="--label-map: 1 labels, expected 2 to 200"):
        read("h", "s", label_map={"h": "ham"})
    assert LabelOptions.parse_map("1=negative, 2.0 = positive,x=") == {"1": "negative", "2": "positive", "x": ""}
    for text in ("1", "", "1=a,1=b", "=a"):
        with pytest.raises(ToolkitError, match="expected every value once, as in 1=negative,2=positive"):
            LabelOptions.parse_map(text)


def test_a_rating_says_the_label_where_its_bounds_are_given(read, said):
    ratings = ["1", "4", "4.5", "5", "7", "10"]
    bounds = {"rating_column": "stars", "negative_up_to": 4, "positive_from": 7}
    assert read(*ratings, column="stars", **bounds) == ["negative", "negative", "positive", "positive"]
    assert said() == [
        "labels of a.csv: up to 4 = negative, from 7 = positive",
        "left out: 2 between the ratings",
    ]
    with pytest.raises(DataError, match="the label is 'good', expected a number"):
        read("1", "9", "good", column="stars", **bounds)
    for values, example in ((("1", "5"), "2 --positive-from 4"), (ratings, "4 --positive-from 7")):
        with pytest.raises(ToolkitError, match=f"say which: --rating-column stars --negative-up-to {example}$"):
            read(*values, column="stars", rating_column="stars")
    with pytest.raises(
        DataError, match=r"found text, rating; if rating is .*: --rating-column rating --negative-up-to 4"
    ):
        read("1", "9", column="rating")


def test_options_that_contradict_each_other():
    for options, message in (
        ({"negative_up_to": 4}, "name its column with --rating-column"),
        ({"rating_column": "a", "label_map": {}}, "two ways"),
        ({"rating_column": "a", "negative_up_to": 7, "positive_from": 7}, "--negative-up-to 7 must lie below"),
    ):
        with pytest.raises(ToolkitError, match=message):
            LabelOptions(**options)


def test_an_import_counts_what_it_left_out_and_keeps_the_rating(tmp_path):
    rows = "".join(f"film {number},{number % 10 + 1}\n" for number in range(100))
    (tmp_path / "a.csv").write_text(f"text,stars\n{rows}")
    options = ("--rating-column", "stars", "--negative-up-to", "4", "--positive-from", "7")
    result = CliRunner().invoke(
        cli, ["dataset", "import", str(tmp_path / "a.csv"), "--output", str(tmp_path / "out"), *options]
    )
    assert result.exit_code == 0, result.output
    assert "left out: 20 between the ratings" in result.stderr
    info = json.loads((tmp_path / "out" / "dataset_info.json").read_text())
    assert info["dropped"]["between_the_ratings"] == 20
    assert info["options"]["labels"]["positive_from"] == 7
    reviews = [review for split in read_splits(tmp_path / "out").values() for review in split]
    assert {(int(review.columns["rating"]) >= 7) == bool(int(review.label)) for review in reviews} == {True}
    assert len(reviews) == 80


def test_the_options_of_the_command_line(load_fake, tmp_path):
    (tmp_path / "a.csv").write_text("text,label\n" + "fine,A\ndull,B\n" * 3)

    def run(*arguments, code):
        result = CliRunner().invoke(cli, ["evaluate", "--file", str(tmp_path / "a.csv"), *arguments], obj=load_fake)
        assert result.exit_code == code, result.output
        return result

    assert "--label-map A=negative,B=positive" in run(code=1).stderr
    assert "6 reviews" in run("--label-map", "A=positive,B=negative", code=0).stdout
    assert "two ways" in run("--label-map", "A=positive", "--rating-column", "x", code=2).stderr
    assert "expected every value once" in run("--label-map", "A", code=2).stderr


def test_a_folder_of_two_numbers_stays_one_of_two_classes(said, tmp_path):
    """Whoever trains on it is asked nothing, so nothing is refused."""
    for split in ("train", "validation", "test"):
        (tmp_path / f"{split}.csv").write_text("text,label\nfine,7\ndull,3\n" * 1 + "good,7\nbad,3\n" * 10)
    assert read_splits(tmp_path).labels.names == ("3", "7")
    assert said() == [f"labels of {tmp_path}: 3, 7, a class each; if they mean anything else: --label-map"]


def test_nothing_is_written_where_the_labels_are_refused(tmp_path):
    (tmp_path / "a.csv").write_text("text,label\n" + "".join(f"film {i},{i % 2 * 3}\n" for i in range(40)))
    with pytest.raises(ToolkitError, match="--label-map 0=negative,3=positive"):
        import_dataset(str(tmp_path / "a.csv"), tmp_path / "out", ImportOptions())
    assert not (tmp_path / "out").exists()
