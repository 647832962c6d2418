"""The soak of the chat app, in small: `benchmarks/app_soak.py` says where memory levels, at length."""

import subprocess
import sys

import pytest

from app_soak import Moment, Soak, report
from tests.conftest import ROOT


def test_visitors_come_correct_classify_and_go(tiny_bundle):
    pytest.importorskip("chainlit", reason="the extra app is not installed")
    process = subprocess.run(
        [sys.executable, ROOT / "benchmarks" / "app_soak.py", "--minutes", "0.1", "--every", "1", "--reviews", "1", "--rows", "3",
         "--kept", "1", "--file", ROOT / "dataset" / "test.csv", "--onnx-model", tiny_bundle],
        capture_output=True, text=True, check=False, timeout=300, cwd=ROOT,
    )  # fmt: skip
    assert process.returncode == 0, process.stdout + process.stderr
    assert "second half: " in process.stdout
    assert int(process.stdout.splitlines()[-2].split()[1]) >= 2, "ended visitors"
    assert "Traceback" not in process.stderr


def test_the_report_says_what_each_visitor_left_behind():
    moments = [
        Moment(60.0 * number, 100 * number, 50, 300_000_000 + 1_000_000 * min(number, 3)) for number in range(11)
    ]
    text = report(Soak(moments, turned_back=2))
    assert text.splitlines()[1].split() == ["0", "0", "50", "300.0"]
    assert "second half: 500 visitors, +0.0 MB, 0.0 kB for each" in text
    assert "2 visitors found 10 others there and turned back" in text
    moments[-1] = Moment(600, 1000, 50, 308_000_000)
    assert "second half: 500 visitors, +5.0 MB, 10.0 kB for each" in report(Soak(moments))
