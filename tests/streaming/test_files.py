import json

import pytest

from tests.conftest import ROOT
from toolkit.datasets.splits import read_reviews
from toolkit.errors import ToolkitError
from toolkit.streaming import NEW_FIELDS
from toolkit.streaming.files import FileJob, count_rows

TEST_SPLIT = ROOT / "dataset" / "test.csv"


@pytest.fixture
def classify_file(predictor):
    def classify_file(source, target, *, column=None, prefix="", load=lambda: predictor):
        progress = []
        tally = FileJob(source, target, column, prefix).run(load, progress.append)
        assert sum(progress) == source.stat().st_size
        return tally

    return classify_file


def test_every_row_of_a_csv_is_answered(classify_file, predictor, tmp_path):
    tally = classify_file(TEST_SPLIT, tmp_path / "out.jsonl", prefix="model_")
    rows = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    reviews = read_reviews(TEST_SPLIT)
    assert [row["text"] for row in rows] == [review.text for review in reviews]
    predictions = predictor.predict_many(review.text for review in reviews)
    assert [row["model_score"] for row in rows] == [prediction.score for prediction in predictions]
    assert (tally.kept, tally.problems) == (66, 0)


def test_parquet_keeps_types_order_and_metadata(classify_file, predictor, tmp_path):
    pyarrow = pytest.importorskip("pyarrow", reason="the extra 'train' is not installed")
    import pyarrow.parquet as parquet

    texts = [f"film number {number}" for number in range(5000)]
    texts[3], texts[7] = None, "<br />"
    table = pyarrow.table(
        {"id": pyarrow.array(range(5000), pyarrow.uint16()), "review": texts, "tags": [["a"], None] * 2500},
        metadata={"origin": "a test"},
    )
    parquet.write_table(table, tmp_path / "in.parquet", row_group_size=700)
    tally = classify_file(tmp_path / "in.parquet", tmp_path / "out.parquet")
    result = parquet.read_table(tmp_path / "out.parquet")
    assert result.select(["id", "review", "tags"]).equals(table)
    assert result.schema.metadata[b"origin"] == b"a test"
    assert result.column_names == ["id", "review", "tags", *NEW_FIELDS, "error"]
    rows = result.to_pylist()
    assert (rows[3]["error"], rows[7]["error"], rows[3]["label"]) == ("no text", "empty review", None)
    assert {name: rows[0][name] for name in NEW_FIELDS} == predictor.predict(texts[0]).to_dict()
    assert (tally.kept, tally.problems) == (4998, 2)
    with pytest.raises(ToolkitError, match="expected a column 'text', found id, review, tags"):
        classify_file(tmp_path / "in.parquet", tmp_path / "x.parquet", column="text")
    with pytest.raises(ToolkitError, match=r"already has a field 'error'.*--prefix"):
        classify_file(tmp_path / "out.parquet", tmp_path / "x.parquet", column="review")


def test_a_failure_leaves_what_was_there(classify_file, tmp_path, predictor):
    target = tmp_path / "out.csv"
    target.write_text("precious")
    (tmp_path / "in.csv").write_text("text\n" + "a film\n" * 1000)

    class Failing:
        chunk_size = 4

        def predict_each(self, texts):
            yield predictor.predict(next(iter(texts)))
            raise ToolkitError("the model broke")

    with pytest.raises(ToolkitError, match="the model broke"):
        classify_file(tmp_path / "in.csv", target, load=Failing)
    assert target.read_text() == "precious"
    assert {path.name for path in tmp_path.iterdir()} == {"in.csv", "out.csv"}
    classify_file(tmp_path / "in.csv", target)
    assert target.read_text().count("\n") == 1001


@pytest.mark.parametrize(
    ("source", "target", "message"),
    [
        ("in.csv", "out.parquet", "Parquet goes into Parquet"),
        ("in.csv", "in.csv", "is the input"),
        ("in.csv", "out.txt", r"expected a file ending in \.csv, \.jsonl, \.parquet"),
        ("empty.csv", "out.csv", "expected reviews, found no row"),
        ("broken.jsonl", "out.csv", r"line 1: broken JSON.*write \.jsonl"),
        ("broken.parquet", "out.parquet", "is not readable Parquet"),
    ],
)
def test_what_cannot_be_is_one_error_and_no_file(classify_file, tmp_path, source, target, message):
    if source.endswith("parquet"):
        pytest.importorskip("pyarrow", reason="the extra 'train' is not installed")
    contents = {"in.csv": "text\na\n", "empty.csv": "text\n", "broken.jsonl": "nope\n", "broken.parquet": "PAR"}
    for name, content in contents.items():
        (tmp_path / name).write_text(content)
    with pytest.raises(ToolkitError, match=message):
        classify_file(tmp_path / source, tmp_path / target)
    assert {path.name for path in tmp_path.iterdir()} == contents.keys()


def test_a_compressed_file_and_a_link(classify_file, tmp_path):
    import gzip

    (tmp_path / "in.csv.gz").write_bytes(gzip.compress(TEST_SPLIT.read_bytes()))
    (tmp_path / "real.csv").write_text("")
    (tmp_path / "out.csv").symlink_to("real.csv")
    classify_file(tmp_path / "in.csv.gz", tmp_path / "out.csv", prefix="m_")
    assert (tmp_path / "out.csv").is_symlink()
    assert len((tmp_path / "real.csv").read_text()) > 40_000


def test_a_parquet_file_damaged_anywhere_is_read_or_refused_in_words(classify_file, tmp_path):
    """pyarrow raises half a dozen kinds of errors for that, plain OSError among them."""
    import pyarrow
    import pyarrow.parquet

    source, target = tmp_path / "in.parquet", tmp_path / "out.parquet"
    pyarrow.parquet.write_table(pyarrow.table({"text": ["a film", "another", "é"]}), source, compression="none")
    whole = source.read_bytes()
    refused = 0
    for place in range(len(whole)):
        source.write_bytes(whole[:place] + bytes([whole[place] ^ 0xFF]) + whole[place + 1 :])
        try:
            tally = classify_file(source, target)
        except ToolkitError:
            refused += 1
            assert not target.exists()
        else:
            assert count_rows(target) == tally.kept + tally.problems
            target.unlink()
    assert refused > len(whole) / 4
