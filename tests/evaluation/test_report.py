import csv
import json
import re
from datetime import UTC, datetime
from html.parser import HTMLParser

import pytest

from toolkit.datasets.splits import read_reviews
from toolkit.errors import ToolkitError
from toolkit.evaluation.comparison import compare, write_comparison
from toolkit.evaluation.folder import COMPARISON, EVALUATION, refuse_foreign_folder
from toolkit.evaluation.measuring import run_evaluation
from toolkit.evaluation.report import describe, write_report
from toolkit.prediction.abstention import Threshold
from toolkit.text.labels import SENTIMENT

FILES = {
    "report.json", "report.html", "predictions.csv", "roc.png", "reliability.png", "risk_coverage.png",
    "accuracy_by_length.png", "accuracy_by_score.png",
}  # fmt: skip
NASTY = '<script>alert("x")</script> & <img src=http://example.org/x.png> 难看极了'


@pytest.fixture
def source(tmp_path, fake_predictor):
    """40 reviews, half of them right, one long, with a column to slice by and texts that a page has to escape."""
    texts = [f"{NASTY} film number {index} {'word ' * (200 * (index == 0))}" for index in range(40)]
    said = [prediction.label for prediction in fake_predictor.predict_many(texts)]
    with (tmp_path / "reviews.csv").open("w", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(["text", "label", "rating"])
        for index, (text, label) in enumerate(zip(texts, said, strict=True)):
            writer.writerow([text, int(label) if index % 2 else 1 - int(label), index % 4])
    return tmp_path / "reviews.csv"


def make(predictor, source, folder, columns=("rating",), with_texts=True, threshold=Threshold()):  # noqa: B008
    reviews = read_reviews(source)
    result = run_evaluation(predictor, reviews)
    write_report(folder, describe(predictor, source, reviews, result, threshold, columns, with_texts), reviews, result)
    return json.loads((folder / "report.json").read_text())


@pytest.fixture
def no_charts(monkeypatch):
    """What is not about pictures need not wait for them."""
    monkeypatch.setattr("toolkit.evaluation.report.draw_charts", lambda *_: [])


class Page(HTMLParser):
    """The tags and the text of a page."""

    def __init__(self, path):
        super().__init__()
        self.tags, self.words = [], []
        self.feed(path.read_text(encoding="utf-8"))
        self.text = " ".join("".join(self.words).split())

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data):
        self.words.append(data)


def test_a_report_is_whole(fake_predictor, source, tmp_path):
    report = make(fake_predictor, source, tmp_path / "report", threshold=Threshold(0.6))
    assert {path.name for path in (tmp_path / "report").iterdir()} == FILES
    assert report["figures"]["accuracy"] == 0.5
    assert {row["name"]: row["accuracy"] for row in report["slices"]["rating"]} == {"0": 0, "1": 1, "2": 0, "3": 1}
    assert sum(row["reviews"] for row in report["by_length"]) == sum(row["reviews"] for row in report["by_score"]) == 40
    assert report["figures"]["abstention"]["uncertain_below"] == 0.6
    scores = [mistake["score"] for mistake in report["mistakes"]]
    assert len(scores) == 20
    assert scores == sorted(scores, reverse=True)
    reviews = read_reviews(source)
    for mistake in report["mistakes"]:
        review = reviews[mistake["row"] - 1]
        assert (mistake["text"], mistake["label"]) == (review.text, review.label.name)
        assert mistake["verdict"] == fake_predictor.predict(review.text).label.name != mistake["label"]
        assert mistake["columns"] == {"rating": review.columns["rating"]}
    assert str(tmp_path) not in (tmp_path / "report" / "report.html").read_text()

    # The page needs nothing, and shows texts as text.
    page = Page(tmp_path / "report" / "report.html")
    assert not {"script", "link", "iframe", "object"} & {tag for tag, _ in page.tags}
    pictures = [attributes["src"] for tag, attributes in page.tags if tag == "img"]
    assert len(pictures) == 5
    assert all(source.startswith("data:image/png;base64,iVBOR") for source in pictures)
    assert not [
        value for _, attributes in page.tags for value in attributes.values() if re.match("https?:", value or "")
    ]
    assert NASTY in page.text
    assert "50.0% of the verdicts are right (20 of 40)" in page.text
    assert "By rating" in page.text


