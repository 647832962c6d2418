"""Models are data: no file of a model is run, whatever is in it, and nothing in the sources could run one."""

import ast
import json
import pickle
import re
import shutil
from pathlib import Path

import numpy as np
import pytest

from tests.conftest import ROOT
from tests.processes import run_forked
from toolkit.errors import BundleError
from toolkit.training.checkpoints import seal_checkpoint

SOURCES = [*ROOT.glob("toolkit/**/*.py"), *ROOT.glob("export/*.py"), *ROOT.glob("benchmarks/*.py"), ROOT / "noxfile.py"]
MODULES = {"pickle", "cPickle", "_pickle", "dill", "cloudpickle", "joblib", "shelve", "marshal", "yaml"}
CALLS = {
    "eval", "exec", "compile", "__import__", "torch.load", "np.load", "numpy.load", "os.system", "os.popen",
    "torch.hub.load", "pd.read_pickle", "pandas.read_pickle", "tarfile.extractall",
}  # fmt: skip
# Files that the benchmark wrote itself: arrays only, numpy's default, and a reader of ONNX that takes no such argument.
ALLOWED = {("benchmarks/peer_engines.py", "np.load"), ("benchmarks/peer_engines.py", "ORTQuantizer.from_pretrained")}
KEYWORDS = {"allow_pickle": True, "shell": True, "weights_only": False}


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
            keywords = {keyword.arg: keyword.value for keyword in node.keywords}
            # Left out, transformers asks at a terminal whether to run the model's code, and takes a y from stdin.
            trust = keywords.get("trust_remote_code")
            if trust is None:
                yield from [name] if name.endswith("from_pretrained") or name == "pipeline" else []
            elif getattr(trust, "value", None) is not False:
                yield f"trust_remote_code={ast.unparse(trust)}"
            for keyword, bad in KEYWORDS.items():
                if keyword in keywords and getattr(keywords[keyword], "value", bad) == bad:
                    yield f"{keyword}={ast.unparse(keywords[keyword])}"


@pytest.mark.parametrize(
    "line",
    ["import pickle", "from joblib import load", "import yaml.loader", "eval(text)", "torch.load(path)", "np.load(path)",
     "f(trust_remote_code=True)", "f(trust_remote_code=asked)", "A.from_pretrained(folder)", "pipeline(task)", "f(allow_pickle=True)", "run(line, shell=True)", "torch.load(p, weights_only=False)"],
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


def changed(path: Path, **change) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))


@pytest.mark.parametrize(
    ("file", "change", "message"),
    [
        ("tokenizer_config.json", {"tokenizer_class": "Evil"}, "asks for a tokenizer of class 'Evil'"),
        ("tokenizer_config.json", {"tokenizer_class": ["Evil"]}, "asks for a tokenizer of class ['Evil']"),
        ("config.json", {"tokenizer_class": "Evil"}, "asks for a tokenizer of class 'Evil'"),
        ("config.json", {"model_type": "evil"}, "is a 'evil', expected one of distilbert, "),
        ("config.json", {"_attn_implementation_internal": "evil/kernel", "attn_implementation": "evil/kernel"}, None),
        ("config.json", {"activation": "evil"}, "is damaged"),
        ("config.json", {"n_heads": 0}, "is damaged"),
        ("adapter_config.json", {"base_model_name_or_path": "elsewhere", "megatron_config": {"a": 1}}, "is an adapter"),
    ],
)
def test_nobody_is_asked_whether_to_run_a_base(poison, tiny_base, tmp_path, monkeypatch, file, change, message):
    from toolkit.models.adapter import load_classifier, load_tokenizer
    from toolkit.models.base_models import resolve_base_model

    monkeypatch.setattr("builtins.input", lambda *prompt: "y")
    folder = tmp_path / "base"
    shutil.copytree(tiny_base, folder)
    if not (folder / file).exists():
        (folder / file).write_text("{}")
    poison(folder)
    changed(folder / file, **change)

    def load() -> None:
        load_tokenizer(folder)
        load_classifier(resolve_base_model(str(folder)))

    if message is None:
        load()
        return
    with pytest.raises(BundleError) as caught:
        load()
    assert message in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1


