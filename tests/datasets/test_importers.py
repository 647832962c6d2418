import io
import json
import signal
import subprocess
import sys
import tarfile
import textwrap
from itertools import pairwise

import pytest

from toolkit.datasets.importers import ImportOptions, import_dataset
from toolkit.datasets.splits import SPLITS, Review, read_reviews, read_splits, write_reviews
from toolkit.errors import DataError, ToolkitError
from toolkit.models.files import sha256
from toolkit.text.labels import NEGATIVE, POSITIVE, SENTIMENT


def numbered(count, prefix="film"):
    """Distinct reviews, half of each label, sorted by label as data sets are published."""
    return [Review(f"{prefix} number {index}", SENTIMENT[index * 2 // count]) for index in range(count)]


def acl_members(train=40, test=20):
    for split, count in (("train", train), ("test", test)):
        for index, review in enumerate(numbered(count, split)):
            name = f"aclImdb/{split}/{'pos' if review.label.index else 'neg'}/{index}_7.txt"
            yield name, f"{review.text}<br /><br />The end."
    yield "aclImdb/train/unsup/0_0.txt", "nobody said what this is"
    yield "aclImdb/imdb.vocab", "the"


@pytest.fixture
def acl_folder(tmp_path):
    for name, text in acl_members():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return tmp_path / "aclImdb"


@pytest.fixture
def acl_archive(tmp_path):
    path = tmp_path / "aclImdb_v1.tar.gz"
    with tarfile.open(path, "w:gz") as archive:
        for name, text in acl_members():
            member = tarfile.TarInfo(name)
            member.size = len(text)
            archive.addfile(member, io.BytesIO(text.encode()))
    return path


def imported(source, tmp_path, **options):
    info = import_dataset(str(source), tmp_path / "out", ImportOptions(**options))
    return info, read_splits(tmp_path / "out")


@pytest.mark.parametrize("source", ["acl_folder", "acl_archive"])
def test_acl_imdb_folder_and_archive_give_the_same_official_splits(request, source, tmp_path):
    info, splits = imported(request.getfixturevalue(source), tmp_path, official=True)
    assert info.counts == {
        "train": {"negative": 18, "positive": 18},
        "validation": {"negative": 2, "positive": 2},
        "test": {"negative": 10, "positive": 10},
    }
    assert all(review.text.startswith("test number") for review in splits["test"])
    assert splits["train"][0].text.endswith(" The end.")
    assert "<br" not in "".join(review.text for reviews in splits.values() for review in reviews)


def test_the_folder_above_acl_imdb_works_too(acl_folder, tmp_path):
    assert imported(acl_folder.parent, tmp_path)[0].counts["train"] == {"negative": 21, "positive": 21}


@pytest.mark.parametrize("source", ["acl_folder", "acl_archive"])
def test_a_rating_in_a_files_name_becomes_a_column(request, source, tmp_path):
    _, splits = imported(request.getfixturevalue(source), tmp_path)
    assert {review.columns["rating"] for reviews in splits.values() for review in reviews} == {"7"}


def test_of_other_columns_only_the_rating_is_kept(tmp_path):
    (tmp_path / "a.jsonl").write_text(
        "".join(json.dumps({"id": i, "text": f"film {i}", "rating": i % 10, "label": i % 2}) + "\n" for i in range(100))
    )
    _, splits = imported(tmp_path / "a.jsonl", tmp_path)
    assert (tmp_path / "out" / "test.csv").read_text().splitlines()[0] == "text,label,rating"
    for reviews in splits.values():
        assert all(review.columns == {"rating": str(int(review.text.split()[1]) % 10)} for review in reviews)


def test_kaggle_csv_in_the_documents_shares(tmp_path):
    rows = "".join(
        f'"A ""fine"" film, {i}.<br /><br />Go.",{"positive" if i % 2 else "negative"}\n' for i in range(100)
    )
    (tmp_path / "IMDB Dataset.csv").write_text("review,sentiment\n" + rows)
    info, splits = imported(tmp_path / "IMDB Dataset.csv", tmp_path)
    assert [len(splits[split]) for split in SPLITS] == [70, 10, 20]
    assert 'A "fine" film' in splits["train"][0].text
    assert info.source == "IMDB Dataset.csv"


@pytest.mark.parametrize("ending", ["csv", "jsonl", "parquet"])
def test_files_of_every_format_with_named_columns(tmp_path, ending):
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame([(review.text, review.label.name) for review in numbered(40)], columns=["body", "mood"])
    path = tmp_path / f"reviews.{ending}"
    writers = {"csv": frame.to_csv, "jsonl": frame.to_json, "parquet": frame.to_parquet}
    arguments = {"csv": {"index": False}, "jsonl": {"orient": "records", "lines": True}, "parquet": {}}
    writers[ending](path, **arguments[ending])
    _, splits = imported(path, tmp_path, text_column="body", label_column="mood")
    assert sum(map(len, splits.values())) == 40


def test_a_folder_of_split_files(tmp_path):
    source = tmp_path / "source"
    source.mkdir()
    write_reviews(source / "train.csv", numbered(40, "train"))
    write_reviews(source / "test-00000-of-00001.csv", numbered(20, "test"))
    write_reviews(source / "training_notes.csv", [])
    _, splits = imported(source, tmp_path, official=True)
    assert [len(splits[split]) for split in SPLITS] == [36, 4, 20]


def test_duplicates_leaks_and_contradictions_are_dropped_and_counted(tmp_path):
    source = tmp_path / "source"
    source.mkdir()
    train = [
        *numbered(40, "train"),
        Review("train number 0", NEGATIVE),  # a duplicate
        Review("test  number 1<br />", NEGATIVE),  # in test as well, once normalised
        Review("both ways", NEGATIVE),
        Review("both ways", POSITIVE),
    ]
    write_reviews(source / "train.csv", train)
    write_reviews(source / "test.csv", numbered(20, "test"))
    info, splits = imported(source, tmp_path, official=True)
    assert info.dropped == {"duplicates": 1, "contradictions": 2, "leaks": 1, "over_limit": 0}
    texts = [review.text for reviews in splits.values() for review in reviews]
    assert len(texts) == len(set(texts)) == 60
    assert "test number 1" in {review.text for review in splits["test"]}  # the official split stays whole
    assert "both ways" not in texts


def test_limit_keeps_a_balanced_sample_of_each_split(tmp_path):
    source = tmp_path / "source"
    source.mkdir()
    write_reviews(
        source / "train.csv",
        [review for review in numbered(400, "train") if review.label.index or len(review.text) > 14],
    )
    write_reviews(source / "test.csv", numbered(200, "test"))
    info, _ = imported(source, tmp_path, official=True, limit=60)
    assert info.counts["test"]["negative"] == info.counts["test"]["positive"]
    assert info.counts["train"]["negative"] == info.counts["train"]["positive"]
    assert sum(sum(counts.values()) for counts in info.counts.values()) == 60


def test_the_seed_decides_and_labels_are_mixed(tmp_path):
    write_reviews(tmp_path / "a.csv", numbered(200))
    first, splits = imported(tmp_path / "a.csv", tmp_path, seed=1)
    again, _ = imported(tmp_path / "a.csv", tmp_path, seed=1)
    other, _ = imported(tmp_path / "a.csv", tmp_path, seed=2)
    assert first.sha256 == again.sha256 != other.sha256
    labels = [review.label for review in splits["train"]]
    assert 50 < sum(left != right for left, right in pairwise(labels)) < 90  # sorted would be 1


def test_the_info_file_describes_what_was_written(tmp_path):
    write_reviews(tmp_path / "a.csv", numbered(100))
    imported(tmp_path / "a.csv", tmp_path, seed=7)
    info = json.loads((tmp_path / "out" / "dataset_info.json").read_text())
    assert info["options"]["seed"] == 7
    assert info["counts"]["train"] == {"negative": 35, "positive": 35}
    assert info["sha256"] == {f"{split}.csv": sha256(tmp_path / "out" / f"{split}.csv") for split in SPLITS}
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"dataset_info.json", *info["sha256"]}


def test_broken_rows_stop_the_import_and_the_old_data_stays(tmp_path):
    write_reviews(tmp_path / "a.csv", numbered(100))
    imported(tmp_path / "a.csv", tmp_path)
    before = sha256(tmp_path / "out" / "train.csv")
    (tmp_path / "bad.csv").write_text("text,label\nfine,1\n,0\nodd,5\n")
    with pytest.raises(DataError, match=r"(?s)bad\.csv row 2.*bad\.csv row 3.*Nothing was written"):
        imported(tmp_path / "bad.csv", tmp_path)
    assert sha256(tmp_path / "out" / "train.csv") == before


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"validation": 0.6, "test": 0.5}, "leave some reviews to train on"),
        ({"validation": 0}, "between 0 and 1"),
        ({"limit": 3}, "expected 20 or more"),
    ],
)
def test_impossible_options(options, message):
    with pytest.raises(ToolkitError, match=message):
        ImportOptions(**options)


