import json
import shutil
from dataclasses import replace

import pytest

from toolkit.errors import BundleError
from toolkit.models import adapter as adapter_module
from toolkit.models.adapter import load_adapter, load_tokenizer, merge_adapter
from toolkit.models.base_models import is_in_hub_cache
from toolkit.models.bundle import Kind, read_manifest, write_manifest
from toolkit.prediction.torch_backend import TorchPredictor


@pytest.fixture
def loose_adapter(tmp_path, tiny_adapter):
    """The tiny adapter without its manifest, as PEFT alone would save it, so that it may be changed."""
    folder = tmp_path / "adapter"
    shutil.copytree(tiny_adapter, folder)
    (folder / "manifest.json").unlink()
    config = json.loads((folder / "adapter_config.json").read_text())
    (folder / "adapter_config.json").write_text(json.dumps(config))
    return folder


def logits(model, tokenizer, texts):
    import torch

    with torch.inference_mode():
        return model(**tokenizer(texts, padding=True, truncation=True, max_length=512, return_tensors="pt")).logits


def test_merging_changes_nothing(tiny_adapter, demo_reviews):
    import torch

    model, _ = load_adapter(tiny_adapter)
    tokenizer = load_tokenizer(tiny_adapter)
    texts = [review.text for review in demo_reviews["test"][:8]]
    before = logits(model, tokenizer, texts)
    merged = merge_adapter(model)
    torch.testing.assert_close(logits(merged, tokenizer, texts), before, atol=1e-5, rtol=1e-5)
    assert not [name for name, _ in merged.named_parameters() if "lora" in name]


def test_what_was_trained_is_what_is_loaded(tiny_adapter, tiny_run, demo_reviews, tiny_dataset):
    from toolkit.datasets.splits import read_reviews
    from toolkit.evaluation.measuring import evaluate
    from toolkit.prediction import load_predictor

    metrics = evaluate(load_predictor("torch", adapter=tiny_adapter), read_reviews(tiny_dataset / "test.csv"))
    assert metrics["accuracy"] == pytest.approx(tiny_run.test["accuracy"])
    assert metrics["roc_auc"] == pytest.approx(tiny_run.test["roc_auc"])


@pytest.mark.parametrize("change", ["missing", "unexpected", "shape"])
def test_keys_that_do_not_fit_are_an_error(loose_adapter, change):
    import torch
    from safetensors.torch import load_file, save_file

    path = loose_adapter / "adapter_model.safetensors"
    state = load_file(path)
    name = next(name for name in state if "lora_A" in name)
    if change == "missing":
        del state[name]
    elif change == "unexpected":
        state[name.replace("layer.0", "layer.9")] = state[name].clone()
    else:
        state[name] = torch.zeros(8, 7)
    save_file(state, path)
    message = {"missing": "1 keys missing", "unexpected": "1 unexpected", "shape": "does not fit its base"}[change]
    with pytest.raises(BundleError, match=message):
        load_adapter(loose_adapter)


def test_a_damaged_file_is_named(loose_adapter):
    (loose_adapter / "adapter_model.safetensors").write_bytes(b"\0" * 100)
    with pytest.raises(BundleError, match=r"adapter_model\.safetensors is damaged"):
        load_adapter(loose_adapter)


def test_a_pickled_adapter_is_not_even_looked_at(loose_adapter):
    path = loose_adapter / "adapter_model.safetensors"
    path.rename(loose_adapter / "adapter_model.bin")
    with pytest.raises(BundleError, match=r"adapter_model\.safetensors missing"):
        load_adapter(loose_adapter)


def test_another_base_is_refused(tiny_adapter, minilm):
    with pytest.raises(BundleError, match="was trained on other weights"):
        load_adapter(tiny_adapter, base_model="minilm")


def test_a_base_recorded_by_a_relative_path_is_found_from_anywhere_and_is_no_name_of_the_hubs(
    tiny_adapter, tiny_base, tmp_path, monkeypatch
):
    """As in a project with `models/tiny/` and `build/lora_model/`, read from a third folder."""
    asked = []
    monkeypatch.setattr(
        "toolkit.models.base_models.hub_snapshot", lambda name, *_, **__: asked.append(name) or tiny_base
    )
    adapter = tmp_path / "project" / "build" / "lora_model"
    shutil.copytree(tiny_adapter, adapter)
    versions = {"distilbert-review-toolkit": "0.2.0"}
    manifest = replace(read_manifest(adapter, Kind.ADAPTER), base_model="models/tiny", versions=versions)
    write_manifest(adapter / "manifest.json", manifest)
    shutil.copytree(tiny_base, tmp_path / "project" / "models" / "tiny")
    (tmp_path / "elsewhere" / "models").mkdir(parents=True)
    shutil.copytree(tiny_base, tmp_path / "elsewhere" / "models" / "tiny")
    (tmp_path / "elsewhere" / "models" / "tiny" / "model.safetensors").write_bytes(b"of another model")
    monkeypatch.chdir(tmp_path / "elsewhere")
    load_adapter(adapter)
    monkeypatch.chdir(tmp_path)
    load_adapter(adapter)
    assert asked == []
    shutil.rmtree(tmp_path / "project" / "models")
    load_adapter(adapter)
    assert asked == ["models/tiny"], "a name of the hub's is one still"
    for versions in ({}, {"distilbert-review-toolkit": "0.1.0"}):
        write_manifest(adapter / "manifest.json", replace(manifest, versions=versions))
        with pytest.raises(
            BundleError, match=r"was trained on models/tiny, .* name the folder with --base-model, or models/tiny"
        ):
            load_adapter(adapter)
    assert asked == ["models/tiny"], "version 0.1 recorded folders so"
    load_adapter(adapter, base_model="models/tiny")
    monkeypatch.setattr("toolkit.models.adapter.is_in_hub_cache", lambda name: name == "models/tiny")
    load_adapter(adapter)
    assert asked == ["models/tiny"] * 3, "whoever has had it from the hub, or says so, means the hub's"


