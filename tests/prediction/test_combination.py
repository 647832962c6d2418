"""Two readers, one answer: the rule, and predictors that follow it."""

import pickle
from dataclasses import replace

import numpy as np
import pytest

from toolkit.errors import BundleError
from toolkit.models.bundle import NGRAM_TABLE, Kind, read_manifest
from toolkit.models.publishing import publish
from toolkit.prediction import Abstention, InferenceOptions, load_predictor
from toolkit.prediction.combination import Combination, NgramReader
from toolkit.prediction.ngrams import NgramScores, NgramTable, ngram_keys

RULE = Combination(slope=2.0, exponent=0.5, temperature=2.0, weight=0.5, evidence=50.0, certain=0.9, fewest_tokens=20,
                   least_familiar=0.5, unfamiliar_below=0.3)  # fmt: skip


def scores(margin, familiarity=1.0):
    return NgramScores(np.array([[-margin / 2, margin / 2]]), np.array([familiarity]))


def test_n_grams_alone_are_calibrated_by_length():
    np.testing.assert_allclose(RULE.alone(scores(3.0), np.array([100.0])), [[-3, 3]])
    np.testing.assert_allclose(RULE.alone(scores(3.0), np.array([400.0])), [[-1.5, 1.5]])


def test_in_a_short_text_n_grams_weigh_less():
    logits = np.array([[1.0, -1.0]])
    np.testing.assert_allclose(RULE.together(scores(3.0), np.array([100.0]), logits), [[-1.0, 1.0]])
    np.testing.assert_allclose(RULE.together(scores(3.0), np.array([25.0]), logits), [[0.75 - 1.5, -0.75 + 1.5]])
    np.testing.assert_allclose(RULE.together(scores(0.0), np.array([25.0]), logits), [[0.75, -0.75]])


def test_without_evidence_the_sum_is_what_the_transformer_says_alone():
    logits, rule = np.array([[1.0, -1.0]]), replace(RULE, exponent=0.0, model_temperature=4.0)
    np.testing.assert_allclose(rule.together(scores(3.0), np.array([1e-9]), logits), [[0.25, -0.25]], rtol=1e-6)
    np.testing.assert_allclose(rule.together(scores(0.0), np.array([25.0]), logits), [[0.375, -0.375]])
    np.testing.assert_allclose(
        rule.rescaled(3.0).together(scores(0.0), np.array([25.0]), 3 * logits), [[0.375, -0.375]]
    )


@pytest.mark.parametrize(
    ("margin", "tokens", "familiarity", "decided"),
    [
        (1.2, 100, 1, True),
        (1.0, 100, 1, False),
        (-1.2, 100, 1, True),
        (9, 19, 1, False),
        (9, 20, 1, True),
        (9, 99, 0.4, False),
    ],
)
def test_n_grams_decide_what_they_are_sure_of_in_a_text_long_and_familiar_enough(margin, tokens, familiarity, decided):
    assert RULE.suffices(scores(margin, familiarity), np.array([float(tokens)])).tolist() == [decided]


@pytest.mark.parametrize(
    "change", [{"slope": "2"}, {"slope": 0}, {"temperature": -1}, {"certain": float("nan")}, {"more": 1}]
)
def test_a_garbled_rule_is_refused(change):
    assert Combination.from_json(RULE.to_json()) == RULE
    assert Combination.from_json(replace(RULE, model_temperature=3.0).to_json()) == RULE, "the manifest has it once"
    with pytest.raises(ValueError, match="expected"):
        Combination.from_json({**RULE.to_json(), **change})


SURE = "A wonderful quiet film that stays with you and never lets you down, and I would see it again."
UNSURE = "The getaway is terrific, and the rest of it is a milk float on a frozen canal and nothing else."


