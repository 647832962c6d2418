"""The rooms of the chat app one by one, without Chainlit."""

import csv
import gzip
import io
import json
import resource
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner

from tests.prediction.test_explanation import ALONE, reader
from toolkit.chat.corrections import Correction, save_correction, take_back_correction
from toolkit.chat.models import Models
from toolkit.chat.panels import feedback_panel, file_panel, verdict_panel, why_panel
from toolkit.chat.settings import ServerSettings, UserSettings, carried_settings, default_state, upload_format
from toolkit.chat.state import prepare
from toolkit.chat.texts import TEXTS, choose_language, starters
from toolkit.chat.uploads import MAX_ROWS, Report, classify_rows, read_upload
from toolkit.cli import cli
from toolkit.errors import ToolkitError
from toolkit.models.bundle import Kind, Manifest
from toolkit.prediction import Prediction, Predictor
from toolkit.prediction.explanation import MAX_SEGMENTS, explain
from toolkit.streaming.files import FileJob
from toolkit.text.labels import POSITIVE
from toolkit.text.tokenisation import ReviewTokenizer


class WordPredictor(Predictor):
    """Each "good" is worth one point of log-odds towards positive, each "bad" one towards negative."""

    backend, device, chunk_size = "fake", "nowhere", 64

    def logits(self, encodings):
        import numpy as np

        good, bad = (self.tokenizer.encode([word])[0].input_ids[1:-1] for word in ("good", "bad"))
        assert len(good) == len(bad) == 1
        self.calls = getattr(self, "calls", 0) + 1
        rows = [
            [0, (encoding.input_ids == good[0]).sum() - (encoding.input_ids == bad[0]).sum()] for encoding in encodings
        ]
        return np.array(rows, np.float32)


@pytest.fixture
def words(tiny_tokenizer) -> WordPredictor:
    return WordPredictor(Manifest(Kind.ONNX, "fake", 64), ReviewTokenizer(tiny_tokenizer, 64))


# Languages and settings.


@pytest.mark.parametrize(
    ("tag", "chosen", "default", "language"),
    [
        ("zh-CN,zh;q=0.9", None, None, "zh"),
        ("en-GB,en;q=0.9", None, None, "en"),
        ("fr-FR", None, None, "zh"),
        (None, None, None, "zh"),
        ("zh-CN", "en", None, "en"),
        ("en-US", "klingon", None, "en"),
        ("en-US", None, "zh", "zh"),
    ],
)
def test_the_language_is_the_users_the_servers_or_the_browsers(tag, chosen, default, language):
    assert choose_language(tag, chosen, default) == language


def test_starters_are_the_same_reviews_in_both_languages():
    chinese, english = starters("zh"), starters("en")
    assert [review for _, review in chinese] == [review for _, review in english]
    assert not {label for label, _ in chinese} & {label for label, _ in english}


def test_server_settings_come_from_the_environment(tmp_path):
    settings = ServerSettings.from_environment(
        {
            "TOOLKIT_STATE": str(tmp_path),
            "TOOLKIT_CHAT_PASSWORD": " secret ",
            "TOOLKIT_CHAT_ORIGINS": "https://a.example/,https://b.example:8443",
            "TOOLKIT_CHAT_LANGUAGE": "en",
            "TOOLKIT_CHAT_MAX_LENGTH": "256",
            "TOOLKIT_CHAT_UNCERTAIN_BELOW": "0.7",
            "TOOLKIT_CHAT_KEPT_SECONDS": "60",
        }
    )
    assert settings == ServerSettings(
        tmp_path,
        " secret ",
        ("https://a.example", "https://b.example:8443"),
        "en",
        max_length=256,
        uncertain_below=0.7,
        kept_seconds=60,
    )
    assert ServerSettings.from_environment({"TOOLKIT_STATE": str(tmp_path)}) == ServerSettings(tmp_path)
    assert ServerSettings(tmp_path).max_length is None, "as many as the shell reads"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("TOOLKIT_CHAT_LANGUAGE", "fr"),
        ("TOOLKIT_CHAT_BACKEND", "jax"),
        ("TOOLKIT_CHAT_ORIGINS", "*"),
        ("TOOLKIT_CHAT_MAX_LENGTH", "2"),
        ("TOOLKIT_CHAT_MAX_LENGTH", "many"),
        ("TOOLKIT_CHAT_UNCERTAIN_BELOW", "0.4"),
        ("TOOLKIT_CHAT_KEPT_SECONDS", "0"),
    ],
)
def test_a_wrong_variable_is_named(tmp_path, name, value):
    with pytest.raises(ToolkitError, match=f"{name} is {value!r}, expected".replace("*", r"\*")):
        ServerSettings.from_environment({"TOOLKIT_STATE": str(tmp_path), name: value})


