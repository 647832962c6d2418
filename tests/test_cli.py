import contextlib
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from functools import partial

import click
import pytest
from click.testing import CliRunner

from toolkit.cli import COMMANDS as COMMAND_NAMES
from toolkit.cli import cli
from toolkit.datasets.splits import read_splits
from toolkit.errors import BundleError
from toolkit.prediction import Abstention, InferenceOptions

HEAVY = (
    "torch",
    "transformers",
    "onnxruntime",
    "tokenizers",
    "numpy",
    "pandas",
    "matplotlib",
    "sklearn",
    "optimum",
    "peft",
    "chainlit",
    "starlette",
    "uvicorn",
    "prometheus_client",
)


def names_of(command: click.Command, *names: str) -> list[tuple[str, ...]]:
    """The names of a command and of all below it, as they are typed."""
    if not isinstance(command, click.Group):
        return [names]
    context = click.Context(command)
    below = [(name, command.get_command(context, name)) for name in command.list_commands(context)]
    return [names, *(each for name, sub in below for each in names_of(sub, *names, name))]


COMMANDS = names_of(cli)


def run(*arguments, stdin=b"", obj=None):
    return CliRunner().invoke(cli, [*map(str, arguments)], input=stdin, prog_name="toolkit", obj=obj)


@pytest.fixture
def run_fake(load_fake):
    """Run a command on the fake predictor."""
    return partial(run, obj=load_fake)


@pytest.mark.parametrize("command", COMMANDS)
def test_help_imports_nothing_heavy(command):
    script = (
        "import sys\nfrom toolkit.cli import cli\n"
        f"try: cli([*{command!r}, '--help'])\nexcept SystemExit as end: assert not end.code\n"
        f"print('LOADED', [name for name in {HEAVY!r} if name in sys.modules])"
    )
    process = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert process.stdout.strip().endswith("LOADED []")
    assert "Usage: " in process.stdout


@pytest.mark.parametrize("command", [command for command in COMMANDS if command not in ((), ("dataset",))])
def test_every_command_shows_examples(command):
    assert f"toolkit {' '.join(command)}" in run(*command, "--help").output.partition("Examples:")[2]


def test_the_fixed_option_names_are_there():
    options = {
        "train": "--preset --config --dataset --output --base-model --epochs --max-steps --batch-size --learning-rate "
        "--max-length --seed --early-stopping --resume",
        "export": "--adapter --output --parity-set --quantize",
        "predict": "--backend --onnx-model --adapter --max-length --json --lang --uncertain-below",
        "predict-files": "--backend --onnx-model --adapter --max-length --lang --uncertain-below --column --prefix --engine --address "
        "--concurrency --resume --strict",
        "filter": "--backend --onnx-model --adapter --max-length -0 --jsonl --field --csv --column --format --prefix --keep "
        "--invert --count --min-score --uncertain-below --summary --strict --on-error --lang",
        "evaluate": "--backend --onnx-model --adapter --max-length --dataset --split --file --json --lang --output --slice "
        "--no-texts --compare --uncertain-below",
        "serve": "--host --port --lang --uncertain-below --any-text --readers --truncation --max-length --backend --onnx-model --adapter "
        "--queue --most-texts --deadline --grace --name --origin",
        "chat": "--host --port --lang --language --uncertain-below --state --backend --onnx-model --adapter --max-length",
    }
    for command, names in options.items():
        known = {name for option in cli.get_command(None, command).params for name in option.opts}
        assert set(names.split()) <= known, command


@pytest.mark.parametrize("command", COMMANDS)
def test_help_fits_a_terminal_of_80_columns(command):
    text = CliRunner().invoke(cli, [*command, "--help"], terminal_width=80).output
    assert not [line for line in text.splitlines() if len(line) > 80]


def test_train_help_lists_every_setting_of_a_config_file():
    from dataclasses import fields

    from toolkit.training.config import TrainingConfig

    text = run("train", "--help").output
    assert all(f"{each.name} = " in text for each in fields(TrainingConfig))


