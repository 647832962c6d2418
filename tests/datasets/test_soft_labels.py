"""A teacher's probabilities as predict-files writes them, in every format, of any number of labels."""

import json

import numpy as np
import pytest
import torch

from toolkit.datasets.soft_labels import SoftLabel, read_soft_labels, soft_label_files
from toolkit.datasets.splits import Review
from toolkit.datasets.torch_dataset import NO_LABEL, DistillationDataset
from toolkit.errors import DataError
from toolkit.text.labels import NEGATIVE, POSITIVE, SENTIMENT, LabelSet
from toolkit.text.tokenisation import ReviewTokenizer


def jsonl(path, *rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def row(text, **probabilities):
    return {"text": text, "label": "x", "score": 0.5, "probabilities": probabilities}


@pytest.mark.parametrize("ending", [".csv", ".jsonl", ".parquet"])
def test_what_predict_files_writes_is_read(tmp_path, fake_predictor, ending):
    import pyarrow
    import pyarrow.parquet

    from toolkit.streaming.files import FileJob

    texts = ["A quiet film.", "Nobody is awake.", "Fine."]
    source, target = tmp_path / f"texts{ending}", tmp_path / f"soft{ending}"
    if ending == ".parquet":
        pyarrow.parquet.write_table(pyarrow.table({"text": texts}), source)
    elif ending == ".csv":
        source.write_text("text\n" + "".join(f"{text}\n" for text in texts))
    else:
        jsonl(source, *({"text": text} for text in texts))
    FileJob(source, target).run(lambda: fake_predictor)
    found = read_soft_labels([target], SENTIMENT)
    expected = [fake_predictor.predict(text).probabilities for text in texts]
    assert [each.text for each in found] == texts
    np.testing.assert_allclose(
        [each.probabilities for each in found], [list(each.values()) for each in expected], rtol=1e-6
    )


def test_of_k_labels_in_their_order_and_each_text_once(tmp_path):
    labels = LabelSet.of_model(("bad", "fair", "good"))
    file = jsonl(
        tmp_path / "a.jsonl",
        row("One.", good=0.7, bad=0.1, fair=0.2),
        row("One.", good=0.1, bad=0.1, fair=0.8),
        {"text": "None.", "error": "empty review"},
    )
    (found,) = read_soft_labels([file], labels)
    np.testing.assert_allclose(found.probabilities, [0.1, 0.2, 0.7], rtol=1e-6)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"text": "One."}, "expected columns text and probabilities"),
        (row("One.", negative=0.2), "one for each of negative, positive"),
        (row("One.", negative=0.2, positive=0.7), "sum to 1"),
        (row("One.", negative=-0.2, positive=1.2), "numbers of 0 to 1"),
        (row("One.", negative=True, positive=False), "numbers of 0 to 1"),
        (row("One.", negative="0.5", positive="0.5"), "numbers of 0 to 1"),
        (row("One.", negative=float("nan"), positive=1.0), "numbers of 0 to 1"),
        (row(" ", negative=0.2, positive=0.8), "there is no text"),
        ({"text": "One.", "probabilities": "{"}, "expected a JSON object"),
        ({"text": "One.", "probabilities": "[" * 100_000}, "expected a JSON object"),
        ({"text": "One.", "probabilities": [0.5, 0.5]}, "one for each of"),
    ],
    ids=str,
)
def test_rows_that_no_teacher_wrote_are_named(tmp_path, content, message):
    file = jsonl(tmp_path / "a.jsonl", row("Sound.", negative=0.2, positive=0.8), content)
    with pytest.raises(DataError, match=r"a\.jsonl row 2") as error:
        read_soft_labels([file], SENTIMENT)
    assert message in str(error.value)


def test_files_and_folders(tmp_path):
    folder = tmp_path / "soft"
    (folder / "_done").mkdir(parents=True)
    names = [jsonl(folder / name, row("One.", negative=0.2, positive=0.8)) for name in ("b.jsonl", "a.jsonl")]
    (folder / "texts_info.json").write_text("{}")
    assert soft_label_files([folder]) == sorted(names)
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="found none"):
        soft_label_files([tmp_path / "empty"])
    with pytest.raises(DataError, match=r"nowhere\.csv"):
        soft_label_files([tmp_path / "nowhere.csv"])
    with pytest.raises(DataError, match="no row with a text"):
        read_soft_labels([jsonl(tmp_path / "none.jsonl")], SENTIMENT)


def test_a_text_with_both_is_one_item(tiny_tokenizer):
    soft = [
        SoftLabel("Both.", np.array([0.25, 0.75], np.float32)),
        SoftLabel("Soft.", np.array([0.5, 0.5], np.float32)),
    ]
    reviews = [Review("Hard.", NEGATIVE), Review("Both.", POSITIVE)]
    items = list(DistillationDataset(reviews, soft, ReviewTokenizer(tiny_tokenizer, 16), 16))
    assert [int(item["labels"]) for item in items] == [0, 1, NO_LABEL]
    assert [item["soft_labels"].tolist() for item in items] == [[0, 0], [0.25, 0.75], [0.5, 0.5]]
    assert all(
        item["input_ids"].dtype == torch.int64 and len(item["input_ids"]) == len(item["attention_mask"])
        for item in items
    )
    assert [int(item["labels"]) for item in DistillationDataset((), soft, ReviewTokenizer(tiny_tokenizer, 16))] == [
        NO_LABEL
    ] * 2