@pytest.mark.usefixtures("no_charts")
def test_a_report_says_when_it_was_made_in_words_that_stand_apart(fake_predictor, source, tmp_path):
    before = datetime.now(UTC).replace(microsecond=0)
    made = make(fake_predictor, source, tmp_path / "a")["made"]
    assert before <= datetime.fromisoformat(made) <= datetime.now(UTC)
    write_comparison(tmp_path / "two", compare(tmp_path / "a", tmp_path / "a"))
    for folder in ("a", "two"):
        text = Page(tmp_path / folder / "report.html").text
        assert made[:10] in text
        # A word, a number or a sentence that begins where another ended: Accuracyshare, 3right, 2622b.Toolkit.
        glued = re.findall(r"\b[A-Z]\w+?(?:share|of|how|mean|harmonic)\b|\b\d+[a-z]{4,}\b|[a-z0-9]{3}\.[A-Z]\w+", text)
        assert glued == []


@pytest.mark.usefixtures("no_charts")
@pytest.mark.parametrize(("name", "imported_from", "said"), [("reviews.csv", None, False), ("IMDB Dataset.csv", None, True), ("reviews.csv", "aclImdb_v1.tar.gz", True), ("reviews.csv", "mine.csv", False)])  # fmt: skip
def test_what_is_known_of_imdb_is_said_of_imdb(fake_predictor, source, tmp_path, name, imported_from, said):
    source = source.rename(tmp_path / name)
    if imported_from:
        (tmp_path / "dataset_info.json").write_text(json.dumps({"source": imported_from, "sha256": {name: ""}}))
    make(fake_predictor, source, tmp_path / "report")
    assert ("IMDB's test split" in Page(tmp_path / "report" / "report.html").text) is said


