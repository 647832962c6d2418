"""Three labels with Chinese names, from a CSV through every door."""

import csv
import io
import json
import random

import numpy as np
import pytest
from click.testing import CliRunner

from tests.conftest import FakePredictor
from toolkit.chat.panels import feedback_panel, file_panel, verdict_panel, why_panel
from toolkit.chat.uploads import Report, classify_rows, read_upload
from toolkit.cli import cli
from toolkit.models.bundle import Kind, Manifest, read_manifest
from toolkit.prediction import load_predictor
from toolkit.prediction.explanation import explain
from toolkit.text.tokenisation import ReviewTokenizer

NAMES = ("体育", "科技", "财经")
WORDS = {"体育": "match goal team", "科技": "chip code phone", "财经": "bank price market"}
SHOWN = {"体育": "体育新闻"}


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    """A CSV of texts whose words say which of three labels they have."""
    path = tmp_path_factory.mktemp("labels") / "news.csv"
    rng = random.Random(0)
    with path.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(["text", "topic"])
        for number in range(120):
            name = NAMES[number % 3]
            words = [rng.choice(WORDS[name].split()) for _ in range(12)]
            writer.writerow([f"{' '.join(words)} {number}", name])
    return path


@pytest.fixture(scope="module")
def run():
    def invoke(*arguments, stdin=None, code=0):
        result = CliRunner().invoke(cli, [str(each) for each in arguments], input=stdin, catch_exceptions=False)
        assert result.exit_code == code, result.output
        return result

    return invoke


@pytest.fixture(scope="module")
def dataset(table, run):
    folder = table.parent / "data"
    done = run("dataset", "import", table, "--label-column", "topic", "--output", folder)
    assert "28 体育, 28 科技, 28 财经" in done.stdout
    return folder


@pytest.fixture(scope="module")
def adapter(table, dataset, tiny_settings, run):
    settings = {
        **tiny_settings,
        "dataset": str(dataset),
        "adapter_dir": str(table.parent / "lora_model"),
        "learning_rate": 0.01,
    }
    settings |= {"num_train_epochs": 12.0, "metric_for_best_model": "f1"}
    lines = [f"{name} = {json.dumps(value, ensure_ascii=False)}" for name, value in settings.items()]
    config = table.parent / "config.toml"
    config.write_text("\n".join([*lines, "[labels.zh]", '"体育" = "体"']), encoding="utf-8")
    run("train", "--config", config, "--display", "zh:体育=体育新闻")
    return table.parent / "lora_model"


@pytest.fixture(scope="module")
def bundle(table, dataset, adapter, run):
    folder = table.parent / "onnx_model"
    options = ("--parity-set", dataset / "train.csv", "--small-parity-set", "--quantize", "int8")
    run("export", "--adapter", adapter, "--output", folder, *options)
    return folder


def test_the_data_set_says_what_its_labels_are(dataset):
    assert tuple(json.loads((dataset / "dataset_info.json").read_text())["labels"]) == NAMES
    assert {row["label"] for row in csv.DictReader((dataset / "test.csv").open(encoding="utf-8"))} == set(NAMES)


def test_the_adapter_carries_them(adapter):
    manifest = read_manifest(adapter, Kind.ADAPTER)
    assert (manifest.labels, manifest.displays) == (NAMES, {"zh": SHOWN})
    assert manifest.uncertain_below == 0.333333
    assert json.loads((adapter / "config.json").read_text())["id2label"] == dict(zip("012", NAMES, strict=True))
    assert manifest.metrics["test"]["accuracy"] > 0.8, "the words of the texts say the label"
    card = (adapter / "README.md").read_text(encoding="utf-8")
    assert "one of 3 labels: `体育`, `科技`, `财经`" in card
    assert "means over the labels (macro)" in card


def test_the_shell_reads_them_from_the_bundle(bundle, run):
    texts = {name: words * 3 for name, words in WORDS.items()}
    model = ("--onnx-model", bundle)
    answers = [json.loads(line) for line in run("predict", "--json", *model, *texts.values()).stdout.splitlines()]
    assert [answer["label"] for answer in answers] == list(NAMES)
    for answer in answers:
        assert tuple(answer["probabilities"]) == NAMES
        assert sum(answer["probabilities"].values()) == pytest.approx(1)
        assert answer["score"] == max(answer["probabilities"].values())
    lines = "".join(f"{text}\n" for text in texts.values())
    assert run("filter", "--format", "label", "--lang", "zh", *model, stdin=lines).stdout.split() == [
        "体育新闻",
        *NAMES[1:],
    ]
    assert run("filter", "--keep", "科技", *model, stdin=lines).stdout.split("\t")[0] == "科技"
    refused = run("filter", "--keep", "positive", *model, stdin=lines, code=2)
    assert "'positive' is not one of '体育', '科技', '财经', 'uncertain'" in refused.stderr
    assert "0.333333 to 1, not 0.2" in run("filter", "--uncertain-below", 0.2, *model, stdin=lines, code=2).stderr
    rows = list(csv.DictReader(io.StringIO(run("filter", "--format", "csv", *model, stdin=lines).stdout)))
    assert [tuple(json.loads(row["probabilities"])) for row in rows] == [NAMES] * 3


