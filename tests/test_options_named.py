"""Every option that a page names is one that a command has."""

import re

import click
import pytest

from tests.conftest import ROOT
from toolkit.cli import cli

PAGES = ["README.md", "README.zh-CN.md", "CONTRIBUTING.md", "dataset/README.md", *(f"docs/{path.name}" for path in ROOT.glob("docs/*.md"))]  # fmt: skip
# Of pip, docker, nox's own sessions, ray and grep, where a page shows them.
OTHERS = {"--no-deps", "--nproc_per_node", "--standalone", "--wheel-dir", "--rm", "--user", "--network", "--read-only", "--cpus", "--memory", "--build", "--build-arg", "--no-healthcheck", "--check", "--peers",
          "--head", "--line-buffered", "--nproc-per-node", "--preload", "--seconds"}  # fmt: skip
SCRIPTS = "\n".join(path.read_text(encoding="utf-8") for path in ROOT.glob("benchmarks/*.py"))


def options_of(command: click.Command) -> set[str]:
    """The options of a command and of those below it."""
    found = {name for parameter in command.params for name in (*parameter.opts, *parameter.secondary_opts)}
    if isinstance(command, click.Group):
        context = click.Context(command)
        for name in command.list_commands(context):
            found |= options_of(command.get_command(context, name))
    return found | {"--help"}


@pytest.fixture(scope="module")
def known() -> set[str]:
    return options_of(cli) | OTHERS | set(re.findall(r'"(--[\w-]+)"', SCRIPTS))


def commands(text: str) -> list[tuple[str, list[str]]]:
    """Every `toolkit …` that begins a line or a command of code: its name and its options."""
    blocks = re.findall(r"^```\w*\n(.*?)^```", text, re.DOTALL | re.MULTILINE)
    code = "\n".join([*blocks, *re.findall(r"`(toolkit [^`]+)`", text)])
    found = re.findall(r"(?:^|[|;] )toolkit ([a-z][\w-]*)([^|;&\n]*)", code, re.MULTILINE)
    return [(name, re.findall(r"(?<!\S)--[a-z][\w-]*", rest)) for name, rest in found]


@pytest.mark.parametrize("page", PAGES)
def test_the_options_named_exist(page, known):
    named = set(re.findall(r"(?<![\w-])--[a-z][\w-]*\w", (ROOT / page).read_text(encoding="utf-8")))
    assert named <= known, named - known


@pytest.mark.parametrize("page", PAGES)
def test_a_command_has_the_options_it_is_shown_with(page):
    for name, options in commands((ROOT / page).read_text(encoding="utf-8")):
        command = cli.get_command(click.Context(cli), name)
        assert command is not None, f"there is no toolkit {name}"
        assert set(options) <= options_of(command), (name, set(options) - options_of(command))