def test_predict_prints_label_score_and_text(run_fake, fake_predictor):
    result = run_fake("predict", "a great\nfilm", "dull")
    first, second = fake_predictor.predict_many(["a great film", "dull"])
    assert result.stdout == (
        f"{first.label.name}\t{first.score:.4f}\ta great film\n{second.label.name}\t{second.score:.4f}\tdull\n"
    )


def test_predict_json_has_the_documented_fields(run_fake):
    result = run_fake("predict", "--json", "a great film", "dull")
    objects = [json.loads(line) for line in result.stdout.splitlines()]
    assert len(objects) == 2
    for each in objects:
        assert list(each) == ["label", "score", "probabilities", "tokens", "tokens_read"]
        assert each["label"] in ("positive", "negative")
        assert each["probabilities"][each["label"]] == each["score"]


def test_predict_says_what_it_did_not_read(run_fake):
    result = run_fake("predict", "a " * 100)
    assert "read 64 of 102 tokens" in result.stderr


def test_predict_says_which_review_it_did_not_read_and_when_it_stopped_counting(run_fake):
    result = run_fake("predict", "short", "film " * 100_000)
    assert re.search(r"^review 2: read 64 of at least \d+ tokens \(0%\)$", result.stderr, re.MULTILINE)
    assert "review 1" not in result.stderr


def test_predict_reads_a_review_from_stdin(run_fake):
    assert run_fake("predict", "-", stdin=b"a great\nfilm\n").stdout.endswith("\ta great film\n")


def test_predict_hints_at_a_file_and_at_a_sentence_without_quotes(run_fake, tmp_path):
    lines = "toolkit predict - < {0} for one review, toolkit filter {0} for one a line\n"
    for name, command in (("a.txt", lines), ("a.csv", "toolkit predict-files {} OUTPUT\n"), ("notes", lines)):
        path = tmp_path / name
        path.write_text("x")
        result = run_fake("predict", str(path))
        said = f"{path} is a file, and its name is what is classified; for what is in it: {command.format(path)}"
        assert (result.exit_code, result.stderr[: len(said)]) == (0, said)
        assert result.stdout.endswith(f"\t{path}\n")
    result = run_fake("predict", "A", "quiet", "film")
    assert result.stderr == "these are 3 reviews of a word each; for one review of them, put it between quotes\n"
    assert result.stdout.count("\n") == 3
    for texts in (["A quiet film"], ["Good", "Bad"], ["a\n" + "b" * 300], ["A", "quiet film", "x"], ["a\x00b"]):
        assert run_fake("predict", *texts).stderr == ""


def test_predict_draws_on_a_terminal_and_leaves_colour_out_when_asked(tiny_bundle):
    """A terminal of 60 columns shows a bar and as much of the review as the line holds."""
    import pty

    def on_terminal(**environment):
        ours, theirs = pty.openpty()
        process = subprocess.Popen(
            [sys.executable, "-m", "toolkit", "predict", "--onnx-model", str(tiny_bundle), "a film " * 40],
            stdout=theirs, stderr=subprocess.DEVNULL, env={**os.environ, "COLUMNS": "60", **environment},
        )  # fmt: skip
        os.close(theirs)
        shown = b""
        with contextlib.suppress(OSError):  # how a terminal says that its other end is closed
            while block := os.read(ours, 4096):
                shown += block
        assert process.wait(60) == 0
        os.close(ours)
        return shown.decode().rstrip("\r\n")

    coloured, plain = on_terminal(NO_COLOR=""), on_terminal(NO_COLOR="1")
    assert "\x1b[3" in coloured
    assert click.unstyle(coloured) == plain
    assert re.fullmatch(r"(positive|negative)  █+░* 0\.\d{4}  (a film )+.*…", plain)
    assert len(plain) <= 60


def test_predict_calls_the_unsure_uncertain_and_speaks_chinese(run_fake, fake_predictor):
    prediction = fake_predictor.predict("a great film")
    assert run_fake("predict", "--uncertain-below", "1", "a great film").stdout.startswith("uncertain\t")
    assert run_fake("predict", "--lang", "zh", "a great film").stdout.startswith(prediction.label.display("zh") + "\t")
    shown = json.loads(run_fake("predict", "--json", "--lang", "zh", "--uncertain-below", "1", "a great film").stdout)
    assert shown == {**prediction.to_dict(), "label": "不确定", "reason": "unsure"}


