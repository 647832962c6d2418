"""The filter as a shell has it: its options on the fake predictor, its processes on a real bundle."""

import csv
import gzip
import io
import json
import os
import signal
import subprocess
import sys
import threading
from functools import partial

import pytest
from click.testing import CliRunner

from tests.conftest import ROOT
from toolkit.cli import cli

LINES = b"a great film\n\ndull\n"
INPUTS = {
    (): LINES,
    ("-0",): LINES.replace(b"\n", b"\0"),
    ("--jsonl",): b'{"id": 1, "text": "a great film"}\n\n{"id": 3, "text": "dull"}\n',
    ("--csv",): b"id,text\r\n1,a great film\r\n2,\r\n3,dull\r\n",
}


def run(*arguments, stdin=b"", obj=None):
    return CliRunner().invoke(cli, ["filter", *map(str, arguments)], input=stdin, prog_name="toolkit", obj=obj)


@pytest.fixture
def run_fake(load_fake):
    """Run the filter on the fake predictor."""
    return partial(run, obj=load_fake)


def shell(line, *, stdin=subprocess.DEVNULL, **environment):
    """A finished bash command in which `toolkit` is this checkout's."""
    process = subprocess.run(
        ["bash", "-c", f'toolkit() {{ "{sys.executable}" -m toolkit "$@"; }}; {line}'],
        stdin=stdin, capture_output=True, check=False, timeout=120, env={**os.environ, **environment},
    )  # fmt: skip
    assert b"Traceback" not in process.stderr
    return process


def start(bundle, *arguments, **pipes):
    return subprocess.Popen(
        [sys.executable, "-m", "toolkit", "filter", *arguments],
        **{"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **pipes},
        env={**os.environ, "TOOLKIT_ONNX_MODEL": str(bundle)},
        # A shell that runs the tests in the background has them ignore Ctrl-C, and children inherit that.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )  # fmt: skip


def check_answers(result, output_format, arguments):
    assert result.exit_code == 2
    if output_format in ("tsv", "label"):
        records = result.stdout.split("\0" if arguments == ("-0",) else "\n")[:-1]
        assert len(records) == 2
        assert all(record.split("\t")[0] in ("positive", "negative") for record in records)
        assert [record.split("\t")[2] for record in records if output_format == "tsv"] in (["a great film", "dull"], [])
        assert (
            f"{'record' if arguments == ('-0',) else 'line'} {3 if arguments == ('--csv',) else 2}: " in result.stderr
        )
        return
    rows = list(csv.DictReader(io.StringIO(result.stdout))) if output_format == "csv" else [
        json.loads(line) for line in result.stdout.splitlines()]  # fmt: skip
    assert len(rows) == 3
    assert [row["text"] for row in rows if row.get("label")] == ["a great film", "dull"]
    assert rows[1]["error"]


@pytest.mark.parametrize("output_format", ["tsv", "jsonl", "csv", "label"])
@pytest.mark.parametrize("arguments", INPUTS)
def test_every_input_gives_every_output(run_fake, arguments, output_format):
    check_answers(run_fake(*arguments, "--format", output_format, stdin=INPUTS[arguments]), output_format, arguments)


def test_files_are_read_one_after_the_other(run_fake, tmp_path):
    (tmp_path / "a.txt").write_bytes(b"\xef\xbb\xbffirst\nsecond")  # no end of the last line
    (tmp_path / "b.gz").write_bytes(gzip.compress(b"\xef\xbb\xbfthird\n\n"))
    result = run_fake("--format", "jsonl", tmp_path / "a.txt", "-", tmp_path / "b.gz", stdin=b"between\n")
    rows = [json.loads(line) for line in result.stdout.splitlines()]
    assert [row["text"] for row in rows] == ["first", "second", "between", "third", ""]
    assert rows[-1]["error"] == f"{tmp_path / 'b.gz'}: line 2: empty review"


@pytest.mark.parametrize(
    ("arguments", "stdin", "code"),
    [
        ((), b"good\nbad\n", 0),
        ((), b"", 1),
        ((), b"\n", 2),
        (("--on-error", "skip"), b"good\n\n", 0),
        (("--on-error", "skip"), b"\n", 1),
        (("--strict",), b"good\n\nbad\n", 2),
        (("--min-score", "1"), b"good\n", 1),
        (("--min-score", "1", "--invert"), b"good\n", 0),
        (("--keep", "positive", "--keep", "negative"), b"good\n", 0),
        (("--keep", "uncertain", "--uncertain-below", "1"), b"good\n", 0),
        (("--csv",), b"id\n1\n", 2),
        (("--jsonl", "--format", "jsonl"), b'{"text": "a", "label": 1}\n', 2),
        (("--jsonl", "--format", "jsonl", "--prefix", "my_"), b'{"text": "a", "label": 1}\n', 0),
    ],
)
def test_exit_codes_are_greps(run_fake, arguments, stdin, code):
    result = run_fake(*arguments, stdin=stdin)
    assert result.exit_code == code, result.output
    assert bool(result.stderr) == (code == 2)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--jsonl", "--csv"), "name one"),
        (("--field", "a"), "--field goes with --jsonl"),
        (("--jsonl", "--column", "a"), "--column with --csv"),
        (("--invert",), "--invert needs"),
        (("--keep", "uncertain"), "--keep uncertain needs --uncertain-below"),
        (("--uncertain-below", "0.4"), "0.5"),
        (("no such file",), "does not exist"),
        (("--format", "xml"), "xml"),
    ],
)
def test_usage_errors_exit_2_and_say_why(run_fake, arguments, message):
    result = run_fake(*arguments, stdin=b"good\n")
    assert result.exit_code == 2
    assert message in result.stderr
    assert not result.stdout


