"""Every command of the pages runs, typed in order in one folder, on the tiny model in the place of the real one.

What a line installs is there from that line on, and not before: `toolkit`, `nox`, the extras that a command needs.
"""

import importlib.util
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from tests.conftest import ROOT
from tests.processes import forking_command
from toolkit.chat.corrections import Correction, save_correction
from toolkit.datasets.importers import ImportOptions, import_dataset

READMES = ("README.md", "README.zh-CN.md")
FRESH = ("README.md", "docs/your-data.md")  # begin in a fresh clone; the other pages where the README ends
PAGES = (*FRESH, "docs/shell.md", "docs/evaluation.md", "docs/scaling.md", "docs/corrections.md", "docs/docker.md")
# What a command of the README stands for is the same; what it takes is cut down.
SMALLER = {
    "toolkit train": " --base-model base --max-steps 5",
    "accelerate launch": " --base-model base --max-steps 4",
    "toolkit export": " --base-model base --small-parity-set --quantize auto",
    "toolkit dataset import": " --limit 60",
    "toolkit bench": " --limit 10 --rounds 1",
}
# The extras of which one is enough; `train` has those of `evaluate`.
NEEDS = {
    "toolkit train": {"train"},
    "accelerate launch": {"train"},
    "toolkit export": {"train"},
    "toolkit evaluate": {"evaluate", "train"},
    "toolkit chat": {"app"},
    "toolkit serve": {"serve"},
}
# In the place of pip, curl and docker: what they would make, and the same refusals.
PIP = """
import pathlib, re, sys
bin_folder, words = pathlib.Path(__file__).parent, sys.argv[1:]
def put(name, line):
    (bin_folder / name).write_text(f"#!/bin/sh\\n{line}\\n")
    (bin_folder / name).chmod(0o755)
if words[0] == "wheel":
    pathlib.Path("dist").mkdir(exist_ok=True)
    pathlib.Path("dist/toolkit.whl").touch()
elif words == ["install", "nox"]:
    put("nox", 'grep -q "^def $2(session" noxfile.py')
else:
    assert words[:3] == ["install", "-c", "constraints.txt"] and pathlib.Path("constraints.txt").is_file(), words
    with (bin_folder / "extras").open("a") as extras:
        extras.write("".join(f"{name}\\n" for name in re.findall(r"\\w+", words[3])))
    heavy = 'case "$1" in train|export|evaluate) exec "$FORKED" "$@";; esac'
    put("toolkit", f'{heavy}; exec "{sys.executable}" -m toolkit "$@"')
    put("accelerate", f'exec "{sys.executable}" -m accelerate.commands.accelerate_cli "$@"')
"""
DOCKER = """
import json, os, pathlib, re, sys
command, *words = sys.argv[1:]
if command == "build":
    assert words[-3:] in (["-t", "reviews", "."], ["-t", "reviews-app", "."]) and pathlib.Path("Dockerfile").is_file() and list(pathlib.Path("dist").glob("*.whl"))
    sys.exit()
if command == "compose":
    assert words == ["up", "--build"] and pathlib.Path("compose.yaml").is_file()
    sys.exit()
mounts = {}
while words[0].startswith("-"):
    option = words.pop(0)
    value = words.pop(0) if option in {"-v", "-e", "-p", "--user", "--network", "--cpus", "--memory"} else ""
    if option == "-v":
        host, inside, *_ = value.split(":")
        mounts[inside] = host
    elif option == "-e":
        name, _, text = value.partition("=")
        os.environ[name] = mounts[text]
    else:
        assert option in {"--rm", "-i", "-p", "--read-only", "--user", "--network", "--cpus", "--memory"}, option
assert words.pop(0) in ("reviews", "reviews-app")
for inside, host in mounts.items():
    words = [host + word.removeprefix(inside) if word.startswith(inside + "/") else word for word in words]
if not words or words[0].startswith("-"):  # the image's own command, and the port of the test's choice
    words = [*json.loads(re.search("^CMD (.*)$", pathlib.Path("Dockerfile").read_text(), re.MULTILINE)[1]), *words]
os.execvp("toolkit", ["toolkit", *words])
"""


