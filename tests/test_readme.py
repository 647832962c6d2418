"""Every command in the READMEs runs, on the tiny model in the place of the real one."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT

READMES = ("README.md", "README.zh-CN.md")
PAGES = (*READMES, "docs/shell.md", "docs/evaluation.md", "docs/scaling.md")
# What a command of the README stands for is the same; what it takes is cut down.
SMALLER = {
    "toolkit train": " --base-model base --max-steps 5",
    "accelerate launch": " --base-model base --max-steps 4",
    "toolkit export": " --base-model base --small-parity-set --quantize auto",
    "toolkit dataset import": " --limit 60",
    "toolkit bench": " --limit 10 --rounds 1",
}


def blocks(readme: str, language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", (ROOT / readme).read_text(encoding="utf-8"), re.DOTALL)


def shell_lines(readme: str) -> list[str]:
    return [line for block in blocks(readme, "sh") for line in block.splitlines() if line and not line.startswith("#")]


@pytest.fixture(scope="module")
def checkout(tmp_path_factory, tiny_base, tiny_adapter, tiny_bundle, demo_reviews) -> Path:
    """A folder like the reader's: data, models and reviews where the README says they are."""
    folder = tmp_path_factory.mktemp("reader")
    shutil.copytree(ROOT / "dataset", folder / "dataset")
    shutil.copytree(tiny_base, folder / "base")
    for path, source in (("lora_model", tiny_adapter), ("onnx_model", tiny_bundle)):
        shutil.copytree(source, folder / path)
        shutil.copytree(source, folder / "build" / "demo" / path)
        shutil.copytree(source, folder / "build" / "imdb" / path)
    texts = [review.text for reviews in demo_reviews.values() for review in reviews]
    (folder / "reviews.txt").write_text("".join(f"{text}\n" for text in texts[:5]))
    acl = folder / "aclImdb"
    for split, reviews in demo_reviews.items():
        for index, review in enumerate(reviews):
            folder_name = f"{'test' if split == 'test' else 'train'}/{'pos' if review.label.index else 'neg'}"
            name = f"{folder_name}/{len(texts) * len(split) + index}_{8 if review.label.index else 2}.txt"
            (acl / name).parent.mkdir(parents=True, exist_ok=True)
            (acl / name).write_text(review.text)
    shutil.make_archive(str(folder / "aclImdb_v1"), "gztar", folder, "aclImdb")
    bin_folder = folder / "bin"
    bin_folder.mkdir()
    modules = {"toolkit": "-m toolkit", "accelerate": "-m accelerate.commands.accelerate_cli", "python": ""}
    for command, module in modules.items():
        (bin_folder / command).write_text(f'#!/bin/sh\nexec "{sys.executable}" {module} "$@"\n')
        (bin_folder / command).chmod(0o755)
    return folder


@pytest.mark.parametrize("readme", PAGES)
def test_every_command_runs(readme, checkout):
    lines = [line for line in shell_lines(readme) if not re.search(r"\bnox\b|\bpip\b|^git |^cd |chainlit run", line)]
    assert len(lines) >= 2
    if any("--engine ray" in line for line in lines):
        pytest.importorskip("ray", reason="the extra ray is not installed")
    for line in lines:
        line += next((smaller for command, smaller in SMALLER.items() if line.startswith(command)), "")
        process = subprocess.run(
            ["bash", "-c", f'export PATH="{checkout / "bin"}:$PATH"; {line}'],
            cwd=checkout, capture_output=True, text=True, check=False, timeout=120,
        )  # fmt: skip
        assert process.returncode == 0, f"{line}\n{process.stdout}{process.stderr}"


@pytest.mark.parametrize("readme", (*READMES, "docs/python.md"))
def test_the_python_snippet_runs(readme, checkout):
    for block in blocks(readme, "python"):
        assert len(block.splitlines()) < 15
        process = subprocess.run(
            [sys.executable, "-c", block], cwd=checkout, capture_output=True, text=True, check=False
        )
        assert process.returncode == 0, process.stderr
        assert process.stdout


def test_the_nox_sessions_and_extras_named_exist():
    noxfile = (ROOT / "noxfile.py").read_text()
    pyproject = (ROOT / "pyproject.toml").read_text()
    for document in (*READMES, "CONTRIBUTING.md"):
        text = (ROOT / document).read_text(encoding="utf-8")
        for session in re.findall(r"nox -s (\w+)", text):
            assert f"def {session}(session" in noxfile, (document, session)
        for extras in re.findall(r"\.\[([\w,]+)\]", text):
            assert all(f"\n{extra} = [" in pyproject for extra in extras.split(",")), (document, extras)


def test_ci_runs_the_readmes_test_line():
    line = "python -m pip install nox && nox -s tests"
    assert line in (ROOT / ".ci" / "run").read_text()
    assert all(line in (ROOT / readme).read_text(encoding="utf-8") for readme in READMES)