def test_predict_classifies_a_file(run_fake, fake_predictor, tmp_path):
    (tmp_path / "in.csv").write_text("id,review\n1,a great film\n2,\n")
    arguments = ("predict-files", tmp_path / "in.csv", tmp_path / "out.jsonl")
    for wrong in (("--column", "body"), ("--strict",)):
        assert run_fake(*arguments, *wrong).exit_code == 1
        assert not (tmp_path / "out.jsonl").exists()
    result = run_fake(*arguments, "--lang", "zh")
    assert result.exit_code == 1
    assert "rows that could not be classified: 1" in result.stderr
    rows = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    assert rows[0]["label"] == fake_predictor.predict("a great film").label.display("zh")
    assert rows[1] == {"id": "2", "review": "", "error": f"{tmp_path / 'in.csv'}: line 3: empty review"}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("dataset/test.csv",), "Missing argument"),
        (("none.csv", "out.csv"), "none.csv does not exist"),
        (("dataset/test.csv", "dataset/train.csv", "out.csv"), "expected a folder as OUTPUT, found out.csv"),
        (("dataset/*.csv", "out.csv"), "expected a folder as OUTPUT"),
        (("dataset/test.csv", "out.csv", "--resume"), "--resume goes on with a folder"),
        (("dataset/test.csv", "out", "--address", "auto"), "go with --engine ray"),
        (("dataset/test.csv", "out", "--concurrency", "2"), "go with --engine ray"),
    ],
)
def test_files_that_go_nowhere_are_a_usage_error(run_fake, arguments, message):
    result = run_fake("predict-files", *arguments)
    assert result.exit_code == 2
    assert message in " ".join(result.output.split())


@pytest.mark.parametrize(
    ("before", "now"),
    [
        ("--file a.csv --output b.csv", "a.csv b.csv"),
        (
            "--file=a.csv --output='my verdicts.csv' --column body --prefix m_",
            "--column body --prefix m_ a.csv 'my verdicts.csv'",
        ),
        (
            "--engine ray --input in/*.csv --output out --resume --onnx-model m",
            "--engine ray --resume --onnx-model m 'in/*.csv' out",
        ),
        ("--file a.csv", "a.csv OUTPUT"),
        ("--strict review", "--strict INPUT OUTPUT"),
        ("--file a.csv --output b.csv --lang zh --max-length 9", "--lang zh --max-length 9 a.csv b.csv"),
    ],
)
def test_who_names_files_to_predict_is_told_the_new_command(run_fake, before, now):
    result = run_fake("predict", *shlex.split(before))
    assert result.exit_code == 2
    message, _, command = result.output.strip().splitlines()[-1].partition("now: ")
    assert message == "Error: files have a command of their own "
    assert command.startswith("toolkit predict-files ")
    words = shlex.split(command)[2:]
    assert sorted(words) == sorted(shlex.split(now))
    assert words[-2:] == shlex.split(now)[-2:]


def test_evaluate_names_the_labels_in_chinese(run_fake, tiny_dataset):
    def shown(language):
        lines = run_fake("evaluate", "--dataset", tiny_dataset, "--lang", language).stdout.splitlines()
        return "\n".join(lines[:-1])  # the last says how fast it was

    english, chinese = shown("en"), shown("zh")
    assert "\nnegative reviews: " in english
    assert chinese == (
        english.replace("negative reviews", "负面评论").replace("positive reviews", "正面评论")
        .replace("called negative", "called 负面评论").replace("called positive", "called 正面评论")
    )  # fmt: skip