def test_sources_that_are_none(tmp_path):
    with pytest.raises(ToolkitError, match="does not exist; expected an aclImdb folder"):
        imported(tmp_path / "nowhere", tmp_path)
    with pytest.raises(ToolkitError, match="holds neither"):
        imported(tmp_path, tmp_path)
    write_reviews(tmp_path / "a.csv", numbered(100))
    with pytest.raises(ToolkitError, match="has no test split of its own"):
        imported(tmp_path / "a.csv", tmp_path, official=True)
    write_reviews(tmp_path / "few.csv", numbered(4))
    with pytest.raises(ToolkitError, match="too few reviews"):
        imported(tmp_path / "few.csv", tmp_path)


@pytest.mark.parametrize("kept", [0.5, 0.99])
def test_a_truncated_archive(acl_archive, tmp_path, kept):
    content = acl_archive.read_bytes()
    acl_archive.write_bytes(content[: int(kept * len(content))])
    with pytest.raises(ToolkitError, match=r"not a complete \.tar\.gz"):
        imported(acl_archive, tmp_path)
    assert not (tmp_path / "out").exists()


def test_the_real_imdb(shared, tmp_path):
    info, splits = imported(shared / "imdb", tmp_path, official=True, limit=400)
    assert sum(map(len, splits.values())) == 400
    assert info.dropped["duplicates"] > 100
    assert info.dropped["leaks"] > 50


