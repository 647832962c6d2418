"""A disk that fills up while something is written: one line that says so, and what was there before stays."""

import os
import subprocess
import sys

import pytest

from tests.conftest import ROOT
from tests.faults.conftest import assert_one_error, namespace, run

# The largest file that may be written. The tiny adapter has 14 kB, its optimizer 27, its plot 94; the graph 215.
LIMITS = {"train": (4_000, 40_000), "export": (4_000, 150_000), "predict-files": (0, 60_000)}


def test_files_that_may_not_grow(stage):
    old = stage.content()
    for limit in LIMITS[stage.arguments[0]]:
        process = run([*stage.arguments, *(stage.again if limit > 4_000 else [])], largest_file=limit)
        assert_one_error(process, "File too large", "ulimit -f")
        assert stage.content() == old
        stage.check_whole()
    assert run([*stage.arguments, *stage.again]).returncode == 0
    assert stage.content() != old
    stage.check_whole()


def test_a_disk_that_is_full(stage, tmp_path):
    """A file system of its own, of a size that holds the beginning of the work."""
    sizes = {"train": "300k", "export": "350k", "predict-files": "330k"}
    arguments = [str(each).replace(str(tmp_path), "/mnt") for each in stage.arguments]
    name = stage.target.name
    script = f"""
        mount -t tmpfs -o size={sizes[stage.arguments[0]]} tmpfs /mnt
        cp -r {tmp_path}/* /mnt/
        "$@" || code=$?
        ls -A /mnt > {tmp_path}/left
        rm -r {stage.target} && cp -r /mnt/{name} {stage.target}
        exit $code
    """
    command = namespace(script)
    if command is None:
        pytest.skip("no mount namespaces here")
    old = stage.content()
    process = subprocess.run(
        [*command, "sh", sys.executable, "-m", "toolkit", *arguments], capture_output=True, text=True, check=False,
        env={**os.environ, "PYTHONPATH": str(ROOT), "TMPDIR": "/mnt"}, timeout=300, stdin=subprocess.DEVNULL,
    )  # fmt: skip
    assert_one_error(process, "/mnt", "No space left on device", "free some space")
    assert stage.content() == old
    assert "partial" not in (tmp_path / "left").read_text()


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no /dev/full")
@pytest.mark.parametrize("arguments", [["filter", "{reviews}"], ["predict", "A quiet film."], ["doctor"]])
def test_a_pipe_into_a_full_disk(arguments, tiny_bundle, tmp_path):
    (tmp_path / "reviews.txt").write_text("a film\n" * 3000)
    arguments = [each.format(reviews=tmp_path / "reviews.txt") for each in arguments]
    with open("/dev/full", "w") as full:
        process = run([*arguments, "--onnx-model", tiny_bundle], stdout=full)
    assert_one_error(process, "No space left on device", "free some space")
    assert len(process.stderr.splitlines()) == 1


def test_a_filter_into_a_file_leaves_whole_records(tiny_bundle, tmp_path):
    """What a shell's own redirection holds then, ends in the middle of a record at most; the exit code tells."""
    (tmp_path / "reviews.txt").write_text("".join(f"film {number}\n" for number in range(5000)))
    with (tmp_path / "out.tsv").open("w") as out:
        process = run(
            ["filter", tmp_path / "reviews.txt", "--onnx-model", tiny_bundle], stdout=out, largest_file=30_000
        )
    assert process.returncode == 2
    assert_one_error(process, "File too large")
    rows = (tmp_path / "out.tsv").read_text().split("\n")[:-1]
    assert [row.split("\t")[2] for row in rows] == [f"film {number}" for number in range(len(rows))]
