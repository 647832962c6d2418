"""Texts without labels and the sentences out of them: each once, none that a model is measured on, always the same."""

import csv
import json

import pytest
from click.testing import CliRunner

from tests.conftest import ROOT
from toolkit.cli import cli
from toolkit.datasets.sentences import runs, sentences
from toolkit.datasets.splits import write_reviews
from toolkit.datasets.unlabelled import TextOptions, collect_texts
from toolkit.errors import ToolkitError


def written(folder):
    rows = []
    for file in sorted(folder.glob("texts-*.csv")):
        with file.open(encoding="utf-8", newline="") as stream:
            rows += [row["text"] for row in csv.DictReader(stream)]
    return rows


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("It is a film. I liked it a lot! Did you?", ["It is a film.", "I liked it a lot!"]),
        ('He said "Never again." And he left us there.', ['He said "Never again."', "And he left us there."]),
        ("Mr. Smith and Dr. No met in St. Louis today.", ["Mr. Smith and Dr. No met in St. Louis today."]),
        ("J. R. Ewing was shot. We all saw it happen.", ["J. R. Ewing was shot.", "We all saw it happen."]),
        ("Rated 7.5 of 10 by me. 20 years later it still works…", ["Rated 7.5 of 10 by me.", "20 years later it still works…"]),
        ("no capital. here it goes on. and on it goes", ["no capital. here it goes on. and on it goes"]),
        ("Too short. No.", []),
        ("word " * 61, []),
        ("", []),
    ],
)  # fmt: skip
def test_sentences(text, expected):
    assert sentences(text.strip()) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("It is a film. Wow! I loved the end. No.", ["It is a film. Wow! I loved the end.", "I loved the end. No."]),
        (f"It is a film. Wow! {'Word ' * 61}long. It has an end.", ["It is a film. Wow!", "It has an end."]),
        ("Wow! No.", []),
    ],
)
def test_a_run_keeps_short_sentences_and_ends_before_a_list(text, expected):
    assert list(runs(text, lambda sentence: 3)) == expected
    assert list(runs(text, lambda sentence: 0)) == []


def test_a_text_of_marks_alone_takes_no_longer_than_a_text():
    assert sentences("." * 200_000) == []
    assert sentences("A. " * 60_000) == []


@pytest.fixture
def source(tmp_path):
    path = tmp_path / "unsup.jsonl"
    texts = [
        "A quiet film that stays.<br />It is slow. I like it slow.",
        "Held back, this one.",
        "A quiet film that stays. It is slow. I like it slow.",
        " ",
        7,
    ]
    path.write_text(
        "".join(
            json.dumps({"review": text}) + "\n"
            for text in [*texts, *(f"Film {number} was fine. I slept." for number in range(20))]
        )
    )
    return path


@pytest.fixture
def measured(tmp_path, demo_reviews):
    from toolkit.datasets.splits import Review
    from toolkit.text.labels import POSITIVE

    folder = tmp_path / "data"
    folder.mkdir()
    for split in ("train", "validation", "test"):
        write_reviews(
            folder / f"{split}.csv",
            [*demo_reviews[split][:4], *([Review("Held back, this one.", POSITIVE)] if split == "test" else [])],
        )
    return folder


def test_every_text_once_in_files_of_a_size(source, measured, tmp_path):
    output = tmp_path / "out"
    info = collect_texts(source, output, TextOptions(apart_from=measured, per_file=8))
    texts = written(output)
    assert texts == [
        "A quiet film that stays. It is slow. I like it slow.",
        *(f"Film {number} was fine. I slept." for number in range(20)),
    ]
    assert (info.texts, info.duplicates, info.held_back, info.problems) == (21, 1, 1, 2)
    assert sorted(path.name for path in output.iterdir()) == [
        "texts-00001.csv",
        "texts-00002.csv",
        "texts-00003.csv",
        "texts_info.json",
    ]
    recorded = json.loads((output / "texts_info.json").read_text())
    assert recorded["source"] == "unsup.jsonl"
    assert str(tmp_path) not in json.dumps(recorded)
    collect_texts(source, output, TextOptions(limit=2))
    assert len(written(output)) == 2, "an earlier set is replaced as a whole"


