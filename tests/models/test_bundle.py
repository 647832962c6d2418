import hashlib
import json

import pytest

from toolkit.errors import BundleError
from toolkit.models.bundle import Kind, Manifest, read_manifest, reading_length
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
    assert reading_length(bundle, manifest, None) == 256
    assert reading_length(bundle, manifest, 512) == 512


@pytest.mark.parametrize("asked", [2, 513])
def test_a_length_the_model_cannot_read(bundle, asked):
    with pytest.raises(BundleError, match="reads 3 to 512 tokens"):
        reading_length(bundle, read_manifest(bundle, Kind.ONNX), asked)


def test_a_missing_folder_says_so_in_the_documents_words(tmp_path):
    with pytest.raises(BundleError, match=r"找不到 .*nowhere 目录, 请确认模型已正确保存.*toolkit export"):
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
        ({"format": 4}, "newer than the 3 known here"),
        ({"format": None}, "is not a manifest"),
        ({"labels": ["positive", "negative"]}, "orders the labels"),
        ({"kind": "adapter"}, "kind 'adapter', expected 'onnx'"),
        ({"format": True}, "is not a manifest"),
        *(({"max_length": value}, "garbles: max_length") for value in ("many", "12", 12.5, 2, None, True)),
        *(({"temperature": value}, "garbles: temperature") for value in (0, -1, "2", float("inf"), float("nan"), None)),
        *(({"base_model": value}, "garbles: base_model") for value in (None, 5, "")),
        ({"base_model_sha256": 5}, "garbles: base_model_sha256"),
        ({"metrics": [1]}, "garbles: metrics"),
        ({"training": None}, "garbles: training"),
        ({"versions": {"torch": 2}}, "garbles: versions"),
        ({"labels": "negative"}, "garbles: labels"),
        ({"surprise": 1}, "garbles: surprise"),
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
        ("config.json", {"id2label": {"0": "POSITIVE", "1": "NEGATIVE"}}, r"config\.json names the labels"),
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