def test_evaluate_writes_a_report_and_compares_two(run_fake, tmp_path, monkeypatch):
    monkeypatch.setattr("toolkit.evaluation.report.draw_charts", lambda *_: [])  # tested where they are drawn

    def evaluated(*arguments):
        result = run_fake("evaluate", "--file", "dataset/test.csv", *arguments)
        assert result.exit_code == 0, result.output
        return json.loads(result.stdout)

    printed = evaluated("--json", "--slice", "kind", "--output", tmp_path / "a", "--uncertain-below", "0.6")
    assert printed == json.loads((tmp_path / "a" / "report.json").read_text())["figures"]
    assert printed["abstention"]["uncertain_below"] == 0.6
    evaluated("--json", "--no-texts", "--output", tmp_path / "b")
    compared = run_fake("evaluate", "--compare", tmp_path / "a", tmp_path / "b", "--output", tmp_path / "c")
    assert "B - A: +0.0000 (95%: +0.0000 to +0.0000), 66 reviews" in compared.stdout
    assert (tmp_path / "c" / "report.html").is_file()


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (("--slice", "kind"), 2, "name its folder with --output"),
        (("--compare", "a", "b", "--slice", "kind"), 2, "--compare reads two reports"),
        (("--slice", "stars", "--output", "new"), 1, "no column 'stars' to slice by; expected one of kind"),
        (("--output", "tests"), 1, "expected a new or empty folder, or nothing but an earlier evaluation"),
        (("--compare", "none", "nor"), 1, "none holds no evaluation"),
    ],
)
def test_evaluate_says_what_is_wrong_before_a_model_is_asked(arguments, code, message):
    result = run("evaluate", *arguments, obj=lambda **options: pytest.fail("a model was loaded"))
    assert (result.exit_code, message in result.output) == (code, True), result.output


def test_help_has_headings(run_fake):
    text = run_fake("--help").output
    headings = [line[:-1] for line in text.splitlines() if re.fullmatch(r"[A-Z][a-z ]+:", line)]
    assert headings[:3] == ["Options", "Ask a model", "Make a model"]
    assert all(re.search(rf"^  {name} ", text, re.MULTILINE) for name in COMMAND_NAMES)
    assert [
        line for line in run_fake("filter", "--help").output.splitlines() if re.fullmatch(r"[A-Z][a-z ]+:", line)
    ] == [
        "Input:",
        "Output:",
        "Choice:",
        "Broken records:",
        "Model:",
        "Truncation:",
        "Options:",
    ]


@pytest.mark.parametrize("name", ["predict", "train"])
def test_ctrl_c_is_130_everywhere(monkeypatch, name):
    def interrupted(*arguments):
        raise KeyboardInterrupt

    monkeypatch.setattr(cli.get_command(None, name), "invoke", interrupted)
    result = run(name)
    assert (result.exit_code, result.stderr) == (130, "")


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_is_there(shell):
    def complete(**environment):
        command = [sys.executable, "-m", "toolkit"]
        return subprocess.run(
            command, capture_output=True, text=True, check=False, env={**os.environ, **environment}
        ).stdout

    if shell == "bash" and shutil.which("bash") is None:
        pytest.skip("click asks bash for its version")
    script = complete(_TOOLKIT_COMPLETE=f"{shell}_source")
    assert "_TOOLKIT_COMPLETE" in script
    assert run("completion", shell).stdout == script
    words = complete(_TOOLKIT_COMPLETE="bash_complete", COMP_WORDS="toolkit filter --ke", COMP_CWORD="2")
    assert words == "plain,--keep\n"


def test_a_command_loads_what_its_options_say_and_closes_it(load_fake):
    loaded, given = [], {}

    def load(**arguments):
        given.update(arguments)
        loaded.append(load_fake(**arguments))
        return loaded[-1]

    options = ("--truncation", "window", "--max-length", "32", "--uncertain-below", "0.9", "--onnx-model", "bundle")
    assert run("predict", *options, "a film", obj=load).exit_code == 0
    assert given["options"] == InferenceOptions(32, "window")
    assert given["abstention"] == Abstention(0.9)
    assert (str(given["onnx_model"]), given["backend"], given["adapter"]) == ("bundle", "auto", None)
    with pytest.raises(RuntimeError, match="this predictor is closed"):
        loaded[0].predict("a film")


