import hashlib
import json

import pytest

from toolkit.errors import BundleError, MissingModelError
from toolkit.models.bundle import (
    Kind,
    Manifest,
    check_max_length,
    max_positions,
    read_manifest,
)
from toolkit.models.migrations import migrate, migrate_1_to_2, migrate_2_to_3, migrate_3_to_4
from toolkit.models.publishing import publish

FILES = {
    "model.onnx": b"\x08\x01graph",
    "config.json": b'{"max_position_embeddings": 512}',
    "tokenizer.json": b"{}",
    "report.json": b"{}",
}


def write_bundle(target, marker=b""):
    with publish(target, Manifest(Kind.ONNX, "minilm", 256)) as folder:
        for name, content in FILES.items():
            (folder / name).write_bytes(content + (marker if name == "model.onnx" else b""))


@pytest.fixture
def bundle(tmp_path):
    write_bundle(tmp_path / "onnx_model")
    return tmp_path / "onnx_model"


def edit_manifest(bundle, **changes):
    """As somebody would who has the manifest's own digest made anew."""
    content = json.loads((bundle / "manifest.json").read_text()) | changes
    del content["sha256"]
    canonical = json.dumps(content, sort_keys=True, separators=(",", ":"))
    content["sha256"] = hashlib.sha256(canonical.encode()).hexdigest()
    (bundle / "manifest.json").write_text(json.dumps(content))


def test_round_trip(bundle):
    manifest = read_manifest(bundle, Kind.ONNX)
    assert (manifest.base_model, manifest.max_length, manifest.temperature) == ("minilm", 256, 1.0)
    assert set(manifest.files) == set(FILES)
    assert manifest.truncation == "head-tail"


@pytest.mark.parametrize("asked", [2, 513])
def test_a_length_the_model_cannot_read(bundle, asked):
    assert check_max_length(512, max_positions(bundle)) == 512
    with pytest.raises(BundleError, match="reads 3 to 512 tokens"):
        check_max_length(asked, max_positions(bundle))


def test_a_missing_folder_is_named_with_the_command_that_makes_one(tmp_path):
    with pytest.raises(MissingModelError, match=r"nowhere not found; make it with: toolkit export"):
        read_manifest(tmp_path / "nowhere", Kind.ONNX)


@pytest.mark.parametrize("name", FILES)
def test_every_file_is_verified(bundle, name):
    path = bundle / name
    content = bytearray(path.read_bytes())
    content[0] ^= 1  # one bit
    path.write_bytes(content)
    with pytest.raises(BundleError, match=f"{name} does not match its SHA-256"):
        read_manifest(bundle, Kind.ONNX)
    path.write_bytes(content[:-1])
    with pytest.raises(BundleError, match=f"{name} has {len(content) - 1} bytes, expected {len(content)}"):
        read_manifest(bundle, Kind.ONNX)
    path.unlink()
    with pytest.raises(BundleError, match=name):
        read_manifest(bundle, Kind.ONNX)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"format": 5}, "newer than the 4 known here"),
        ({"format": None}, "is not a manifest"),
        ({"labels": ["positive"]}, "garbles the labels: 1 labels, expected 2 to 200"),
        ({"labels": ["a", "a"]}, "garbles the labels: the label 'a' occurs twice"),
        ({"labels": ["a", "b"], "displays": {"zh": {"c": "x"}}}, "garbles the labels: a word for the label 'c'"),
        ({"displays": {"zh": {"positive": 1}}}, "garbles: displays"),
        ({"uncertain_below": 0.4}, "garbles: uncertain_below"),
        ({"kind": "adapter"}, "kind 'adapter', expected 'onnx'"),
        ({"format": True}, "is not a manifest"),
        ({"format": 0}, "is not a manifest"),
        ({"format": -1}, "is not a manifest"),
        ({"truncation": "tail"}, "garbles: truncation"),
        *(({"max_length": value}, "garbles: max_length") for value in ("many", "12", 12.5, 2, None, True)),
        *(
            ({"temperature": value}, "garbles: temperature")
            for value in (0, -1, "2", 5e-324, 10**400, float("inf"), None)
        ),
        *(({"base_model": value}, "garbles: base_model") for value in (None, 5, "")),
        ({"base_model_sha256": 5}, "garbles: base_model_sha256"),
        ({"metrics": [1]}, "garbles: metrics"),
        ({"training": None}, "garbles: training"),
        ({"versions": {"torch": 2}}, "garbles: versions"),
        ({"labels": "negative"}, "garbles: labels"),
        ({"surprise": 1, "format": 3}, "garbles: surprise"),
        ({"files": {}}, "does not list"),
        *(
            ({"files": value}, "garbles: files")
            for value in (
                [],
                None,
                {"model.onnx": "x"},
                {"model.onnx": {"sha256": "x"}},
                {"../../etc/hostname": {"sha256": "x", "bytes": 1}},
                {"/etc/hostname": {"sha256": "x", "bytes": 1}},
            )
        ),
    ],
)
def test_a_manifest_that_cannot_be_right(bundle, changes, message):
    edit_manifest(bundle, **changes)
    with pytest.raises(BundleError, match=message):
        read_manifest(bundle, Kind.ONNX)


