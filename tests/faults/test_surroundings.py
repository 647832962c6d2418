"""Folders that cannot be written, no HOME, two at once, a clock that runs backwards: the work is done or refused in a line."""

import os
import re
import shutil
import subprocess
import sys

import pytest

from tests.conftest import ROOT
from tests.faults.conftest import assert_one_error, namespace, run, start

# Imported before anything else: each look at the clock shows an hour earlier than the one before.
BACKWARDS = """
import time
now, began = time.time, time.time()
calls = 0
def time_backwards():
    global calls
    calls += 1
    return began - 3600.0 * calls
time.time = time_backwards
time.time_ns = lambda: int(time_backwards() * 1e9)
"""
NO_HOME = {
    "nowhere": {"HOME": "/nonexistent/home", "XDG_CACHE_HOME": "", "XDG_CONFIG_HOME": "", "XDG_STATE_HOME": ""},
    "a file": {"HOME": "/dev/null", "MPLCONFIGDIR": "", "HF_HOME": ""},
    "unset": {"HOME": None, "XDG_CACHE_HOME": None},
}


def run_read_only(folder, *arguments):
    """Root may write where nobody may, so the folder becomes a read-only mount."""
    script = f"""
        mount --bind {folder} {folder}
        mount -o remount,ro,bind {folder}
        cd {folder}
        exec "$@"
    """
    command = namespace(script)
    if command is None:
        pytest.skip("no mount namespaces here")
    return subprocess.run(
        [*command, "sh", sys.executable, "-m", "toolkit", *arguments], capture_output=True, text=True, check=False,
        env={**os.environ, "PYTHONPATH": str(ROOT)}, timeout=300, stdin=subprocess.DEVNULL,
    )  # fmt: skip


def test_a_read_only_folder(stage, tmp_path):
    old = stage.content()
    process = run_read_only(tmp_path, *stage.arguments)
    assert_one_error(process, str(tmp_path), "Read-only file system", "choose a place that can be written")
    assert stage.content() == old
    stage.check_whole()


@pytest.mark.parametrize("variables", [NO_HOME["nowhere"], pytest.param(NO_HOME["unset"], marks=pytest.mark.slow)])
def test_no_home(stage, variables):
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    for name, value in variables.items():
        environment.pop(name, None)
        if value is not None:
            environment[name] = value
    old = stage.content()
    process = run(stage.arguments, env=environment)
    assert process.returncode == 0, process.stderr
    assert stage.content() != old
    stage.check_whole()


@pytest.mark.parametrize("variables", NO_HOME.values(), ids=NO_HOME)
def test_a_filter_has_no_use_for_a_home(tiny_bundle, tmp_path, variables):
    environment = {name: value for name, value in os.environ.items() if name not in variables}
    environment |= {name: value for name, value in variables.items() if value is not None}
    (tmp_path / "reviews.txt").write_text("a film\n")
    process = run(["filter", tmp_path / "reviews.txt", "--onnx-model", tiny_bundle], env=environment, cwd="/")
    assert (process.returncode, process.stderr) == (0, "")


def test_two_at_once(stage):
    """To the same place: each publishes a whole one, or is told that the other is at work."""
    processes = [start(stage.arguments) for _ in range(2)]
    outcomes = [(process.communicate(timeout=300)[1], process.returncode) for process in processes]
    codes = [code for _, code in outcomes]
    assert 0 in codes, outcomes
    for message, code in outcomes:
        if code:
            assert stage.arguments[0] == "train"
            assert "another training run is at work in" in message
            assert len(message.splitlines()) == 1
    stage.check_whole()


def test_a_clock_that_runs_backwards(stage, tmp_path, tmp_path_factory):
    folder = tmp_path_factory.mktemp("clock")
    (folder / "sitecustomize.py").write_text(BACKWARDS)
    for path in [*tmp_path.rglob("*"), tmp_path]:
        os.utime(path, (4e9, 4e9))  # of the year 2096
    process = run(stage.arguments, environment={"PYTHONPATH": os.pathsep.join([str(folder), str(ROOT)])})
    assert process.returncode == 0, process.stderr
    assert not re.search(r"\s-\d", process.stderr), "negative seconds"
    stage.check_whole()


def test_a_model_in_a_folder_that_cannot_be_written_answers(tiny_bundle, tiny_adapter, tmp_path):
    for name, source in (("onnx_model", tiny_bundle), ("lora_model", tiny_adapter)):
        shutil.copytree(source, tmp_path / name)
    for backend in ("onnx", "torch"):
        process = run_read_only(tmp_path, "predict", "--backend", backend, "A quiet film.")
        assert process.returncode == 0, process.stderr
        assert process.stdout.startswith(("positive", "negative"))