def blocks(readme: str, language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", (ROOT / readme).read_text(encoding="utf-8"), re.DOTALL)


def shell_lines(readme: str) -> list[str]:
    return [line for block in blocks(readme, "sh") for line in block.splitlines() if line and not line.startswith("#")]


def script(path: Path, text: str) -> None:
    path.write_text(text)
    path.chmod(0o755)


@pytest.fixture(scope="module")
def models(tmp_path_factory, tiny_base, tiny_adapter, tiny_bundle, demo_reviews) -> Path:
    """What a clone has, with the tiny model; `base` and `downloads` are what the network would give."""
    folder = tmp_path_factory.mktemp("clone")
    shutil.copytree(ROOT / "dataset", folder / "dataset")
    for name in ("constraints.txt", "noxfile.py", "Dockerfile", "compose.yaml"):
        shutil.copy(ROOT / name, folder)
    for path, source in (("base", tiny_base), ("lora_model", tiny_adapter), ("onnx_model", tiny_bundle)):
        shutil.copytree(source, folder / path)
    acl = folder / "downloads" / "aclImdb"
    number = 0
    for split, reviews in demo_reviews.items():
        for review in reviews:
            number += 1
            name = f"{'test' if split == 'test' else 'train'}/{'pos' if review.label.index else 'neg'}"
            (acl / name).mkdir(parents=True, exist_ok=True)
            (acl / name / f"{number}_{8 if review.label.index else 2}.txt").write_text(review.text)
    shutil.make_archive(str(folder / "downloads" / "aclImdb_v1"), "gztar", acl.parent, "aclImdb")
    bin_folder = folder / "bin"
    bin_folder.mkdir()
    (bin_folder / "pip.py").write_text(PIP)
    (bin_folder / "docker.py").write_text(DOCKER)
    python = f'exec "{sys.executable}"'
    here = '"$(dirname "$0")"'
    script(
        bin_folder / "python",
        f'#!/bin/sh\n[ "$1 $2" = "-m pip" ] || {python} "$@"\nshift 2\n{python} {here}/pip.py "$@"\n',
    )
    script(bin_folder / "docker", f'#!/bin/sh\n{python} {here}/docker.py "$@"\n')
    script(bin_folder / "curl", '#!/bin/sh\n[ "$1" = -O ] && exec cp "downloads/${2##*/}" .\n')
    return folder


@pytest.fixture
def clone(models, tmp_path) -> Path:
    """A fresh clone, where nothing is installed."""
    return Path(shutil.copytree(models, tmp_path / "clone"))


@pytest.fixture
def checkout(clone, demo_reviews) -> Path:
    """A clone where the README's lines were typed, and the app was used."""
    for name in ("demo", "imdb"):
        for model in ("lora_model", "onnx_model"):
            shutil.copytree(clone / model, clone / "build" / name / model)
    import_dataset(str(clone / "dataset"), clone / "build" / "imdb", ImportOptions())  # a page imports anew over it
    shutil.copy(clone / "downloads" / "aclImdb_v1.tar.gz", clone)
    texts = [review.text for review in demo_reviews["train"][:5]]
    (clone / "reviews.txt").write_text("".join(f"{text}\n" for text in texts))
    (clone / "build" / "app").mkdir()
    for label, text in (("negative", "It dragged."), ("positive", "I wept, and I was glad.")):
        save_correction(clone / "build" / "app" / "corrections.jsonl", Correction(text, "uncertain", label, 0.6, "0"))
    subprocess.run(
        [sys.executable, "bin/pip.py", "install", "-c", "constraints.txt", ".[train,offline,app]"],
        cwd=clone,
        check=True,
    )
    return clone


def test_the_chinese_readme_has_the_same_lines():
    """What the English one's test types is what this one says."""
    assert [line.replace(" --lang zh", "") for line in shell_lines("README.zh-CN.md")] == shell_lines("README.md")


def open_app(line: str, folder: Path, environment: dict[str, str]) -> str:
    """Start the app, wait until it answers, and press Ctrl-C; returns what it said where it did not answer."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    process = subprocess.Popen(
        ["bash", "-c", f"exec {line} --port {port}"], cwd=folder, env={**environment, "TOOLKIT_STATE": str(folder / "state")},
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True,
    )  # fmt: skip
    try:
        deadline = time.monotonic() + 100
        while process.poll() is None and time.monotonic() < deadline:
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=5):
                    return ""
            except (urllib.error.URLError, OSError):
                time.sleep(0.2)
        return f"{line} did not answer"
    finally:
        process.send_signal(signal.SIGINT)
        try:
            process.communicate(timeout=20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()


@pytest.fixture(scope="module")
def forked(tmp_path_factory):
    """A command for what would import torch at every line."""
    path = tmp_path_factory.mktemp("forked") / "toolkit"
    with forking_command(path):
        yield path


@pytest.mark.parametrize("page", PAGES)
def test_every_command_runs(page, forked, request):
    folder = request.getfixturevalue("clone" if page in FRESH else "checkout")
    lines = [line for line in shell_lines(page) if not re.search(r"^git |^cd |chainlit run", line)]
    assert len(lines) >= 2
    if any("--engine ray" in line for line in lines):
        pytest.importorskip("ray", reason="the extra ray is not installed")
    environment = {
        **os.environ,
        "PATH": f"{folder / 'bin'}:/usr/bin:/bin",
        "PYTHONPATH": str(ROOT),
        "FORKED": str(forked),
    }
    for line in lines:
        extras = folder / "bin" / "extras"
        installed = set(extras.read_text().split()) if extras.is_file() else set()
        for command, needed in NEEDS.items():
            assert command not in line or needed & installed, f"{line}\nneeds an extra that no line before it installs"
        if stays := re.search(r"toolkit (chat|serve)$|docker run .*(reviews$|reviews-app chat)", line):
            if importlib.util.find_spec("chainlit" if "chat" in stays[0] else "starlette"):
                assert not open_app(line, folder, environment)
            continue
        line += next((smaller for command, smaller in SMALLER.items() if line.startswith(command)), "")
        process = subprocess.run(
            ["bash", "-o", "pipefail", "-c", line], cwd=folder, env=environment, capture_output=True, text=True, check=False, timeout=120
        )  # fmt: skip
        # In a pipe, the filter may have kept nothing (1), or been left by its reader (141); 2 is an error of it.
        right = {0, 1, 141} if "toolkit filter" in line and "|" in line else {0}
        assert process.returncode in right, f"{line}\n{process.stdout}{process.stderr}"


@pytest.mark.parametrize("readme", (*READMES, "docs/python.md"))
def test_the_python_snippet_runs(readme, models):
    for block in blocks(readme, "python"):
        assert len(block.splitlines()) < 15
        process = subprocess.run([sys.executable, "-c", block], cwd=models, capture_output=True, text=True, check=False)
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
