"""What runs elsewhere calls what is here: the workflow, .ci/run and the commit hooks against noxfile.py."""

import ast
import re
import shlex

import pytest
import yaml

from tests.conftest import ROOT

WORKFLOW = ROOT / ".github" / "workflows" / "tests.yml"
HOOKS = ROOT / ".pre-commit-config.yaml"


def noxfile() -> ast.Module:
    return ast.parse((ROOT / "noxfile.py").read_text(encoding="utf-8"))


def sessions() -> set[str]:
    return {
        node.name
        for node in noxfile().body
        if isinstance(node, ast.FunctionDef) and any(ast.unparse(each) == "nox.session" for each in node.decorator_list)
    }


def runs() -> list[str]:
    """The lines that the workflow's jobs run."""
    jobs = yaml.safe_load(WORKFLOW.read_text(encoding="utf-8"))["jobs"]
    return [step["run"] for job in jobs.values() for step in job["steps"] if "run" in step]


def named(text: str) -> list[str]:
    return re.findall(r"nox -s (\w+)", text)


@pytest.mark.parametrize("path", [".ci/run", ".github/workflows/tests.yml", "CONTRIBUTING.md"])
def test_the_sessions_that_are_called_exist(path):
    called = named((ROOT / path).read_text(encoding="utf-8"))
    assert called
    assert set(called) <= sessions()


def test_the_workflow_runs_style_documents_and_tests():
    lines = runs()
    assert [line.rpartition("&& ")[2] for line in lines] == ["nox -s lint", "nox -s docs -- --check", ".ci/run"]
    assert named((ROOT / ".ci" / "run").read_text(encoding="utf-8")) == ["tests"]
    assert (ROOT / ".ci" / "run").stat().st_mode & 0o111


def test_contributing_has_every_session():
    assert set(named((ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8"))) == sessions()


def test_nothing_is_fetched_from_a_named_host():
    for path in (WORKFLOW, HOOKS, ROOT / ".ci" / "run"):
        assert not re.findall(r"\w+://|index-url", path.read_text(encoding="utf-8")), path


def test_the_hooks_are_the_linters_of_nox():
    (repo,) = yaml.safe_load(HOOKS.read_text(encoding="utf-8"))["repos"]
    assert repo["repo"] == "local"
    assert {hook["language"] for hook in repo["hooks"]} == {"system"}
    hooks = [[word for word in shlex.split(hook["entry"]) if word != "--force-exclude"] for hook in repo["hooks"]]
    (style,) = (node for node in noxfile().body if getattr(node, "name", "") == "check_style")
    calls = [node for node in ast.walk(style) if isinstance(node, ast.Call) and ast.unparse(node.func) == "session.run"]
    linters = [[ast.literal_eval(argument) for argument in call.args] for call in calls]
    assert sorted(hooks) == sorted([word for word in linter if word != "."] for linter in linters)
