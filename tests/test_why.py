"""`--why` and texts that are not for the model, through the doors of the shell."""

import contextlib
import json
import os
import pty
import re
import subprocess
import sys

import click
import pytest
from click.testing import CliRunner

from tests.conftest import FakePredictor
from tests.prediction.test_explanation import RULE, TEXT, reader
from toolkit.cli import cli
from toolkit.commands.why import drawn, listed
from toolkit.models.bundle import Kind, Manifest
from toolkit.prediction.combination import Combination
from toolkit.text.tokenisation import ReviewTokenizer

LONG = "Fine. " * 30 + "A bad film. " + "Fine. " * 30
CHINESE = "这部电影 a b"


def predictor_of(tokenizer, rule=RULE, length=64, abstention=None, **manifest):
    manifest = Manifest(**{"kind": Kind.ONNX, "base_model": "fake", "max_length": length, **manifest})
    ngrams = reader(tokenizer, rule) if rule else None
    return FakePredictor(manifest, ReviewTokenizer(tokenizer, length), ngrams=ngrams, abstention=abstention)


@pytest.fixture
def run(tiny_tokenizer):
    """Run a command on a predictor with an n-gram table; other models by keyword."""

    def invoke(*arguments, stdin=None, **model):
        def load(options=None, abstention=None, **where):
            return predictor_of(tiny_tokenizer, abstention=abstention, **model)

        return CliRunner().invoke(cli, list(map(str, arguments)), input=stdin, obj=load)

    return invoke


def test_predict_says_why_in_a_pipe(run, tiny_tokenizer):
    explanation = predictor_of(tiny_tokenizer).explain(TEXT)
    lines = run("predict", "--why", TEXT).stdout.splitlines()
    assert lines[0] == run("predict", TEXT).stdout.rstrip("\n"), "the line itself is as it always is"
    assert lines[1] == "  + pushes to positive, - to negative; the number says how far:"
    assert lines[2:5] == [f"  {segment.push:+.2f}  {segment.text}" for segment in explanation.segments]
    assert lines[5] == "  Words by themselves: " + ", ".join(
        f"{each.text} {each.push:+.2f}" for each in explanation.phrases
    )
    assert len(lines) == 6
    assert "bad -" in lines[5]
    assert (
        run("predict", "--why", "--lang", "zh", TEXT).stdout.splitlines()[1]
        == "  + 推向正面，- 推向负面；数字表示推动了多远："
    )


def test_predict_says_why_in_json(run, tiny_tokenizer):
    plain, why = (json.loads(run("predict", "--json", *more, TEXT).stdout) for more in ((), ("--why",)))
    assert why.pop("why") == json.loads(json.dumps(predictor_of(tiny_tokenizer).explain(TEXT).to_dict()))
    assert why == plain


def test_filter_says_why_of_what_it_keeps(run, tiny_tokenizer, monkeypatch):
    explained = []
    explain = FakePredictor.explain
    monkeypatch.setattr(FakePredictor, "explain", lambda self, text: explained.append(text) or explain(self, text))
    predictor = predictor_of(tiny_tokenizer)
    reviews = [TEXT, "good good good", "bad bad end"]
    kept = [review for review in reviews if predictor.predict(review).verdict == "positive"]
    assert 0 < len(kept) < 3
    arguments = ("filter", "--format", "jsonl", "--why", "--keep", "positive", "--prefix", "m_")
    records = [json.loads(line) for line in run(*arguments, stdin="\n".join(reviews)).stdout.splitlines()]
    assert [record["text"] for record in records] == explained == kept
    expected = [json.loads(json.dumps(explain(predictor, review).to_dict())) for review in kept]
    assert [record["m_why"] for record in records] == expected


@pytest.mark.parametrize("wrong", [[], ["--format", "csv"], ["--format", "jsonl", "--count"]])
def test_filter_says_why_in_json_alone(run, wrong):
    result = run("filter", "--why", *wrong, stdin="good\n")
    assert result.exit_code == 2
    assert "--why goes with --format jsonl, without --count" in result.stderr


def test_a_terminal_shows_words_in_colour(tiny_tokenizer):
    explanation = predictor_of(tiny_tokenizer).explain(TEXT)
    shown = list(drawn(explanation, "en", 40))
    assert click.unstyle(shown[0]) == TEXT
    assert click.style("bad", fg="red", bold=True) in shown[0]
    assert click.style("good", fg="green", bold=True) not in shown[0], "beside `not good` it weighs less"
    assert re.search(r"\x1b\[32m(\x1b\[1m)?good", shown[0])
    assert click.unstyle(shown[2]) == "green pushes to positive, red to negative; the number says how far:"
    pushes = [float(click.unstyle(line).split()[0]) for line in shown[3:6]]
    assert sorted(pushes, key=lambda push: -abs(push)) == pushes
    assert all(len(click.unstyle(line)) <= 40 for line in shown[3:6])
    assert "绿色 推向正面，红色 推向负面" in click.unstyle("\n".join(drawn(explanation, "zh", 40)))


def test_without_a_table_the_sentences_are_in_colour(tiny_tokenizer):
    explanation = predictor_of(tiny_tokenizer, rule=None).explain(TEXT)
    shown = list(drawn(explanation, "en", 80))
    strongest = max(explanation.segments, key=lambda each: abs(each.push))
    assert click.style(strongest.text, fg="green" if strongest.push > 0 else "red", bold=True) in shown[0]
    assert "by themselves" not in "".join(shown)


