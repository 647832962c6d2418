"""Models are data: no file of a model is run, whatever is in it, and nothing in the sources could run one."""

import ast
import json
import pickle
import re
import shutil
from pathlib import Path

import pytest

from tests.conftest import ROOT

SOURCES = [*ROOT.glob("toolkit/**/*.py"), *ROOT.glob("export/*.py"), *ROOT.glob("benchmarks/*.py"), ROOT / "noxfile.py"]
MODULES = {"pickle", "cPickle", "_pickle", "dill", "cloudpickle", "joblib", "shelve", "marshal", "yaml"}
CALLS = {
    "eval", "exec", "compile", "__import__", "torch.load", "np.load", "numpy.load", "os.system", "os.popen",
    "torch.hub.load", "pd.read_pickle", "pandas.read_pickle", "tarfile.extractall",
}  # fmt: skip
ALLOWED = {("toolkit/benchmark/peers.py", "np.load")}  # of a file it wrote itself; arrays only, numpy's default
KEYWORDS = {"trust_remote_code": None, "allow_pickle": True, "shell": True, "weights_only": False}


def dangers(tree: ast.AST):
    """Names of what is imported or called that could run what it reads."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import | ast.ImportFrom):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else [node.module or ""]
            yield from (name for name in names if name.partition(".")[0] in MODULES)
        elif isinstance(node, ast.Call):
            name = ast.unparse(node.func)
            if name in CALLS:
                yield name
            for keyword in node.keywords:
                if keyword.arg in KEYWORDS:
                    bad = KEYWORDS[keyword.arg]
                    if bad is None or getattr(keyword.value, "value", bad) == bad:
                        yield f"{keyword.arg}={ast.unparse(keyword.value)}"


@pytest.mark.parametrize(
    "line",
    ["import pickle", "from joblib import load", "import yaml.loader", "eval(text)", "torch.load(path)", "np.load(path)",
     "f(trust_remote_code=False)", "f(allow_pickle=True)", "run(line, shell=True)", "torch.load(p, weights_only=False)"],
)  # fmt: skip
def test_the_search_finds(line):
    assert list(dangers(ast.parse(line)))


def test_nothing_in_the_sources_runs_what_it_reads():
    assert len(SOURCES) > 80
    found = {
        (path.relative_to(ROOT).as_posix(), danger)
        for path in SOURCES
        for danger in dangers(ast.parse(path.read_text()))
    }
    assert found == ALLOWED


def test_weights_are_asked_for_in_safetensors():
    adapter = (ROOT / "toolkit" / "models" / "adapter.py").read_text()
    loads = re.findall(r"from_pretrained\((?:[^()]|\([^()]*\))*\)", adapter)
    weights = [load for load in loads if "dtype" in load]
    assert weights
    assert all("use_safetensors=True" in load and "local_files_only=True" in load for load in weights)


class Payload:
    """Unpickled, it leaves a file behind."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self):
        return Path.touch, (self.marker,)


@pytest.fixture
def poison(tmp_path):
    """Put everything into a folder that careless loaders run; returns whether anything did."""
    marker = tmp_path / "it ran"
    code = f"import pathlib; pathlib.Path({str(marker)!r}).touch()\nclass Evil: pass\n"

    def poison(folder: Path):
        for name in ("adapter_model.bin", "pytorch_model.bin", "training_args.bin", "adapter_model.pt", "model.pkl"):
            (folder / name).write_bytes(pickle.dumps(Payload(marker)))
        for name in ("modeling_evil.py", "__init__.py", "sitecustomize.py", "tokenization_evil.py", "evil.py"):
            (folder / name).write_text(code)
        auto = {"AutoModelForSequenceClassification": "modeling_evil.Evil", "AutoConfig": "modeling_evil.Evil"}
        changes = {
            "config.json": {"auto_map": auto, "custom_pipelines": {"x": {"impl": "evil.Evil"}}},
            "tokenizer_config.json": {
                "auto_map": {"AutoTokenizer": ["tokenization_evil.Evil", "tokenization_evil.Evil"]}
            },
            "adapter_config.json": {"auto_mapping": {"base_model_class": "Evil", "parent_library": "evil"}},
        }
        for name, change in changes.items():
            if (folder / name).exists():
                (folder / name).write_text(json.dumps({**json.loads((folder / name).read_text()), **change}))
        return folder

    yield poison
    assert not marker.exists(), "code of a model ran"


