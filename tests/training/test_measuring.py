"""Whole splits are read by a converted graph, which torch vouches for, or by torch."""

import numpy as np
import pytest

from toolkit.datasets.splits import read_splits
from toolkit.models.adapter import adapter_tokenizer, load_adapter
from toolkit.prediction.onnx_backend import OnnxPredictor
from toolkit.prediction.torch_backend import TorchPredictor
from toolkit.training import measuring


@pytest.fixture
def asked(tiny_adapter, tiny_dataset, tmp_path, monkeypatch):
    """Measure both splits of a tiny model, and say how many texts each backend read."""
    counts = {OnnxPredictor: 0, TorchPredictor: 0}
    for kind in counts:

        def count(self, encodings, kind=kind, whole=kind.logits):
            counts[kind] += len(encodings)
            return whole(self, encodings)

        monkeypatch.setattr(kind, "logits", count)
    model, manifest = load_adapter(tiny_adapter)
    tokenizer = adapter_tokenizer(tiny_adapter, manifest.max_length, "head-tail")
    read = read_splits(tiny_dataset)
    splits = {split: read[split] for split in ("validation", "test")}
    reviews = sum(map(len, splits.values()))

    def run():
        counts.update(dict.fromkeys(counts, 0))
        logits = measuring.whole_splits(model, tokenizer, manifest, splits, tmp_path / "lora_model")
        assert not list(tmp_path.glob(".*"))  # nothing stays beside the adapter
        assert {split: len(each) for split, each in logits.items()} == {
            split: len(each) for split, each in splits.items()
        }
        return np.concatenate([*logits.values()]), counts[OnnxPredictor], counts[TorchPredictor]

    return run, reviews


def test_many_reviews_are_read_by_the_graph_and_some_by_torch_too(asked, monkeypatch):
    run, reviews = asked
    by_torch, onnx, torch = run()
    assert (onnx, torch) == (0, reviews)  # few, for which a conversion is not worth its time
    monkeypatch.setattr(measuring, "_WORTH_CONVERTING", reviews)
    monkeypatch.setattr(measuring, "_PROOF", 8)
    by_graph, onnx, torch = run()
    assert (onnx, torch) == (reviews + 8, 8)
    np.testing.assert_allclose(by_graph, by_torch, atol=1e-4 * np.abs(by_torch).mean())


def test_where_the_graph_says_something_else_torch_reads_all(asked, monkeypatch, caplog):
    run, reviews = asked
    expected, _, _ = run()
    monkeypatch.setattr(measuring, "_WORTH_CONVERTING", 1)
    whole = OnnxPredictor.logits
    monkeypatch.setattr(OnnxPredictor, "logits", lambda self, encodings: whole(self, encodings) + np.float32(0.01))
    found, _, torch = run()
    assert torch > reviews
    np.testing.assert_array_equal(found, expected)
    assert "torch measures" in caplog.text