def test_a_file_gets_a_struct_of_them(bundle, tmp_path, run):
    parquet = pytest.importorskip("pyarrow.parquet")
    import pyarrow

    parquet.write_table(pyarrow.table({"text": list(WORDS.values())}), tmp_path / "a.parquet")
    run("predict-files", tmp_path / "a.parquet", tmp_path / "b.parquet", "--onnx-model", bundle)
    answers = parquet.read_table(tmp_path / "b.parquet")
    assert [each.name for each in answers.schema.field("probabilities").type] == list(NAMES)
    assert answers["label"].to_pylist() == list(NAMES)


def test_an_evaluation_and_its_report(dataset, bundle, tmp_path, run):
    report = tmp_path / "report"
    shown = run("evaluate", "--dataset", dataset, "--onnx-model", bundle, "--output", report).stdout
    assert "macro f1" in shown
    assert "roc_auc" not in shown
    assert "体育 reviews: " in shown
    figures = json.loads((report / "report.json").read_text())["figures"]
    assert np.array(figures["confusion_matrix"]).shape == (3, 3)
    assert [each["reviews"] for each in figures["per_label"]] == [8, 8, 8]
    assert not (report / "roc.png").exists()
    assert "called 财经" in (report / "report.html").read_text(encoding="utf-8")
    compared = json.loads(run("evaluate", "--compare", report, report, "--json").stdout)
    assert (compared["difference"], compared["changed"]) == (0, [])


def test_a_label_of_another_model_is_refused(bundle, tmp_path, run):
    (tmp_path / "a.csv").write_text("text,label\ngoal,体育\nfine,positive\n", encoding="utf-8")
    refused = run("evaluate", "--file", tmp_path / "a.csv", "--onnx-model", bundle, code=1)
    assert "row 2 (line 3): the label is 'positive', expected one of 体育, 科技, 财经" in refused.stderr


def test_scikit_learn_gets_the_data_sets_own_values(bundle):
    pytest.importorskip("sklearn")
    from toolkit.sklearn import TextClassifier

    classifier = TextClassifier(onnx_model=bundle).fit()
    assert tuple(classifier.classes_) == NAMES
    assert classifier.predict(list(WORDS.values())).tolist() == list(NAMES)
    assert classifier.predict_proba(["goal"]).shape == (1, 3)
    assert classifier.score(list(WORDS.values()), list(NAMES)) == 1


def test_torch_and_onnx_agree_on_them(adapter, bundle):
    with load_predictor("torch", adapter=adapter) as torch, load_predictor("onnx", onnx_model=bundle) as onnx:
        assert torch.labels == onnx.labels
        pairs = zip(torch.predict_many(WORDS.values()), onnx.predict_many(WORDS.values()), strict=True)
        assert all(first.label == second.label for first, second in pairs)


def test_the_app_shows_them(bundle, tmp_path):
    with load_predictor("onnx", onnx_model=bundle) as predictor:
        text = "match goal team. bank price market bank."
        prediction = predictor.predict(text)
        panel = verdict_panel(prediction, predictor, "zh")
        assert panel["apart"]
        assert sorted(each["name"] for each in panel["classes"]) == sorted(("体育新闻", *NAMES[1:]))
        assert [each["percent"] for each in panel["classes"]] == sorted(
            (each["percent"] for each in panel["classes"]), reverse=True
        )
        feedback = feedback_panel(prediction, predictor.labels, "zh", "an answer", None)
        assert [each["label"] for each in feedback["buttons"]] == [prediction.label.name]
        assert [each["label"] for each in feedback["menu"]["labels"]] == [
            name for name in NAMES if name != prediction.label.name
        ]
        why = why_panel(explain(predictor, text), predictor.labels, "zh")
        assert {each["kind"] for each in why["segments"]} <= {"positive", "negative"}
        (tmp_path / "a.txt").write_text("match goal team\n \nbank price market\n")
        from toolkit.chat.texts import TEXTS

        rows = read_upload(tmp_path / "a.txt", "a.txt", TEXTS["zh"])
        report = Report(rows.columns, predictor.labels)
        for batch in classify_rows(rows, predictor):
            report.add(batch)
        bars = file_panel(report, "zh", 512)["counts"]["bars"]
        assert [(bar["name"], bar["count"]) for bar in bars] == [("体育新闻", 1), ("财经", 1)]
        made = list(csv.DictReader(io.StringIO(report.csv().decode("utf-8-sig"))))
        assert tuple(json.loads(made[0]["probabilities"])) == NAMES


def test_windows_of_three_labels_are_averaged_by_what_was_read(tiny_tokenizer):
    class Alternating(FakePredictor):
        def logits(self, encodings):
            rows = [[2.0, 0.0, 1.0], [0.0, 4.0, 1.0]]
            return np.array([rows[index % 2] for index, _ in enumerate(encodings)], np.float32)

    manifest = Manifest(Kind.ONNX, "fake", 16, NAMES, uncertain_below=0.333333, truncation="window")
    predictor = Alternating(manifest, ReviewTokenizer(tiny_tokenizer, 16, "window"))
    prediction = predictor.predict("film " * 22)
    assert prediction.window is not None
    np.testing.assert_allclose(prediction.logits, [-0.333333, 0.666667, -0.333333], atol=1e-5)
    assert prediction.label.name == "科技"
    assert prediction.window[0] > 0, "the second window spoke for it"