@pytest.fixture(scope="module")
def folders(tmp_path_factory, tiny_bundle, tiny_adapter, demo_reviews):
    """The tiny bundle and adapter with a table that knows the demo's n-grams and is sure of those with "wonderful"."""
    predictor = load_predictor("onnx", onnx_model=tiny_bundle)
    (marked,) = predictor.tokenizer.encode_whole(["wonderful"])
    sequences = predictor.tokenizer.encode_whole([review.text for review in demo_reviews["train"]] + [SURE, UNSURE])
    keys = np.unique(np.concatenate([keys for _, _, keys in ngram_keys(sequences)]))
    sure = np.concatenate([keys for _, _, keys in ngram_keys([marked])])[-1:]
    table = NgramTable.build(
        np.union1d(keys, sure), 8.0 * np.isin(np.union1d(keys, sure), sure), np.ones(len(keys)), 1 << 18
    )
    reader = NgramReader(table, replace(RULE, certain=0.99, fewest_tokens=10))
    found = {}
    for kind, source in ((Kind.ONNX, tiny_bundle), (Kind.ADAPTER, tiny_adapter)):
        manifest = read_manifest(source, kind)
        found[kind] = tmp_path_factory.mktemp("readers") / source.name
        with publish(found[kind], replace(manifest, ngrams=reader.describe(), files={})) as folder:
            for name in manifest.files:
                (folder / name).write_bytes((source / name).read_bytes())
            table.save(folder / NGRAM_TABLE)
    return found


@pytest.fixture(params=["onnx", "torch"])
def predictor(request, folders):
    return load_predictor(request.param, onnx_model=folders[Kind.ONNX], adapter=folders[Kind.ADAPTER])


def test_who_read_it_is_said_and_every_choice_of_readers_is_followed(predictor):
    by = {readers: [each.read_by for each in predictor.with_options(readers=readers).predict_many([SURE, UNSURE])]
          for readers in ("auto", "both", "model")}  # fmt: skip
    assert by == {"auto": ["ngrams", "both"], "both": ["both", "both"], "model": ["model", "model"]}
    assert all(each.familiarity > 0.9 for each in predictor.predict_many([SURE, UNSURE])), "which the table has seen"


def test_the_answer_is_the_calibrated_sum(predictor):
    auto, model = predictor.predict(UNSURE), predictor.with_options(readers="model").predict(UNSURE)
    share = len(*predictor.tokenizer.encode_whole([UNSURE])) / 50
    factor = share / 2 + (1 - share) / predictor.manifest.temperature  # no weight, and a temperature of 2 in the sum
    np.testing.assert_allclose(auto.logits, np.array(model.logits) * predictor.manifest.temperature * factor, atol=1e-5)
    sure = predictor.predict(SURE)
    (ids,) = predictor.tokenizer.encode_whole([SURE])
    assert sure.logits[1] - sure.logits[0] == pytest.approx(8 * 2 * (len(ids) / 100) ** -0.5, rel=0.02)
    assert (sure.label.name, sure.tokens_read) == ("positive", len(ids))
    both = predictor.with_options(readers="both").predict(SURE)
    alone = predictor.with_options(readers="model").predict(SURE)
    share = len(ids) / 50
    factor = predictor.manifest.temperature * share / 2 + 1 - share
    expected = np.array(alone.logits) * factor + 0.5 * share * np.array(sure.logits)
    np.testing.assert_allclose(both.logits, expected, atol=1e-4)


def test_both_backends_read_alike(folders):
    onnx, torch = (load_predictor(backend, onnx_model=folders[Kind.ONNX], adapter=folders[Kind.ADAPTER])
                   for backend in ("onnx", "torch"))  # fmt: skip
    texts = [SURE, UNSURE, "a film", SURE + UNSURE]
    for first, second in zip(onnx.predict_many(texts), torch.predict_many(texts), strict=True):
        assert (first.read_by, first.familiarity) == (second.read_by, second.familiarity)
        np.testing.assert_allclose(first.logits, second.logits, atol=1e-4)


