"""Each extra is enough for what it is for: nothing but its packages, and theirs, can be imported."""

import gzip
import json
import re
import subprocess
import sys
import tomllib
from importlib import metadata

import pytest

from tests.conftest import ROOT
from tests.datasets.test_importers import acl_members

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
# The first argument is a file with the names of the modules that cannot be imported.
ALONE = """
import json, sys
blocked = set(json.load(open(sys.argv.pop(1))))
class Missing:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in blocked:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
sys.meta_path.insert(0, Missing())
"""
COMMAND = ALONE + "from toolkit.cli import main; sys.argv[0] = 'toolkit'; main()"


def needed(extra: str) -> set[str]:
    """The distributions that an extra installs, with all that they need."""
    waiting = [*PROJECT["dependencies"], *PROJECT["optional-dependencies"].get(extra, [])]
    found = {"distilbert-review-toolkit"}
    while waiting:
        requirement = waiting.pop()
        name = re.match(r"[\w.-]+", requirement)[0].lower().replace("_", "-").replace(".", "-")
        if name == "distilbert-review-toolkit":
            for other in re.search(r"\[(.*)\]", requirement)[1].split(","):
                waiting += PROJECT["optional-dependencies"][other]
        if "extra ==" in requirement or name in found:
            continue
        try:
            waiting += metadata.requires(name) or []
        except metadata.PackageNotFoundError:
            continue  # for another system or Python
        found.add(name)
    return found


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    """Run a script, by default a command, where nothing but an extra's packages can be imported."""
    folder = tmp_path_factory.mktemp("blocked")
    owners = {
        module: {name.lower().replace("_", "-").replace(".", "-") for name in names}
        for module, names in metadata.packages_distributions().items()
    }

    def alone(extra: str, *arguments, stdin: bytes = b"", script: str = COMMAND) -> subprocess.CompletedProcess:
        blocked = folder / f"{extra}.json"
        if not blocked.exists():
            allowed = needed(extra)
            blocked.write_text(json.dumps([module for module, names in owners.items() if not names & allowed]))
        return subprocess.run(
            [sys.executable, "-c", script, blocked, *map(str, arguments)], input=stdin, capture_output=True,
            cwd=ROOT, timeout=120, check=False,
        )  # fmt: skip

    return alone


@pytest.fixture
def reviews(tmp_path):
    path = tmp_path / "reviews.csv"
    path.write_text("text,label\n" + "".join(f"film number {number},{number % 2}\n" for number in range(40)))
    return path


@pytest.fixture
def parquet(reviews):
    pytest.importorskip("pyarrow", reason="the extra parquet is not installed")
    import pyarrow.csv
    import pyarrow.parquet

    pyarrow.parquet.write_table(pyarrow.csv.read_csv(reviews), reviews.with_suffix(".parquet"))
    return reviews.with_suffix(".parquet")


def test_the_runtime_classifies_and_imports(alone, tiny_bundle, reviews, tmp_path):
    for name, text in acl_members():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    subprocess.run(["tar", "czf", tmp_path / "a.tar.gz", "aclImdb"], cwd=tmp_path, check=True)
    model = ("--onnx-model", tiny_bundle)
    for arguments in (
        ("predict", *model, "A film."),
        ("predict-files", *model, reviews, tmp_path / "verdicts", "--prefix", "m_"),
        ("dataset", "import", reviews, "--output", tmp_path / "one"),
        ("dataset", "import", tmp_path / "a.tar.gz", "--output", tmp_path / "two"),
    ):
        process = alone("", *arguments)
        assert process.returncode == 0, process.stderr.decode()
    assert alone("", "filter", *model, stdin=gzip.compress(b"A film.\n")).stdout.count(b"\n") == 1


def test_parquet_is_enough_for_parquet(alone, tiny_bundle, parquet, tmp_path):
    commands = (
        ("predict-files", "--onnx-model", tiny_bundle, "--prefix", "m_", parquet, tmp_path / "out.parquet"),
        ("predict-files", "--onnx-model", tiny_bundle, "--prefix", "m_", parquet, tmp_path / "out"),
        ("dataset", "import", parquet, "--output", tmp_path / "made"),
    )
    process = alone("", *commands[1])
    assert process.returncode == 1
    assert b"pip install -c constraints.txt '.[parquet]'" in process.stderr
    for arguments in commands:
        process = alone("parquet", *arguments)
        assert process.returncode == 0, process.stderr.decode()


