"""Commands under bad conditions, and what has to hold whatever happens to them."""

import os
import resource
import shutil
import signal
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.conftest import ROOT
from tests.processes import run_forked
from toolkit.models.bundle import Kind, read_manifest

REVIEWS = 4000  # so many that an output does not fit into a file system's smallest block


@dataclass
class Stage:
    """A command of the toolkit whose output replaces an older one.

    Attributes:
        arguments: of the command.
        target: what it replaces.
        kind: of the folder; None for a file.
        again: what to add to go on after a failure.
    """

    arguments: list[str]
    target: Path
    kind: Kind | None = None
    again: list[str] = field(default_factory=list)

    def content(self) -> dict[str, bytes]:
        """Everything that lies at the target."""
        files = [self.target] if self.target.is_file() else sorted(self.target.rglob("*"))
        return {path.name: path.read_bytes() for path in files if path.is_file()}

    def check_whole(self) -> None:
        """The target is complete, and nothing half lies beside it."""
        if self.kind:
            read_manifest(self.target, self.kind)
        else:
            assert len(self.target.read_text().splitlines()) == REVIEWS + 1
        assert [path.name for path in self.target.parent.iterdir() if path.name.endswith(".partial")] == []


@pytest.fixture(params=["train", "export", "predict"])
def stage(request, tmp_path, tiny_base, tiny_dataset, tiny_adapter, tiny_bundle) -> Stage:
    """Each stage that writes a folder or a file, over an older one."""
    if request.param == "train":
        shutil.copytree(tiny_adapter, tmp_path / "lora_model")
        settings = ["--base-model", str(tiny_base), "--dataset", str(tiny_dataset), "--max-steps", "10"]
        arguments = ["train", *settings, "--output", str(tmp_path / "lora_model")]
        return Stage(arguments, tmp_path / "lora_model", Kind.ADAPTER, ["--resume"])
    if request.param == "export":
        shutil.copytree(tiny_bundle, tmp_path / "onnx_model")
        parity_set = ["--parity-set", str(tiny_dataset / "validation.csv"), "--small-parity-set"]
        arguments = ["export", "--adapter", str(tiny_adapter), *parity_set, "--output", str(tmp_path / "onnx_model")]
        return Stage(arguments, tmp_path / "onnx_model", Kind.ONNX)
    (tmp_path / "reviews.csv").write_text("text\n" + "".join(f"film number {n}\n" for n in range(REVIEWS)))
    (tmp_path / "verdicts.csv").write_text("text\n" + "old\n" * REVIEWS)
    arguments = ["predict-files", "--onnx-model", str(tiny_bundle), str(tmp_path / "reviews.csv")]
    return Stage([*arguments, str(tmp_path / "verdicts.csv")], tmp_path / "verdicts.csv")


def start(arguments: Sequence[str], largest_file: int | None = None, **options) -> subprocess.Popen:
    """The toolkit in a process of its own, whose files may not grow over a number of bytes."""

    def limit() -> None:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        if largest_file is not None:
            resource.setrlimit(resource.RLIMIT_FSIZE, (largest_file, largest_file))

    environment = {**os.environ, "PYTHONPATH": str(ROOT), **options.pop("environment", {})}
    return subprocess.Popen(
        [sys.executable, "-m", "toolkit", *map(str, arguments)], stdin=subprocess.DEVNULL, preexec_fn=limit,
        **{"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "env": environment, **options}, text=True,
    )  # fmt: skip


def run(
    arguments: Sequence[str], *, environment: dict[str, str] | None = None, largest_file: int | None = None, **options
) -> subprocess.CompletedProcess:
    """The finished process of `start`; without the start of its libraries where nothing else is asked of it."""
    if arguments[0] in ("train", "export") and not options:
        process = run_forked(arguments, environment=environment, largest_file=largest_file)
        return subprocess.CompletedProcess(
            process.args, process.returncode, process.stdout.decode(), process.stderr.decode()
        )
    with start(arguments, largest_file, environment=environment or {}, **options) as process:
        out, err = process.communicate(timeout=300)
    return subprocess.CompletedProcess(process.args, process.returncode, out, err)


def assert_one_error(process: subprocess.CompletedProcess, *words: str) -> None:
    """It failed, in one line that says these words."""
    assert process.returncode in (1, 2), process.stderr
    assert "Traceback" not in process.stderr
    assert process.stderr.count("Error: ") == 1, process.stderr
    last = process.stderr.splitlines()[-1]
    assert last.startswith("Error: "), process.stderr
    for word in words:
        assert word in last


def namespace(script: str) -> list[str] | None:
    """A command that runs a shell script with mounts of its own; None where the system does not let us."""
    command = ["unshare", "--map-root-user", "--mount", "sh", "-ec"]
    possible = shutil.which("unshare") and subprocess.run(
        [*command, "mount -t tmpfs tmpfs /mnt"], capture_output=True, check=False
    )
    return [*command, script] if possible and possible.returncode == 0 else None
