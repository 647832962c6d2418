"""How far a long piece of work is: a bar, a line a minute, or JSON."""

import json
import os
import pty
import subprocess
import sys

import pytest
from click.testing import CliRunner

from tests.conftest import ROOT
from toolkit import progress
from toolkit.cli import COMMANDS, cli


@pytest.fixture
def clock(monkeypatch):
    now = [100.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    return now


def events(text):
    return [json.loads(line) for line in text.splitlines() if line.startswith("{")]


def test_a_line_a_minute_in_a_log(clock, caplog):
    caplog.set_level("INFO")
    with progress.track("evaluating", "reviews", 4000) as work:
        for _ in range(13):
            clock[0] += 10
            work.advance(100)
    assert [record.message for record in caplog.records] == [
        "evaluating: 600 of 4000 reviews, 10.0 reviews/s; 6 minutes to go",
        "evaluating: 1200 of 4000 reviews, 10.0 reviews/s; 5 minutes to go",
    ]


def test_bytes_are_shares_and_slow_work_has_seconds_for_each(clock, caplog):
    caplog.set_level("INFO")
    with progress.track("classifying", "bytes", 1) as work:
        clock[0] += 60
        work.reach(30_000_000, 45_000_000)
    with progress.track("fitting", "tables", 6) as work:
        clock[0] += 61
        work.advance(2)
    with progress.track("reading", "bytes") as work:  # a pipe, whose end nobody knows
        clock[0] += 61
        work.advance(2)
    assert [record.message for record in caplog.records] == [
        "classifying: 67%, 0.50 MB/s; 30 s to go",
        "fitting: 2 of 6 tables, 30.5 s each; 2 minutes to go",
    ]


def test_json_begins_with_nothing_and_ends_with_everything(clock, capsys):
    token = progress.style.set("json")
    try:
        with progress.track("evaluating", "reviews", 5) as work:
            for _ in range(5):
                clock[0] += 0.5
                work.advance()
        with progress.track("classifying", "bytes") as work:
            clock[0] += 2
            work.advance(10)
    finally:
        progress.style.reset(token)
    found = events(capsys.readouterr().err)
    assert found[:4] == [
        {"event": "progress", "stage": "evaluating", "done": done, "total": 5, "unit": "reviews", "seconds": seconds,
         "rate": rate, "seconds_left": left}
        for done, seconds, rate, left in ((0, 0.0, 0.0, None), (2, 1.0, 2.0, 1.5), (4, 2.0, 2.0, 0.5), (5, 2.5, 2.0, 0.0))
    ]  # fmt: skip
    assert [(each["done"], each["total"], each["seconds_left"]) for each in found[4:]] == [
        (0, None, None), (10, None, None), (10, None, None)
    ]  # fmt: skip


def test_a_figure_that_is_no_number_is_still_json(capsys):
    token = progress.style.set("json")
    try:
        with progress.track("training", "steps", 2, detail=lambda: {"loss": float("nan"), "rate": 0.5}):
            pass
    finally:
        progress.style.reset(token)

    def refuse(name):
        raise AssertionError(f"{name} is no JSON")

    lines = capsys.readouterr().err.splitlines()
    assert [json.loads(line, parse_constant=refuse)["loss"] for line in lines] == [None, None]


def test_work_goes_on_when_whoever_reads_its_progress_has_gone(tmp_path):
    (tmp_path / "reviews.txt").write_text("A quiet film.\n" * 3)
    read, write = os.pipe()
    os.close(read)
    process = subprocess.run(
        [sys.executable, "-m", "toolkit", "-q", "filter", "--progress", "json", "--any-text", tmp_path / "reviews.txt"],
        stdout=subprocess.PIPE, stderr=write, check=False, cwd=ROOT, timeout=120,
    )  # fmt: skip
    os.close(write)
    assert (process.returncode, process.stdout.count(b"\n")) == (0, 3)


def test_evaluate_reports_to_a_program_and_nothing_stays_behind(tiny_bundle, tiny_dataset):
    arguments = ["evaluate", "--onnx-model", str(tiny_bundle), "--dataset", str(tiny_dataset), "--split", "test"]
    result = CliRunner().invoke(cli, [*arguments, "--progress", "json", "--json"])
    assert result.exit_code == 0, result.output
    found = [each for each in events(result.stderr) if each["stage"] == "evaluating"]
    assert found[0]["done"] == 0
    assert found[-1]["done"] == found[-1]["total"] == json.loads(result.stdout)["reviews"]
    assert progress.style.get() == "auto"
    assert not events(CliRunner().invoke(cli, arguments).stderr)
    assert not events(CliRunner().invoke(cli, [*arguments, "--progress", "none"]).stderr)


@pytest.mark.parametrize("name", ["train", "export", "evaluate", "filter", "predict-files", "bench"])
def test_every_long_command_has_the_option(name):
    assert name in COMMANDS
    assert "--progress [auto|json|none]" in CliRunner().invoke(cli, [name, "--help"]).stdout


def test_a_bar_has_the_rate_and_the_time_left(tmp_path):
    code = (
        "import time\nfrom toolkit.progress import track\n"
        "with track('evaluating', 'reviews', 30) as work:\n"
        "    for _ in range(30):\n        time.sleep(0.02)\n        work.advance()\n"
    )
    leader, follower = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-c", code], stderr=follower, cwd=ROOT, env={**os.environ, "TERM": "xterm", "COLUMNS": "100"}
    )
    os.close(follower)
    seen = b""
    try:
        while block := os.read(leader, 1 << 16):
            seen += block
    except OSError:  # how Linux says that nobody writes any more
        pass
    os.close(leader)
    assert process.wait(60) == 0
    assert b"evaluating" in seen
    assert b"reviews/s" in seen
    assert b"30/30" in seen
