import json
import os
import shutil
import signal
import subprocess
import sys

import numpy as np
import pytest

from tests.conftest import ROOT
from toolkit.errors import BundleError, MissingExtraError
from toolkit.models.base_models import MINILM_PACKAGE, minilm_folder, resolve_base_model


def test_minilm_is_exact_against_the_original(minilm, demo_reviews):
    import torch
    from transformers import AutoTokenizer, BertModel, DistilBertModel

    from toolkit.models.base_models import _minilm_package

    original, folded = (
        BertModel.from_pretrained(_minilm_package()).eval(),
        DistilBertModel.from_pretrained(minilm).eval(),
    )
    tokenizer = AutoTokenizer.from_pretrained(minilm)
    batch = tokenizer([review.text for review in demo_reviews["test"][:8]], padding=True, return_tensors="pt")
    assert "token_type_ids" not in batch
    with torch.inference_mode():
        expected = original(**batch).last_hidden_state
        found = folded(**batch).last_hidden_state
    mask = batch["attention_mask"].bool()
    torch.testing.assert_close(found[mask], expected[mask], atol=1e-5, rtol=0)


def test_every_key_of_minilm_is_used(minilm):
    from transformers import DistilBertModel

    _, info = DistilBertModel.from_pretrained(minilm, output_loading_info=True)
    assert not info["missing_keys"]
    assert not info["unexpected_keys"]


def test_minilm_is_folded_once_and_again_when_damaged(minilm, monkeypatch, tmp_path):
    monkeypatch.setenv("TOOLKIT_CACHE", str(tmp_path))
    folder = minilm_folder()
    weights = folder / "model.safetensors"
    written = weights.stat().st_mtime_ns
    assert minilm_folder() == folder
    assert weights.stat().st_mtime_ns == written
    with weights.open("r+b") as stream:
        stream.seek(1_000_000)
        stream.write(b"\0\1\2\3")
    minilm_folder()
    assert weights.read_bytes() == (minilm / "model.safetensors").read_bytes()
    assert [path for path in tmp_path.iterdir() if path.is_dir()] == [folder]
    (folder / "tokenizer.json").write_text("{}")
    minilm_folder()
    assert (folder / "tokenizer.json").read_bytes() == (minilm / "tokenizer.json").read_bytes()


def test_many_processes_fold_minilm_at_once(minilm, tmp_path):
    command = [sys.executable, "-c", "from toolkit.models.base_models import minilm_folder; print(minilm_folder())"]
    environment = {**os.environ, "TOOLKIT_CACHE": str(tmp_path)}
    processes = [subprocess.Popen(command, stdout=subprocess.PIPE, env=environment) for _ in range(4)]
    folders = {process.communicate()[0] for process in processes}
    assert [process.returncode for process in processes] == [0] * 4
    assert len(folders) == 1
    assert len([path for path in tmp_path.iterdir() if path.is_dir()]) == 1


def test_what_a_killed_fold_left_is_swept_by_the_next(minilm, monkeypatch, tmp_path):
    code = (
        "import os, signal\n"
        "from toolkit.models import base_models\n"
        "base_models.fold_config = lambda _: os.kill(os.getpid(), signal.SIGKILL)\n"
        "base_models.minilm_folder()\n"
    )
    killed = subprocess.run(
        [sys.executable, "-c", code], env={**os.environ, "TOOLKIT_CACHE": str(tmp_path)}, cwd=ROOT, check=False
    )
    assert killed.returncode == -signal.SIGKILL
    assert any(path.is_dir() for path in tmp_path.iterdir()), "it was killed before it wrote anything"
    monkeypatch.setenv("TOOLKIT_CACHE", str(tmp_path))
    folder = minilm_folder()
    assert [path for path in tmp_path.iterdir() if path.is_dir()] == [folder]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("model.safetensors", b"\0" * 50, "is damaged"),
        ("config.json", b"[]", "holds a JSON list"),
        ("tokenizer.json", b"{", "is not a readable tokenizer"),
    ],
)
def test_a_damaged_base_is_named(tiny_base, tmp_path, name, content, message):
    from toolkit.models.adapter import load_classifier, load_tokenizer

    shutil.copytree(tiny_base, tmp_path / "base")
    (tmp_path / "base" / name).write_bytes(content)
    with pytest.raises(BundleError, match=message):
        base = resolve_base_model(str(tmp_path / "base"))
        load_tokenizer(base.folder)
        load_classifier(base)