def test_a_y_on_stdin_runs_nothing(poison, tiny_base, tiny_dataset, tmp_path):
    folder = tmp_path / "base"
    shutil.copytree(tiny_base, folder)
    poison(folder)
    changed(folder / "tokenizer_config.json", tokenizer_class="Evil")
    process = run_forked(
        [
            "train",
            "--base-model",
            folder,
            "--dataset",
            tiny_dataset,
            "--max-steps",
            2,
            "--output",
            tmp_path / "o" / "l",
        ],
        stdin=b"y\n" * 9,
    )
    message = process.stderr.decode()
    assert process.returncode == 1
    assert len(message.splitlines()) == 1, message
    assert "asks for a tokenizer of class 'Evil'" in message
    assert not (tmp_path / "o" / "l").exists()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"peft_type": "IA3"}, "has peft_type 'IA3', expected 'LORA'"),
        ({"task_type": "CAUSAL_LM"}, "has task_type 'CAUSAL_LM'"),
        ({"megatron_config": {"a": 1}, "megatron_core": "evil"}, "sets 'megatron_config'"),
        ({"eva_config": {"rho": 2}}, "sets 'eva_config'"),
        ({"layer_replication": [[0, 1]]}, "sets 'layer_replication'"),
        ({"init_lora_weights": "pissa"}, "has 'init_lora_weights' 'pissa'"),
        ({"target_modules": "(.*)*evil"}, "has 'target_modules'"),
        ({"target_modules": ["(a+)+$"]}, "has 'target_modules'"),
        ({"rank_pattern": {"(a+)+$": 8}}, "has 'rank_pattern'"),
        ({"r": 1 << 40}, "has 'r' 1099511627776"),
        ({"r": True}, "has 'r' True"),
        ({"target_modules": ["nothing"]}, "does not fit the base model"),
        ({"unheard_of": 1}, "sets 'unheard_of'"),
        ({"unheard_of": None, "velora_config": None, "use_bdlora": False, "loftq_config": {}}, None),
    ],
)
def test_of_an_adapter_only_the_settings_of_lora_are_taken(tiny_adapter, tmp_path, change, message):
    """With its manifest or without: who can write the one can write the other."""
    from toolkit.models.adapter import load_adapter
    from toolkit.models.bundle import _digest as digest
    from toolkit.models.files import read_json_object, sha256, write_json

    folder = tmp_path / "adapter"
    shutil.copytree(tiny_adapter, folder)
    path = folder / "adapter_config.json"
    changed(path, **change)
    manifest = read_json_object(folder / "manifest.json")
    manifest["files"][path.name] = {"sha256": sha256(path), "bytes": path.stat().st_size}
    manifest.pop("sha256")
    write_json(folder / "manifest.json", {**manifest, "sha256": digest(manifest)})
    if message is None:
        load_adapter(folder)
        return
    with pytest.raises(BundleError) as caught:
        load_adapter(folder)
    assert message in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1


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


def test_a_poisoned_checkpoint_is_refused(poison, tiny_settings, tiny_dataset, tmp_path):
    """The Trainer keeps the state of its optimiser as torch does, pickled; it is read back as tensors and no more."""
    arguments = (
        "train", "--base-model", tiny_settings["base_model"], "--dataset", tiny_dataset, "--max-steps", 10,
        "--output", tmp_path / "lora_model",
    )  # fmt: skip
    assert run_forked(arguments).returncode == 0
    checkpoints = tmp_path / "lora_imdb"
    run_file = checkpoints / "run.json"
    run_file.write_text(json.dumps({**json.loads(run_file.read_text()), "finished": False}))
    last = max(checkpoints.glob("checkpoint-*"), key=lambda path: int(path.name[11:]))
    state = json.loads((last / "trainer_state.json").read_text())
    marker = tmp_path / "it ran"
    for name in ("optimizer.pt", "scheduler.pt", "rng_state.pth", "training_args.bin"):
        (last / name).write_bytes(pickle.dumps(Payload(marker)))
    state["stateful_callbacks"]["TrainerControl"]["args"]["should_training_stop"] = False
    (last / "trainer_state.json").write_text(json.dumps({**state, "global_step": state["global_step"] - 1}))
    seal_checkpoint(last)  # whoever plants a file writes its digest down too
    process = run_forked([*arguments, "--resume"])
    message = process.stderr.decode()
    assert not marker.exists()
    assert process.returncode == 1
    assert "Traceback" not in message
    assert message.splitlines()[-1].startswith(f"Error: {last} cannot be read (")