def test_the_default_state_is_the_users_or_a_temporary_folder(tmp_path):
    assert default_state({"XDG_STATE_HOME": str(tmp_path)}) == str(tmp_path / "distilbert-review-toolkit")
    (tmp_path / "file").touch()
    fallback = Path(default_state({"XDG_STATE_HOME": str(tmp_path / "file")}))
    assert fallback.is_dir()
    fallback.rmdir()


def test_what_a_panel_sends_is_not_trusted():
    before = UserSettings("zh", "onnx", None, 0.5)
    after = before.changed_by(
        {"language": "en", "backend": "onnx", "max_length": 300, "uncertain_below": 0.8}, ("onnx",), 512
    )
    assert after == UserSettings("en", "onnx", 300, 0.8)
    forged = {"language": "xx", "backend": "torch", "max_length": 10**9, "uncertain_below": "0.9", "else": 1}
    assert before.changed_by(forged, ("onnx",), 512) == UserSettings("zh", "onnx", 512, 0.5)
    for odd in (float("nan"), True, None, [], {}):
        assert before.changed_by({"max_length": odd, "uncertain_below": odd, "language": odd}, ("onnx",), 512) == before


@pytest.mark.parametrize(
    ("cookie", "settings"),
    [
        ("%7B%22max_length%22%3A120%7D", {"max_length": 120}),
        (None, {}),
        ("", {}),
        ("%5B1%5D", {}),
        ("%7B", {}),
        ("%5B" * 30_000, {}),
        ("%ff", {}),
    ],
)
def test_settings_are_carried_to_the_page_in_another_language(cookie, settings):
    assert carried_settings(cookie) == settings


# The state folder.


def test_the_state_folder_is_all_that_chainlit_needs(tmp_path):
    pytest.importorskip("chainlit")
    settings = ServerSettings(tmp_path / "state", origins=("https://a.example",), kept_seconds=61)
    environment = prepare(settings, 8000)
    root = Path(environment["CHAINLIT_APP_ROOT"])
    assert root.parent == settings.state
    assert Path(environment["TMPDIR"]).is_relative_to(root)
    configuration = (root / ".chainlit" / "config.toml").read_text()
    assert 'allow_origins = ["https://a.example"]' in configuration
    assert "session_timeout = 61 " in configuration
    chinese = json.loads((root / ".chainlit" / "translations" / "zh-CN.json").read_text())
    assert chinese["chat"]["input"]["placeholder"] == "请输入一段英文影评以进行分类"
    assert chinese["chat"]["input"]["actions"]["send"]  # Chainlit's own stay
    assert (root / "public" / "elements" / "Verdict.jsx").is_file()
    (root / "public" / "toolkit.css").write_text("old")
    prepare(settings, 8000)
    assert "toolkit-bar" in (root / "public" / "toolkit.css").read_text()
    assert Path(prepare(settings, 9000)["CHAINLIT_APP_ROOT"]) != root


