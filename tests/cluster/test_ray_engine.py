import csv
import gzip
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from threading import Thread

import pytest

pytest.importorskip("ray", reason="the extra ray is not installed")

from tests.test_cli import run
from toolkit.cluster.jobs import Job
from toolkit.cluster.partitions import find_partitions
from toolkit.cluster.ray_engine import classify_files
from toolkit.cluster.storage import open_storage
from toolkit.errors import ToolkitError
from toolkit.prediction import load_predictor

ROWS = 60


@pytest.fixture(scope="module")
def cluster():
    """Ray on this machine, with two cores, whatever it has."""
    import ray
    import ray.data

    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    ray.init(address="local", num_cpus=2, include_dashboard=False, log_to_driver=False)
    ray.data.DataContext.get_current().enable_progress_bars = False
    yield ray
    ray.shutdown()


@pytest.fixture
def reviews(demo_reviews):
    return [review.text for review in demo_reviews["train"][:ROWS]]


@pytest.fixture
def folder(tmp_path, reviews):
    """The same reviews in files of every kind, some of them below."""
    import pyarrow
    import pyarrow.parquet

    source = tmp_path / "in"
    (source / "more").mkdir(parents=True)
    rows = [{"id": str(number), "text": text} for number, text in enumerate(reviews)]
    with (source / "a.csv").open("w", newline="") as stream:
        writer = csv.DictWriter(stream, ["id", "text"])
        writer.writeheader()
        writer.writerows(rows)
    with gzip.open(source / "b.jsonl.gz", "wt") as stream:
        stream.writelines(json.dumps(row) + "\n" for row in rows)
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), source / "more" / "c.parquet", row_group_size=10)
    (source / "_hidden.csv").write_text("no reviews")
    return source


