"""Many files on this machine, by the engine that every installation has."""

import json
import sys
from functools import partial
from pathlib import Path

import pytest

from tests.test_cli import run
from toolkit.cluster.engine import classify_files
from toolkit.cluster.jobs import Job, Outcome, Problem
from toolkit.cluster.partitions import Partition, find_partitions
from toolkit.errors import ToolkitError
from toolkit.prediction import Abstention, InferenceOptions


@pytest.fixture
def folder(tmp_path):
    source = tmp_path / "in"
    (source / "more").mkdir(parents=True)
    (source / "a.csv").write_text("text\n" + "a great film\n" * 5)
    (source / "more" / "b.jsonl").write_text('{"review": "dull"}\n{"review": ""}\nbroken\n')
    (source / "_hidden.csv").write_text("no reviews")
    return source


@pytest.fixture
def run_fake(load_fake):
    return partial(run, obj=load_fake)


@pytest.fixture
def without_arrow(monkeypatch):
    """As where only the runtime is installed."""
    for name in [name for name in sys.modules if name.partition(".")[0] in ("pyarrow", "ray")]:
        monkeypatch.delitem(sys.modules, name)
    for name in ("pyarrow", "ray"):
        monkeypatch.setitem(sys.modules, name, None)


def names(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def test_a_folder_of_files_becomes_a_folder_of_answers(run_fake, without_arrow, folder, tmp_path):
    out = tmp_path / "out"
    result = run_fake("predict-files", folder, out, "--prefix", "m_")
    assert result.exit_code == 1
    assert f"rows that could not be classified: 2, files: 0; {out}/_errors says why" in result.stderr
    assert names(out) == {
        "a.csv", "more/b.jsonl", "_done/a.csv.json", "_done/more/b.jsonl.json", "_errors/more/b.jsonl.jsonl", "_SUCCESS",
    }  # fmt: skip
    alone = tmp_path / "alone.csv"
    assert run_fake("predict-files", folder / "a.csv", alone, "--prefix", "m_").exit_code == 0
    assert (out / "a.csv").read_bytes() == alone.read_bytes()
    source = str(folder / "more" / "b.jsonl")
    assert [json.loads(line) for line in (out / "_errors" / "more" / "b.jsonl.jsonl").read_text().splitlines()] == [
        {"file": source, "row": "line 2", "error": "empty review"},
        {"file": source, "row": "line 3", "error": "broken JSON (Expecting value: line 1 column 1 (char 0))"},
    ]


def test_what_is_finished_is_not_done_again(run_fake, folder, tmp_path):
    out = tmp_path / "out"
    (folder / "c.csv").write_text("body\nno text\n")
    assert run_fake("predict-files", folder, out).exit_code == 1
    written = (out / "a.csv").stat().st_mtime_ns
    assert "go on with --resume" in run_fake("predict-files", folder, out).stderr
    (folder / "c.csv").write_text("text\na film\n")
    (folder / "more" / "b.jsonl").unlink()
    result = run_fake("predict-files", folder / "*.csv", out, "--resume")
    assert result.exit_code == 0
    assert "1 of 2 partitions were finished before" in result.stderr
    assert (out / "a.csv").stat().st_mtime_ns == written
    assert (out / "c.csv").exists()
    assert "another model or other options" in run_fake("predict-files", folder, out, "--resume", "--lang", "zh").stderr
    (out / "_done" / "a.csv.json").write_text("{")
    assert "is damaged" in run_fake("predict-files", folder, out, "--resume").stderr


def test_an_unbroken_run_and_a_resumed_one_leave_the_same(fake_predictor, folder, tmp_path):
    class Dies:
        manifest, chunk_size, done = fake_predictor.manifest, 4, 0

        def predict_each(self, texts):
            for text in texts:
                if self.done == 5:
                    raise KeyboardInterrupt
                self.done += 1
                yield fake_predictor.predict(text)

    whole, parts = tmp_path / "whole", tmp_path / "parts"
    classify_files(str(folder), str(whole), fake_predictor, Job())
    with pytest.raises(KeyboardInterrupt):
        classify_files(str(folder), str(parts), Dies(), Job())
    assert names(parts) == {"a.csv", "_done/a.csv.json"}
    totals = classify_files(str(folder), str(parts), fake_predictor, Job(), resume=True)
    assert (totals.skipped, totals.rows_in, totals.rows_out) == (1, 8, 8)
    assert names(parts) == names(whole)
    assert all((parts / name).read_bytes() == (whole / name).read_bytes() for name in names(whole) - {"_SUCCESS"})


def test_strict_ends_at_the_first(run_fake, folder, tmp_path):
    result = run_fake("predict-files", folder, tmp_path / "out", "--strict")
    assert result.exit_code == 1
    assert result.stderr.splitlines()[-1] == f"Error: {folder / 'more' / 'b.jsonl'}: line 2: empty review"
    assert names(tmp_path / "out") == {"a.csv", "_done/a.csv.json"}


def test_several_inputs_and_one_place(run_fake, folder, tmp_path):
    out = tmp_path / "out"
    assert run_fake("predict-files", folder / "a.csv", folder / "more", out).exit_code == 1
    assert {"a.csv", "b.jsonl"} <= names(out)
    (folder / "more" / "a.csv").write_text("text\nanother\n")
    result = run_fake("predict-files", folder / "a.csv", folder / "more" / "a.csv", tmp_path / "other")
    assert "two files would be written to a.csv" in result.stderr
    assert not (tmp_path / "other").exists()
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "precious.txt").write_text("mine")
    assert "holds other files (precious.txt" in run_fake("predict-files", folder, tmp_path / "mine").stderr