def test_a_state_folder_that_cannot_be_written_is_one_line(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(ToolkitError, match="TOOLKIT_STATE"):
        prepare(ServerSettings(tmp_path / "file" / "state"), 8000)


# Models.


def test_one_model_serves_every_length(tiny_bundle, tmp_path):
    models = Models(ServerSettings(tmp_path, onnx_model=str(tiny_bundle)))
    assert models.loaded is None
    model = models.load()
    assert models.loaded is model is models.load("onnx")
    text = "A quiet film. " * 300
    short, longer = (model.view(length).predict(text) for length in (20, 10**6))
    assert (short.tokens_read, longer.tokens_read) == (20, model.predictor.positions)
    assert model.predictor.tokenizer.max_length == model.predictor.manifest.max_length
    assert model.view(20)._sessions is model.predictor._sessions
    assert len(model.model_hash) == 64


def test_backends_that_exist_are_offered(tiny_bundle, tiny_adapter, tmp_path):
    nowhere = str(tmp_path / "nowhere")
    both = Models(ServerSettings(tmp_path, backend="onnx", onnx_model=str(tiny_bundle), adapter=str(tiny_adapter)))
    assert both.backends() == ("onnx", "torch")
    text = "A quiet film, and a bad one."
    assert abs(both.load("torch").predictor.predict(text).score - both.load().predictor.predict(text).score) < 1e-4
    assert Models(ServerSettings(tmp_path, onnx_model=str(tiny_bundle), adapter=nowhere)).backends() == ("onnx",)


def test_a_missing_model_is_asked_for_again(tmp_path, tiny_bundle):
    models = Models(ServerSettings(tmp_path, onnx_model=str(tmp_path / "onnx_model")))
    with pytest.raises(ToolkitError, match="onnx_model not found"):
        models.load()
    (tmp_path / "onnx_model").symlink_to(tiny_bundle)
    assert models.load().predictor.backend == "onnx"


# Why.


def test_each_sentence_is_credited_with_what_it_adds(words):
    explanation = explain(words, "This is good. That is bad, bad. It is what it is! Good good good.")
    assert [segment.text for segment in explanation.segments] == [
        "This is good.",
        "That is bad, bad.",
        "It is what it is!",
        "Good good good.",
    ]
    assert [round(segment.push, 5) for segment in explanation.segments] == [1, -2, 0, 3]
    assert explanation.unread_words == 0
    assert words.calls == 2  # the answer, and the rest in one batch


def test_the_page_is_told_of_words_phrases_and_what_it_folds(words, tiny_tokenizer):
    text = "It is not good. But a bad end!"
    words.ngrams, words.readers = reader(tiny_tokenizer), "auto"
    explanation = words.explain(text)
    panel = why_panel(explanation, words.labels, "en")
    assert panel["note"] == TEXTS["en"].why_legend + TEXTS["en"].why_words
    assert panel["open"]
    for shown, segment in zip(panel["segments"], explanation.segments, strict=True):
        assert "".join(word["text"] for word in shown["words"]) == segment.text
    kinds = {word["text"]: word["kind"] for shown in panel["segments"] for word in shown["words"] if "kind" in word}
    assert kinds == {"not": "negative", "good.": "positive", "bad": "negative"}
    assert [phrase["text"] for phrase in panel["phrases"]] == [phrase.text for phrase in explanation.phrases]
    assert panel["phrases"][0]["title"].endswith(": pushes to positive")
    whole, long = (words.with_options(max_length=length).explain("It is not good. " * 60) for length in (400, 64))
    panel = why_panel(whole, words.labels, "zh")
    assert (panel["open"], panel["unread"]) == (False, None)
    panel = why_panel(long, words.labels, "zh")
    assert panel["open"], "what is left out takes no room"
    assert (
        panel["unread"]
        == f"此处 {long.unread_words} 个词只看了词语，{'+' if long.unread_push >= 0 else '−'}{abs(long.unread_push):.2f}"
    )


def test_of_a_huge_review_the_weightiest_words_are_shaded(words, tiny_tokenizer):
    words.ngrams, words.readers = reader(tiny_tokenizer, ALONE), "auto"
    text = "It is good. " * 400 + "A bad end. " * 300
    explanation = words.explain(text)
    assert explanation.prediction.read_by == "ngrams"
    shown = [word for each in why_panel(explanation, words.labels, "en")["segments"] for word in each["words"]]
    shaded = [word["text"] for word in shown if "kind" in word]
    assert shaded == ["bad"] * 300, "each weighs more than one of the goods, of which there are too many"
    assert "".join(word["text"] for word in shown).replace(" ", "") == text.replace(" ", "")


def test_nobody_is_told_of_log_odds():
    for texts in TEXTS.values():
        assert not any("odds" in sentence or "几率" in sentence for sentence in vars_of(texts))


def vars_of(texts):
    return [value for name in texts.__slots__ if isinstance(value := getattr(texts, name), str)]


def test_a_text_that_is_not_for_the_model_is_not_judged_at_first_sight(tiny_tokenizer, tmp_path):
    manifest = Manifest(Kind.ONNX, "minilm", 64)
    predictor = WordPredictor(manifest, ReviewTokenizer(tiny_tokenizer, 64))
    prediction = predictor.predict("这部电影 a b")
    for language, sentence in (("zh", "大多不是拉丁字母"), ("en", "most letters of this text are of another script")):
        withheld = verdict_panel(prediction, predictor, language)["withheld"]
        assert sentence in withheld["note"]
        assert withheld["show"] == TEXTS[language].any_text
    assert verdict_panel(predictor.predict("Good."), predictor, "zh")["withheld"] is None
    report = classified(upload(tmp_path, "a.txt", "这部电影 a b\nGood.\n \n".encode()), predictor)
    (note,) = file_panel(report, "en", 64)["notes"]
    assert note.endswith("and therefore uncertain: 1.")
    assert [row["label"] for row in table_of(report)] == ["uncertain", "positive"]
    assert file_panel(classified(upload(tmp_path, "a.txt", b"Good."), predictor), "en", 64)["notes"] == []


def test_unread_text_plays_no_part(words):
    words = words.with_options(truncation="head")
    explanation = explain(words, "This is good. " + "It is. " * 40 + "Bad. " * 50)
    assert explanation.unread_after == len(explanation.segments)
    shown = " ".join(segment.text for segment in explanation.segments)
    assert words.tokenizer.encode([shown])[0].tokens <= 64
    assert "Bad" not in shown
    assert len(shown.split()) + explanation.unread_words == 3 + 80 + 50
    assert explanation.segments[0].push > 0
    assert all(abs(segment.push) < 1e-9 for segment in explanation.segments[1:])


def test_what_lies_between_beginning_and_end_is_not_read(words):
    words = words.with_options(truncation="head-tail")
    explanation = explain(words, "This is good. " + "Bad. " * 80 + "It is good. " * 3)
    shown = [segment.text for segment in explanation.segments]
    assert words.tokenizer.encode([" ".join(shown)])[0].tokens <= 64
    assert shown[0].startswith("This is good.")
    assert shown[-1].endswith("It is good.")
    assert explanation.segments[-1].push > 0
    assert len(" ".join(shown).split()) + explanation.unread_words == 3 + 80 + 9
    assert 0 < explanation.unread_after < len(shown)


def test_a_long_review_costs_a_bounded_number_of_readings(words):
    explanation = explain(words, "Good! " * 25)
    assert len(explanation.segments) == MAX_SEGMENTS
    assert sum(segment.text.count("Good!") for segment in explanation.segments) == 25
    assert {segment.text.count("Good!") for segment in explanation.segments} == {1, 2}


def test_words_that_nobody_sees_play_no_part(words):
    explanation = explain(words, "Good \x97 fun. \u200b Bad \ufeff end. \x97")
    assert [segment.text for segment in explanation.segments] == ["Good fun.", "Bad end."]


def test_a_lone_word_has_nothing_to_be_compared_with(words):
    explanation = explain(words, "<b>Good</b>")
    assert [(segment.text, segment.push) for segment in explanation.segments] == [("<b>Good</b>", None)]
    panel = why_panel(explanation, words.labels, "en")
    assert panel["note"] == TEXTS["en"].why_lone
    assert panel["segments"] == [{"text": "<b>Good</b>"}]


def test_shading_has_a_sign_and_words_beside_the_colour(words):
    panel = why_panel(explain(words, "Good good. Bad."), words.labels, "en")
    first, second = panel["segments"]
    assert (first["push"], first["kind"], first["shade"]) == ("+2.00", "positive", 1.0)
    assert (second["push"], second["kind"], second["shade"]) == ("−1.00", "negative", 0.5)
    assert second["title"] == "−1.00: pushes to negative"


# Uploads.


def upload(tmp_path, name: str, content: bytes):
    path = tmp_path / "stored"
    path.write_bytes(content)
    return read_upload(path, name, TEXTS["en"])


def classified(rows, predictor) -> Report:
    report = Report(rows.columns, predictor.labels)
    for batch in classify_rows(rows, predictor):
        report.add(batch)
    return report


def table_of(report) -> list[dict]:
    return list(csv.DictReader(io.StringIO(report.csv().decode("utf-8-sig"), newline="")))


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.txt", "\ufeffGood film.\r\n\r\nBad film.\n"),
        ("a.CSV", '\ufefftitle,Review\nx,Good film.\ny,"Bad film."\n'),
        ("a.jsonl", '{"text": "Good film."}\n{"text": "Bad film.", "id": 3}\n'),
    ],
)
def test_files_are_read_by_their_names_ending(tmp_path, name, content):
    rows = upload(tmp_path, name, content.encode())
    assert [(row.text, row.problem) for row in rows] == [("Good film.", None), ("Bad film.", None)]


