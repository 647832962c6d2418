"""The n-gram table: what it finds, what it weighs, and that a text's score is its own."""

import numpy as np
import pytest

from toolkit.errors import BundleError
from toolkit.prediction.ngrams import NgramTable, ngram_keys

CLS, SEP = 101, 102


def text(*ids):
    return np.array([CLS, *ids, SEP])


def keys_of(*ids):
    """By order, the key of the n-gram that these ids are."""
    return {order: keys[0] for order, _, keys in ngram_keys([text(*ids)]) if len(keys) == 1}[len(ids)]


def table_of(weights, columns=1, buckets=1 << 12):
    keys = np.array([keys_of(*ids) for ids in weights])
    return NgramTable.build(keys, np.array(list(weights.values())).reshape(-1, columns), np.ones(len(keys)), buckets)


def test_every_run_of_one_to_three_tokens_is_an_n_gram_and_none_crosses_texts():
    found = {
        order: (texts.tolist(), keys) for order, texts, keys in ngram_keys([text(5, 6, 7, 8), text(9), text(5, 6)])
    }
    assert [found[order][0] for order in (1, 2, 3)] == [[0, 0, 0, 0, 1, 2, 2], [0, 0, 0, 2], [0, 0]]
    assert found[2][1][0] == found[2][1][3] == keys_of(5, 6)
    assert len(np.unique(np.concatenate([found[order][1] for order in (1, 2, 3)]))) == 5 + 3 + 2
    assert keys_of(5, 6) != keys_of(6, 5)
    assert [len(keys) for _, _, keys in ngram_keys([])] == [0, 0, 0]


def test_a_score_is_the_sum_of_the_weights_of_the_distinct_n_grams_of_a_text():
    table = table_of({(5,): 1.0, (5, 6): -3.0, (6, 7, 8): 0.5})
    scores = table.score([text(5, 6, 7, 8), text(5, 5, 5), text(6, 5), text(9, 9)])
    margins = scores.logits[:, 1] - scores.logits[:, 0]
    np.testing.assert_allclose(margins, [-1.5, 1.0, 1.0, 0.0], atol=3 / 127)
    np.testing.assert_allclose(scores.logits.sum(axis=1), 0, atol=1e-12)


def test_more_labels_have_a_column_each():
    table = table_of({(5,): (1.0, -2.0, 0.5), (6,): (0.25, 0.0, 4.0)}, columns=3)
    assert table.labels == 3
    np.testing.assert_allclose(table.score([text(5, 6)]).logits, [[1.25, -2.0, 4.5]], atol=4 / 127)
    np.testing.assert_allclose(
        table.weights(table.find(np.zeros(1), np.array([keys_of(6)]))[1]), [[0.25, 0, 4]], atol=4 / 127
    )


def test_the_company_of_a_text_changes_no_bit_of_its_score():
    random = np.random.default_rng(0)
    texts = [text(*random.integers(1000, 1400, size=size)) for size in random.integers(1, 300, size=40)]
    distinct = np.unique(np.concatenate([keys for _, _, keys in ngram_keys(texts)]))
    table = NgramTable.build(distinct, random.normal(size=len(distinct)), random.random(len(distinct)), 1 << 16)
    together = table.score(texts)
    for index in random.permutation(len(texts)):
        alone = table.score([texts[index]])
        assert alone.logits.tobytes() == together.logits[[index]].tobytes()
        assert alone.familiarity.tobytes() == together.familiarity[[index]].tobytes()


def test_of_n_grams_that_find_no_room_the_important_stay():
    random = np.random.default_rng(0)
    keys = random.integers(0, 2**64, size=1000, dtype=np.uint64)
    importance = random.random(1000)
    table = NgramTable.build(keys, np.ones(1000), importance, 1 << 9)
    found = np.isin(np.arange(1000), table.find(np.arange(1000), keys)[0])
    assert 400 < found.sum() <= 560, "512 rows, and a few strangers with an occupied row's fingerprint"
    assert importance[found].mean() > importance[~found].mean() + 0.2
    roomy = NgramTable.build(keys, np.ones(1000), importance, 1 << 18)
    assert len(roomy.find(np.arange(1000), keys)[0]) == 1000


def test_strangers_are_seldom_taken_for_known():
    random = np.random.default_rng(1)
    known, strangers = random.integers(0, 2**64, size=(2, 40_000), dtype=np.uint64)
    table = NgramTable.build(known, np.ones(40_000), np.ones(40_000), 1 << 17)
    assert len(table.find(np.arange(40_000), strangers)[0]) / 40_000 < 0.004  # twice 0.3 of the rows, over 255


def test_familiarity_is_the_share_of_known_pieces_times_that_of_known_pairs():
    table = table_of({(5,): 0.0, (6,): 0.0, (7,): 0.0, (5, 6): 0.0, (6, 7): 0.0})
    scores = table.score([text(5, 6, 7), text(5, 7, 6), text(5, 6, 9), text(8, 9), text(5)])
    expected = [1, 3 / 5, 2 / 3 * (1 + 3) / (2 + 3), 0, 1]
    np.testing.assert_allclose(scores.familiarity, expected)


def test_a_table_is_saved_mapped_and_the_same(tmp_path):
    table = table_of({(5,): 1.0, (6,): -2.0})
    table.save(tmp_path / "ngrams.npy")
    again = NgramTable.load(tmp_path / "ngrams.npy", table.scales.tolist())
    assert again.score([text(5, 6)]).logits.tobytes() == table.score([text(5, 6)]).logits.tobytes()
    assert isinstance(again._rows, np.memmap)


def pickled(path):
    np.save(path, np.array([{"a": 1}], object), allow_pickle=True)


@pytest.mark.parametrize(
    "write",
    [
        pickled,
        lambda path: path.write_bytes(b"no table"),
        lambda path: path.write_bytes(b""),
        lambda path: np.save(path, np.zeros((8, 2), np.float32)),
        lambda path: np.save(path, np.zeros((10, 2), np.uint8)),
        lambda path: np.save(path, np.zeros((8, 3), np.uint8)),
        lambda path: np.save(path, np.zeros((0, 2), np.uint8)),
        lambda path: np.save(path, np.zeros(8, np.uint8)),
    ],
)
def test_what_is_no_table_is_refused(tmp_path, write):
    write(tmp_path / "ngrams.npy")
    with pytest.raises(BundleError, match="is no n-gram table"):
        NgramTable.load(tmp_path / "ngrams.npy", [1.0])