def test_files_of_two_stores_are_not_mixed(folder):
    pytest.importorskip("pyarrow", reason="the extra parquet is not installed")
    with pytest.raises(ToolkitError, match="found none"):
        find_partitions(["mock:///bucket/*.csv"])
    with pytest.raises(ToolkitError, match="cannot be reached"):
        find_partitions([str(folder), "gopher://bucket"])


def test_what_is_told_another_process_is_understood():
    job = Job("body", "m_", "zh", InferenceOptions(64, "window"), Abstention(target_accuracy=0.9), strict=True)
    assert Job.from_json(job.to_json()) == job
    piece = Partition("/in/a.parquet", "a.00000-00001.parquet", 10, (0, 1), 21)
    outcome = Outcome(piece, "abc", 3, 3, {"positive": 2}, 1, None, Problem("/in/a.parquet", "row 22", "no text"))
    assert Outcome.from_json(outcome.to_json()) == outcome
    for damaged in ("", "{}", "[]", '{"partition": 1}'):
        with pytest.raises(ValueError, match=r"Expecting value|no outcome"):
            Outcome.from_json(damaged)


def test_a_folder_of_other_tables(tmp_path, fake_predictor):
    """What is no CSV or JSONL becomes one; a folder's JSON files are left out, unless a pattern names them."""
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.TSV").write_bytes("text\tid\nCafé, bon\t1\n".encode("utf-16"))
    (tmp_path / "in" / "b.json").write_text('[{"text": "dull"}]')
    (tmp_path / "in" / "dataset_info.json").write_text('{"labels": []}')
    for pattern, targets in ((tmp_path / "in", ["a.csv"]), (tmp_path / "in" / "b.*", ["b.jsonl"])):
        assert [piece.target for piece in find_partitions([str(pattern)])[1]] == targets
        totals = classify_files(str(pattern), str(tmp_path / targets[0]), fake_predictor, Job(prefix="p_"))
        assert (totals.rows_out, totals.problems) == (1, 0)
    assert (tmp_path / "a.csv" / "a.csv").read_text("utf-8").splitlines()[1].startswith('"Café, bon",1,')


def test_an_encoding_decides_the_answers(fake_predictor):
    manifest = fake_predictor.manifest
    assert Job(encoding="cp1252").fingerprint(manifest) != Job().fingerprint(manifest)
    assert Job.from_json(Job(encoding="cp1252").to_json()) == Job(encoding="cp1252")