def test_a_row_that_cannot_be_read_stops_nothing(tmp_path, words):
    rows = upload(tmp_path, "a.csv", b"text\nGood.\n<br />\n\xff\xfe\na,b\nBad.\n")
    assert [row.problem is None for row in rows] == [True, False, False, False, True]
    report = classified(rows, words)
    assert [row.verdict for row in report.first] == ["positive", *["unreadable"] * 3, "negative"]
    assert report.counts() == {"negative": 1, "positive": 1, "unreadable": 3}
    table = table_of(report)
    assert [row["label"] for row in table] == ["positive", "", "", "", "negative"]
    assert table[1]["error"] == "a.csv: line 3: empty review"
    assert table[0]["tokens"] == "4"
    assert json.loads(table[4]["probabilities"])["positive"] < 0.5 < float(table[4]["score"])


FILES = {
    "a.csv": b'id,Review,stars\r\nx1,"Good, and fine.",-2\r\nx2,<br />,5\r\n\r\nx3,Bad.\r\nx4,Bad.,1\r\n',
    "b.tsv": b"review\tid\nGood.\t1\nBad.\t2\n",
    "c.jsonl": b'{"id": 1.50, "text": "Good."}\n{"id": null, "text": "Bad."}\n{"id": [1, 2.0], "text": 3}\n',
    "d.json": b'[{"text": "Good.", "a": {"b": true}}, {"text": "Bad."}]',
    "e.csv": b"text\n\xff\xfe\nGood.\n",
}


