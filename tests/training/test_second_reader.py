"""The n-gram reader that training leaves beside an adapter."""

import json

import numpy as np
import pytest

from toolkit.datasets.soft_labels import SoftLabel
from toolkit.datasets.splits import Review, Splits
from toolkit.errors import ToolkitError
from toolkit.models.bundle import MODEL_CARD, NGRAM_TABLE, Kind, read_manifest
from toolkit.prediction import load_predictor
from toolkit.text.labels import SENTIMENT, LabelSet
from toolkit.text.tokenisation import ReviewTokenizer
from toolkit.training import second_reader
from toolkit.training.config import TrainingConfig
from toolkit.training.folds import grouped_folds
from toolkit.training.ngrams import NgramSettings, fit_ngrams

GOOD, BAD = ["grand", "fine", "warm", "true"], ["poor", "cold", "weak", "false"]


def written(count, seed, labels=SENTIMENT):
    """Texts of common words, one in ten of them a label's own."""
    random = np.random.default_rng(seed)
    common = [f"the {word} of it" for word in ("plot", "cast", "end", "start", "scene", "music", "light", "town")]
    own = [BAD, GOOD, ["red", "blue", "green", "pink"]]
    reviews = []
    for label in random.integers(len(labels), size=count):
        words = [str(random.choice(own[label] if random.random() < 0.1 else common)) for _ in range(40)]
        reviews.append(Review(" ".join(words), labels[int(label)]))
    return reviews


@pytest.fixture(scope="module")
def splits():
    return Splits({"train": written(600, 0), "validation": written(200, 1), "test": written(200, 2)}, SENTIMENT)


@pytest.fixture
def few(monkeypatch):
    monkeypatch.setattr(second_reader, "FEWEST_TEXTS", 100)


def noise(reviews, classes=2):
    """A transformer that knows little."""
    random = np.random.default_rng(3)
    logits = random.normal(size=(len(reviews), classes))
    logits[np.arange(len(reviews)), [int(review.label) for review in reviews]] += 0.5
    return logits


def test_a_table_learns_what_the_words_mean_and_the_sum_is_better_than_either(few, splits, tiny_tokenizer):
    tokenizer = ReviewTokenizer(tiny_tokenizer, 64)
    logits = {split: noise(splits[split]) for split in ("validation", "test")}
    fitted = second_reader.fit_reader(TrainingConfig(), tokenizer, splits, logits)
    test = fitted.metrics["test"]
    transformer = (logits["test"].argmax(axis=1) == [int(review.label) for review in splits["test"]]).mean()
    assert test["accuracy_ngrams"] > 0.9 > transformer
    assert test["accuracy_both"] >= transformer
    assert 0 <= test["skipped"] <= 1
    sequences = tokenizer.encode_whole(["the grand of it", "the weak of it"])
    assert fitted.reader.table.score(sequences).logits.argmax(axis=1).tolist() == [1, 0]
    again = second_reader.fit_reader(TrainingConfig(), tokenizer, splits, logits)
    assert again.reader.describe() == fitted.reader.describe()
    np.testing.assert_array_equal(again.reader.table._rows, fitted.reader.table._rows)


def test_three_labels_have_a_column_each(few, tiny_tokenizer):
    labels = LabelSet.of_model(("bad", "good", "odd"))
    splits = Splits({"train": written(600, 0, labels), "validation": written(200, 1, labels)}, labels)
    tokenizer = ReviewTokenizer(tiny_tokenizer, 64)
    fitted = second_reader.fit_reader(
        TrainingConfig(), tokenizer, splits, {"validation": noise(splits["validation"], 3)}
    )
    assert fitted.reader.table.labels == 3
    assert fitted.metrics["validation"]["accuracy_ngrams"] > 0.85


def test_out_of_fold_scores_are_of_tables_that_never_saw_the_text():
    """With labels by chance a table repeats those that it saw, and can only guess those that it did not."""
    random = np.random.default_rng(4)
    sequences = [np.array([2, *random.integers(10, 400, size=60), 3]) for _ in range(600)]
    labels = random.integers(2, size=600)
    fitted = fit_ngrams(sequences, np.eye(2)[labels], NgramSettings(minimum_counts=(1, 1, 1), regularisation=10.0))
    assert (fitted.table.score(sequences).logits.argmax(axis=1) == labels).mean() > 0.95
    assert (fitted.out_of_fold.logits.argmax(axis=1) == labels).mean() < 0.6