def test_the_unread_middle_is_named(tiny_tokenizer):
    both, alone = (predictor_of(tiny_tokenizer, rule, 32).explain(LONG) for rule in (RULE, None))
    middle = f"… {both.unread_words} words here were read for their wording only, {both.unread_push:+.2f} …"
    assert middle in click.unstyle(next(drawn(both, "en", 80)))
    assert list(listed(both, "en"))[1 + both.unread_after] == f"  {middle}"
    assert f"… {alone.unread_words} words were not read …" in click.unstyle(next(drawn(alone, "en", 80)))
    assert f"… 此处 {alone.unread_words} 个词未读取 …" in "".join(listed(alone, "zh"))


def test_a_lone_sentence_is_one_line_of_words(run, tiny_tokenizer):
    lines = run("predict", "--why", "A good film").stdout.splitlines()
    assert re.fullmatch(r"  A [+-]\d\.\d\d, good [+-]\d\.\d\d, film [+-]\d\.\d\d", lines[2])
    assert len(lines) == 3
    assert run("predict", "--why", "Good").stdout.splitlines()[2:] == [
        "         Good",
        f"  Words by themselves: Good {predictor_of(tiny_tokenizer).explain('Good').phrases[0].push:+.2f}",
    ]


UNFAMILIAR = "this looks like something else, so there is no verdict. --any-text gives one all the same."
SCRIPT = "most letters of this text are of another script, so there is no verdict. --any-text gives one all the same."


@pytest.mark.parametrize(
    ("text", "model", "reason", "english", "chinese"),
    [
        ("zyx qwv", {"rule": Combination(unfamiliar_below=0.5)}, "unfamiliar", UNFAMILIAR, "这段文字看起来是别的内容"),
        (CHINESE, {"rule": None, "base_model": "minilm"}, "script", SCRIPT, "大多不是拉丁字母"),
    ],
)
def test_a_text_that_is_not_for_the_model(run, tmp_path, text, model, reason, english, chinese):
    result = run("predict", text, "good", **model)
    assert result.stdout.splitlines()[0].startswith("uncertain\t0.")
    assert "review 1: The model" in result.stderr
    assert english in result.stderr
    assert "review 2" not in result.stderr
    assert chinese in run("predict", "--lang", "zh", text, **model).stderr
    found = json.loads(run("predict", "--json", text, **model).stdout)
    assert (found["label"], found["reason"]) == ("uncertain", reason)
    answered = run("predict", "--json", "--any-text", text, **model)
    assert json.loads(answered.stdout)["label"] in ("positive", "negative")
    assert "reason" not in json.loads(answered.stdout)
    assert answered.stderr == ""

    lines = f"{text}\ngood\n{text}\n"
    result = run("filter", "--keep", "uncertain", stdin=lines, **model)
    assert [line.split("\t")[0] for line in result.stdout.splitlines()] == ["uncertain", "uncertain"]
    assert "and therefore uncertain: 2. --any-text gives one all the same." in result.stderr
    record = json.loads(run("filter", "--format", "jsonl", stdin=lines, **model).stdout.splitlines()[0])
    assert record["reason"] == reason
    result = run("filter", "--any-text", stdin=lines, **model)
    assert "uncertain" not in result.output
    assert run("filter", "--any-text", "--keep", "uncertain", stdin=lines, **model).exit_code == 2

    (tmp_path / "in.csv").write_text(f"text\n{text}\ngood\n")
    for output, more, expected in (("a.jsonl", [], "uncertain"), ("b.jsonl", ["--any-text"], None)):
        result = run("predict-files", tmp_path / "in.csv", tmp_path / output, *more, **model)
        first = json.loads((tmp_path / output).read_text().splitlines()[0])
        assert (first["label"] == "uncertain") == (expected == "uncertain")
        assert first.get("reason") == (reason if expected else None)
        assert ("therefore uncertain: 1." in result.stderr) == bool(expected)


def test_what_moved_keeps_its_options(run):
    result = run("predict", "--file", "in.csv", "--any-text", "--why", "--json")
    assert "toolkit predict-files --any-text in.csv OUTPUT" in result.stderr


def test_the_command_itself_on_a_terminal(ngram_bundle):
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "toolkit", "predict", "--why", "--onnx-model", str(ngram_bundle), f"{TEXT} \x1b[2Jgood"],
        stdout=theirs, stderr=subprocess.DEVNULL, env={**os.environ, "COLUMNS": "80", "NO_COLOR": ""},
    )  # fmt: skip
    os.close(theirs)
    shown = b""
    with contextlib.suppress(OSError):  # how a terminal says that its other end is closed
        while block := os.read(ours, 4096):
            shown += block
    assert process.wait(60) == 0
    os.close(ours)
    text = shown.decode().replace("\r\n", "\n")
    assert "\x1b[2J" not in text, "a review gives a terminal no orders"
    assert "\x1b[3" in text
    head, words, _, legend, *_ = click.unstyle(text).split("\n")
    assert re.fullmatch(r"(positive|negative)  █+░* 0\.\d{4}", head)
    assert words.startswith(TEXT)
    assert legend.startswith("green pushes to positive")