def test_a_written_split_is_read_back_by_pandas(tmp_path):
    pandas = pytest.importorskip("pandas")
    write_reviews(tmp_path / "a.csv", numbered(100))
    imported(tmp_path / "a.csv", tmp_path)
    frame = pandas.read_csv(tmp_path / "out" / "train.csv")
    assert list(frame.columns) == ["text", "label"]
    assert frame.label.tolist() == [int(review.label) for review in read_reviews(tmp_path / "out" / "train.csv")]


def test_limit_stays_balanced_where_a_label_is_short(tmp_path):
    reviews = [Review(f"film number {index}", SENTIMENT[index >= 40]) for index in range(1000)]
    write_reviews(tmp_path / "a.csv", reviews)
    info, _ = imported(tmp_path / "a.csv", tmp_path, limit=200)
    assert [counts["negative"] for counts in info.counts.values()] == [
        counts["positive"] for counts in info.counts.values()
    ]
    assert sum(counts["negative"] for counts in info.counts.values()) == 40


def test_problems_of_all_files_are_reported_together(tmp_path):
    for split in ("train", "test"):
        (tmp_path / f"{split}.csv").write_text("text,label\nfine,1\n,0\n")
    with pytest.raises(DataError) as error:
        imported(tmp_path, tmp_path)
    assert [problem.split(":")[0] for problem in error.value.problems] == [
        "train.csv row 2 (line 3)",
        "test.csv row 2 (line 3)",
    ]


@pytest.fixture
def elsewhere(tmp_path):
    """A folder with somebody's own split and notes."""
    folder = tmp_path / "mine"
    folder.mkdir()
    (folder / "train.csv").write_text("text,label\nlabelled by hand,1\n")
    (folder / "NOTES.txt").write_text("mine")
    return folder


def test_a_split_that_no_import_wrote_is_not_replaced(acl_folder, elsewhere, monkeypatch):
    before = {path.name: path.read_bytes() for path in elsewhere.iterdir()}
    monkeypatch.setattr("toolkit.datasets.importers._load", None)  # said before the source is read
    with pytest.raises(
        ToolkitError, match=r"mine holds train\.csv; expected a new or empty folder, or nothing but an ear"
    ):
        import_dataset(str(acl_folder), elsewhere, ImportOptions())
    assert {path.name: path.read_bytes() for path in elsewhere.iterdir()} == before