def test_texts_that_share_rare_ngrams_are_in_one_fold():
    """Forty films with names of their own: nothing is learnt of one from others, unless a fold's table knows its reviews."""
    random = np.random.default_rng(5)
    films = random.integers(40, size=600)
    common = 10 + (random.integers(50, size=(600, 1)) + np.arange(30)) % 50
    names = 1000 + 10 * films[:, np.newaxis] + random.permuted(np.tile(np.arange(5), (600, 1)), axis=1)
    sequences = [np.array([2, *words, *own, 3]) for words, own in zip(common, names, strict=True)]
    labels = random.integers(2, size=40)[films]
    settings = NgramSettings(minimum_counts=(1, 1, 1), regularisation=10.0)
    fitted = fit_ngrams(sequences[:500], np.eye(2)[labels[:500]], settings, sequences[500:])
    assert (fitted.table.score(sequences).logits.argmax(axis=1) == labels).mean() == 1
    for scores, truth in ((fitted.out_of_fold, labels[:500]), (fitted.unseen, labels[500:])):
        assert scores.logits.argmax(axis=1).shape == truth.shape
        assert (scores.logits.argmax(axis=1) == truth).mean() < 0.7


def test_folds_are_of_one_size_and_no_group_grows_over_its_limit():
    texts = np.repeat(np.arange(1000), 4)
    chain = np.concatenate(
        [np.arange(n, n + 4) for n in range(1000)]
    )  # each shares three with the next: one subject, in a way
    folds = grouped_folds(texts, chain, 1000, 5)
    assert np.bincount(folds).tolist() == [200] * 5
    changes = (np.diff(folds) != 0).sum()
    assert changes < 80  # neighbours stay together, in groups of fifty at most; by chance they would change 800 times
    np.testing.assert_array_equal(folds, grouped_folds(texts, chain, 1000, 5))


def test_a_table_learns_from_a_teacher(few, splits, tiny_tokenizer):
    """No labelled text has `lamp` or `fork`; a teacher knows texts that do."""
    tokenizer, logits = ReviewTokenizer(tiny_tokenizer, 64), {"validation": noise(splits["validation"])}
    words = ("the lamp of it", "the fork of it")
    soft = [
        SoftLabel(f"{review.text} {words[number % 2]}", np.array([[0.1, 0.9], [0.9, 0.1]][number % 2], np.float32))
        for number, review in enumerate(written(400, 7))
    ]  # fmt: skip
    config = TrainingConfig(soft_weight=1.0)
    before, after = (
        second_reader.fit_reader(config, tokenizer, splits, logits, taught)
        .reader.table.score(tokenizer.encode_whole(words))
        .logits
        for taught in ((), soft)
    )
    margins = (after - before)[:, 1] - (after - before)[:, 0]
    assert margins[0] > 0.5
    assert margins[1] < -0.5


def test_a_text_with_a_label_and_a_teacher_is_learnt_once_from_their_mean(few, splits, tiny_tokenizer, monkeypatch):
    seen = {}

    def spy(sequences, targets, settings, unseen):
        seen["targets"] = targets
        return fit_ngrams(sequences, targets, settings, unseen)

    monkeypatch.setattr(second_reader, "fit_ngrams", spy)
    first = splits["train"][0]
    soft = [
        SoftLabel(first.text, np.array([0.4, 0.6], np.float32)),
        SoftLabel("the end", np.array([0.2, 0.8], np.float32)),
    ]
    second_reader.fit_reader(
        TrainingConfig(soft_weight=0.5), ReviewTokenizer(tiny_tokenizer, 64), splits,
        {"validation": noise(splits["validation"])}, soft,
    )  # fmt: skip
    assert seen["targets"].shape == (601, 2)
    hard = np.eye(2)[int(first.label)]
    np.testing.assert_allclose(seen["targets"][0], (hard + np.array([0.4, 0.6])) / 2, atol=1e-6)
    np.testing.assert_allclose(seen["targets"][-1], [0.2, 0.8], atol=1e-6)
    assert set(seen["targets"][1:-1].ravel()) == {0.0, 1.0}