@pytest.mark.parametrize(
    ("name", "arguments", "content", "option"),
    [
        ("a.csv", (), b"text\ngood\n", "--csv"),
        ("A.TSV", (), b"id\ttext\n1\tgood\n", "--csv"),
        ("a.jsonl.gz", (), gzip.compress(b'{"text": "good"}\n'), "--jsonl"),
        ("a.txt", (), b"Review;Sentiment\ngood;1\n", "--csv"),
        ("a.txt", (), b'{"text": "good"}\n', "--jsonl"),
        ("a.txt", (), b'[{"text": "good"}]\n', "--jsonl"),
        ("a.txt", (), b"good text, and a review of it\n", None),
        ("a.txt", (), b"text\n", None),
        ("a.json", ("--jsonl",), b'[{"text": "good"}]\n', None),
        ("a.csv", ("--jsonl",), b'{"text": "good"}\n', "--csv"),
        ("a.csv", ("--csv",), b"text\ngood\n", None),
    ],
)
def test_what_is_visibly_another_format_gets_a_hint_and_is_read_as_asked(
    run_fake, tmp_path, name, arguments, content, option
):
    (tmp_path / name).write_bytes(content)
    result = run_fake(*arguments, tmp_path / name)
    assert result.exit_code == 0
    assert result.stdout
    said = result.stderr
    assert said.endswith(f"to read it so: toolkit filter {option}\n") if option else not said


def test_a_csv_is_no_json_lines_and_one_line_says_so(run_fake, tmp_path):
    (tmp_path / "a.csv").write_bytes(b"text\n" + b"good\n" * 67)
    result = run_fake("--jsonl", tmp_path / "a.csv")
    assert (result.exit_code, result.stdout) == (2, "")
    path = tmp_path / "a.csv"
    assert result.stderr == f"Error: {path} is CSV by its name; to read it so: toolkit filter --csv\n"
    assert "looks like" in run_fake(stdin=b"id,text\n1,good\n").stderr


def test_strict_stops_at_the_first_with_what_was_finished_written(run_fake):
    result = run_fake("--strict", stdin=b"one\ntwo\n\nthree\n")
    assert result.stdout.count("\n") == 2
    assert result.stderr == "Error: line 3: empty review\n"


def test_count_prints_a_number_and_nothing_else(run_fake):
    kept = run_fake("--keep", "positive", "--format", "label", stdin=b"a great film\ndull\nzzz\n").stdout.count("\n")
    assert (
        run_fake("--keep", "positive", "--count", "--format", "csv", stdin=b"a great film\ndull\nzzz\n").stdout
        == f"{kept}\n"
    )
    assert run_fake("--count", stdin=b"").stdout == "0\n"


