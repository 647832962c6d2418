import hashlib
import json
import os
import signal
import subprocess
import sys
import textwrap
import threading

import pytest

from toolkit.errors import BundleError, MissingModelError
from toolkit.models.bundle import (
    REQUIRED_FILES,
    Kind,
    Manifest,
    check_max_length,
    max_positions,
    read_manifest,
    read_stable,
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
        ({"labels": ["positive", "negative"]}, "orders the labels"),
        ({"kind": "adapter"}, "kind 'adapter', expected 'onnx'"),
        ({"format": True}, "is not a manifest"),
        ({"format": 0}, "is not a manifest"),
        ({"format": -1}, "is not a manifest"),
        ({"truncation": "tail"}, "garbles: truncation"),
        *(({"max_length": value}, "garbles: max_length") for value in ("many", "12", 12.5, 2, None, True)),
        *(({"temperature": value}, "garbles: temperature") for value in (0, -1, "2", float("inf"), float("nan"), None)),
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


def test_publishing_replaces_the_old_bundle_whole(bundle):
    (bundle / "left-over").write_text("from the old bundle")
    write_bundle(bundle, b"new")
    assert (bundle / "model.onnx").read_bytes().endswith(b"new")
    assert not (bundle / "left-over").exists()
    assert [path.name for path in bundle.parent.iterdir()] == ["onnx_model"]
    assert bundle.stat().st_mode & 0o777 == 0o777 & ~current_umask()


def current_umask():
    umask = os.umask(0)
    os.umask(umask)
    return umask


def test_a_failing_block_leaves_the_old_bundle(bundle):
    with pytest.raises(RuntimeError, match="no"), publish(bundle, Manifest(Kind.ONNX, "minilm", 256)) as folder:
        (folder / "model.onnx").write_bytes(b"half")
        raise RuntimeError("no")
    read_manifest(bundle, Kind.ONNX)
    assert [path.name for path in bundle.parent.iterdir()] == ["onnx_model"]


def test_an_incomplete_block_is_not_published(tmp_path):
    with (
        pytest.raises(BundleError, match=r"model\.onnx, .* was not written"),
        publish(tmp_path / "new", Manifest(Kind.ONNX, "minilm", 256)),
    ):
        pass
    assert not (tmp_path / "new").exists()


def test_a_killed_publication_leaves_the_old_bundle(bundle):
    script = f"""
        import os, signal
        from pathlib import Path
        from toolkit.models.bundle import REQUIRED_FILES, Kind, Manifest
        from toolkit.models.publishing import publish
        with publish(Path({str(bundle)!r}), Manifest(Kind.ONNX, "minilm", 256)) as folder:
            (folder / "model.onnx").write_bytes(b"half")
            os.kill(os.getpid(), signal.SIGKILL)
    """
    process = subprocess.run([sys.executable, "-c", textwrap.dedent(script)], check=False)
    assert process.returncode == -signal.SIGKILL
    read_manifest(bundle, Kind.ONNX)


KILLED_AT_EVERY_STEP = """
    import os, signal, sys
    from itertools import count
    from pathlib import Path
    from toolkit.models.bundle import REQUIRED_FILES, Kind, Manifest, read_manifest
    from toolkit.models.publishing import publish

    bundle = Path(sys.argv[1])

    def publish_killed_at(step):
        seen = 0
        def kill(event, arguments):
            nonlocal seen
            seen += event.startswith(("os.", "open", "shutil.", "tempfile.", "fcntl.", "ctypes."))
            if seen == step:
                os.kill(os.getpid(), signal.SIGKILL)
        sys.addaudithook(kill)
        with publish(bundle, Manifest(Kind.ONNX, "minilm", 512)) as folder:
            for name in REQUIRED_FILES[Kind.ONNX]:
                (folder / name).write_text('{"new": true}')

    found = []
    for step in count(1):
        child = os.fork()
        if not child:
            publish_killed_at(step)
            os._exit(0)
        status = os.waitpid(child, 0)[1]
        found.append(read_manifest(bundle, Kind.ONNX).max_length)
        if status == 0:
            break
        assert os.WTERMSIG(status) == signal.SIGKILL, status
    print(*found)
"""


def test_killed_at_every_step_there_is_a_whole_bundle(bundle):
    """Every file operation of a publication is its last one once; the old bundle loads, or the new one."""
    old = read_manifest(bundle, Kind.ONNX).max_length
    process = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(KILLED_AT_EVERY_STEP), bundle],
        capture_output=True,
        text=True,
        check=False,
    )
    assert process.returncode == 0, process.stderr
    found = [int(length) for length in process.stdout.split()]
    assert len(found) > 30
    assert set(found) == {old, 512}
    assert sorted(found, key=lambda length: length == 512) == found, "once new, new for good"
    assert [path.name for path in bundle.parent.iterdir()] == ["onnx_model"], "what the killed ones left is swept away"