def in_format(bundle, number):
    """Write the bundle's manifest as the toolkit wrote it when formats had this number."""
    content = json.loads((bundle / "manifest.json").read_text())
    content |= {"format": number, "uncertain_below": 0.7, "reading": content.pop("truncation")}
    if number < 3:
        del content["sha256"]
    if number < 2:
        for name in ("reading", "uncertain_below", "risk_coverage"):
            del content[name]
    (bundle / "manifest.json").write_text(json.dumps(content))
    if number >= 3:
        edit_manifest(bundle)


@pytest.mark.parametrize("number", [1, 2, 3])
def test_a_manifest_of_an_earlier_format_is_read(bundle, number):
    in_format(bundle, number)
    manifest = read_manifest(bundle, Kind.ONNX)
    assert (manifest.truncation, manifest.format) == ("head-tail", 4)
    assert manifest.uncertain_below == (0.5 if number == 1 else 0.7)


@pytest.mark.parametrize("number", [1, 2, 3])
def test_an_earlier_format_has_every_field(bundle, number):
    in_format(bundle, number)
    content = json.loads((bundle / "manifest.json").read_text())
    del content["temperature"]
    (bundle / "manifest.json").write_text(json.dumps(content))
    if number >= 3:
        edit_manifest(bundle)
    with pytest.raises(BundleError, match="lacks or garbles: temperature"):
        read_manifest(bundle, Kind.ONNX)


def test_each_migration_takes_one_step():
    first = {"format": 1, "kind": "onnx"}
    second = {"format": 2, "kind": "onnx", "reading": "head-tail", "uncertain_below": 0.5, "risk_coverage": []}
    assert migrate_1_to_2(first) == second
    assert migrate_2_to_3(second) == second | {"format": 3}
    assert migrate_3_to_4({"format": 3, "reading": "head"}) == {"format": 4, "truncation": "head"}
    assert migrate({"format": 4, "truncation": "window"}) == {"format": 4, "truncation": "window"}


def test_a_later_field_needs_no_new_format(bundle):
    edit_manifest(bundle, a_later_field=1)
    before = read_manifest(bundle, Kind.ONNX)
    content = json.loads((bundle / "manifest.json").read_text())
    for name in ("temperature", "labels", "truncation", "risk_coverage", "metrics"):
        del content[name]
    (bundle / "manifest.json").write_text(json.dumps(content))
    edit_manifest(bundle)
    assert read_manifest(bundle, Kind.ONNX) == before
    del content["max_length"]
    (bundle / "manifest.json").write_text(json.dumps(content))
    edit_manifest(bundle)
    with pytest.raises(BundleError, match="lacks or garbles: max_length"):
        read_manifest(bundle, Kind.ONNX)


