"""Input that is also the output is refused in words, and stays as it was to the last byte."""

import subprocess
import sys

import pytest

from toolkit.cluster.engine import classify_files
from toolkit.cluster.jobs import Job
from toolkit.datasets.importers import ImportOptions, import_dataset
from toolkit.errors import ToolkitError

REVIEWS = b"A joy from start to end.\nA bore and a waste.\n"


def shell(line, folder, bundle):
    """A finished bash command under a limit of 4 MB for a file, in which `toolkit` is this checkout's."""
    return subprocess.run(
        ["bash", "-c", f'ulimit -f 4096; toolkit() {{ "{sys.executable}" -m toolkit "$@"; }}; {line}'],
        stdin=subprocess.DEVNULL, capture_output=True, check=False, timeout=120, cwd=folder,
        env={"PATH": "/usr/bin:/bin", "TOOLKIT_ONNX_MODEL": str(bundle)},
    )  # fmt: skip


@pytest.mark.parametrize(
    "line",
    [
        "toolkit filter f >> f",
        "toolkit filter < f >> f",
        "cat f | toolkit filter other - link >> f",
        "toolkit filter f 2>> f",
        "toolkit filter < f 1<> f",
        "toolkit predict a - < f >> f",
        "toolkit evaluate --file f.csv >> f.csv",
        "toolkit evaluate --dataset . >> test.csv",
        "toolkit dataset import f.csv --output out >> f.csv",
        "toolkit dataset check . >> train.csv",
        "toolkit predict-files f.csv out.csv 2>> f.csv",
        "toolkit train --dataset . >> train.csv",
        "toolkit export --parity-set f.csv >> f.csv",
        "toolkit bench --file f.csv >> f.csv",
    ],
)
def test_a_file_that_is_read_and_written_is_refused(tmp_path, tiny_bundle, line):
    for name in ("f", "other", "f.csv", "train.csv", "validation.csv", "test.csv"):
        (tmp_path / name).write_bytes(REVIEWS)
    (tmp_path / "link").hardlink_to(tmp_path / "f")
    process = shell(line, tmp_path, tiny_bundle)
    assert process.returncode == 2
    name = line.rpartition(" ")[2]
    written = (tmp_path / name).read_bytes()
    told = written.removeprefix(REVIEWS) if "2>>" in line else process.stderr
    assert b" is also " in told
    assert written == REVIEWS + (told if "2>>" in line else b"")


@pytest.mark.parametrize(
    ("line", "answers"),
    [
        ("toolkit filter --count < f >> g", b"2"),
        ("(cat > other; toolkit filter --count) < f >> f", b"0"),  # nothing of it is left to read
        ("toolkit filter --count f f >> g", b"4"),
        ("toolkit filter --count f > /dev/null; echo 1 > g", b"1"),
    ],
)
def test_other_files_are_not(tmp_path, tiny_bundle, line, answers):
    (tmp_path / "f").write_bytes(REVIEWS)
    process = shell(line, tmp_path, tiny_bundle)
    assert process.stderr == b""
    written = (tmp_path / line.rpartition(" ")[2]).read_bytes()
    assert written.removeprefix(REVIEWS) == answers + b"\n"


def test_an_import_never_replaces_its_source(demo_reviews, tmp_path):
    from toolkit.datasets.splits import write_reviews

    write_reviews(tmp_path / "all.csv", demo_reviews["train"])
    folder = tmp_path / "set"
    import_dataset(str(tmp_path / "all.csv"), folder, ImportOptions())
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    (tmp_path / "link").symlink_to(folder)
    for source in (folder, folder / "train.csv", tmp_path / "link" / "test.csv"):
        with pytest.raises(ToolkitError, match="is the input and would be replaced; choose another --output"):
            import_dataset(str(source), folder, ImportOptions())
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


def test_what_a_run_wrote_below_its_input_is_no_input(fake_predictor, tmp_path):
    for name in ("a.csv", "b.csv"):
        (tmp_path / name).write_text("text\na great film\n")
    output = tmp_path / "out"
    classify_files(str(tmp_path), str(output), fake_predictor, Job())
    (tmp_path / "link").symlink_to(output)
    totals = classify_files(str(tmp_path), str(tmp_path / "link"), fake_predictor, Job(), resume=True)
    assert (totals.partitions, totals.skipped) == (2, 2)
    before = (output / "a.csv").read_bytes()
    with pytest.raises(ToolkitError, match="every input lies in"):
        classify_files(str(output / "a.csv"), str(output), fake_predictor, Job(), resume=True)
    assert (output / "a.csv").read_bytes() == before