def test_a_score_does_not_depend_on_the_company(folders):
    predictor = load_predictor("onnx", onnx_model=folders[Kind.ONNX])
    texts = [SURE, UNSURE, "a film", SURE + UNSURE] * 5
    together = list(predictor.predict_many(texts))
    assert together == [predictor.predict(text) for text in texts]
    assert together[::-1] == list(predictor.predict_many(texts[::-1]))


def test_a_text_unlike_what_was_learnt_is_uncertain_and_says_so(predictor):
    odd = "qx zv qx zv xq vz xq vz qx zv"
    prediction = predictor.predict(odd)
    assert (prediction.verdict, prediction.reason) == ("uncertain", "unfamiliar")
    assert prediction.familiarity < 0.3
    assert prediction.to_dict()["reason"] == "unfamiliar"
    answered = predictor.with_options(abstention=Abstention(any_text=True)).predict(odd)
    assert (answered.verdict, answered.reason) == (answered.label.name, None)
    assert answered.logits == prediction.logits


def test_an_empty_text_among_others_is_no_answer(predictor):
    answers = list(predictor.predict_each([SURE, " ", "👍", UNSURE]))
    assert [answer and answer.read_by for answer in answers] == ["ngrams", None, None, "both"]


def test_a_model_without_a_table_reads_alone_whatever_is_asked(tiny_bundle):
    predictor = load_predictor("onnx", onnx_model=tiny_bundle, options=InferenceOptions(readers="both"))
    prediction = predictor.predict(SURE)
    assert (predictor.readers, prediction.read_by, prediction.familiarity) == ("model", "model", None)
    assert "familiarity" not in prediction.to_dict()


def test_the_graph_is_verified_when_it_is_needed_and_no_earlier(folders, tmp_path):
    bundle = tmp_path / "onnx_model"
    bundle.mkdir()
    for path in folders[Kind.ONNX].iterdir():
        (bundle / path.name).write_bytes(path.read_bytes())
    graph = bundle / "model.onnx"
    content = bytearray(graph.read_bytes())
    content[len(content) // 2] ^= 1
    graph.write_bytes(content)
    predictor = load_predictor("onnx", onnx_model=bundle)
    assert predictor.predict(SURE).read_by == "ngrams"
    for use in (lambda: predictor.predict(UNSURE), predictor.prepare):
        with pytest.raises(BundleError, match="does not match its SHA-256"):
            use()
    for readers in ("both", "model"):
        with pytest.raises(BundleError, match="does not match its SHA-256"):
            load_predictor("onnx", onnx_model=bundle, options=InferenceOptions(readers=readers))


def test_a_damaged_table_is_found_at_once(folders, tmp_path):
    for path in folders[Kind.ONNX].iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    content = bytearray((tmp_path / NGRAM_TABLE).read_bytes())
    content[-1] ^= 1
    (tmp_path / NGRAM_TABLE).write_bytes(content)
    with pytest.raises(BundleError, match=r"ngrams.npy does not match its SHA-256"):
        load_predictor("onnx", onnx_model=tmp_path)


def test_a_process_whose_reviews_n_grams_decide_never_imports_onnxruntime(folders, toolkit_command, tmp_path):
    code = f"""
import sys
from toolkit.prediction import load_predictor
predictor = load_predictor("onnx", onnx_model={str(folders[Kind.ONNX])!r})
assert predictor.predict({SURE!r}).read_by == "ngrams"
assert not {{"onnxruntime", "torch", "sklearn", "scipy"}} & sys.modules.keys(), sys.modules.keys()
predictor.predict({UNSURE!r})
assert "onnxruntime" in sys.modules
"""
    import subprocess
    import sys

    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_pickled_predictor_keeps_its_readers(predictor):
    view = predictor.with_options(readers="both", max_length=32, abstention=Abstention(0.75, any_text=True))
    again = pickle.loads(pickle.dumps(view))
    assert (again.readers, again.tokenizer.max_length, again.threshold) == ("both", 32, view.threshold)
    assert again.predict(UNSURE).logits == pytest.approx(view.predict(UNSURE).logits, abs=1e-6)
