"""What arbitrary bytes are thrown at, each with what has to hold: an answer that adds up, or an error in words.

A target takes bytes and raises AssertionError where something does not hold; any other exception is a crash.
`test_targets.py` has hypothesis draw the bytes, `python -m tests.fuzz` does so for minutes, with atheris where that runs.
"""

import csv
import gzip
import io
import json
import math
import tempfile
import tomllib
from collections.abc import Callable
from functools import cache
from itertools import product
from pathlib import Path

from tests.conftest import ROOT, FakePredictor
from toolkit.chat.texts import TEXTS
from toolkit.chat.uploads import Report, classify_rows, read_upload
from toolkit.datasets.importers import ImportOptions, import_dataset
from toolkit.datasets.splits import read_splits
from toolkit.errors import BundleError, EmptyReviewError, ToolkitError
from toolkit.models.bundle import REQUIRED_FILES, Kind, Manifest, max_positions, read_manifest
from toolkit.models.publishing import publish
from toolkit.prediction import InferenceOptions, Predictor, load_predictor
from toolkit.streaming import ResultWriter, Selection, Source, classify, make_writer, read_records
from toolkit.streaming.files import FileJob, count_rows
from toolkit.text.normalisation import normalise
from toolkit.text.tokenisation import ReviewTokenizer, has_tokens
from toolkit.training.config import TrainingConfig, load_config

INPUTS, OUTPUTS = ("lines", "nul", "jsonl", "csv"), ("tsv", "jsonl", "csv", "label")
MAGIC = (b"\x1f\x8b", b"\x28\xb5\x2f\xfd", b"PK\x03\x04")
ENDINGS = (".csv", ".jsonl", ".parquet", ".csv.gz", ".tar.gz", ".jsonl.zst")
MODEL = ROOT / "onnx_model"


@cache
def real_predictor() -> Predictor:
    return load_predictor("onnx", onnx_model=MODEL, options=InferenceOptions(workers=1))


@cache
def fake_predictor() -> FakePredictor:
    return FakePredictor(Manifest(Kind.ONNX, "fake", 64), ReviewTokenizer.from_file(MODEL / "tokenizer.json", 64))


def predictor(data: bytes) -> None:
    """Any text is empty, or gets one of two labels with a probability, the same every time."""
    text = data.decode("utf-8", "surrogateescape")
    try:
        prediction = real_predictor().predict(text)
    except EmptyReviewError:
        assert not has_tokens(real_predictor().tokenizer.encode_whole([text])[0])
        return
    assert normalise(text)
    assert 0.5 <= prediction.score <= 1
    assert math.isclose(sum(prediction.probabilities.values()), 1, abs_tol=1e-6)
    assert 2 < prediction.tokens_read <= (prediction.tokens if prediction.read_by != "model" else 512)
    assert real_predictor().predict(text) == prediction


def filter_stream(data: bytes) -> None:
    """Every record is answered or complained of, in every format, compressed or not."""
    choice, stream = (data[0], data[1:]) if data else (0, b"")
    input_format, output_format = list(product(INPUTS, OUTPUTS))[choice % 16]
    packed = gzip.compress(stream, 1) if choice & 16 else stream
    complaints: list[str] = []
    results = ResultWriter(
        make_writer(output_format, str, "", b"\n"), Selection(), "report", lambda error: complaints.append(str(error))
    )
    try:
        records = read_records(Source("", io.BytesIO(packed)), input_format, "text")
        written = b"".join(results.write(classify(records, fake_predictor)))
    except ToolkitError as error:
        assert str(error)
        assert "Traceback" not in str(error)
        return
    tally = results.tally
    if choice & 16 or not stream.startswith(MAGIC):
        expected = _records(stream, input_format)
        assert expected is None or tally.kept + tally.problems == max(0, expected)
    if output_format in ("tsv", "label"):
        assert written.count(b"\n") >= tally.kept
        assert len(complaints) == tally.problems
    elif output_format == "jsonl":
        rows = [json.loads(line) for line in written.splitlines()] if written.isascii() else [
            json.loads(line) for line in written.decode("utf-8", "surrogateescape").split("\n")[:-1]]  # fmt: skip
        assert len(rows) == tally.kept + tally.problems
        assert sum("label" in row and "error" not in row for row in rows) == tally.kept