def test_a_manifest_that_is_no_json(bundle):
    (bundle / "manifest.json").write_text("{")
    with pytest.raises(BundleError, match=r"manifest\.json is not valid JSON"):
        read_manifest(bundle, Kind.ONNX)


def test_an_adapter_made_elsewhere_is_described_from_its_own_files(shared):
    manifest = read_manifest(shared / "seed_adapter", Kind.ADAPTER)
    assert manifest.base_model == "distilbert-base-uncased"
    assert manifest.max_length == 512


@pytest.fixture
def foreign_adapter(tmp_path):
    for name in ("adapter_model.safetensors", "tokenizer.json"):
        (tmp_path / name).write_text("")
    adapter = {"peft_type": "LORA", "task_type": "SEQ_CLS", "base_model_name_or_path": "x"}
    (tmp_path / "adapter_config.json").write_text(json.dumps(adapter))
    (tmp_path / "config.json").write_text("{}")
    return tmp_path


def test_an_adapter_made_elsewhere(foreign_adapter):
    assert read_manifest(foreign_adapter, Kind.ADAPTER).max_length == 512


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("config.json", {"id2label": {"0": "A", "1": "A"}}, r"config\.json garbles the labels: .* occurs twice"),
        ("config.json", {"id2label": ["NEGATIVE", "POSITIVE"]}, r"config\.json names the labels"),
        ("config.json", {"id2label": {"a": "NEGATIVE"}}, r"config\.json names the labels"),
        ("config.json", {"max_position_embeddings": None}, "max_position_embeddings None"),
        ("config.json", {"max_position_embeddings": "many"}, "max_position_embeddings 'many'"),
        ("config.json", [], "holds a JSON list, expected an object"),
        ("adapter_config.json", [], "holds a JSON list, expected an object"),
        ("adapter_config.json", {"peft_type": "IA3"}, "peft_type 'IA3', expected 'LORA'"),
        ("adapter_config.json", {"peft_type": "LORA", "task_type": "CAUSAL_LM"}, "task_type 'CAUSAL_LM'"),
        ("adapter_config.json", {"peft_type": "LORA", "task_type": "SEQ_CLS"}, "names no base model"),
    ],
)
def test_an_adapter_made_elsewhere_that_cannot_be_used(foreign_adapter, name, content, message):
    (foreign_adapter / name).write_text(json.dumps(content))
    with pytest.raises(BundleError, match=message):
        read_manifest(foreign_adapter, Kind.ADAPTER)


@pytest.mark.parametrize(
    ("id2label", "labels"),
    [
        ({}, ("negative", "positive")),
        ({"0": "LABEL_0", "1": "LABEL_1"}, ("negative", "positive")),
        ({"0": "NEGATIVE", "1": "POSITIVE"}, ("negative", "positive")),
        ({"0": "neg", "1": "pos"}, ("negative", "positive")),
        ({"0": "Neg", "1": "POSITIVE"}, ("negative", "positive")),
        ({"0": "POSITIVE", "1": "NEGATIVE"}, ("POSITIVE", "NEGATIVE")),
        ({"0": "pos", "1": "neg"}, ("pos", "neg")),
        ({"0": "1", "1": "2"}, ("1", "2")),
        ({"0": "neg", "1": "pos", "2": "neutral"}, ("neg", "pos", "neutral")),
        ({"0": "toxic", "1": "fine", "2": "不明"}, ("toxic", "fine", "不明")),
        ({str(index): f"LABEL_{index}" for index in range(11)}, tuple(f"LABEL_{index}" for index in range(11))),
    ],
)
def test_an_adapter_made_elsewhere_has_the_names_of_its_configuration(foreign_adapter, id2label, labels):
    (foreign_adapter / "config.json").write_text(json.dumps({"id2label": id2label}))
    manifest = read_manifest(foreign_adapter, Kind.ADAPTER)
    assert (manifest.labels, manifest.label_set.names) == (labels, labels)
    assert manifest.uncertain_below == manifest.label_set.lowest_score