def test_every_row_gets_the_predictors_own_answer(cluster, folder, reviews, tiny_bundle, tmp_path, monkeypatch):
    import pyarrow.parquet

    monkeypatch.setattr("toolkit.cluster.partitions.ROWS", 20)
    totals = classify_files(str(folder), str(tmp_path / "out"), tiny_bundle, Job())
    predictor = load_predictor("onnx", onnx_model=tiny_bundle)
    expected = [(prediction.label.name, prediction.score) for prediction in predictor.predict_many(reviews)]
    out = tmp_path / "out"
    with (out / "a.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert [(row["label"], float(row["score"])) for row in rows] == expected
    assert [row["id"] for row in rows] == [str(number) for number in range(ROWS)]
    rows = [json.loads(line) for line in (out / "b.jsonl").read_text().splitlines()]
    assert [(row["label"], row["score"]) for row in rows] == expected
    pieces = sorted((out / "more").glob("c.*.parquet"))
    assert [piece.name for piece in pieces] == [f"c.{start:05}-{start + 1:05}.parquet" for start in (0, 2, 4)]
    rows = [row for piece in pieces for row in pyarrow.parquet.read_table(piece).to_pylist()]
    assert [(row["label"], row["score"]) for row in rows] == expected
    assert (totals.rows_in, totals.rows_out, totals.problems, totals.failed) == (3 * ROWS, 3 * ROWS, 0, 0)
    assert json.loads((out / "_SUCCESS").read_text())["rows_out"] == 3 * ROWS
    assert not (out / "_errors").exists()
    assert not (out / "_temporary").exists()


def test_bad_rows_and_files_are_listed_and_the_rest_is_done(cluster, tiny_bundle, tmp_path):
    source, out = tmp_path / "in", tmp_path / "out"
    source.mkdir()
    (source / "a.jsonl").write_text('{"text": "fine"}\n{"text": ""}\nbroken\n')
    (source / "b.parquet").write_bytes(b"PAR1 and no more")
    (source / "c.csv").write_text("text\nfine\n")
    (source / "d.csv").write_text("")
    totals = classify_files(f"{source}/*", str(out), tiny_bundle, Job())
    assert (totals.rows_in, totals.rows_out, totals.problems, totals.failed) == (4, 4, 2, 1)
    listed = [
        json.loads(line) for path in sorted((out / "_errors").iterdir()) for line in path.read_text().splitlines()
    ]
    assert [(Path(each["file"]).name, each["row"]) for each in listed] == [
        ("a.jsonl", "line 2"), ("a.jsonl", "line 3"), ("b.parquet", None),
    ]  # fmt: skip
    assert "empty review" in listed[0]["error"]
    assert str(source / "b.parquet") in listed[2]["error"]
    assert not (out / "b.parquet").exists()

    (source / "b.parquet").unlink()
    (source / "b.jsonl").write_text('{"text": "mended"}\n')
    again = classify_files(f"{source}/*", str(out), tiny_bundle, Job(), resume=True)
    assert (again.skipped, again.partitions, again.failed) == (3, 4, 0)

    with pytest.raises(ToolkitError, match=r"a\.jsonl: line 2: empty review"):
        classify_files(str(source / "a.jsonl"), str(tmp_path / "strict"), tiny_bundle, Job(strict=True))
    assert not (tmp_path / "strict" / "a.jsonl").exists()


def test_what_is_there_already_is_not_overwritten(cluster, folder, tiny_bundle, tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    (out / "mine.txt").write_text("mine")
    with pytest.raises(ToolkitError, match=r"holds other files \(mine\.txt, …\)"):
        classify_files(str(folder / "a.csv"), str(out), tiny_bundle, Job())
    (out / "mine.txt").unlink()
    classify_files(str(folder / "a.csv"), str(out), tiny_bundle, Job())
    with pytest.raises(ToolkitError, match="holds 1 finished partitions; go on with --resume"):
        classify_files(str(folder / "a.csv"), str(out), tiny_bundle, Job())
    with pytest.raises(ToolkitError, match="begun with another model or other options"):
        classify_files(str(folder / "a.csv"), str(out), tiny_bundle, Job(lang="zh"), resume=True)
    written = (out / "a.csv").stat().st_mtime_ns
    totals = classify_files(str(folder), str(out), tiny_bundle, Job(), resume=True)
    assert (totals.skipped, totals.partitions) == (1, 3)
    assert (out / "a.csv").stat().st_mtime_ns == written
    with pytest.raises(ToolkitError, match="found none"):
        find_partitions([str(tmp_path / "nothing" / "*.csv")])


def test_a_killed_worker_loses_and_doubles_nothing(cluster, reviews, tiny_bundle, tmp_path):
    source, out = tmp_path / "in", tmp_path / "out"
    source.mkdir()
    for number in range(8):
        (source / f"{number}.jsonl").write_text(
            "".join(json.dumps({"id": f"{number}-{n}", "text": text}) + "\n" for n, text in enumerate(reviews * 10))
        )
    killed = []

    def kill() -> None:
        while len(killed) < 2:
            done = len(list((out / "_done").glob("*"))) if (out / "_done").exists() else 0
            if done > 2 * len(killed):
                killed.extend(_kill_a_worker())
            time.sleep(0.02)

    killer = Thread(target=kill, daemon=True)
    killer.start()
    totals = classify_files(str(source), str(out), tiny_bundle, Job())
    killer.join(10)
    assert len(killed) == 2
    rows = [json.loads(line)["id"] for path in out.glob("*.jsonl") for line in path.read_text().splitlines()]
    assert Counter(rows) == Counter(f"{number}-{n}" for number in range(8) for n in range(10 * ROWS))
    assert totals.rows_in == totals.rows_out == 80 * ROWS


def test_the_command_says_what_was_done_and_what_could_not_be(cluster, folder, tiny_bundle, tmp_path):
    out = tmp_path / "out"
    options = ("predict-files", "--engine", "ray", "--onnx-model", tiny_bundle)
    (folder / "d.csv").write_text("text\nfine\n \n")
    result = run(*options, "--lang", "zh", "--prefix", "x_", folder / "**" / "*", out)
    assert result.exit_code == 1
    assert "expected a file ending in .csv, .jsonl, .parquet" not in result.output
    assert f"rows that could not be classified: 1, files: 0; {out}/_errors says why" in result.output
    assert f"{3 * ROWS + 2} rows in, {3 * ROWS + 2} out" in result.output
    rows = [json.loads(line) for line in (out / "b.jsonl").read_text().splitlines()]
    assert {row["x_label"] for row in rows} <= {"正面评论", "负面评论"}
    assert "go on with --resume" in run(*options, folder, out).output
    assert run(*options, folder, tmp_path / "out.csv").exit_code == 2


@pytest.mark.parametrize(
    ("pattern", "names"),
    [
        ("", ["a", "b", "c"]), ("b*", ["b"]), ("**/c*", ["c"]), ("more/**", ["c"]), ("**", ["a", "b", "c"]), ("[ab].*", ["a", "b"]),
        ("*/*", ["c"]), ("_*.csv", ["_"]), ("?.csv", ["a"]), ("**/more/*.parquet", ["c"]), ("**/a.csv", ["a"]),
    ],
)  # fmt: skip
def test_patterns(folder, pattern, names):
    _, partitions = find_partitions([f"{folder}/{pattern}"])
    assert [Path(piece.source).name[0] for piece in partitions] == names


def test_a_store_that_cannot_rename_has_whole_files_too(tmp_path):
    """As S3: what is written there shows at its end."""
    store = open_storage("mock:///bucket/out")
    store.files.create_dir(f"{store.root}/more", recursive=True)  # the mock has folders; an object store has none
    (tmp_path / "a.csv").write_text("text\nfine\n")
    store.put("more/a.csv", tmp_path / "a.csv")
    assert store.read("more/a.csv") == b"text\nfine\n"
    assert [file.path for file in store.list_files()] == [f"{store.root}/more/a.csv"]
    (tmp_path / "copies").mkdir()
    copy = store.local(f"{store.root}/more/a.csv", tmp_path / "copies")
    assert copy == tmp_path / "copies" / "a.csv"
    assert copy.read_text() == "text\nfine\n"
    store.remove("more/a.csv")
    store.remove("more/a.csv")
    assert store.read("more/a.csv") is None
    assert not store.list_files()
    with pytest.raises(ToolkitError, match="cannot be reached"):
        open_storage("gopher://bucket")


@pytest.mark.parametrize("scheme", ["", "ray://"])
def test_where_nobody_listens_is_said_at_once(folder, tiny_bundle, tmp_path, scheme):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"{scheme}127.0.0.1:{free.getsockname()[1]}"
    command = [
        sys.executable, "-m", "toolkit", "predict-files", "--engine", "ray", "--onnx-model", tiny_bundle,
        "--address", address, folder, tmp_path / "out",
    ]  # fmt: skip
    process = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert process.returncode == 1
    assert process.stderr.startswith(f"Error: no Ray cluster at {address} (")
    assert process.stderr.endswith("; start one with: ray start --head\n")
    assert not (tmp_path / "out").exists()


def _kill_a_worker() -> list[int]:
    for process in Path("/proc").glob("[0-9]*"):
        try:
            title = (process / "cmdline").read_text()
        except OSError:
            continue
        if "MapWorker" in title or "_Worker" in title:
            os.kill(int(process.name), signal.SIGKILL)
            return [int(process.name)]
    return []