def test_a_larger_share_of_sentences_has_the_smaller_in_it(source, tmp_path):
    found = {}
    for share in (0.3, 0.7, 1.0):
        collect_texts(source, tmp_path / str(share), TextOptions(sentences=share))
        found[share] = written(tmp_path / str(share))
    assert set(found[0.3]) < set(found[0.7]) < set(found[1.0])
    assert len(found[1.0]) == len(set(found[1.0])) == 24
    assert "It is slow." in found[1.0]
    collect_texts(source, tmp_path / "again", TextOptions(sentences=0.3))
    assert written(tmp_path / "again") == found[0.3]
    collect_texts(source, tmp_path / "other", TextOptions(sentences=0.3, seed=1))
    assert written(tmp_path / "other") != found[0.3]


def test_excerpts_are_sentences_in_a_row_of_every_number(tmp_path):
    source = tmp_path / "long.txt"
    source.write_text(" ".join(f"This is sentence {number}." for number in range(400)) + "\n")
    collect_texts(source, tmp_path / "out", TextOptions(sentences=0.5, up_to=4))
    collect_texts(source, tmp_path / "single", TextOptions(sentences=0.5))
    excerpts = written(tmp_path / "out")
    assert [sentences(each)[0] for each in excerpts] == written(tmp_path / "single"), "the same beginnings"
    whole = source.read_text()
    assert all(each in whole for each in excerpts)
    counts = [len(sentences(each)) for each in excerpts[:-3]]  # the last may meet the end
    assert {*counts} == {1, 2, 3, 4}
    assert all(0.15 < counts.count(number) / len(counts) < 0.35 for number in (1, 2, 3, 4))


def test_what_leaves_nothing_is_refused(source, measured, tmp_path):
    for options in ({"sentences": 0.0}, {"sentences": 1.5}, {"limit": 0}, {"per_file": 0}, {"up_to": 3}):
        with pytest.raises(ToolkitError, match=next(iter(options)).replace("_", "-")):
            TextOptions(**options)
    (tmp_path / "one.txt").write_text("Held back, this one.\n")
    with pytest.raises(ToolkitError, match="found none that is not left out"):
        collect_texts(tmp_path / "one.txt", tmp_path / "out", TextOptions(apart_from=measured))
    with pytest.raises(ToolkitError, match="expected a column body"):
        collect_texts(source, tmp_path / "out", TextOptions(text_column="body"))
    with pytest.raises(ToolkitError, match="expected a file ending in"):
        collect_texts(tmp_path / "nothing.pdf", tmp_path / "out", TextOptions())
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "mine.csv").write_text("text\n")
    with pytest.raises(ToolkitError, match=r"mine\.csv"):
        collect_texts(source, tmp_path / "other", TextOptions())
    assert not (tmp_path / "out").exists() or not written(tmp_path / "out")


def test_the_command_and_the_labelling_go_together(source, tmp_path, load_fake):
    output, labelled = tmp_path / "texts", tmp_path / "soft"
    run = CliRunner().invoke(cli, ["dataset", "texts", str(source), "--output", str(output), "--per-file", "8"])
    assert run.exit_code == 0, run.output
    assert "22 texts in 3 files" in run.output
    for more in ([], ["--resume"]):
        run = CliRunner().invoke(cli, ["predict-files", str(output), str(labelled), *more], obj=load_fake)
        assert run.exit_code == 0, run.output
    from toolkit.datasets.soft_labels import read_soft_labels, soft_label_files
    from toolkit.text.labels import SENTIMENT

    soft = read_soft_labels(soft_label_files([labelled]), SENTIMENT)
    assert [each.text for each in soft] == written(output)
    assert all(abs(each.probabilities.sum() - 1) < 1e-6 for each in soft)


def test_the_demo_corpus_has_sentences(tmp_path):
    info = collect_texts(ROOT / "dataset" / "train.csv", tmp_path / "out", TextOptions(sentences=1.0))
    assert info.texts > 300
