"""The load on the chat app, in small: `benchmarks/app_load.py` says how it goes at length."""

import subprocess
import sys

import pytest

from benchmarks.app_load import Load, report
from tests.conftest import ROOT


def test_eight_visitors_get_the_predictors_answers(tiny_bundle):
    pytest.importorskip("chainlit", reason="the extra app is not installed")
    process = subprocess.run(
        [sys.executable, ROOT / "benchmarks" / "app_load.py", "--sessions", "8", "--reviews", "3", "--file",
         ROOT / "dataset" / "test.csv", "--onnx-model", tiny_bundle],
        capture_output=True, text=True, check=False, timeout=300, cwd=ROOT,
    )  # fmt: skip
    assert process.returncode == 0, process.stdout + process.stderr
    assert process.stdout.startswith("8 sessions, 8 at a time, 3 reviews each: 24 answers, 0 wrong, 0 missing\n")
    assert "Traceback" not in process.stderr


def test_the_report_tells_what_went_wrong():
    load = Load([1.0, 2.0, 3.0], wrong=1, missing=2, sessions=4, memory=[(0.0, 300_000_000), (5.0, 310_000_000)])
    text = report(load, 4, 2)
    assert "3 answers, 1 wrong, 2 missing" in text
    assert "p50 2.00 s" in text
    assert "300 MB before, 310 MB at the end" in text
