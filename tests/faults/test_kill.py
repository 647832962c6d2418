"""kill -9 in the middle of everything: what was there stays, the next run does the whole work, nothing half is left."""

import os
import random
import shutil
import signal
import textwrap
import time
from pathlib import Path

import pytest

from tests.conftest import ROOT
from tests.faults.conftest import run, start
from toolkit.models.bundle import read_manifest

# Imported before anything else: the process kills itself at its nth change of a file below a folder. What native code
# writes is between two changes that Python makes, of a folder or of another file.
KILLER = """
    import os, signal, sys
    folder, fatal, seen = os.environ["KILL_BELOW"], int(os.environ["KILL_AT"]), 0
    def count(event, arguments):
        global seen
        writes = event == "open" and isinstance(arguments[0], str) and arguments[2] & (os.O_WRONLY | os.O_RDWR)
        if not writes and event not in ("os.mkdir", "os.rename", "os.remove", "os.rmdir", "shutil.rmtree", "shutil.copyfile"):
            return
        if not str(arguments[0]).startswith(folder):
            return
        seen += 1
        if seen == fatal:
            os.kill(os.getpid(), signal.SIGKILL)
        with open(os.environ["KILL_COUNT"], "w") as stream:
            stream.write(str(seen))
    sys.addaudithook(count)
"""


@pytest.fixture
def killer(tmp_path, tmp_path_factory):
    """The environment of a process that is killed at its nth change of a file; and how many changes one made."""
    folder = tmp_path_factory.mktemp("killer")
    (folder / "sitecustomize.py").write_text(textwrap.dedent(KILLER))

    def at(point: int) -> dict[str, str]:
        return {
            "PYTHONPATH": os.pathsep.join([str(folder), str(ROOT)]), "KILL_BELOW": str(tmp_path),
            "KILL_AT": str(point), "KILL_COUNT": str(folder / "count"),
        }  # fmt: skip

    return at, lambda: int((folder / "count").read_text())


@pytest.mark.parametrize("count", [2, pytest.param(30, marks=pytest.mark.slow)])
def test_killed_at_any_change_of_a_file(stage, killer, count):
    at, changes = killer
    assert run([*stage.arguments], environment=at(0)).returncode == 0
    total = changes()
    assert total >= 2
    points = sorted({*random.Random(8).sample(range(1, total + 1), min(count, total)), total})
    for point in points:
        for left in stage.target.parent.glob("lora_imdb"):
            shutil.rmtree(left)  # each time from the beginning; the last is gone on with
        old = stage.content()
        process = run(stage.arguments, environment=at(point))
        assert process.returncode == -9, f"{point} of {total}: {process.stderr}"
        now = stage.content()
        assert now == old or point == total
        if stage.kind:
            read_manifest(stage.target, stage.kind)
    again = run(stage.arguments)
    if "--resume" in again.stderr:
        again = run([*stage.arguments, *stage.again])
    assert again.returncode == 0, again.stderr
    stage.check_whole()


def test_a_filter_killed_at_random_moments_has_written_whole_answers(tiny_bundle, tmp_path):
    (tmp_path / "reviews.txt").write_text("".join(f"film number {number}\n" for number in range(60_000)))
    whole = None
    for moment in (0.4, 0.8, 1.6, None):
        with (tmp_path / "out.tsv").open("w") as out:
            with start(["filter", tmp_path / "reviews.txt", "--onnx-model", tiny_bundle], stdout=out) as process:
                if moment is None:
                    break
                _wait_for_output(tmp_path / "out.tsv", moment)
                process.kill()
            assert process.returncode == -9
        rows = (tmp_path / "out.tsv").read_text().split("\n")[:-1]
        assert rows
        assert [row.split("\t")[2] for row in rows] == [f"film number {number}" for number in range(len(rows))]
        whole = max(whole or [], rows, key=len)
    assert process.returncode == 0
    rows = (tmp_path / "out.tsv").read_text().split("\n")[:-1]
    assert len(rows) == 60_000
    assert rows[: len(whole)] == whole


@pytest.mark.parametrize("stage", ["predict"], indirect=True)
def test_what_killed_predictions_leave_is_swept_away_but_not_a_living_ones(stage, tmp_path):
    with start(stage.arguments) as living:
        deadline = time.monotonic() + 60
        while not list(tmp_path.glob(".*.partial")) and time.monotonic() < deadline:
            time.sleep(0.01)
        living.send_signal(signal.SIGSTOP)
        (tmp_path / ".verdicts.csv.old.partial").write_text("half")
        assert run(stage.arguments).returncode == 0
        (left,) = tmp_path.glob(".*.partial")
        assert left.name != ".verdicts.csv.old.partial"
        living.send_signal(signal.SIGCONT)
    assert living.returncode == 0
    stage.check_whole()


def _wait_for_output(path: Path, seconds: float) -> None:
    """So long after the first answer."""
    deadline = time.monotonic() + 60
    while not path.stat().st_size and time.monotonic() < deadline:
        time.sleep(0.01)
    time.sleep(seconds / 8)