def test_evaluate_is_enough_for_a_report(alone, tiny_bundle, reviews, tmp_path):
    pytest.importorskip("sklearn", reason="the extra evaluate is not installed")
    arguments = ("evaluate", "--onnx-model", tiny_bundle, "--file", reviews, "--output", tmp_path / "report")
    process = alone("", *arguments)
    assert process.returncode == 1
    assert b"pip install -c constraints.txt '.[evaluate]'" in process.stderr
    process = alone("evaluate", *arguments)
    assert process.returncode == 0, process.stderr.decode()
    assert (tmp_path / "report" / "report.html").is_file()
    process = alone("evaluate", script=ALONE + "import toolkit.sklearn; toolkit.sklearn.TextClassifier()")
    assert process.returncode == 0, process.stderr.decode()


@pytest.mark.parametrize(
    ("statement", "purpose"),
    [
        ("import export", "exporting"),
        ("toolkit.export_model", "exporting"),
        ("toolkit.IMDBDataset", "toolkit.IMDBDataset"),
    ],
)
def test_what_needs_torch_says_in_a_line_what_to_install(alone, statement, purpose):
    process = alone("evaluate", script=ALONE + f"import toolkit; assert toolkit.__version__\n{statement}")
    assert process.stderr.decode().splitlines()[-1] == (
        f"toolkit.errors.MissingExtraError: {purpose} needs the package 'torch', which is not installed; "
        "in a checkout of the project, run: python -m pip install -c constraints.txt '.[train]'"
    )


def test_serve_is_enough_for_the_server(alone, tiny_bundle):
    pytest.importorskip("starlette", reason="the extra serve is not installed")
    process = alone("", "serve", "--onnx-model", tiny_bundle)
    assert process.returncode == 1
    assert b"pip install -c constraints.txt '.[serve]'" in process.stderr
    asked = (
        ALONE
        + f"""
import http.client, os, signal, threading
from pathlib import Path
from toolkit.models.bundle import Kind
from toolkit.prediction import load_predictor
from toolkit.server.models import Models
from toolkit.server.running import run
from toolkit.server.settings import ServerSettings
from toolkit.web.hosts import listen
bundle = Path({str(tiny_bundle)!r})
listener = listen("127.0.0.1", 0)
def ask():
    connection = http.client.HTTPConnection("127.0.0.1", listener.getsockname()[1])
    connection.request("POST", "/predict", '{{"inputs": "A film."}}', {{"content-type": "application/json"}})
    print(connection.getresponse().status)
    os.kill(os.getpid(), signal.SIGTERM)
threading.Thread(target=ask).start()
run(ServerSettings(), Models(lambda: load_predictor("onnx", onnx_model=bundle), bundle, Kind.ONNX), listener)
"""
    )
    process = alone("serve", script=asked)
    assert process.stdout == b"200\n", process.stderr.decode()


def test_zstd_is_enough_for_zstd(alone, tiny_bundle):
    data = pytest.importorskip("zstandard", reason="the extra zstd is not installed").compress(b"A film.\n")
    arguments = ("filter", "--onnx-model", tiny_bundle)
    assert b"pip install -c constraints.txt '.[zstd]'" in alone("", *arguments, stdin=data).stderr
    assert alone("zstd", *arguments, stdin=data).stdout.count(b"\n") == 1


def test_another_system_is_refused_in_a_line():
    """Locks and renames are POSIX's."""
    assert "Operating System :: POSIX" in PROJECT["classifiers"]
    process = subprocess.run(
        [sys.executable, "-c", "import os; os.name = 'nt'; import toolkit"], cwd=ROOT, capture_output=True, text=True
    )
    assert process.stderr.splitlines()[-1].startswith("ImportError: this toolkit runs on POSIX systems")


def test_what_train_needs_has_what_evaluation_and_parquet_need():
    assert {"scikit-learn", "matplotlib", "jinja2", "scipy", "pyarrow"} <= needed("train")