def _records(stream: bytes, input_format: str) -> int | None:
    """Counted another way than the toolkit does; None where opinions differ: other encodings, line ends, separators, arrays."""
    if stream.startswith((b"\xff\xfe", b"\xfe\xff", b"\0\0\xfe\xff")) or (input_format != "nul" and b"\r" in stream):
        return None
    if input_format == "jsonl" and stream.lstrip().startswith(b"["):
        return None
    if input_format == "csv":
        text = stream.decode("utf-8-sig", "surrogateescape")
        if set(";\t|\\").intersection(text):
            return None
        try:
            return len(list(csv.reader(io.StringIO(text, newline=""), strict=True))) - 1
        except csv.Error:
            return None
    end = b"\0" if input_format == "nul" else b"\n"
    pieces = stream.removeprefix(b"\xef\xbb\xbf").split(end)
    return len(pieces) - (pieces[-1] == b"")


def file_of_reviews(data: bytes) -> None:
    """`predict-files`: as many rows out as were counted in, or no file at all."""
    ending = ENDINGS[data[0] % 4] if data else ".csv"
    target_ending = ".parquet" if ending == ".parquet" else (".csv", ".jsonl")[data[0] // 4 % 2] if data else ".csv"
    with tempfile.TemporaryDirectory() as name:
        source, target = Path(name) / f"in{ending}", Path(name) / f"out{target_ending}"
        source.write_bytes(gzip.compress(data[1:], 1) if ending.endswith(".gz") else data[1:])
        try:
            tally = FileJob(source, target).run(fake_predictor)
        except ToolkitError as error:
            assert str(error)
            assert not target.exists()
        else:
            assert count_rows(target) == tally.kept + tally.problems
        assert {path.name for path in Path(name).iterdir()} <= {source.name, target.name}


def importer(data: bytes) -> None:
    """Three splits that hold what the info file says, or nothing."""
    ending = ENDINGS[data[0] % len(ENDINGS)] if data else ".csv"
    with tempfile.TemporaryDirectory() as name:
        source, output = Path(name) / f"in{ending}", Path(name) / "out"
        source.write_bytes(data[1:])
        try:
            info = import_dataset(str(source), output, ImportOptions())
        except ToolkitError as error:
            assert str(error)
            assert not list(output.glob("*"))
            return
        splits = read_splits(output)
        assert {split: len(reviews) for split, reviews in splits.items()} == {
            split: sum(counts.values()) for split, counts in info.counts.items()
        }


def upload(data: bytes) -> None:
    """The app's files: a row for a row, and a CSV of as many."""
    suffix = (".txt", ".csv", ".jsonl")[data[0] % 3] if data else ".txt"
    with tempfile.TemporaryDirectory() as name:
        path = Path(name) / f"in{suffix}"
        path.write_bytes(data[1:])
        try:
            rows = read_upload(path, path.name, TEXTS["en"])
        except ToolkitError as error:
            assert str(error)
            return
        classified = [row for batch in classify_rows(rows, fake_predictor()) for row in batch]
        assert [(each.row.place, each.row.text) for each in classified] == [(row.place, row.text) for row in rows]
        report = Report(rows.columns, fake_predictor().labels)
        report.add(classified)
    table = list(csv.reader(io.StringIO(report.csv().decode("utf-8-sig"), newline="")))
    assert len(table) == len(rows) + 1
    assert {len(row) for row in table} == {len(table[0])}


@cache
def _folder(kind: Kind) -> Path:
    """A folder of a kind with a small file in the place of each that it needs."""
    folder = Path(tempfile.mkdtemp(prefix="fuzz.")) / kind.value
    with publish(folder, Manifest(kind, "minilm", 256)) as staging:
        for name in REQUIRED_FILES[kind]:
            (staging / name).write_text("{}")
    return folder


def manifest_seed() -> bytes:
    return (_folder(Kind.ONNX) / "manifest.json").read_bytes()


def manifest(data: bytes) -> None:
    """It says what it said, or is refused in a line."""
    folder = _folder(Kind.ONNX)
    path = folder / "manifest.json"
    whole, before = path.read_bytes(), read_manifest(folder, Kind.ONNX)
    path.write_bytes(data)
    try:
        assert read_manifest(folder, Kind.ONNX) == before
    except BundleError as error:
        assert len(str(error).splitlines()) == 1
    finally:
        path.write_bytes(whole)


def adapter_config(data: bytes) -> None:
    """An adapter of another's making is described, or refused in a line."""
    folder = _folder(Kind.ADAPTER)
    (folder / "manifest.json").unlink(missing_ok=True)
    for name in ("adapter_config.json", "config.json"):
        (folder / "adapter_config.json").write_text(
            '{"peft_type": "LORA", "task_type": "SEQ_CLS", "base_model_name_or_path": "x"}'
        )
        (folder / "config.json").write_text("{}")
        (folder / name).write_bytes(data)
        try:
            assert read_manifest(folder, Kind.ADAPTER).max_length == max_positions(folder)
        except BundleError as error:
            assert len(str(error).splitlines()) == 1


def toml(data: bytes) -> None:
    """A configuration that stands, or an error in words."""
    with tempfile.TemporaryDirectory() as name:
        path = Path(name) / "config.toml"
        path.write_bytes(data)
        try:
            config = load_config(None, path)
        except ToolkitError as error:
            assert str(error)
            return
        assert isinstance(config, TrainingConfig)
        for key, value in tomllib.loads(data.decode()).items():
            assert getattr(config, key) == (tuple(value) if isinstance(value, list) else value)


ACL = b"text,label\n" + b"".join(b"film number %d,%s\n" % (n, (b"negative", b"positive")[n % 2]) for n in range(40))
JSONL = b"".join(b'{"text": "film number %d", "label": %d}\n' % (n, n % 2) for n in range(40))


def _parquet() -> bytes:
    import pyarrow
    import pyarrow.parquet

    table = pyarrow.table({"text": [f"film {n}" for n in range(40)], "label": [n % 2 for n in range(40)]})
    stream = io.BytesIO()
    pyarrow.parquet.write_table(table, stream)
    return stream.getvalue()


TARGETS: dict[str, tuple[Callable[[bytes], None], Callable[[], list[bytes]]]] = {
    "predictor": (predictor, lambda: ["A <b>quiet</b> film&nbsp;– 电影\u200d\U0001f3ac\u0301".encode(), b"\0\xff\xfe a"]),
    "filter_stream": (filter_stream, lambda: [
        bytes([4 * INPUTS.index(kind) + output]) + body
        for kind, body in (("lines", b"a film\n\nanother"), ("nul", b"a\nfilm\0b\0"), ("jsonl", JSONL[:120]), ("csv", ACL[:90]))
        for output in range(4)
    ]),
    "file_of_reviews": (file_of_reviews, lambda: [b"\0" + ACL, b"\1" + JSONL, b"\2" + _parquet(), b"\3" + ACL]),
    "importer": (importer, lambda: [b"\0" + ACL, b"\1" + JSONL, b"\2" + _parquet(), b"\3" + gzip.compress(ACL)]),
    "upload": (upload, lambda: [b"\0a film\n\nb", b"\1" + ACL, b"\2" + JSONL]),
    "manifest": (manifest, lambda: [manifest_seed()]),
    "adapter_config": (adapter_config, lambda: [
        (ROOT / "lora_model" / "adapter_config.json").read_bytes(), (ROOT / "lora_model" / "config.json").read_bytes()]),
    "toml": (toml, lambda: [
        path.read_bytes() for path in sorted((ROOT / "toolkit" / "training" / "presets").glob("*.toml"))]),
}  # fmt: skip