@pytest.mark.usefixtures("no_charts")
def test_predictions_can_be_read_back(fake_predictor, source, tmp_path):
    make(fake_predictor, source, tmp_path / "report")
    with (tmp_path / "report" / "predictions.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    review = read_reviews(source)[0]
    prediction = fake_predictor.predict(review.text)
    assert float(rows[0]["probability"]) == prediction.probabilities["positive"]
    assert (int(rows[0]["label"]), int(rows[0]["tokens"]), int(rows[0]["tokens_read"])) == (
        review.label.index, prediction.tokens, 64,
    )  # fmt: skip
    assert [row["row"] for row in rows] == [str(number) for number in range(1, 41)]
    assert len({row["text_sha256"] for row in rows}) == 40
    assert rows[0]["excerpt"] == review.text[:239] + "…"


@pytest.mark.usefixtures("no_charts")
def test_without_texts_no_text_is_written_and_comparing_still_works(fake_predictor, source, tmp_path):
    make(fake_predictor, source, tmp_path / "a", with_texts=False)
    written = "".join((tmp_path / "a" / name).read_text() for name in ("report.json", "report.html", "predictions.csv"))
    assert "film number" not in written
    assert compare(tmp_path / "a", tmp_path / "a")["both_right"] == 20


def test_one_class_has_no_roc_curve(fake_predictor, tmp_path):
    (tmp_path / "one.csv").write_text("text,label\n" + "".join(f"film {index},1\n" for index in range(5)))
    make(fake_predictor, tmp_path / "one.csv", tmp_path / "report", columns=())
    assert {path.name for path in (tmp_path / "report").iterdir()} == FILES - {"roc.png"}
    assert "one class only" in (tmp_path / "report" / "report.html").read_text()


@pytest.mark.usefixtures("no_charts")
def test_an_earlier_report_is_replaced_and_nothing_else(fake_predictor, source, tmp_path):
    make(fake_predictor, source, tmp_path / "report")
    make(fake_predictor, source, tmp_path / "report", columns=())
    assert "By rating" not in (tmp_path / "report" / "report.html").read_text()
    with pytest.raises(
        ToolkitError,
        match=r"report holds predictions\.csv, .*; expected a new or empty folder, or nothing but an earlier comparison",
    ):
        refuse_foreign_folder(tmp_path / "report", COMPARISON)
    (tmp_path / "report" / "notes.txt").write_text("mine")
    with pytest.raises(
        ToolkitError,
        match=r"report holds notes\.txt; expected a new or empty folder, or nothing but an earlier evaluation",
    ):
        make(fake_predictor, source, tmp_path / "report")
    assert (tmp_path / "report" / "notes.txt").read_text() == "mine"
    with pytest.raises(ToolkitError, match="is a file; expected a folder"):
        refuse_foreign_folder(source, EVALUATION)
    (tmp_path / "empty").mkdir()
    refuse_foreign_folder(tmp_path / "empty", EVALUATION)


@pytest.mark.usefixtures("no_charts")
def test_a_report_that_fails_leaves_the_earlier_one(fake_predictor, source, tmp_path, monkeypatch):
    make(fake_predictor, source, tmp_path / "report")
    before = (tmp_path / "report" / "report.html").read_bytes()
    monkeypatch.setattr("toolkit.evaluation.report.render", lambda *_, **__: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        make(fake_predictor, source, tmp_path / "report")
    assert (tmp_path / "report" / "report.html").read_bytes() == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["report", "reviews.csv"]


class Contrary:
    """A predictor that gives some reviews' verdicts the other way round."""

    def __init__(self, predictor, changed):
        self.predictor, self.changed = predictor, changed

    def __getattr__(self, name):
        return getattr(self.predictor, name)

    def predict_many(self, texts):
        for index, prediction in enumerate(self.predictor.predict_many(texts)):
            if index in self.changed:
                from dataclasses import replace

                turned = {label.name: prediction.probabilities[SENTIMENT[1 - label.index].name] for label in SENTIMENT}
                prediction = replace(
                    prediction,
                    label=SENTIMENT[1 - prediction.label.index],
                    probabilities=turned,
                    logits=prediction.logits[::-1],
                )
            yield prediction


@pytest.mark.usefixtures("no_charts")
def test_two_reports_compare(fake_predictor, source, tmp_path):
    make(fake_predictor, source, tmp_path / "a")
    make(Contrary(fake_predictor, {0, 2, 4, 1}), source, tmp_path / "b")  # 0, 2 and 4 were wrong, 1 was right
    comparison = compare(tmp_path / "a", tmp_path / "b")
    counts = [comparison[name] for name in ("reviews", "both_right", "only_a", "only_b", "neither")]
    assert counts == [40, 19, 1, 3, 17]
    assert comparison["difference"] == pytest.approx(2 / 40)
    assert comparison["interval"][0] < 2 / 40 < comparison["interval"][1]
    assert comparison["mcnemar"]["exact"] == pytest.approx(2 * (1 + 4) / 16)
    assert {each["row"] for each in comparison["changed"]} == {1, 2, 3, 5}
    for each in comparison["changed"]:
        assert (each["b"]["verdict"] == each["label"]) == (each["row"] != 2)
        assert each["a"]["verdict"] != each["b"]["verdict"]
        assert "film number" in each["excerpt"]
    write_comparison(tmp_path / "c", comparison)
    page = Page(tmp_path / "c" / "report.html")
    assert NASTY in page.text
    assert "B is right more often, by 5.00 points" in page.text


@pytest.mark.usefixtures("no_charts")
def test_the_order_of_the_rows_is_no_matter(fake_predictor, source, tmp_path):
    make(fake_predictor, source, tmp_path / "a")
    header, *rows = source.read_text().splitlines(keepends=True)
    (tmp_path / "turned.csv").write_text("".join([header, *reversed(rows)]))
    make(fake_predictor, tmp_path / "turned.csv", tmp_path / "b")
    comparison = compare(tmp_path / "a", tmp_path / "b")
    assert (comparison["both_right"], comparison["neither"], comparison["changed"]) == (20, 20, [])


@pytest.mark.usefixtures("no_charts")
def test_what_cannot_be_compared(fake_predictor, source, tmp_path):
    make(fake_predictor, source, tmp_path / "a")
    lines = source.read_text().splitlines(keepends=True)
    (tmp_path / "fewer.csv").write_text("".join(lines[:-1]))
    make(fake_predictor, tmp_path / "fewer.csv", tmp_path / "b")
    with pytest.raises(ToolkitError, match=r"judge different reviews \(40 and 39, 39 in both\); evaluate both"):
        compare(tmp_path / "a", tmp_path / "b")
    label = int(lines[-1].rsplit(",", 2)[1])
    (tmp_path / "other.csv").write_text("".join(lines[:-1]) + lines[-1].replace(f",{label},", f",{1 - label},"))
    make(fake_predictor, tmp_path / "other.csv", tmp_path / "b")
    with pytest.raises(ToolkitError, match="different labels for 1 reviews"):
        compare(tmp_path / "a", tmp_path / "b")
    with pytest.raises(ToolkitError, match="none holds no evaluation; make one with: toolkit evaluate --output"):
        compare(tmp_path / "a", tmp_path / "none")
    predictions = tmp_path / "b" / "predictions.csv"
    predictions.write_text("".join(predictions.read_text().splitlines(keepends=True)[:10]))
    with pytest.raises(ToolkitError, match=r"b is damaged \(9 rows for 40 reviews\); evaluate again"):
        compare(tmp_path / "a", tmp_path / "b")