@pytest.mark.parametrize("command", ["predict", "filter", "evaluate"])
def test_a_missing_model_is_told_in_the_reader_s_language(tmp_path, command):
    labelled = tmp_path / "labelled.csv"
    labelled.write_text("text,label\nfine,1\n")
    review = {"predict": ("a film",), "filter": (), "evaluate": ("--file", labelled)}[command]
    result = run(command, *review, "--lang", "zh", "--onnx-model", tmp_path / "none", stdin=b"a film\n")
    assert result.exit_code == (2 if command == "filter" else 1)
    assert f"找不到 {tmp_path / 'none'} 目录, 请确认模型已正确保存" in result.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("predict", "--reading", "head", "x"), "--reading is now --truncation"),
        (("predict", "--reading=head"), "--reading is now --truncation"),
        (("filter", "--reading", "head"), "--reading is now --truncation"),
        (("export", "--reading", "head"), "--reading is now --truncation"),
        (("export", "--proof", "file.csv"), "--proof is now --parity-set"),
        (("export", "--small-proof"), "--small-proof is now --small-parity-set"),
        (("export", "--small-proof", "--output", "x"), "--small-proof is now --small-parity-set"),
    ],
)
def test_an_option_s_earlier_name_says_what_it_is_called_now(arguments, message):
    result = run(*arguments)
    assert (result.exit_code, message in result.stderr) == (2, True), result.stderr
    assert arguments[1].partition("=")[0] not in re.findall(r"--[a-z-]+", run(arguments[0], "--help").output)


def test_errors_are_one_message_and_debug_shows_the_rest(tmp_path):
    result = run("predict", "--onnx-model", tmp_path / "none", "x")
    assert result.exit_code == 1
    assert result.stderr.count("\n") == 1
    assert "none not found; make it with: toolkit export" in result.stderr
    assert "Traceback" not in result.stderr
    assert isinstance(run("--debug", "predict", "--onnx-model", tmp_path / "none", "x").exception, BundleError)


def test_a_place_that_cannot_be_written_is_one_line(tmp_path):
    rows = "".join(f"film number {index},{index % 2}\n" for index in range(100))
    (tmp_path / "a.csv").write_text("text,label\n" + rows)
    result = run("dataset", "import", tmp_path / "a.csv", "--output", tmp_path / "a.csv" / "below")
    assert result.exit_code == 1
    assert "Not a directory" in result.stderr
    assert "Traceback" not in result.stderr


@pytest.mark.parametrize(
    "arguments", [("predict",), ("predict", "--backend", "nope", "x"), ("nope",), ("train", "--nope")]
)
def test_usage_errors_exit_2(arguments):
    assert run(*arguments).exit_code == 2


def test_dataset_import_and_check(tmp_path):
    rows = "".join(f"film number {index},{index % 2}\n" for index in range(100))
    (tmp_path / "a.csv").write_text("text,label\n" + rows)
    result = run("dataset", "import", tmp_path / "a.csv", "--output", tmp_path / "data")
    assert result.exit_code == 0, result.output
    assert "train           70 reviews: 35 negative, 35 positive" in result.stdout
    assert set(read_splits(tmp_path / "data")) == {"train", "validation", "test"}


def test_dataset_check_reports_and_plots(minilm, tmp_path):
    result = run("dataset", "check", "dataset", "--plot", tmp_path / "lengths.png")
    assert result.exit_code == 0, result.output
    assert "train: 308 rows; 154 negative, 154 positive" in result.stdout
    assert "leaks: none" in result.stdout
    assert (tmp_path / "lengths.png").is_file()
    report = json.loads(run("dataset", "check", "dataset", "--max-length", 100, "--json").stdout)
    assert report["test"]["rows"] == 66
    assert 0.5 < report["test"]["over_max_length"] < 0.8


def test_dataset_check_lists_what_is_broken_and_exits_1(tmp_path):
    for split in ("train", "validation"):
        (tmp_path / f"{split}.csv").write_text("text,label\nfine,1\n,0\nodd,5\n")
    result = run("dataset", "check", tmp_path, "--plot", tmp_path / "lengths.png")
    assert result.exit_code == 1
    for expected in ("train.csv row 2", "train.csv row 3", "validation.csv row 2", "test.csv: no such file"):
        assert expected in result.stdout
    assert "cannot be used: 5 problems" in result.stderr
    assert not (tmp_path / "lengths.png").exists()