def test_a_summary_goes_to_stderr(run_fake):
    result = run_fake("--summary", "--count", stdin=b"a great film\ndull\n")
    assert result.stdout == "2\n"
    assert result.stderr.startswith("2 reviews: ")
    for word in ("mean score 0.", "reviews/s", "2 kept", "0 not classified"):
        assert word in result.stderr


@pytest.mark.parametrize("output_format", ["tsv", "label", "jsonl", "csv"])
def test_labels_in_chinese(run_fake, output_format):
    result = run_fake(
        "--lang", "zh", "--format", output_format, "--uncertain-below", "0.6", stdin=b"a great film\ndull\nzzz a\n"
    )
    verdicts = {"positive": "正面评论", "negative": "负面评论", "uncertain": "不确定"}
    english = run_fake(
        "--format", "label", "--uncertain-below", "0.6", stdin=b"a great film\ndull\nzzz a\n"
    ).stdout.splitlines()
    assert all(verdicts[verdict] in result.stdout for verdict in english)


# From here on in processes of their own.


@pytest.mark.parametrize("output_format", ["tsv", "jsonl", "csv", "label"])
def test_a_process_answers_every_input(toolkit_command, tiny_bundle, output_format):
    class Result:
        def __init__(self, process):
            self.exit_code = process.returncode
            self.stdout, self.stderr = process.stdout.decode(), process.stderr.decode()

    for arguments, stdin in INPUTS.items():
        command = ("filter", *arguments, "--format", output_format, "--onnx-model", tiny_bundle)
        check_answers(Result(toolkit_command(*command, stdin=stdin)), output_format, arguments)


def test_the_shipped_model_tells_good_from_bad(toolkit_command):
    if not (ROOT / "onnx_model" / "model.onnx").is_file():
        pytest.skip("no model is shipped in onnx_model/")
    reviews = b"A wonderful, moving film, superbly acted.\nBoring, badly written and far too long. A waste of time.\n"
    result = toolkit_command("filter", "--format", "label", "--onnx-model", ROOT / "onnx_model", stdin=reviews)
    assert result.stdout == b"positive\nnegative\n"


def test_a_typed_line_is_answered_while_the_input_stays_open(tiny_bundle):
    process = start(tiny_bundle)
    watchdog = threading.Timer(60, process.kill)
    watchdog.start()
    for text in (b"a great film", b"dull", b"tab\there\0 and NUL"):
        process.stdin.write(text + b"\n")
        process.stdin.flush()
        assert process.stdout.readline().endswith(b"\t" + text + b"\n")
    process.stdin.close()
    assert process.wait(60) == 0
    watchdog.cancel()


def test_a_growing_file_is_followed(tiny_bundle, tmp_path):
    log = tmp_path / "reviews.log"
    log.write_bytes(b"")
    with (
        subprocess.Popen(["tail", "-f", log], stdout=subprocess.PIPE) as tail,
        start(tiny_bundle, stdin=tail.stdout) as process,
    ):
        for text in (b"first", b"second"):
            with log.open("ab") as stream:
                stream.write(text + b"\n")
            assert process.stdout.readline().endswith(b"\t" + text + b"\n")
        tail.terminate()
        assert process.wait(60) == 0


def test_a_closed_pipe_ends_it_quietly(tiny_bundle):
    line = 'yes "a film" | toolkit filter | head -1; echo "${PIPESTATUS[1]}"'
    process = shell(line, TOOLKIT_ONNX_MODEL=str(tiny_bundle))
    first, code = process.stdout.splitlines()
    assert first.endswith(b"\ta film")
    assert code == b"141"
    assert process.stderr == b""


def test_ctrl_c_exits_130_with_what_was_finished_written(tiny_bundle):
    process = start(tiny_bundle, "--summary")
    process.stdin.write(b"first\n")
    process.stdin.flush()
    assert process.stdout.readline().endswith(b"\tfirst\n")
    process.stdin.write(b"sec")  # it waits for the rest
    process.stdin.flush()
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert out == b""
    assert err.startswith(b"1 reviews: ")
    assert err.count(b"\n") == 1


