"""An export with an n-gram table: what is published, measured and refused."""

import json
from dataclasses import replace

import numpy as np
import pytest

from export import ExportOptions, export_model
from export.parity import Measurement
from export.readers import SKIPPING, _failures, prove_readers
from toolkit.datasets.splits import Review, write_reviews
from toolkit.models.bundle import NGRAM_TABLE, Kind, read_manifest
from toolkit.models.publishing import publish
from toolkit.prediction import load_predictor
from toolkit.prediction.combination import NEVER, Combination, NgramReader
from toolkit.prediction.ngrams import NgramTable, ngram_keys
from toolkit.text.labels import SENTIMENT

RULE = Combination(slope=1.0, temperature=1.0, evidence=10.0, certain=0.95, fewest_tokens=4)
WORDS = ("film", "a")  # in the tiny vocabulary; the former is a label's own


@pytest.fixture(scope="module")
def reviews():
    """Half of them say "film film …", positive; half "a a …", negative; a tenth is mislabelled."""
    random = np.random.default_rng(0)
    labels = random.integers(2, size=120)
    texts = [" ".join([WORDS[1 - label]] * int(random.integers(6, 20))) + " of it" for label in labels]
    return [
        Review(text, SENTIMENT[int(label if n % 10 else 1 - label)])
        for n, (text, label) in enumerate(zip(texts, labels, strict=True))
    ]


@pytest.fixture(scope="module")
def reader(tiny_bundle):
    tokenizer = load_predictor("onnx", onnx_model=tiny_bundle).tokenizer
    keys, weights = [], []
    for word, weight in zip(WORDS, (8.0, -8.0), strict=True):
        (ids,) = tokenizer.encode_whole([word])
        found = [key for _, _, each in ngram_keys([ids]) for key in each.tolist()]
        keys += found
        weights += [weight / len(found)] * len(found)
    return NgramReader(
        NgramTable.build(np.array(keys, np.uint64), np.array(weights), np.ones(len(keys)), 1 << 10), RULE
    )


@pytest.fixture(scope="module")
def adapter(tmp_path_factory, tiny_adapter, reader):
    manifest = read_manifest(tiny_adapter, Kind.ADAPTER)
    target = tmp_path_factory.mktemp("read") / "lora_model"
    with publish(target, replace(manifest, ngrams=reader.describe(), files={})) as folder:
        for name in manifest.files:
            (folder / name).write_bytes((tiny_adapter / name).read_bytes())
        reader.table.save(folder / NGRAM_TABLE)
    return target


def test_a_bundle_gets_the_table_and_a_row_for_each_choice_of_readers(adapter, reviews, tmp_path):
    write_reviews(tmp_path / "reviews.csv", reviews)
    result = export_model(
        adapter, tmp_path / "onnx_model", tmp_path / "reviews.csv", options=ExportOptions(small_parity_set=True)
    )
    assert [row.readers for row in result.readers] == ["model", "both", "auto"]
    model, both, auto = result.readers
    assert model.skipped == both.skipped == 0 < auto.skipped
    assert auto.accuracy == pytest.approx(0.9, abs=0.02)
    assert auto.wrong_skipped == pytest.approx(0.1, abs=0.03)
    report = json.loads((result.bundle / "report.json").read_text(encoding="utf-8"))
    assert [row["readers"] for row in report["readers"]] == ["model", "both", "auto"]
    assert report["gates"]["auto"]["wrong"] == SKIPPING.wrong
    assert (result.bundle / NGRAM_TABLE).read_bytes() == (adapter / NGRAM_TABLE).read_bytes()
    predictor = load_predictor("onnx", onnx_model=result.bundle)
    said = list(predictor.predict_many(review.text for review in reviews))
    assert sum(each.read_by == "ngrams" for each in said) / len(said) == auto.skipped
    assert (
        sum(each.label == review.label for each, review in zip(said, reviews, strict=True)) / len(said) == auto.accuracy
    )
    assert read_manifest(result.bundle, Kind.ONNX).ngrams["rule"] == RULE.to_json(), "too few reviews to fit anything"


def test_a_rule_that_errs_too_often_is_switched_off(tiny_bundle, reader, reviews, monkeypatch, caplog):
    """A tenth of what n-grams decide is wrong, and the gate allows a twenty-fifth."""
    monkeypatch.setattr("export.readers.SKIPPING", replace(SKIPPING, reviews=100))
    predictor, reviews = load_predictor("onnx", onnx_model=tiny_bundle), 3 * reviews
    logits = predictor.with_options().logits(predictor.tokenizer.encode([review.text for review in reviews]))
    proof = prove_readers(reader, predictor, predictor.tokenizer, reviews, Measurement(logits, 1.0), 1.0)
    assert proof.reader.rule.certain == NEVER
    assert "auto fails its gate" in caplog.text
    assert "on which the transformer is not asked are wrong, expected at most 4.0%" in caplog.text
    assert proof.rows[2].skipped == 0
    assert proof.rows[2].accuracy == proof.rows[1].accuracy


def test_the_gate_judges_all_each_label_each_half_and_the_loss():
    labels = np.repeat([0, 1], 1000)
    tokens = np.tile([100.0, 300.0], 1000)
    logits = np.stack([1.0 - 2 * labels, 2.0 * labels - 1], axis=1)
    skipped = np.ones(2000, bool)
    assert _failures(logits, logits, labels, skipped, tokens) == []

    def wrong(chosen):
        said = logits.copy()
        said[chosen] *= -1
        return said

    of_all = _failures(wrong(np.arange(0, 2000, 24)), logits, labels, skipped, tokens)
    assert of_all[0].startswith("4.2% of the 2000 reviews on which the transformer is not asked are wrong")
    assert of_all[-1].startswith("accuracy falls by 4.20 points from both to auto, expected at most 0.2")
    one_half = wrong(np.arange(0, 2000, 2)[:75])
    assert [each for each in _failures(one_half, one_half, labels, skipped, tokens) if "shorter half" in each]
    assert not [each for each in _failures(one_half, one_half, labels, skipped, tokens) if "longer half" in each]
    one_label = wrong(np.arange(1000, 1075))  # these are called 0
    assert [each for each in _failures(one_label, one_label, labels, skipped, tokens) if "of label 0" in each]