def test_train_lists_everything_wrong_with_the_settings(tmp_path):
    (tmp_path / "c.toml").write_text("rank = 8\n")
    result = run("train", "--config", tmp_path / "c.toml", "--epochs", -1, "--max-length", 9999)
    assert result.exit_code == 1
    for expected in ("unknown setting 'rank'", "num_train_epochs = -1.0", "max_length = 9999"):
        assert expected in result.stderr


def test_the_whole_way_in_processes_of_their_own(toolkit_command, tiny_base, tiny_dataset, tmp_path):
    """Train, export, evaluate, predict and filter as a shell would run them."""
    trained = toolkit_command(
        "train", "--base-model", tiny_base, "--dataset", tiny_dataset, "--epochs", 2, cwd=tmp_path
    )
    assert trained.returncode == 0, trained.stderr.decode()
    lines = trained.stdout.decode().splitlines()
    assert [line.partition(":")[0] for line in lines] == ["validation", "test"]
    assert {path.name for path in tmp_path.iterdir()} == {"lora_model", "lora_imdb", "logs"}

    exported = toolkit_command(
        "export", "--small-parity-set", "--parity-set", tiny_dataset / "validation.csv", cwd=tmp_path
    )
    assert exported.returncode == 0, exported.stderr.decode()
    assert b"onnx_model: float" in exported.stdout

    scores = {}
    for backend in ("onnx", "torch"):
        result = toolkit_command("evaluate", "--dataset", tiny_dataset, "--json", "--backend", backend, cwd=tmp_path)
        assert result.returncode == 0, result.stderr.decode()
        scores[backend] = json.loads(result.stdout)
    wanted = {"accuracy", "f1", "precision", "recall", "roc_auc", "confusion_matrix", "reviews", "reviews_per_second"}
    assert wanted <= scores["onnx"].keys()
    assert scores["onnx"]["confusion_matrix"] == scores["torch"]["confusion_matrix"]
    assert f"accuracy {scores['onnx']['accuracy']:.4f}" in lines[1]

    predicted = toolkit_command("predict", "--json", "A quiet film.", cwd=tmp_path)
    filtered = toolkit_command("filter", stdin=b"A quiet film.\n", cwd=tmp_path)
    prediction = json.loads(predicted.stdout)
    assert filtered.stdout.decode() == f"{prediction['label']}\t{prediction['score']:.4f}\tA quiet film.\n"


@pytest.mark.parametrize("arguments", [("filter",), ("predict", "-")])
def test_closed_stdin_is_one_line(tiny_bundle, arguments):
    command = " ".join([sys.executable, "-m", "toolkit", *arguments, "--onnx-model", str(tiny_bundle), "<&-"])
    process = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=False)
    assert process.returncode == 1
    assert process.stderr == "Error: stdin is closed; pipe reviews in, or redirect a file with <\n"


def test_quiet_is_quiet(run_fake):
    result = run_fake("-q", "predict", "a " * 100)
    assert result.stderr == ""


def test_without_the_training_packages_the_install_command_is_named(tiny_bundle, tiny_adapter):
    script = (
        "import sys\nfor name in ('torch', 'sklearn'): sys.modules[name] = None\nfrom toolkit.cli import main\nmain()"
    )

    def bare(*arguments):
        command = [sys.executable, "-c", script, *map(str, arguments)]
        return subprocess.run(command, capture_output=True, text=True, check=False)

    assert bare("predict", "--onnx-model", tiny_bundle, "a film").returncode == 0
    for extra, arguments in (
        ("train", ("export", "--adapter", tiny_adapter)),
        ("train", ("predict", "--backend", "torch", "--adapter", tiny_adapter, "x")),
        ("evaluate", ("evaluate", "--onnx-model", tiny_bundle)),
    ):
        process = bare(*arguments)
        assert process.returncode == 1
        assert "which is not installed" in process.stderr
        assert f"python -m pip install -c constraints.txt '.[{extra}]'" in process.stderr
        assert "Traceback" not in process.stderr


