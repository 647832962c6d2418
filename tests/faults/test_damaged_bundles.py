"""Every file of both kinds of folder, damaged at several places: refused in one line, or nothing that matters is changed."""

import shutil

import pytest

from toolkit.errors import BundleError
from toolkit.models.bundle import Kind, read_manifest
from toolkit.prediction import load_predictor

TEXT = "A quiet, generous film."


@pytest.fixture(params=["onnx_model", "lora_model"])
def load(request, tmp_path, tiny_bundle, tiny_adapter):
    """A copy of a folder of each kind and a function that loads it."""
    if request.param == "onnx_model":
        shutil.copytree(tiny_bundle, tmp_path / "onnx_model")
        return tmp_path / "onnx_model", lambda folder: load_predictor("onnx", onnx_model=folder)
    shutil.copytree(tiny_adapter, tmp_path / "lora_model")
    return tmp_path / "lora_model", lambda folder: load_predictor("torch", adapter=folder)


def files(folder):
    found = sorted(path for path in folder.rglob("*") if path.is_file())
    assert len(found) >= 6
    return found


def assert_refused(load, folder, what):
    with pytest.raises(BundleError) as caught:
        load(folder)
    assert len(str(caught.value).splitlines()) == 1, what


def test_a_flipped_bit_anywhere_is_found(load):
    folder, load = load
    answer = load(folder).predict(TEXT)
    for path in files(folder):
        whole = path.read_bytes()
        for place in sorted({0, 1, len(whole) // 3, len(whole) // 2, len(whole) - 2, len(whole) - 1}):
            damaged = bytearray(whole)
            damaged[place] ^= 1 << place % 8
            path.write_bytes(damaged)
            try:
                assert load(folder).predict(TEXT) == answer, f"{path.name} at {place}"
                assert path.name == "manifest.json", f"{path.name} at {place}"
            except BundleError as error:
                assert len(str(error).splitlines()) == 1
        path.write_bytes(whole)
    assert load(folder).predict(TEXT) == answer


def test_a_manifest_may_lose_a_space_but_no_letter(load):
    """Every byte of it in turn: what still loads says the same."""
    folder, _ = load
    kind = Kind.ONNX if folder.name == "onnx_model" else Kind.ADAPTER
    path = folder / "manifest.json"
    whole, manifest = path.read_bytes(), read_manifest(folder, kind)
    refused = 0
    for place in range(len(whole)):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 4]) + whole[place + 1 :])
        try:
            assert read_manifest(folder, kind) == manifest, place
        except BundleError:
            refused += 1
    assert refused > len(whole) / 2


def test_a_truncated_file_is_found(load):
    folder, load = load
    for path in files(folder):
        whole = path.read_bytes()
        for size in (0, 1, len(whole) // 2, len(whole) - 1):
            path.write_bytes(whole[:size])
            if path.name == "manifest.json" and whole[size:].strip() == b"":
                continue  # a line's end is no loss
            assert_refused(load, folder, f"{path.name}: {size} bytes")
        path.unlink()
        if path.name != "manifest.json" or folder.name == "onnx_model":  # PEFT's own adapters have no manifest
            assert_refused(load, folder, f"{path.name} missing")
        path.write_bytes(whole)


def test_a_file_of_another_model_is_found(load):
    """Also one of the same size in the place of the other."""
    folder, load = load
    every = files(folder)
    for path, other in zip(every, [*every[1:], every[0]], strict=True):
        whole = path.read_bytes()
        path.write_bytes(other.read_bytes())
        assert_refused(load, folder, f"{other.name} as {path.name}")
        path.write_bytes((other.read_bytes() * (len(whole) // max(1, other.stat().st_size) + 1))[: len(whole)])
        assert_refused(load, folder, f"{other.name} as {path.name}, of its size")
        path.write_bytes(whole)


def test_weights_damaged_under_a_manifest_that_agrees_are_one_line(load):
    """What a disk, a download or a person can do to an adapter or a graph before its digest is taken."""
    folder, load = load
    (folder / "manifest.json").unlink()
    weights = folder / "adapter_model.safetensors"
    if not weights.exists():
        assert_refused(load, folder, "no manifest")
        return
    whole = weights.read_bytes()
    for damaged in (b"", whole[:7], whole[: len(whole) // 2], b"\xff" * 8 + whole[8:], b"\0" * len(whole)):
        weights.write_bytes(damaged)
        assert_refused(load, folder, damaged[:8])
