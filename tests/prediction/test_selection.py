import logging

import pytest

from toolkit.errors import BundleError
from toolkit.prediction import load_predictor, selection
from toolkit.prediction.selection import choose_backend


@pytest.fixture
def with_gpu(monkeypatch):
    monkeypatch.setattr(selection, "sees_gpu", lambda: True)


@pytest.fixture
def without_gpu(monkeypatch):
    monkeypatch.setattr(selection, "sees_gpu", lambda: False)


def test_a_gpu_and_an_adapter_make_torch(with_gpu, tiny_adapter, monkeypatch):
    monkeypatch.setenv("TOOLKIT_ADAPTER", str(tiny_adapter))
    choice = choose_backend("auto")
    assert (choice.backend, choice.folder) == ("torch", tiny_adapter)
    assert "GPU" in choice.reason


def test_no_adapter_makes_onnx(with_gpu, tmp_path, monkeypatch):
    monkeypatch.setenv("TOOLKIT_ADAPTER", str(tmp_path))
    choice = choose_backend("auto")
    assert choice.backend == "onnx"
    assert "no adapter at" in choice.reason


def test_no_gpu_makes_onnx(without_gpu, tiny_adapter, monkeypatch):
    monkeypatch.setenv("TOOLKIT_ADAPTER", str(tiny_adapter))
    choice = choose_backend("auto")
    assert (choice.backend, choice.reason) == ("onnx", "torch sees no GPU")


def test_no_torch_makes_onnx(tiny_adapter, monkeypatch):
    monkeypatch.setattr(selection.importlib.util, "find_spec", lambda name: None)
    monkeypatch.setenv("TOOLKIT_ADAPTER", str(tiny_adapter))
    assert choose_backend("auto").reason == "torch is not installed"


def test_a_named_bundle_alone_makes_onnx(with_gpu, tiny_adapter, tiny_bundle, monkeypatch):
    monkeypatch.setenv("TOOLKIT_ADAPTER", str(tiny_adapter))
    assert choose_backend("auto", onnx_model=tiny_bundle).backend == "onnx"


def test_a_named_adapter_alone_makes_torch(without_gpu, tiny_adapter, tiny_bundle, monkeypatch):
    monkeypatch.setenv("TOOLKIT_ONNX_MODEL", str(tiny_bundle))
    assert choose_backend("auto", adapter=tiny_adapter).backend == "torch"


def test_the_order_of_places(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    package = tmp_path / "site-packages" / "toolkit"
    monkeypatch.setattr(selection, "_PACKAGE", package)
    assert str(choose_backend("onnx").folder) == "onnx_model"
    (package / "onnx_model").mkdir(parents=True)
    assert choose_backend("onnx").folder == package / "onnx_model"
    (tmp_path / "onnx_model").mkdir()
    assert str(choose_backend("onnx").folder) == "onnx_model"
    monkeypatch.setenv("TOOLKIT_ONNX_MODEL", "from/environment")
    assert str(choose_backend("onnx").folder) == "from/environment"
    assert choose_backend("onnx", onnx_model=tmp_path).folder == tmp_path


def test_a_checkout_has_its_model_beside_the_package(monkeypatch, tmp_path):
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    monkeypatch.setattr(selection, "_PACKAGE", tmp_path / "toolkit")
    (tmp_path / "onnx_model").mkdir()
    assert str(choose_backend("onnx").folder) == "onnx_model", "somebody else's folder in site-packages"
    (tmp_path / "pyproject.toml").touch()
    assert choose_backend("onnx").folder == tmp_path / "onnx_model"


def test_the_reason_is_logged(tiny_bundle, caplog):
    with caplog.at_level(logging.INFO, logger="toolkit"):
        load_predictor("onnx", onnx_model=tiny_bundle)
    assert "backend onnx from" in caplog.text
    assert "asked for" in caplog.text


def test_an_unknown_backend():
    with pytest.raises(ValueError, match="auto, onnx, torch"):
        load_predictor("tensorflow")


def test_nothing_there(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(selection, "_PACKAGE", tmp_path / "toolkit")
    with pytest.raises(BundleError, match="onnx_model not found; make it with: toolkit export"):
        load_predictor()
    with pytest.raises(BundleError, match="lora_model not found; train it with: toolkit train"):
        load_predictor("torch")