def test_the_library_never_prints():
    from tests.conftest import ROOT

    for path in [*ROOT.glob("toolkit/**/*.py"), *ROOT.glob("export/**/*.py")]:
        assert " print(" not in path.read_text(), path


@pytest.mark.parametrize(
    ("arguments", "meant"),
    [(["predcit", "x"], "'predict'"), (["datset"], "Did you mean 'dataset'?"), (["dataset", "imprt"], "'import'"), (["complete"], "'completion'")],
)  # fmt: skip
def test_a_mistyped_command_gets_a_suggestion(arguments, meant):
    result = run(*arguments)
    assert result.exit_code == 2
    assert meant in result.stderr
    assert "Did you mean" not in run("xyzzy").stderr


def test_a_data_set_that_is_not_there_is_named_once(tmp_path):
    (tmp_path / "file.csv").touch()
    for command in (("dataset", "check"), ("train", "--dataset")):
        result = run(*command, tmp_path / "nope")
        assert result.exit_code == 1
        assert f"the data set {tmp_path / 'nope'} does not exist; expected a folder with train.csv" in result.stderr
        assert f"--output {tmp_path / 'nope'}" in result.stderr
        assert "is a file; expected a folder" in run(*command, tmp_path / "file.csv").stderr
    assert not (tmp_path / "nope").exists()


def test_summaries_in_the_help_are_whole():
    for group in ((), ("dataset",)):
        assert "..." not in run(*group, "--help").output.partition("Options:")[2]
    text = " ".join(run("--help").output.split())
    assert "Time this machine: the ONNX backend, and torch where it is installed, in turn on the same reviews." in text


def test_the_language_has_one_name():
    for command in ("predict", "predict-files", "filter", "evaluate", "chat"):
        text = run(command, "--help").output
        assert "--lang [" in text
        assert "--language" not in text


@pytest.mark.parametrize(
    ("arguments", "locale", "language"),
    [
        ((), {"LANG": "en_US.UTF-8"}, "en"),
        ((), {"LANG": "de_DE.UTF-8"}, "en"),
        ((), {"LANG": "zh_CN.UTF-8"}, "zh"),
        ((), {"LC_ALL": "C", "LANG": "zh_CN.UTF-8"}, "en"),
        (("--lang", "zh"), {"LANG": "en_US.UTF-8"}, "zh"),
        (("--lang", "en"), {"LANG": "zh_CN.UTF-8"}, "en"),
    ],
)
def test_a_missing_model_is_named_in_the_reader_s_language(tmp_path, arguments, locale, language):
    environment = {"LC_ALL": None, "LC_MESSAGES": None, **locale}
    command = ["predict", *arguments, "--onnx-model", str(tmp_path / "nowhere"), "A film."]
    result = CliRunner().invoke(cli, command, env=environment)
    assert result.exit_code == 1
    begins = {"en": f"Error: {tmp_path / 'nowhere'} not found", "zh": f"Error: 找不到 {tmp_path / 'nowhere'} 目录"}
    assert result.stderr.startswith(begins[language])


def test_the_app_s_help_promises_what_the_app_does():
    from toolkit.chat.settings import ServerSettings

    text = " ".join(run("chat", "--help").output.split())
    assert "until the user chooses. [default: the model's own, as in the shell]" in text
    assert ServerSettings.max_length is None
    assert "--truncation" not in text


@pytest.mark.parametrize("review", ["-1 out of 10, awful", "-10", "--great film, really", "-v bad", "-hello"])
def test_a_review_that_looks_like_an_option_gets_a_hint(run_fake, review):
    result = run_fake("predict", review)
    assert result.exit_code == 2
    assert f"toolkit predict -- {shlex.quote(review)}" in " ".join(result.stderr.split())
    assert run_fake("predict", "--", review).stdout.endswith(f"\t{review}\n")
    assert "Did you mean" in run_fake("predict", "--lng", "zh", "a film").stderr
