"""The CPU-only deployment: the wheel alone, in a clean virtual environment, without a network, anywhere."""

import contextlib
import json
import os
import re
import shlex
import shutil
import socket
import subprocess
import sys
import time
import tomllib
import urllib.request
from pathlib import Path

import pytest
import yaml

from tests.conftest import ROOT

REVIEWS = "A quiet, generous film; I wanted to phone my brother.\nNobody on screen seems awake, and I envied them.\n"


COMPOSE = yaml.safe_load((ROOT / "compose.yaml").read_text(encoding="utf-8"))


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
    (extra,) = re.findall(r"^EXTRA=(\w+)$", "\n".join(instructions("ARG")), re.MULTILINE)
    copied, target = instructions("COPY")[0].replace("${EXTRA}", extra).split()
    shutil.copy(ROOT / copied, install / Path(target).name)
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

    for extra, own in (("serve", {"starlette", "uvicorn", "prometheus-client"}), ("app", {"chainlit"})):
        pinned = pins(f"requirements-{extra}.txt")
        assert {"click", "numpy", "onnxruntime", "tokenizers", *own} <= pinned.keys()
        assert pinned.items() <= pins("constraints.txt").items()
        text = (ROOT / f"requirements-{extra}.txt").read_text()
        assert text.count("--hash=sha256:") > len(pinned)
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


@contextlib.contextmanager
def started(arguments: list[str], environment, folder: Path):
    """What the image runs, on a free port in the place of the exposed one; gives what asks for its health."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    (exposed,) = instructions("EXPOSE")
    health = json.loads(instructions("HEALTHCHECK")[0].partition("CMD ")[2].replace(exposed, str(port)))
    entry = json.loads(instructions("ENTRYPOINT")[0])
    log = folder / "log"
    with log.open("wb") as stream:
        process = subprocess.Popen(
            [*entry, *arguments, "--port", str(port)], env=environment, cwd=folder, stdout=stream, stderr=stream
        )
    try:
        deadline = time.monotonic() + 120
        while run(health, environment, folder).returncode:
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < deadline, log.read_text()
        yield port, health
    finally:
        process.terminate()
        assert process.wait(60) in (0, -15), log.read_text()


def test_the_image_serves_and_is_healthy_as_long_as_it_does(environment, tmp_path):
    arguments = json.loads(instructions("CMD")[0])
    with started(arguments, environment, tmp_path) as (port, health):
        body = json.dumps({"text": "A quiet film that stays with you."}).encode()
        request = urllib.request.Request(
            f"http://127.0.0.1:{port}/classify", body, {"content-type": "application/json"}
        )
        with urllib.request.urlopen(request, timeout=60) as response:
            assert json.load(response)["label"] == "positive"
    assert run(health, environment, tmp_path).returncode != 0
    assert instructions("USER")[0].split(":")[0].isdigit()  # which Kubernetes can tell from root's
    assert instructions("USER") != ["0"]


def test_the_services_of_compose_start_and_are_asked_by_nobody_else(environment, tmp_path):
    services = COMPOSE["services"]
    assert set(services) == {"server", "app"}
    for name, service in services.items():
        assert service["read_only"]
        assert service["cap_drop"] == ["ALL"]
        published = [port.split(":") for port in service["ports"]]
        assert [(host, inside) for host, _, inside in published] == [("127.0.0.1", *instructions("EXPOSE"))], name
        assert all(value == f"${{{key}:-}}" for key, value in service["environment"].items()), "no secret stands here"
    build = services["app"]["build"]
    assert (ROOT / instructions("COPY")[0].split()[0].replace("${EXTRA}", build["args"]["EXTRA"])).is_file()
    target = services["app"]["volumes"][0].partition(":")[2]
    assert f"TOOLKIT_STATE={target}" in instructions("ENV")[0]
    pytest.importorskip("chainlit", reason="the extra 'app' is not installed")
    own = {**os.environ, **environment, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
           "TOOLKIT_STATE": str(tmp_path / "state"), "PYTHONPATH": str(ROOT)}  # fmt: skip
    with (
        started(services["app"]["command"], own, tmp_path) as (port, _),
        urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=60) as response,
    ):
        assert response.status == 200


def test_dockerfile_and_compose_are_clean(tmp_path):
    """hadolint's rules for the one; for the other that Compose knows every key, by a list of those in its schema."""
    known = {"build", "image", "ports", "environment", "init", "restart", "read_only", "tmpfs", "cap_drop", "security_opt",
             "mem_limit", "stop_grace_period", "command", "volumes"}  # fmt: skip
    assert set(COMPOSE) == {"services", "volumes", "x-limits"}
    assert all(set(service) <= known for service in COMPOSE["services"].values())
    hadolint = shutil.which("hadolint", path=f"{Path(sys.executable).parent}:{os.environ['PATH']}")
    if hadolint is None:
        pytest.skip("hadolint is not installed")
    linted = subprocess.run([hadolint, "--no-color", ROOT / "Dockerfile"], capture_output=True, text=True, check=False)
    assert linted.returncode == 0, linted.stdout


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