@pytest.mark.parametrize("name", FILES)
def test_the_results_are_those_of_the_shell(tmp_path, words, name):
    """All that differs is what a spreadsheet needs: a mark for UTF-8, and no cell that is a formula."""
    rows = upload(tmp_path, name, FILES[name])
    (tmp_path / name).write_bytes(FILES[name])
    FileJob(tmp_path / name, tmp_path / "out.csv").run(lambda: words)
    shell = list(csv.DictReader(io.StringIO((tmp_path / "out.csv").read_text(), newline="")))
    shell = [row for row in shell if "blank line" not in row["error"]]  # no row of a table in the app
    table = table_of(classified(rows, words))
    assert [list(row) for row in table] == [list(row) for row in shell]
    for ours, theirs in zip(table, shell, strict=True):
        assert bool(ours.pop("error")) == bool(theirs.pop("error"))
        assert ours == theirs


def test_columns_of_the_same_name_stay_the_files_own(tmp_path, words):
    rows = upload(tmp_path, "a.csv", b"text,label,predicted_score\nGood.,1,x\nBad.,0,y\n")
    (first, second) = table_of(classified(rows, words))
    assert (first["label"], first["predicted_score"], first["predicted_predicted_label"]) == ("1", "x", "positive")
    assert second["predicted_predicted_label"] == "negative"
    rows = upload(tmp_path, "a.csv", b"text,label\nGood.,1\n")
    assert table_of(classified(rows, words))[0]["predicted_label"] == "positive"


def test_objects_with_other_fields_have_the_columns_of_all(tmp_path, words):
    content = b'not JSON\n{"text": "Good."}\n{"id": 7, "text": "Bad."}\n'
    table = table_of(classified(upload(tmp_path, "a.jsonl", content), words))
    assert [list(row)[:3] for row in table] == [["text", "id", "label"]] * 3
    assert [(row["text"], row["id"], row["label"]) for row in table] == [
        ("", "", ""), ("Good.", "", "positive"), ("Bad.", "7", "negative"),
    ]  # fmt: skip
    assert "broken JSON" in table[0]["error"]


def test_what_was_read_in_part_is_counted(tmp_path, words):
    report = classified(upload(tmp_path, "a.txt", b"Good.\n" + b"Bad. " * 100 + b"\n"), words)
    (note,) = file_panel(report, "en", 64)["notes"]
    assert note == "Over 64 tokens long, and therefore read in part: 1. The settings can raise that limit."