@pytest.mark.parametrize(
    ("part", "value"),
    [
        ("pre_tokenizer", {"type": "Split", "pattern": {"Regex": "(a+)+$"}, "behavior": "Isolated", "invert": False}),
        ("normalizer", {"type": "Replace", "pattern": {"Regex": "(x+x+)+y"}, "content": ""}),
        (
            "normalizer",
            {
                "type": "Sequence",
                "normalizers": [{"type": "Replace", "pattern": {"String": "a"}, "content": "aa"}] * 40,
            },
        ),
        ("model", {"type": "Unigram", "unk_id": 0, "vocab": [["[UNK]", 0.0]]}),
        ("model", {"max_input_chars_per_word": 10**9}),
        ("model", {"continuing_subword_prefix": "#" * 10**6}),
        ("model", {"vocab": {"[UNK]": 4_000_000_000}}),
        ("model", {"vocab": {}}),
        ("post_processor", None),
        ("post_processor", {"type": "TemplateProcessing", "single": [{"Sequence": {"id": "A", "type_id": 0}}] * 9}),
        ("added_tokens", [{"id": 4_000_000_000, "content": "film"}]),
    ],
)
def test_a_tokenizer_is_made_of_distilberts_pieces(tiny_tokenizer, tiny_base, tmp_path, part, value):
    """Of the others some take exponential time or memory, and some end in a panic that no `except Exception` sees."""
    from toolkit.models.adapter import load_tokenizer
    from toolkit.text.tokenisation import ReviewTokenizer

    folder = tmp_path / "base"
    shutil.copytree(tiny_base, folder)
    path = folder / "tokenizer.json"
    content = json.loads(path.read_text())
    ReviewTokenizer.from_file(path, 40)
    content[part] = {**content[part], **value} if part == "model" and "type" not in value else value
    path.write_text(json.dumps(content))
    for load in (lambda: ReviewTokenizer.from_file(path, 40), lambda: load_tokenizer(folder)):
        with pytest.raises(BundleError, match=f"is not a tokenizer of DistilBERT's.*another {part}"):
            load()


def test_a_tokenizer_that_is_huge_or_deep(tmp_path):
    from toolkit.text.tokenizer_file import check_tokenizer_file

    for content, message in ((b"[" * 5000, "not a readable"), (b" " * (1 << 26), "67108864 bytes"), (b"[]", "another")):
        (tmp_path / "tokenizer.json").write_bytes(content)
        with pytest.raises(BundleError, match=message):
            check_tokenizer_file(tmp_path / "tokenizer.json")


@pytest.mark.parametrize("file", ["tokenizer.json", "vocab.txt"])
def test_a_tokenizer_reads_no_file_outside_its_folder(tiny_base, tiny_tokenizer, tmp_path, file):
    """Whose lines would be words, and published with the model that is made from it."""
    from toolkit.models.adapter import load_tokenizer

    folder, secret = tmp_path / "base", tmp_path / "secret"
    shutil.copytree(tiny_base, folder)
    secret.write_text("hunter2\n[UNK]\n[CLS]\n[SEP]\n[PAD]\n[MASK]\n")
    other = json.loads((folder / "tokenizer.json").read_text())
    other["normalizer"] = {"type": "Prepend", "prepend": "evil"}
    for path in (tmp_path / "evil.json", folder / "tokenizer.4.0.json"):
        path.write_text(json.dumps(other))
    if file == "vocab.txt":
        words = sorted(tiny_tokenizer.get_vocab(), key=tiny_tokenizer.get_vocab().__getitem__)
        (folder / file).write_text("\n".join(words) + "\n")
        (folder / "tokenizer.json").unlink()
    config = json.loads((folder / "tokenizer_config.json").read_text())
    config |= {"vocab_file": str(secret), "tokenizer_file": str(tmp_path / "evil.json")}
    config |= {"fast_tokenizer_files": ["tokenizer.4.0.json"]}
    (folder / "tokenizer_config.json").write_text(json.dumps(config))
    tokenizer = load_tokenizer(folder)
    assert tokenizer.get_vocab() == tiny_tokenizer.get_vocab()
    assert type(tokenizer.backend_tokenizer.normalizer).__name__ == "BertNormalizer"


