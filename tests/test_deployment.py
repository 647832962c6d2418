"""The CPU-only deployment: the wheel alone, in a clean virtual environment, without a network, anywhere."""

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from tests.conftest import ROOT

REVIEWS = "A quiet, generous film; I wanted to phone my brother.\nNobody on screen seems awake, and I envied them.\n"


def instructions(name: str) -> list[str]:
    """The arguments of each instruction of that name in the Dockerfile, continued lines joined."""
    text = re.sub(r"\\\n\s*", "", (ROOT / "Dockerfile").read_text())
    return re.findall(rf"^{name} (.*)$", text, re.MULTILINE)


@pytest.fixture(scope="module")
def environment(tmp_path_factory) -> dict[str, str]:
    """Run what the Dockerfile runs, up to the user's shell, in a virtual environment instead of an image."""
    if not (ROOT / "onnx_model" / "model.onnx").is_file():
        pytest.skip("onnx_model/ holds no model for the wheel to carry")
    folder = tmp_path_factory.mktemp("deployment")
    install = folder / "install"
    subprocess.run(
        [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", install, ROOT], check=True
    )
    shutil.copy(ROOT / "requirements.txt", install)
    subprocess.run([sys.executable, "-m", "venv", folder / "venv"], check=True)
    variables = {
        "PATH": f"{folder / 'venv' / 'bin'}:/usr/bin:/bin",
        "HOME": str(folder),
        **{name: value for name, value in os.environ.items() if name.startswith("PIP_")},
        **dict(pair.split("=", 1) for line in instructions("ENV") for pair in shlex.split(line)),
    }
    steps = [step.strip() for line in instructions("RUN") for step in line.split("&&") if "pip install" in step]
    assert "--require-hashes" in steps[0]
    assert "--no-deps --no-index" in steps[1]
    for step in steps:
        subprocess.run(step.replace("/tmp/install", str(install)), shell=True, env=variables, check=True)
    shutil.rmtree(install)
    return variables


@pytest.fixture(scope="module")
def without_network() -> list[str]:
    """The prefix of a command that gets no network at all."""
    prefix = ["unshare", "--map-root-user", "--net"]
    if shutil.which("unshare") is None or subprocess.run([*prefix, "true"], check=False).returncode:
        pytest.skip("this system gives a test no network namespace of its own")
    return prefix


def run(command, environment, cwd: Path, stdin=""):
    return subprocess.run(
        command, env=environment, cwd=cwd, input=stdin, capture_output=True, text=True, check=False, timeout=120
    )


def test_what_is_installed_by_hash_is_what_is_tested():
    def pins(file: str) -> dict[str, str]:
        found = re.findall(r"^([\w.-]+)==([^\s;\\]+)", (ROOT / file).read_text(), re.MULTILINE)
        return {re.sub(r"[-_.]+", "-", name).lower(): version for name, version in found}

    runtime = pins("requirements.txt")
    assert {"click", "numpy", "onnxruntime", "tokenizers"} <= runtime.keys()
    assert runtime.items() <= pins("constraints.txt").items()
    text = (ROOT / "requirements.txt").read_text()
    assert text.count("--hash=sha256:") > 2 * len(runtime)
    assert "://" not in text


def test_the_base_image_is_one_that_reads_hostile_archives():
    """3.13.6 is the first whose tarfile does not turn in circles (CVE-2025-8194)."""
    version = re.fullmatch(r"python:3\.13\.(\d+)-slim-\w+(@sha256:[0-9a-f]{64})?", instructions("FROM")[0])
    assert version is not None
    assert int(version[1]) >= 6


def test_it_classifies_in_an_empty_folder_without_a_network(environment, without_network, tmp_path):
    predicted = run([*without_network, "toolkit", "predict", "--json", REVIEWS], environment, tmp_path)
    assert predicted.returncode == 0, predicted.stderr
    assert json.loads(predicted.stdout)["label"] in ("positive", "negative")
    filtered = run([*without_network, "toolkit", "filter"], environment, tmp_path, REVIEWS)
    assert filtered.returncode == 0, filtered.stderr
    assert [line.split("\t")[0] for line in filtered.stdout.splitlines()] == ["positive", "negative"]
    assert list(tmp_path.iterdir()) == []


def test_the_image_starts_and_is_healthy(environment, tmp_path):
    entry, arguments = json.loads(instructions("ENTRYPOINT")[0]), json.loads(instructions("CMD")[0])
    health = json.loads(instructions("HEALTHCHECK")[0].partition("CMD ")[2])
    for command in ([*entry, *arguments], health):
        process = run(command, environment, tmp_path)
        assert process.returncode == 0, process.stdout + process.stderr
    assert instructions("USER") != ["root"]


def test_the_doctor_knows_what_it_has(environment, without_network, tmp_path):
    process = run([*without_network, "toolkit", "doctor", "--json"], environment, tmp_path)
    report = json.loads(process.stdout)
    assert report["healthy"] is True
    assert report["backend"]["name"] == "onnx"
    assert report["backend"]["model"].endswith("site-packages/toolkit/onnx_model")
    assert report["models"][0]["verified"] is True
    assert report["telemetry"]["onnxruntime"] == "off"
    assert "torch" not in report["versions"]
    assert report["hub"]["reachable"] is None


def test_it_is_small_and_holds_no_training_package(environment):
    venv = Path(environment["PATH"].partition(":")[0]).parent
    packages = {path.name.partition("-")[0].lower() for path in venv.glob("lib/python*/site-packages/*.dist-info")}
    assert {"torch", "transformers", "pandas", "optimum", "peft", "chainlit"} & packages == set()
    size = sum(path.lstat().st_size for path in venv.rglob("*") if path.is_file() and not path.is_symlink())
    assert size < 250e6


def test_the_wheel_holds_toolkit_and_export_and_says_its_version(environment, tmp_path):
    venv = Path(environment["PATH"].partition(":")[0]).parent
    (record,) = venv.glob("lib/python*/site-packages/distilbert_review_toolkit-*.dist-info/RECORD")
    paths = [line.partition(",")[0] for line in record.read_text().splitlines()]
    tops = {path.partition("/")[0] for path in paths if not path.startswith("../")}  # beside the command in bin/
    assert tops == {"toolkit", "export", record.parent.name}
    version = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"]
    assert run(["toolkit", "--version"], environment, tmp_path).stdout.split()[-1] == version
    peers = run(["toolkit", "bench", "--peers"], environment, tmp_path)
    assert peers.returncode == 2
    assert peers.stderr.endswith("in a checkout of the project: python benchmarks/peers.py\n")
