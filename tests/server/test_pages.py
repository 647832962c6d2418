"""docs/serving.md says what holds, and its lines run."""

import re
import subprocess

import pytest

pytest.importorskip("starlette", reason="the extra 'serve' is not installed")

from tests.conftest import ROOT
from toolkit.commands.serve import serve
from toolkit.server import settings
from toolkit.server.guard import ENDPOINTS
from toolkit.web import limits

PAGE = (ROOT / "docs" / "serving.md").read_text(encoding="utf-8")
DEFAULTS = {option.name: option.default for option in serve.params}


def test_the_documented_limits_are_those_that_hold():
    for sentence in (
        f"| {DEFAULTS['queue']:,} (`--queue`) |",
        f"| {settings.LARGEST_BODY // 10**6} MB, {DEFAULTS['most_texts']:,} reviews (`--most-texts`), {settings.BODY_SECONDS} s, "
        f"{limits.IDLE_SECONDS} s between its parts |",
        f"| {settings.HELD // 10**6} MB |",
        f"| {DEFAULTS['deadline']:g} s (`--deadline`) |",
        f"| {settings.LARGEST_LINE // 10**6} MB |",
        f"| {settings.STREAMS}, {settings.STREAM_IDLE_SECONDS} s between parts |",
        f"| {limits.LARGEST_HEAD // 1000} kB, {limits.HEAD_SECONDS} s |",
        f"| {limits.CONNECTIONS_EACH} an address, {limits.CONNECTIONS} in all |",
        f"| {limits.STALLED_SECONDS} s |",
        f"within {DEFAULTS['grace']} s (`--grace`)",
    ):
        assert sentence in PAGE, sentence


def test_the_defaults_of_the_command_are_those_of_the_settings():
    default = settings.ServerSettings()
    for name in ("host", "port", "queue", "most_texts", "deadline", "grace"):
        assert DEFAULTS[name] == getattr(default, name), name


def test_every_endpoint_is_on_the_page():
    assert all(f"`{path}`" in PAGE or f" {path}`" in PAGE for path in ENDPOINTS)


def test_the_lines_of_the_page_run(serving):
    blocks = re.findall(r"```sh\n(.*?)```", PAGE, re.DOTALL)
    lines = [line for block in blocks for line in block.splitlines() if "curl" in line]
    assert len(lines) == 8
    for line in lines:
        process = subprocess.run(
            ["bash", "-o", "pipefail", "-c", line.replace("curl -s", "curl -sSf").replace(":8080", f":{serving.port}")],
            capture_output=True, text=True, check=False, timeout=120,
        )  # fmt: skip
        assert process.returncode == 0, f"{line}\n{process.stderr}"
        assert process.stdout.strip(), line


def test_the_python_of_the_page_runs(serving):
    pytest.importorskip("huggingface_hub", reason="no client of the Hub is installed")
    (code,) = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    exec(code.replace(":8080", f":{serving.port}"), {})