def test_a_publication_under_way_is_not_swept_away(bundle):
    with publish(bundle, Manifest(Kind.ONNX, "minilm", 300)) as first:
        (first / "model.onnx").write_bytes(b"under way")
        write_bundle(bundle)
        assert (first / "model.onnx").read_bytes() == b"under way"
        for name in REQUIRED_FILES[Kind.ONNX]:
            (first / name).write_text("{}")
    assert read_manifest(bundle, Kind.ONNX).max_length == 300


def test_other_peoples_folders_are_not_replaced(tmp_path):
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(BundleError, match=r"holds other files \(thesis\.tex"):
        write_bundle(tmp_path)
    assert (tmp_path / "thesis.tex").exists()
    with pytest.raises(BundleError, match="is a file"):
        write_bundle(tmp_path / "thesis.tex")


def test_only_a_bundle_of_the_same_kind_is_replaced(tmp_path, bundle):
    (tmp_path / "extension").mkdir()
    (tmp_path / "extension" / "manifest.json").write_text('{"manifest_version": 3, "name": "somebody\'s"}')
    with pytest.raises(BundleError, match="holds other files"):
        write_bundle(tmp_path / "extension")
    with (
        pytest.raises(BundleError, match=r"holds other files .* that publishing an adapter would replace"),
        publish(bundle, Manifest(Kind.ADAPTER, "minilm", 256)),
    ):
        pass
    read_manifest(bundle, Kind.ONNX)


def test_a_damaged_bundle_may_be_replaced(bundle):
    (bundle / "model.onnx").write_bytes(b"broken")
    write_bundle(bundle)
    read_manifest(bundle, Kind.ONNX)


def test_a_link_is_followed_and_stays(tmp_path, bundle):
    (tmp_path / "current").symlink_to(bundle)
    write_bundle(tmp_path / "current", b"new")
    assert (tmp_path / "current").is_symlink()
    assert (bundle / "model.onnx").read_bytes().endswith(b"new")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["current", "onnx_model"]


def test_a_reader_sees_one_bundle_whole_while_others_are_published(bundle):
    """Contents differ by a marker; a mixture would fail the manifest's hashes or pair marker and hash wrongly."""
    publishing = threading.Event()

    def publish_often():
        for number in range(150):
            write_bundle(bundle, str(number).encode())
        publishing.set()

    thread = threading.Thread(target=publish_often)
    thread.start()
    reads = 0
    while not publishing.is_set():
        manifest, content = read_stable(
            bundle, lambda: (read_manifest(bundle, Kind.ONNX), (bundle / "model.onnx").read_bytes())
        )
        assert hashlib.sha256(content).hexdigest() == manifest.files["model.onnx"]["sha256"]
        reads += 1
    thread.join()
    assert reads > 5


def test_a_placeholder_is_replaced(tmp_path):
    (tmp_path / "onnx_model").mkdir()
    (tmp_path / "onnx_model" / "README.md").write_text("filled by toolkit export")
    write_bundle(tmp_path / "onnx_model")
    read_manifest(tmp_path / "onnx_model", Kind.ONNX)


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