@pytest.mark.parametrize("place", ["weights.bin", "../weights.bin", "/etc/hostname", ""])
def test_weights_that_the_manifest_does_not_list_are_not_read(tiny_bundle, tmp_path, place):
    """A graph may keep its weights in other files; whoever changes those changes no hash."""
    import onnx

    from toolkit.models.bundle import _digest as digest
    from toolkit.models.files import read_json_object, sha256, write_json
    from toolkit.prediction.onnx_backend import OnnxPredictor
    from toolkit.prediction.onnx_graph import external_files

    folder = tmp_path / "bundle" / "onnx_model"
    shutil.copytree(tiny_bundle, folder)
    path = folder / "model.onnx"
    assert external_files(path) == set()
    model = onnx.load(path)
    tensor = max(model.graph.initializer, key=lambda each: len(each.raw_data))
    (folder / "weights.bin").write_bytes(tensor.raw_data)
    tensor.ClearField("raw_data")
    tensor.data_location = onnx.TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value=place)
    path.write_bytes(model.SerializeToString())
    assert external_files(path) == {place}

    def listed_in_manifest(*names: str) -> None:
        manifest = read_json_object(folder / "manifest.json")
        manifest["files"] |= {
            name: {"sha256": sha256(folder / name), "bytes": (folder / name).stat().st_size} for name in names
        }
        manifest.pop("sha256")
        write_json(folder / "manifest.json", {**manifest, "sha256": digest(manifest)})

    listed_in_manifest("model.onnx")
    with pytest.raises(BundleError, match="which the manifest does not list"):
        OnnxPredictor.load(folder)
    if place == "weights.bin":
        listed_in_manifest("weights.bin")
        assert OnnxPredictor.load(folder).predict("A quiet film.").score >= 0.5


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"n_layers": 10**6}, "has 1000000 layers, the weights have 2"),
        ({"n_layers": 1}, "has 1 layers, the weights have 2"),
        ({"dim": 10**6}, "word_embeddings.weight of shape"),
        ({"vocab_size": 10**10}, "word_embeddings.weight of shape"),
        ({"max_position_embeddings": 10**9}, "position_embeddings.weight of shape"),
        ({"hidden_dim": 10**9}, "ffn.lin1.weight of shape"),
        ({"n_layers": "2"}, "is damaged"),
        ({"dropout": float("nan")}, "has dropout nan, expected 0 to 1"),
    ],
)
def test_a_base_takes_the_memory_of_its_weights(tiny_base, tmp_path, change, message):
    """Whatever its configuration asks for, which was allocated, and filled, before anything was compared."""
    from toolkit.models.adapter import load_classifier
    from toolkit.models.base_models import resolve_base_model

    folder = tmp_path / "base"
    shutil.copytree(tiny_base, folder)
    load_classifier(resolve_base_model(str(folder)))
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, **change}))
    with pytest.raises(BundleError, match=message):
        load_classifier(resolve_base_model(str(folder)))


