"""Docstrings say what a thing is in plain words: no entry begins in the middle of a sentence, as `folder: of the bundle` did.

That every argument is named, and none that is not there, is ruff's to check.
"""

import ast
import re

import pytest

from tests.conftest import ROOT

UNWRITTEN = ("toolkit/benchmark/", "toolkit/chat/guard.py", "toolkit/datasets/importers.py")  # yet
FILES = [
    path
    for path in sorted([*ROOT.glob("toolkit/**/*.py"), *ROOT.glob("export/*.py")])
    if not str(path.relative_to(ROOT)).startswith(UNWRITTEN)
]
_ENTRY = re.compile(r"^ *(\w+): (of|to|on|in|for|by|from|with|at|that|those|likewise|see there)\b")


def entries(path):
    """Every line of a docstring's sections Args and Attributes."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef)) and (text := ast.get_docstring(node)):
            section = None
            for line in text.splitlines():
                if heading := re.fullmatch(r"(Args|Attributes|Raises|Returns|Yields):", line):
                    section = heading[1]
                elif section in ("Args", "Attributes"):
                    yield line


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_entry_stands_on_its_own(path):
    elliptical = [line.strip() for line in entries(path) if _ENTRY.match(line)]
    assert not elliptical, "name the thing, as in `folder: The folder of the bundle.`"