@pytest.mark.parametrize("name", ["models/tiny", "a/b/c", "no such/name"])
def test_what_is_not_in_the_hubs_cache(name, monkeypatch, tmp_path):
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    assert not is_in_hub_cache(name)


@pytest.mark.parametrize(
    "load", [lambda folder: load_adapter(folder)[1], lambda folder: TorchPredictor.load(folder).manifest]
)
def test_an_adapter_that_is_replaced_while_it_is_read_is_read_again(load, tiny_adapter, tmp_path, monkeypatch):
    folder, coming = tmp_path / "lora_model", tmp_path / "coming"
    for place, temperature in ((folder, 1.5), (coming, 2.5)):
        shutil.copytree(tiny_adapter, place)
        manifest = replace(read_manifest(place, Kind.ADAPTER), temperature=temperature)
        write_manifest(place / "manifest.json", manifest)
    whole = adapter_module.load_weights

    def load_weights(*arguments):
        if coming.exists():
            folder.rename(tmp_path / "gone")
            coming.rename(folder)
        return whole(*arguments)

    monkeypatch.setattr(adapter_module, "load_weights", load_weights)
    assert load(folder).temperature == 2.5


@pytest.fixture(scope="module")
def random_distilbert(tmp_path_factory, shared):
    """A DistilBERT of the original's size with random weights, and the real tokenizer."""
    import torch
    from transformers import AutoTokenizer, DistilBertConfig, DistilBertModel

    folder = tmp_path_factory.mktemp("distilbert")
    torch.manual_seed(0)
    DistilBertModel(DistilBertConfig.from_pretrained(shared / "seed_adapter")).save_pretrained(folder)
    AutoTokenizer.from_pretrained(shared / "seed_adapter").save_pretrained(folder)
    return folder


def test_the_documents_own_adapter_loads_merges_and_exports(shared, random_distilbert, tmp_path, tiny_dataset):
    from export import ExportOptions, export_model

    seed = shared / "seed_adapter"
    model, manifest = load_adapter(seed, base_model=str(random_distilbert))  # raises on any missing or unexpected key
    assert manifest.base_model == "distilbert-base-uncased"
    from safetensors.torch import load_file

    name = "distilbert.transformer.layer.3.attention.v_lin.lora_B"
    saved = load_file(seed / "adapter_model.safetensors")[f"base_model.model.{name}.weight"]
    assert (model.get_base_model().get_submodule(name)["default"].weight == saved).all()
    result = export_model(
        seed,
        tmp_path / "onnx_model",
        tiny_dataset / "validation.csv",
        options=ExportOptions(small_parity_set=True, base_model=str(random_distilbert)),
    )
    assert [stage.stage for stage in result.stages] == ["adapter", "merged", "onnx", "fused"]
    assert all(stage.flips == 0 and stage.max_difference <= 1e-3 for stage in result.stages)


def test_padding_goes_to_the_right_whatever_the_base_says(tmp_path, tiny_base):
    """A classifier reads the first token."""
    shutil.copytree(tiny_base, tmp_path / "left")
    path = tmp_path / "left" / "tokenizer_config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "padding_side": "left"}))
    tokenizer = load_tokenizer(tmp_path / "left")
    short, long = tokenizer(["a film", "a quite wonderful film"], padding=True)["attention_mask"]
    assert short[: sum(short)] == long[: sum(short)] == [1] * sum(short)
    assert sum(short) < sum(long)
    tokenizer.save_pretrained(tmp_path / "saved")
    assert json.loads((tmp_path / "saved" / "tokenizer_config.json").read_text())["padding_side"] == "right"


def test_the_pad_token_guard(tmp_path, tiny_base):
    tokenizer = load_tokenizer(tiny_base)
    assert tokenizer.pad_token == "[PAD]"
    assert tokenizer.eos_token is None
    shutil.copytree(tiny_base, tmp_path / "padless")
    for name in ("tokenizer_config.json", "special_tokens_map.json"):
        path = tmp_path / "padless" / name
        content = json.loads(path.read_text())
        content["pad_token"] = None
        path.write_text(json.dumps(content))
    assert load_tokenizer(tmp_path / "padless").pad_token is not None
