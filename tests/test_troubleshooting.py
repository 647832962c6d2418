"""docs/troubleshooting.md quotes messages that the sources have."""

import ast
import re

import pytest

from tests.conftest import ROOT

PAGE = "docs/troubleshooting.md"


def quoted(text: str) -> list[str]:
    """The messages at the beginning of the page's entries."""
    return re.findall(r"^> `(.*)`$", text, re.MULTILINE)


def template(node: ast.AST) -> str | None:
    """A string of the sources with … where something is filled in."""
    if isinstance(node, ast.JoinedStr):
        return "".join(part.value if isinstance(part, ast.Constant) else "…" for part in node.values)
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return re.sub(r"%[sdgr]", "…", node.value)
    return None


@pytest.fixture(scope="module")
def templates() -> set[str]:
    """Every string of the sources, whole, and of one with several lines each line."""
    paths = [path for name in ("toolkit", "export") for path in ROOT.glob(f"{name}/**/*.py")]
    trees = [ast.parse(path.read_text(encoding="utf-8")) for path in paths]
    whole = {text for tree in trees for node in ast.walk(tree) if (text := template(node))}
    return whole | {line for text in whole for line in text.split("\n")}


@pytest.mark.parametrize("message", quoted((ROOT / PAGE).read_text(encoding="utf-8")))
def test_the_sources_have_the_message(message, templates):
    assert message in templates


def test_there_are_twenty_of_them():
    messages = quoted((ROOT / PAGE).read_text(encoding="utf-8"))
    assert len(messages) == len(set(messages)) >= 20


def test_a_message_that_nobody_prints_is_found(templates):
    assert "… has … bytes, expected …: damaged; …" in templates
    assert "… has … bytes, expected …: damaged" not in templates