def test_too_small_a_train_split_gets_no_table(splits, tiny_tokenizer, caplog):
    caplog.set_level("INFO")
    tokenizer, logits = ReviewTokenizer(tiny_tokenizer, 64), {"validation": noise(splits["validation"])}
    assert second_reader.fit_reader(TrainingConfig(), tokenizer, splits, logits) is None
    assert "no n-gram table: 600 texts in train, expected 2000 or more" in caplog.text
    assert second_reader.fit_reader(TrainingConfig(ngrams=False), tokenizer, splits, logits) is None


@pytest.mark.parametrize("manifest", [True, False])
def test_an_adapter_gets_a_table_afterwards_and_nothing_else_changes(few, splits, tiny_adapter, tmp_path, manifest):
    from toolkit.datasets.splits import write_reviews

    adapter, dataset = tmp_path / "lora_model", tmp_path / "dataset"
    adapter.mkdir()
    dataset.mkdir()
    for path in tiny_adapter.iterdir():
        if manifest or path.name not in ("manifest.json", "README.md"):
            (adapter / path.name).write_bytes(path.read_bytes())
    for split, reviews in splits.items():
        write_reviews(dataset / f"{split}.csv", reviews)
    before = {path.name: path.read_bytes() for path in adapter.iterdir()}
    fitted = second_reader.add_reader(TrainingConfig(dataset=str(dataset), adapter_dir=str(adapter)))
    after = {path.name: path.read_bytes() for path in adapter.iterdir()}
    changed = {name for name in after if after[name] != before.get(name)}
    assert changed == {"manifest.json", NGRAM_TABLE, *([MODEL_CARD] if manifest else [])}
    found = read_manifest(adapter, Kind.ADAPTER)
    assert found.ngrams == json.loads(json.dumps(fitted.reader.describe()))
    assert set(found.files) == set(after) - {"manifest.json"}
    assert load_predictor("torch", adapter=adapter).predict("the grand of it " * 30).read_by in ("ngrams", "both")
    if manifest:
        card = (adapter / MODEL_CARD).read_text(encoding="utf-8")
        assert card.count("## N-grams") == 1
        assert card.index("## N-grams") < card.index("## Limits")
        second_reader.add_reader(TrainingConfig(dataset=str(dataset), adapter_dir=str(adapter)))
        assert (adapter / MODEL_CARD).read_text(encoding="utf-8") == card


def test_another_data_set_s_labels_are_refused(few, tiny_adapter, tmp_path):
    from toolkit.datasets.splits import write_reviews

    labels = LabelSet.of_model(("bad", "good", "odd"))
    for split in ("train", "validation", "test"):
        write_reviews(tmp_path / f"{split}.csv", written(200, 0, labels))
    before = {path.name: path.read_bytes() for path in tiny_adapter.iterdir()}
    with pytest.raises(ToolkitError, match="has the labels 0, 1, 2, expected those of"):
        second_reader.add_reader(TrainingConfig(dataset=str(tmp_path), adapter_dir=str(tiny_adapter)))
    assert {path.name: path.read_bytes() for path in tiny_adapter.iterdir()} == before


def test_a_section_takes_the_place_of_the_earlier_one():
    card = "# Card\n\n## Results\n\nfine\n\n## Limits\n\nmany\n"
    once = second_reader.with_section(card, "## N-grams\n\nfirst\n")
    assert once == "# Card\n\n## Results\n\nfine\n\n## N-grams\n\nfirst\n\n## Limits\n\nmany\n"
    twice = second_reader.with_section(once, "## N-grams\n\nsecond\n")
    assert twice == once.replace("first", "second")
    assert second_reader.with_section("# Card\n", "## N-grams\n\nx\n") == "# Card\n\n## N-grams\n\nx\n"