def answering(tiny_bundle, folder: Path, value, nodes=None) -> Path:
    """A bundle, hashes and all, whose graph answers every review with one value."""
    from onnx import TensorProto, helper, numpy_helper

    from toolkit.models.bundle import _digest as digest
    from toolkit.models.files import read_json_object, sha256, write_json

    shutil.copytree(tiny_bundle, folder)
    constant = numpy_helper.from_array(np.array(value), "constant")
    ids = helper.make_tensor_value_info("input_ids", TensorProto.INT64, [None, None])
    answer = helper.make_tensor_value_info("logits", helper.np_dtype_to_tensor_dtype(np.array(value).dtype), None)
    nodes = nodes or [helper.make_node("Identity", ["constant"], ["logits"])]
    graph = helper.make_graph(nodes, "graph", [ids], [answer], [constant])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    (folder / "model.onnx").write_bytes(model.SerializeToString())
    manifest = read_json_object(folder / "manifest.json")
    entry = {"sha256": sha256(folder / "model.onnx"), "bytes": (folder / "model.onnx").stat().st_size}
    manifest["files"]["model.onnx"] = entry
    manifest.pop("sha256")
    write_json(folder / "manifest.json", {**manifest, "sha256": digest(manifest)})
    return folder


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ([[np.float32("nan"), np.float32(0)]], "with no number"),
        ([[np.float32("inf"), np.float32(0)]], "with no number"),
        ([[np.float32(1)] * 3], "gives 3 logits, expected one for each of 2 labels"),
        (np.empty((0, 2), np.float32), "something else than 2 numbers"),
        (np.float32(1), "gives 0 logits, expected one"),
        ([[1, 2]], "something else than 2 numbers"),
    ],
)
def test_a_graph_that_answers_something_else(tiny_bundle, tmp_path, value, message):
    from toolkit.prediction.onnx_backend import OnnxPredictor

    predictor = OnnxPredictor.load(answering(tiny_bundle, tmp_path / "onnx_model", value))
    with pytest.raises(BundleError, match=message):
        predictor.predict("A quiet film.")
    with pytest.raises(BundleError, match=message):
        list(predictor.predict_many(["A quiet film.", "A loud film."]))


def test_a_graph_that_fails_on_a_review_is_one_line(tiny_bundle, tmp_path, toolkit_command):
    """onnxruntime's own log would write the names in the graph to the terminal as they are."""
    from onnx import helper

    nodes = [
        helper.make_node("Shape", ["input_ids"], ["shape"]),
        helper.make_node("Reshape", ["constant", "shape"], ["logits"], name="\x1b[31mred\x07"),
    ]
    folder = answering(tiny_bundle, tmp_path / "onnx_model", np.ones((1, 2), np.float32), nodes)
    process = toolkit_command("predict", "--onnx-model", str(folder), "A quiet film by a good hand.")
    message = process.stderr.decode()
    assert process.returncode == 1
    assert message.startswith("Error: the graph cannot be run by onnxruntime")
    assert not set(message) & set("\x1b\x07")


# Field 7, the graph, and a bit that protobuf's own reader drops, so that it sees weights which another does not.
_WIDE_TAG = b"\xba\x80\x80\x80\x10\x00"


@pytest.mark.parametrize(
    "content", [b"", b"\x3a", b"\x3a\xff\xff\xff\x0f", b"\x3b", b"\xff" * 20, b"not ONNX at all", _WIDE_TAG]
)
def test_a_file_that_is_no_graph(tmp_path, content):
    from toolkit.prediction.onnx_graph import external_files

    (tmp_path / "model.onnx").write_bytes(content)
    with pytest.raises(BundleError, match="is no graph in ONNX"):
        external_files(tmp_path / "model.onnx")


def test_weights_in_subgraphs_and_attributes_are_seen(tmp_path):
    from onnx import TensorProto, helper

    from toolkit.prediction.onnx_graph import external_files

    def tensor(place: str) -> TensorProto:
        made = TensorProto(name=place, data_type=1, dims=[1], data_location=TensorProto.EXTERNAL)
        made.external_data.add(key="location", value=place)
        return made

    inner = helper.make_graph([], "inner", [], [], initializer=[tensor("deep")])
    nodes = [
        helper.make_node("Constant", [], ["a"], value=tensor("attribute")),
        helper.make_node("If", ["c"], ["b"], then_branch=inner, else_branch=inner),
    ]
    graph = helper.make_graph(nodes, "outer", [], [], initializer=[tensor("plain")])
    (tmp_path / "m.onnx").write_bytes(helper.make_model(graph).SerializeToString())
    assert external_files(tmp_path / "m.onnx") == {"deep", "attribute", "plain"}
