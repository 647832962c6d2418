"""What the shipped model says through every door of the shell, as it was recorded: text to the letter, numbers nearly.

Record anew with `TOOLKIT_RECORD=1 python -m pytest tests/test_golden.py`, and read the difference before it is committed.
"""

import json
import os
import re
import shutil
from pathlib import Path

import numpy as np
import pytest

from tests.conftest import ROOT
from toolkit.datasets.splits import read_reviews
from toolkit.prediction import load_predictor

GOLDEN = ROOT / "tests" / "golden"
RECORD = os.environ.get("TOOLKIT_RECORD") == "1"
# Products of int8 and of float32 round differently from processor to processor: a hundredth of a score at most was seen.
TOLERANCE = 0.02

TWO = ("A quiet film that stays with you.", "Nobody on screen seems awake.")
# By name: the arguments, the file that goes to stdin, and the files that are made.
CASES = {
    "predict": (["predict", *TWO], None, []),
    "predict-json": (["predict", "--json", *TWO], None, []),
    "predict-chinese": (["predict", "--lang", "zh", "--uncertain-below", "0.95", *TWO], None, []),
    "predict-stdin": (["predict", "-"], "long.txt", []),
    "predict-window": (["predict", "--json", "--max-length", "128", "--truncation", "window", "-"], "long.txt", []),
    "predict-head": (["predict", "--json", "--max-length", "128", "--truncation", "head", "-"], "long.txt", []),
    "predict-target": (["predict", "--target-accuracy", "0.97", *TWO], None, []),
    "predict-empty": (["predict", " "], None, []),
    "predict-nothing": (["predict"], None, []),
    "predict-no-model": (["predict", "--onnx-model", "nowhere", "A film."], None, []),
    "predict-no-model-chinese": (["predict", "--onnx-model", "nowhere", "--lang", "zh", "A film."], None, []),
    "predict-files-csv": (["predict-files", "reviews.csv", "out.csv"], None, ["out.csv"]),
    "predict-files-jsonl": (["predict-files", "reviews.jsonl", "out.jsonl"], None, ["out.jsonl"]),
    "predict-files-crossed": (
        ["predict-files", "reviews.csv", "out.jsonl", "--prefix", "m_", "--lang", "zh"],
        None,
        ["out.jsonl"],
    ),
    "predict-files-column": (["predict-files", "reviews.csv", "o.csv", "--column", "review"], None, []),
    "filter": (["filter"], "reviews.txt", []),
    "filter-label": (["filter", "--format", "label", "--on-error", "skip"], "reviews.txt", []),
    "filter-jsonl": (["filter", "--jsonl", "--format", "jsonl"], "reviews.jsonl", []),
    "filter-jsonl-csv": (["filter", "--jsonl", "--format", "csv", "--on-error", "skip"], "reviews.jsonl", []),
    "filter-csv": (["filter", "--csv", "--format", "csv", "--prefix", "model_", "reviews.csv"], None, []),
    "filter-keep": (["filter", "--keep", "negative", "--min-score", "0.6", "--on-error", "skip"], "reviews.txt", []),
    "filter-none": (["filter", "--keep", "negative", "--min-score", "0.9999", "--on-error", "skip"], "reviews.txt", []),
    "filter-count": (["filter", "--count", "--strict"], "reviews.txt", []),
    "filter-summary": (["filter", "--summary", "--format", "label", "long.txt"], None, []),
    "evaluate": (["evaluate", "--file", "labelled.csv"], None, []),
    "evaluate-json": (["evaluate", "--file", "labelled.csv", "--json", "--uncertain-below", "0.9"], None, []),
    "evaluate-chinese": (["evaluate", "--file", "labelled.csv", "--lang", "zh"], None, []),
    "dataset-import": (
        ["dataset", "import", "labelled.csv", "--output", "made", "--validation", "0.34", "--test", "0.34"],
        None,
        ["made/train.csv", "made/validation.csv", "made/test.csv"],
    ),
    "dataset-check": (["dataset", "check", str(ROOT / "dataset")], None, []),
    "unknown-command": (["predcit", "A film."], None, []),
}

_NUMBER = re.compile(r"-?\d+\.\d+")
# What a clock says is nobody's to compare.
_TIMES = re.compile(r"\d+\.\d+(?= reviews/s)|(?<=reviews/s, )\d+\.\d+(?= s)|(?<=\"reviews_per_second\": )\d+\.\d+")


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """Where the commands run: a folder with the recorded inputs."""
    if not (ROOT / "onnx_model" / "model.onnx").is_file():
        pytest.skip("no model is shipped in onnx_model/")
    folder = tmp_path_factory.mktemp("golden")
    for path in GOLDEN.iterdir():
        if path.suffix in (".txt", ".csv", ".jsonl"):
            shutil.copyfile(path, folder / path.name)
    return folder


def assert_same(found: str, recorded: str) -> None:
    """Letter by letter, numbers with a decimal point within the tolerance."""
    assert _NUMBER.sub("#", found) == _NUMBER.sub("#", recorded)
    for now, then in zip(_NUMBER.findall(found), _NUMBER.findall(recorded), strict=True):
        assert float(now) == pytest.approx(float(then), abs=TOLERANCE), f"{now}, recorded as {then}"


@pytest.mark.parametrize("name", CASES)
def test_a_command_says_what_it_said(name, folder, toolkit_command, request):
    if name == "dataset-check":
        request.getfixturevalue("minilm")  # whose tokenizer counts; skips where its package is not installed
    arguments, stdin, made = CASES[name]
    content = (folder / stdin).read_bytes() if stdin else b""
    done = toolkit_command(*arguments, stdin=content, cwd=folder, TOOLKIT_ONNX_MODEL=ROOT / "onnx_model")
    parts = {
        "exit code": str(done.returncode),
        "stdout": done.stdout.decode(),
        "stderr": done.stderr.decode(),
        **{path: (folder / path).read_text(encoding="utf-8") for path in made},
    }
    found = "".join(f"--- {part}\n{text.rstrip()}\n" for part, text in parts.items())
    found = _TIMES.sub("TIME", found).replace(str(ROOT), "ROOT")
    recording = GOLDEN / f"{name}.golden"
    if RECORD:
        recording.write_text(found, encoding="utf-8")
    assert_same(found, recording.read_text(encoding="utf-8"))


def test_the_shipped_model_has_its_logits(folder):
    predictor = load_predictor("onnx", onnx_model=ROOT / "onnx_model")
    encodings = predictor.tokenizer.encode([review.text for review in read_reviews(ROOT / "dataset" / "test.csv")])
    logits = predictor.logits(encodings)
    recording = GOLDEN / "logits.json"
    if RECORD:
        recording.write_text(json.dumps(np.round(logits.astype(float), 5).tolist(), indent=0) + "\n")
    expected = np.array(json.loads(recording.read_text()))
    # A logit of the int8 graph moves by up to 0.05 where a rounding falls the other way; these spread over about 6.
    np.testing.assert_allclose(logits, expected, atol=0.1)
    np.testing.assert_allclose(np.abs(logits - expected).mean(), 0, atol=0.02)
