import pytest
import torch
from torch.utils.data import DataLoader

from toolkit.datasets.torch_dataset import IMDBDataset
from toolkit.errors import DataError
from toolkit.text.tokenisation import ReviewTokenizer


@pytest.fixture(scope="module")
def hf_tokenizer(tiny_base):
    from toolkit.models.adapter import load_tokenizer

    return load_tokenizer(tiny_base)


def test_items_are_what_the_trainer_wants(tiny_dataset, hf_tokenizer, demo_reviews):
    dataset = IMDBDataset(tiny_dataset / "train.csv", hf_tokenizer, max_length=64)
    assert len(dataset) == 64
    for index in (0, 63):
        item, review = dataset[index], demo_reviews["train"][index]
        expected = hf_tokenizer(review.text, truncation=True, max_length=64)
        assert item["input_ids"].tolist() == expected["input_ids"]
        assert item["attention_mask"].tolist() == expected["attention_mask"]
        assert item["labels"].item() == review.label.index
        assert {value.dtype for value in item.values()} == {torch.int64}


def test_the_collator_pads_to_the_longest_of_a_batch(tiny_dataset, hf_tokenizer):
    from transformers import DataCollatorWithPadding

    dataset = IMDBDataset(tiny_dataset / "train.csv", hf_tokenizer)
    batch = next(iter(DataLoader(dataset, batch_size=4, collate_fn=DataCollatorWithPadding(hf_tokenizer))))
    longest = max(len(dataset[index]["input_ids"]) for index in range(4))
    assert batch["input_ids"].shape == batch["attention_mask"].shape == (4, longest)
    assert batch["labels"].shape == (4,)


def test_padding_to_the_maximum_as_in_the_original(tiny_dataset, hf_tokenizer):
    dataset = IMDBDataset(str(tiny_dataset / "train.csv"), hf_tokenizer, 512, padding="max_length")
    unpadded = IMDBDataset(tiny_dataset / "train.csv", hf_tokenizer, 512)
    item, length = dataset[5], len(unpadded[5]["input_ids"])
    assert item["input_ids"].shape == item["attention_mask"].shape == (512,)
    assert torch.equal(item["input_ids"][:length], unpadded[5]["input_ids"])
    assert item["attention_mask"].sum() == length
    assert set(item["input_ids"][length:].tolist()) == {hf_tokenizer.pad_token_id}


def test_tokenises_once_and_in_a_batch(tiny_dataset, hf_tokenizer, monkeypatch):
    calls = []
    encode = ReviewTokenizer.encode
    monkeypatch.setattr(ReviewTokenizer, "encode", lambda self, texts: calls.append(len(texts)) or encode(self, texts))
    dataset = IMDBDataset(tiny_dataset / "train.csv", hf_tokenizer)
    for _ in range(2):
        for index in range(len(dataset)):
            dataset[index]
    assert calls == [64]


def test_bad_rows_are_named(tmp_path, hf_tokenizer):
    (tmp_path / "a.csv").write_text("text,label\nfine,1\nodd,3\n")
    with pytest.raises(DataError, match=r"a\.csv row 2"):
        IMDBDataset(tmp_path / "a.csv", hf_tokenizer)