def test_a_tampered_package_is_refused(minilm, monkeypatch, tmp_path):
    package = tmp_path / "package"
    package.mkdir()
    (package / "model.safetensors").write_bytes(b"something else")
    monkeypatch.setenv("TOOLKIT_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("toolkit.models.base_models._minilm_package", lambda: package)
    with pytest.raises(BundleError, match="expected 53aa5117"):
        minilm_folder()


def test_minilm_without_its_package(monkeypatch):
    from importlib import metadata

    def absent(name):
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(metadata, "files", absent)
    with pytest.raises(
        MissingExtraError, match=rf"(?s){MINILM_PACKAGE}.*pip install -c constraints.txt '.\[train,offline\]'"
    ):
        resolve_base_model("minilm")


def test_a_local_folder(tiny_base):
    base = resolve_base_model(str(tiny_base))
    assert base.folder == tiny_base
    assert len(base.sha256) == 64


def test_folders_that_are_no_base(tmp_path):
    with pytest.raises(BundleError, match=r"does not exist.*minilm"):
        resolve_base_model(str(tmp_path / "nowhere"))
    with pytest.raises(BundleError, match=r"lacks config\.json and model\.safetensors and tokenizer\.json"):
        resolve_base_model(str(tmp_path))
    (tmp_path / "tokenizer.json").write_text("{}")
    (tmp_path / "config.json").write_text('{"model_type": "gpt2"}')
    np.save(tmp_path / "model.safetensors", 0)
    (tmp_path / "model.safetensors.npy").rename(tmp_path / "model.safetensors")
    with pytest.raises(BundleError, match="is a 'gpt2', expected one of distilbert, bert, "):
        resolve_base_model(str(tmp_path))


def test_minilms_vocabulary_is_distilberts(minilm, shared):
    assert (minilm / "vocab.txt").read_bytes() == (shared / "seed_adapter" / "vocab.txt").read_bytes()


def test_the_packages_code_is_never_imported():
    sources = [*ROOT.glob("toolkit/**/*.py"), *ROOT.glob("export/**/*.py")]
    assert not [
        path for path in sources if "import gt_all" in path.read_text() or "sentence_transformers" in path.read_text()
    ]


def test_a_relative_folder_is_recorded_by_its_absolute_path(tiny_base, monkeypatch, tmp_path):
    """Another working directory must not take it for a hub's id."""
    (tmp_path / "models").mkdir()
    shutil.copytree(tiny_base, tmp_path / "models" / "tiny")
    monkeypatch.chdir(tmp_path)
    base = resolve_base_model("models/tiny")
    assert base.name == str(tmp_path / "models" / "tiny") == str(base.folder)
    shutil.rmtree(tmp_path / "models")
    with pytest.raises(BundleError, match=r"models/tiny does not exist"):
        resolve_base_model(base.name)


@pytest.mark.parametrize("classes", [1, 3])
def test_a_classifier_of_other_classes_is_named_for_what_it_is(tiny_base, tmp_path, classes):
    import torch
    from safetensors.torch import load_file, save_file

    shutil.copytree(tiny_base, tmp_path / "base")
    weights = load_file(tiny_base / "model.safetensors")
    for expected in (2, classes):
        save_file({**weights, "classifier.weight": torch.zeros(expected, 32)}, tmp_path / "base" / "model.safetensors")
        if expected == 2:
            resolve_base_model(str(tmp_path / "base"))
    with pytest.raises(BundleError, match=f"is a classifier of {classes} classes, expected a model without a head"):
        resolve_base_model(str(tmp_path / "base"))


@pytest.mark.parametrize("problem_type", ["regression", "multi_label_classification"])
def test_what_a_bases_own_head_was_for_does_not_matter(tiny_base, tmp_path, problem_type):
    import torch

    from toolkit.models.adapter import load_classifier

    shutil.copytree(tiny_base, tmp_path / "base")
    config = json.loads((tiny_base / "config.json").read_text())
    (tmp_path / "base" / "config.json").write_text(json.dumps({**config, "problem_type": problem_type}))
    classifier = load_classifier(resolve_base_model(str(tmp_path / "base")))
    ids = torch.tensor([[2, 7, 8, 3]])
    loss = classifier(input_ids=ids, labels=torch.tensor([1])).loss
    assert classifier.config.problem_type == "single_label_classification"
    assert loss.shape == ()
