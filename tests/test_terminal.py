"""No control character of a review or a name reaches a terminal or a log; files and pipes get every byte as it came."""

import logging
import os
import pty
import subprocess
import sys

import pytest

from tests.conftest import ROOT
from toolkit.chat.plain import inert
from toolkit.formats.limits import listed, printable, shown

EVIL = "\x1b]0;owned\x07\x1b[2J\x9b31m\u202efilm"
SPELT = r"\x1b]0;owned\x07\x1b[2J\x9b31m\u202efilm"


def test_spelling():
    assert printable(f"a\tb\n{EVIL} 电影 é\x00\x7f") == f"a\tb\n{SPELT} 电影 é" + r"\x00\x7f"
    assert printable("a\r\nb", on_one_line=True) == r"a\r\nb"
    assert printable("a\rb") == r"a\rb"
    assert listed([EVIL, "a\nb"]) == SPELT + r", a\nb"
    assert listed(map(str, range(30))).endswith("18, 19, …")
    assert len(listed(["a" * 10**6])) < 100
    assert len(shown("a" * 10**6)) < 100
    assert "\x1b" not in shown(EVIL)


def test_what_turns_the_direction_of_writing():
    """Unicode's property Bidi_Control, in a terminal, a log and the chat's page."""
    for code in (0x061C, 0x200E, 0x200F, *range(0x202A, 0x202F), *range(0x2066, 0x206A)):
        assert printable(chr(code)) == f"\\u{code:04x}"
        assert chr(code) not in inert(chr(code))


def on_terminal(*arguments, stdin: str = "") -> str:
    """What a command writes to a terminal, stdout and stderr together."""
    leader, follower = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "toolkit", *map(str, arguments)],
        stdin=subprocess.PIPE, stdout=follower, stderr=follower, env={**os.environ, "NO_COLOR": "1", "TERM": "dumb"},
        cwd=ROOT,
    )  # fmt: skip
    os.close(follower)
    process.stdin.write(stdin.encode())
    process.stdin.close()
    blocks = []
    try:
        while block := os.read(leader, 1 << 16):
            blocks.append(block)
    except OSError:  # how Linux says that nobody writes any more
        pass
    finally:
        os.close(leader)
        process.wait(60)
    return b"".join(blocks).decode()


def assert_harmless(text: str) -> None:
    assert SPELT in text
    assert not set(text) & set("\x1b\x07\x9b\u202e")


@pytest.mark.parametrize("output", ["tsv", "jsonl", "csv"])
def test_filter_on_a_terminal(tiny_bundle, output):
    text = on_terminal("filter", "--onnx-model", tiny_bundle, "--format", output, stdin=f"A {EVIL}\n")
    if output == "jsonl":
        text = text.replace(r"\u001b", r"\x1b").replace(r"\u0007", r"\x07")  # JSON's own spelling
    assert_harmless(text)


def test_predict_on_a_terminal(tiny_bundle):
    assert_harmless(on_terminal("predict", "--onnx-model", tiny_bundle, f"A {EVIL}"))


def test_a_pipe_gets_every_byte(tiny_bundle, toolkit_command):
    process = toolkit_command("filter", "--onnx-model", tiny_bundle, stdin=f"A {EVIL}\n".encode())
    assert process.stdout.decode().endswith(f"\tA {EVIL}\n")
    process = toolkit_command("predict", "--onnx-model", tiny_bundle, f"A {EVIL}")
    assert process.stdout.decode().endswith(f"\tA {EVIL}\n")


def test_every_line_of_an_error(tmp_path, tiny_bundle, toolkit_command):
    name = EVIL.replace("/", "")
    (tmp_path / f"{name}.csv").write_text(f"{EVIL},b\n1,2\n")
    (tmp_path / "train.csv").write_text(f'text,label\nfine,"{EVIL}"\n{EVIL},1,{EVIL}\n')
    (tmp_path / "a.jsonl").write_text('{"' + EVIL.replace("\x1b", r"\u001b").replace("\x07", r"\u0007") + '": 1}\n')
    for arguments, stdin in (
        (("dataset", "import", tmp_path / f"{name}.csv", "--output", tmp_path / "out"), b""),
        (("dataset", "check", tmp_path), b""),
        (("evaluate", "--file", tmp_path / f"{name}.csv"), b""),
        (("filter", "--onnx-model", tiny_bundle, "--csv", tmp_path / f"{name}.csv"), b""),
        (("filter", "--onnx-model", tiny_bundle, "--jsonl", tmp_path / "a.jsonl"), b""),
        (("filter", tmp_path / f"{name}.none"), b""),
        (("predict", "--onnx-model", tmp_path / name, "fine"), b""),
    ):
        process = toolkit_command(*arguments, stdin=stdin)
        assert process.returncode != 0, arguments
        text = process.stderr.decode() + (process.stdout.decode() if arguments[0] == "dataset" else "")
        assert "Traceback" not in text
        assert SPELT in text, (arguments, text)
        assert not set(text) & set("\x1b\x07\x9b\u202e"), arguments


def test_the_log(toolkit_command, capfd):
    from toolkit.cli import _PrintableFormatter

    record = logging.LogRecord("toolkit", logging.INFO, "", 0, "read %s", (EVIL,), None)
    assert _PrintableFormatter("%(message)s").format(record) == f"read {SPELT}"