def test_ctrl_c_in_the_middle_of_much_work(tiny_bundle):
    process = start(tiny_bundle)
    feeder = threading.Thread(target=feed, args=(process.stdin,))
    feeder.start()
    read = process.stdout.readline()
    process.send_signal(signal.SIGINT)
    read += process.stdout.read()
    feeder.join()
    assert process.wait(60) == 130
    assert process.stderr.read() == b""
    assert read.endswith(b"\ta film\n")  # whole lines


def feed(stream):
    try:
        for _ in range(1_000_000):
            stream.write(b"a film\n")
    except BrokenPipeError:
        pass


@pytest.mark.parametrize("redirect", ["</dev/null", "<&-"])
def test_stdin_that_ends_at_once(tiny_bundle, redirect):
    process = shell(f"toolkit filter {redirect}", TOOLKIT_ONNX_MODEL=str(tiny_bundle))
    assert (process.returncode, process.stdout) == (1, b"")


@pytest.mark.parametrize(("arguments", "shown"), [((), True), (("-q",), False)])
def test_progress_shows_on_a_terminal(tiny_bundle, tmp_path, arguments, shown):
    import pty

    (tmp_path / "reviews.txt").write_bytes(b"a film\n" * 300)
    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "toolkit", *arguments, "filter", "--onnx-model", str(tiny_bundle)]
    with (tmp_path / "reviews.txt").open("rb") as stdin:
        process = subprocess.run(command, stdin=stdin, stdout=subprocess.PIPE, stderr=theirs, check=True, timeout=60)
    os.set_blocking(ours, False)
    try:
        seen = os.read(ours, 1 << 16)
    except BlockingIOError:
        seen = b""
    os.close(theirs)
    os.close(ours)
    assert process.stdout.count(b"\n") == 300
    assert (b"100%" in seen) == shown


def test_a_model_that_is_not_there_exits_2_in_one_line(toolkit_command, tmp_path):
    result = toolkit_command("filter", "--onnx-model", tmp_path / "none", stdin=b"a film\n")
    assert result.returncode == 2
    assert result.stderr.count(b"\n") == 1
    assert b"Traceback" not in result.stderr


def test_truncated_gzip_is_answered_as_far_as_it_goes(toolkit_command, tiny_bundle):
    data = gzip.compress(b"".join(b"film number %d\n" % number for number in range(500)))[:-300]
    result = toolkit_command("filter", "--onnx-model", tiny_bundle, stdin=data)
    numbers = [int(line.split()[-1]) for line in result.stdout.splitlines()]
    assert numbers == list(range(len(numbers)))
    assert len(numbers) > 100
    assert result.returncode == 2
    assert (
        result.stderr == b"Error: the gzip data ends in the middle; the records before that were read, get the rest\n"
    )


def rss(process):
    """Resident memory in MB."""
    status = (ROOT / "/proc" / str(process.pid) / "status").read_text()
    return int(status.partition("VmRSS:")[2].split()[0]) / 1024


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
def test_a_hundred_thousand_lines_do_not_grow_it(tiny_bundle):
    process = start(tiny_bundle, "--format", "label")

    def write():
        with process.stdin as stream:
            for number in range(100_000):
                stream.write(b"film number %d was neither long nor short\n" % number)

    writer = threading.Thread(target=write)
    writer.start()
    lines, early, late = 0, 0.0, 0.0
    for lines, _ in enumerate(process.stdout, start=1):
        if lines == 5_000:
            early = rss(process)
        elif lines == 99_000:
            late = rss(process)
    writer.join()
    assert process.wait(60) == 0
    assert lines == 100_000
    assert late - early < 20
    assert late < 300


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
def test_a_line_of_fifty_megabytes(tiny_bundle):
    line = b"a quite wonderful film " * 2_200_000
    process = start(tiny_bundle)
    writer = threading.Thread(target=process.stdin.write, args=(line + b"\nshort\n" + b"\n" * 10_000,))
    writer.start()
    assert process.stdout.readline().endswith(b"\t" + line + b"\n")
    assert process.stdout.readline().endswith(b"\tshort\n")
    peak = int((ROOT / "/proc" / str(process.pid) / "status").read_text().partition("VmHWM:")[2].split()[0]) / 1024
    process.kill()
    process.communicate()
    writer.join()
    assert peak < 300