def test_an_earlier_import_is_replaced_and_what_lies_beside_it_stays(acl_folder, elsewhere):
    (elsewhere / "train.csv").unlink()
    for seed in (1, 2):
        info = import_dataset(str(acl_folder), elsewhere, ImportOptions(seed=seed))
        assert sorted(path.name for path in elsewhere.iterdir()) == sorted(
            ["NOTES.txt", "dataset_info.json", *(f"{split}.csv" for split in SPLITS)]
        )
        assert info.sha256 == {name: sha256(elsewhere / name) for name in info.sha256}


def test_what_a_killed_import_has_half_written_is_completed_by_the_next(acl_folder, elsewhere, tmp_path):
    """Killed when it had moved one file of four, so that the info was gone and the splits were of two imports."""
    (elsewhere / "train.csv").unlink()
    import_dataset(str(acl_folder), elsewhere, ImportOptions(seed=1))
    script = f"""
        import os, signal
        from pathlib import Path
        from toolkit.datasets.importers import ImportOptions, import_dataset
        replace = Path.replace
        def once(path, target):
            replace(path, target)
            os.kill(os.getpid(), signal.SIGKILL)
        Path.replace = once
        import_dataset({str(acl_folder)!r}, Path({str(elsewhere)!r}), ImportOptions(seed=2))
    """
    assert subprocess.run([sys.executable, "-c", textwrap.dedent(script)], check=False).returncode == -signal.SIGKILL
    assert not (elsewhere / "dataset_info.json").exists()
    with pytest.raises(ToolkitError, match="has no test split"):
        import_dataset(str(tmp_path / "none.csv"), elsewhere, _unreadable(tmp_path))
    assert json.loads((elsewhere / "dataset_info.json").read_text())["options"]["seed"] == 2
    import_dataset(str(acl_folder), elsewhere, ImportOptions(seed=3))
    assert json.loads((elsewhere / "dataset_info.json").read_text())["options"]["seed"] == 3
    assert len(list(elsewhere.iterdir())) == 5


def _unreadable(tmp_path):
    """Options under which a source of one split is refused, after the output has been looked at."""
    (tmp_path / "none.csv").write_text("text,label\na film,1\n")
    return ImportOptions(official=True)


def test_ratings_become_labels_in_their_order_and_rare_or_missing_ones_are_said(tmp_path, caplog):
    ratings = [1] * 60 + [9] * 60 + [10] * 60 + [2] * 4
    lines = [json.dumps({"text": f"film {number}", "rating": rating}) for number, rating in enumerate(ratings)]
    (tmp_path / "a.jsonl").write_text("\n".join(lines))
    options = ImportOptions(label_column="rating", limit=100)
    info = import_dataset(str(tmp_path / "a.jsonl"), tmp_path / "out", options)
    assert info.labels == ("1", "2", "9", "10")
    assert info.counts["train"] == {"1": 18, "2": 3, "9": 18, "10": 18}
    assert info.warnings == (
        "The train split has 3 reviews of the label 2, expected 10 or more to learn it from.",
        "The validation split has no review of the label 2, so its figures say nothing of that.",
    )
    splits = read_splits(tmp_path / "out")
    assert splits.labels.names == info.labels
    assert {review.label.name for review in splits["validation"]} == {"1", "9", "10"}
    validation = read_reviews(tmp_path / "out" / "validation.csv")
    assert validation == splits["validation"], "a split that lacks a label knows it all the same"


def test_a_label_named_as_the_pairs_keeps_its_name_among_others(tmp_path):
    names = ["negative", "neutral", "positive"] * 20
    lines = [json.dumps({"text": f"film {number}", "label": name}) for number, name in enumerate(names)]
    (tmp_path / "a.jsonl").write_text("\n".join(lines))
    import_dataset(str(tmp_path / "a.jsonl"), tmp_path / "out", ImportOptions())
    splits = read_splits(tmp_path / "out")
    number = {review.text: names[int(review.text.split()[1])] for reviews in splits.values() for review in reviews}
    assert {review.text: review.label.name for reviews in splits.values() for review in reviews} == number


def test_a_column_of_numbers_is_no_column_of_labels(tmp_path):
    lines = [json.dumps({"text": f"film {number}", "label": number / 7}) for number in range(300)]
    (tmp_path / "a.jsonl").write_text("\n".join(lines))
    with pytest.raises(DataError, match="expected 2 to 200: this looks like text or a number"):
        import_dataset(str(tmp_path / "a.jsonl"), tmp_path / "out", ImportOptions())
    assert not (tmp_path / "out" / "train.csv").exists()