def test_no_cell_of_the_download_is_a_formula(tmp_path, words):
    """As OWASP has it: a spreadsheet runs what begins so, and shows what begins with an apostrophe."""
    formulas = ["=HYPERLINK(1)", "+1+1", "-2 films", "@SUM(A1)", "＝1", "\t=1", "-1+cmd|' /C calc'!A0", "+49 30 1"]
    plain = ["Good = 1", "'quoted", "3 - 2", "-2", "+1.5", "-2,5", "-1e-3"]
    content = "".join(json.dumps({"=note": text, "text": text}) + "\n" for text in [*formulas, *plain])
    report = classified(upload(tmp_path, "=1.jsonl", content.encode()), words)
    table = table_of(report)
    expected = [*(f"'{text}" for text in formulas), *plain]
    assert [row["text"] for row in table] == expected
    assert [row["'=note"] for row in table] == expected
    assert file_panel(report, "en", 64)["rows"][0]["text"] == "=HYPERLINK(1)"
    assert float(table[8]["score"]) == report.first[8].prediction.score


@pytest.mark.parametrize("name", ["a.csv", "A.CSV", "a.tsv", "a.csv.gz", "a.CSV.GZ", "a.json", "a.jsonl", "a.txt.gz"])
def test_every_format_of_the_shell_is_taken(tmp_path, name):
    lines = {
        ".csv": b"id;review\n1;Good, yes.\n2;Bad.\n",
        ".tsv": b"id\treview\n1\tGood, yes.\n2\tBad.\n",
        ".json": b'[{"review": "Good, yes."}, {"review": "Bad."}]',
        ".jsonl": b'{"review": "Good, yes."}\r{"review": "Bad."}\r',
        ".txt": b"Good, yes.\rBad.\r",
    }
    content = lines[upload_format(name)]
    rows = upload(tmp_path, name, gzip.compress(content) if name.lower().endswith(".gz") else content)
    assert [row.text for row in rows] == ["Good, yes.", "Bad."]


def test_a_row_that_is_too_long_is_not_parsed(tmp_path):
    """20 MB of empty lists in one line took half a gigabyte, and kept everybody waiting for seconds."""
    bomb = b'{"text": "Fine.", "x": [' + b"[]," * 400_000 + b"[]]}\n"
    rows = upload(tmp_path, "a.jsonl", b'{"text": "Good."}\n' + bomb + b'{"text": "Bad."}\n')
    assert [(row.text, row.problem) for row in rows] == [
        ("Good.", None), ("", "longer than 1 MiB"), ("Bad.", None),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.exe", b"x", "only .txt, .csv, .tsv, .jsonl and .json .*; save a spreadsheet as CSV UTF-8"),
        (
            "a.csv",
            b"title,stars\nx,3\n",
            "expected a column called text / review / content / sentence, found: title, stars; rename the reviews' column",
        ),
        ("a.jsonl", b'nothing\n{"title": 1}\n', "expected a column called .*, found: title"),
        ("a.txt", b"\n \n", "no review in this file; put one on each line"),
        ("a.txt", b"x\n" * (MAX_ROWS + 1), "over 50,000 rows; split the file"),
        (
            "a.csv",
            b"text" + b",x%d" * 999 % tuple(range(999)) + b"\ny" * 25_000,
            "too many columns .*; keep the review's",
        ),
        ("a.json", b'{\n"text": 1\n}', "expected an array of JSON objects.*; if in doubt, save the file as CSV UTF-8"),
        ("a.jsonl", b'{"text": "x", "\\ud800": 1}', "half a character"),
    ],
)
def test_a_file_that_cannot_be_used_gets_a_sentence(tmp_path, name, content, message):
    with pytest.raises(ToolkitError, match=message):
        upload(tmp_path, name, content)


def test_large_files_leave_room_for_others(words, tmp_path):
    rows = upload(tmp_path, "a.txt", b"Good.\n" * 100)
    batches = classify_rows(rows, words)
    assert len(next(batches)) <= 8
    assert words.calls == 1