def test_the_poison_works(tmp_path, monkeypatch):
    marker = tmp_path / "it ran"
    pickle.loads(pickle.dumps(Payload(marker)))
    assert marker.exists()


@pytest.mark.parametrize("weights", ["with safetensors", "pickle alone", "pickle named safetensors"])
def test_a_poisoned_adapter_is_read_as_data_or_refused(poison, tiny_adapter, tmp_path, toolkit_command, weights):
    folder = tmp_path / "adapter"
    shutil.copytree(tiny_adapter, folder)
    (folder / "manifest.json").unlink()  # somebody else's, that nothing vouches for
    poison(folder)
    if weights != "with safetensors":
        (folder / "adapter_model.safetensors").unlink()
    if weights == "pickle named safetensors":
        shutil.copy(folder / "adapter_model.bin", folder / "adapter_model.safetensors")
    for arguments in (
        ("predict", "--backend", "torch", "--adapter", folder, "A quiet film."),
        ("export", "--adapter", folder, "--parity-set", ROOT / "dataset" / "test.csv", "--small-parity-set", "--output", tmp_path / "o"),
    ):  # fmt: skip
        if arguments[0] == "export" and weights == "pickle alone":
            continue  # the same reader, and seconds
        process = toolkit_command(*arguments, cwd=folder)
        message = process.stderr.decode()
        assert "Traceback" not in message
        if weights == "with safetensors":
            assert process.returncode == 0, message
        else:
            assert process.returncode == 1
            assert message.startswith("Error: ")
            assert len(message.splitlines()) == 1, message
            assert "adapter_model.safetensors" in message


@pytest.mark.parametrize("with_safetensors", [True, False])
def test_a_poisoned_base_is_read_as_data_or_refused(
    poison, tiny_base, tiny_dataset, tmp_path, toolkit_command, with_safetensors
):
    folder = tmp_path / "base"
    shutil.copytree(tiny_base, folder)
    poison(folder)
    if not with_safetensors:
        (folder / "model.safetensors").unlink()
    process = toolkit_command(
        "train", "--base-model", folder, "--dataset", tiny_dataset, "--max-steps", 2, "--output", tmp_path / "o" / "l"
    )
    message = process.stderr.decode()
    assert "Traceback" not in message
    assert process.returncode == (0 if with_safetensors else 1), message
    if not with_safetensors:
        assert "lacks model.safetensors" in message
        assert len(message.splitlines()) == 1


def test_a_poisoned_checkpoint_is_refused(poison, tiny_settings, tiny_dataset, tmp_path, toolkit_command):
    """The Trainer keeps the state of its optimiser as torch does, pickled; it is read back as tensors and no more."""
    arguments = (
        "train", "--base-model", tiny_settings["base_model"], "--dataset", tiny_dataset, "--max-steps", 10,
        "--output", tmp_path / "lora_model",
    )  # fmt: skip
    assert toolkit_command(*arguments).returncode == 0
    checkpoints = tmp_path / "lora_imdb"
    run_file = checkpoints / "run.json"
    run_file.write_text(json.dumps({**json.loads(run_file.read_text()), "finished": False}))
    last = max(checkpoints.glob("checkpoint-*"), key=lambda path: int(path.name[11:]))
    state = json.loads((last / "trainer_state.json").read_text())
    (last / "trainer_state.json").write_text(json.dumps({**state, "global_step": state["global_step"] - 1}))
    marker = tmp_path / "it ran"
    for name in ("optimizer.pt", "scheduler.pt", "rng_state.pth", "training_args.bin"):
        (last / name).write_bytes(pickle.dumps(Payload(marker)))
    process = toolkit_command(*arguments, "--resume")
    message = process.stderr.decode()
    assert not marker.exists()
    assert process.returncode == 1
    assert "Traceback" not in message
    assert message.splitlines()[-1].startswith(f"Error: {last} cannot be read (")
