"""The load on the server, in small: `benchmarks/serve_load.py` says how it goes at length."""

import subprocess
import sys

import pytest

from benchmarks.serve_load import HEADERS, Load
from tests.conftest import ROOT


def test_the_servers_answers_are_the_predictors(tiny_bundle):
    pytest.importorskip("starlette", reason="the extra serve is not installed")
    process = subprocess.run(
        [sys.executable, ROOT / "benchmarks" / "serve_load.py", "--connections", "1,4", "--sizes", "1,8", "--seconds", "0.5",
         "--limit", "40", "--plain", "none", "--markdown", "--onnx-model", tiny_bundle],
        capture_output=True, text=True, check=False, timeout=300, cwd=ROOT,
    )  # fmt: skip
    assert process.returncode == 0, process.stdout + process.stderr
    rows = process.stdout.splitlines()[4:]
    assert [row.split(" | ")[1:3] for row in rows] == [["1", "1"], ["4", "1"], ["1", "8"], ["4", "8"]]
    assert all(" | 0 of " in row for row in rows)


def test_the_row_tells_what_went_wrong():
    load = Load("ours", 2, 10, [0.1, 0.2, 0.3], wrong=4, span=2.0, cpu=1.0, memory=[300_000_000, 310_000_000])
    row = dict(zip(HEADERS, load.row(30.0, 60.0), strict=True))
    assert row["reviews/s"] == "15.0"
    assert (row["of predict_many"], row["by CPU"]) == ("50%", "50%")
    assert row["p50 ms"] == "200"
    assert (row["MB before"], row["MB after"], row["wrong"]) == ("300", "310", "4 of 30")