def test_a_file_preview_is_bounded(words, tmp_path):
    rows = upload(tmp_path, "a.txt", (b"Good " * 100 + b"\n") * 30)
    panel = file_panel(classified(rows, words), "zh", 64)
    assert len(panel["rows"]) == 20
    assert max(len(row["text"]) for row in panel["rows"]) < 200
    assert panel["note"] == "前 20 条，共 30 条；完整结果见 CSV。"
    assert [(bar["name"], bar["count"]) for bar in panel["counts"]["bars"]] == [("负面评论", 0), ("正面评论", 30)]


def test_bars_are_shares_of_all_rows_and_nothing_is_said_of_the_first_of_as_many(words, tmp_path):
    panel = file_panel(classified(upload(tmp_path, "a.txt", b"Good.\n" * 3 + b"Bad.\n"), words), "en", 64)
    assert [bar["percent"] for bar in panel["counts"]["bars"]] == [25, 75]
    assert panel["note"] is None
    assert [row["row"] for row in panel["rows"]] == [1, 2, 3, 4]
    assert [TEXTS["en"].counted(number) for number in (0, 1, 2_000)] == ["0 reviews", "1 review", "2,000 reviews"]


# Corrections.


@pytest.mark.parametrize("language", ["zh", "en"])
def test_buttons_stand_in_one_order_whatever_the_verdict(words, language):
    texts = TEXTS[language]
    for text in ("Good.", "Bad."):
        prediction = words.predict(text)
        panel = feedback_panel(prediction, words.labels, language, "an answer", None)
        assert [button["name"] for button in panel["buttons"]] == [texts.right, texts.wrong]
        assert panel["buttons"][0]["label"] == prediction.label.name
        unsure = feedback_panel(
            replace(prediction, verdict="uncertain"), words.labels, language, "an answer", "positive"
        )
        assert [button["label"] for button in unsure["buttons"]] == ["negative", "positive"]
        assert unsure["chosen"] == "positive"


def test_a_correction_that_is_taken_back_is_gone_and_the_others_stay(tmp_path):
    path = tmp_path / "corrections.jsonl"
    first, second, third = (
        Correction(text, "positive", "negative", 0.9, "ab") for text in ("One.", "Two. 电影", "Three.")
    )
    for correction in (first, second, first, third):
        save_correction(path, correction)
    assert take_back_correction(path, first)
    assert [json.loads(line)["text"] for line in path.read_text().splitlines()] == ["One.", "Two. 电影", "Three."]
    assert take_back_correction(path, third)
    assert take_back_correction(path, first)
    assert not take_back_correction(path, first)
    path.write_text("{}" + path.read_text())  # the end of another line is not that line
    assert not take_back_correction(path, second)
    path.unlink()  # somebody imports them
    assert not take_back_correction(path, second)
    assert not path.exists()


def test_dataset_import_takes_corrections(tmp_path):
    path = tmp_path / "corrections.jsonl"
    prediction = Prediction(POSITIVE, 0.75, {"negative": 0.25, "positive": 0.75}, 5, 5, (0.0, 1.1), "positive")
    for number in range(40):
        corrected = ("negative", "positive")[number % 2]
        save_correction(
            path, Correction(f"film number {number} 电影\n\ud800", "positive", corrected, prediction.score, "ab")
        )
    first = json.loads(path.read_text().splitlines()[0])
    assert list(first) == ["text", "predicted", "corrected", "score", "model_hash"]
    result = CliRunner().invoke(cli, ["dataset", "import", str(path), "--output", str(tmp_path / "data")])
    assert result.exit_code == 0, result.output
    assert "14 negative, 14 positive" in result.output


def test_a_correction_is_a_line_of_its_own_whatever_happened_to_the_one_before(tmp_path, monkeypatch):
    path = tmp_path / "corrections.jsonl"
    path.write_text('{"text": "killed in the mid')
    correction = Correction("Ein „schöner“ Film. \ud800", "positive", "positive", 0.9, "0" * 64)
    save_correction(path, correction)
    save_correction(path, correction)
    lines = path.read_text().splitlines()
    assert len(lines) == 3
    assert [json.loads(line)["predicted"] for line in lines[1:]] == ["positive", "positive"]
    before = path.read_bytes()
    limit = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (len(before) + 10, limit[1]))
    try:
        with pytest.raises(OSError, match="File too large"):
            save_correction(path, correction)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limit)
    assert path.read_bytes() == before
