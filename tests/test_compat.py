"""What is private or moving in the libraries below us is in one place, and is still what it was."""

import ast
import importlib
import inspect
import logging
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT
from toolkit import compat

SOURCES = [*ROOT.glob("toolkit/**/*.py"), *ROOT.glob("export/*.py")]
# Where they may be, and which; a module of its own for what cannot be had without importing torch.
ALLOWED = {
    "toolkit/server/running.py": {"_exit"},  # of os, whose documentation has it
    "toolkit/training/compat.py": {
        "_determine_best_metric", "_get_learning_rate", "_get_train_sampler", "_is_amx_tile_supported", "_is_avx512_bf16_supported",
        "_load_callback_state", "_load_optimizer_and_scheduler", "_load_rng_state", "_save_checkpoint",
    },
}  # fmt: skip


def private(name: str) -> bool:
    return name.startswith("_") and not name.startswith("__")


def private_names(tree: ast.AST, ours: set[str]):
    """The private names that code asks of a module or an object which are not of our making."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and private(node.attr):
            if ast.unparse(node.value) == "super()" or node.attr not in ours:
                yield node.attr
        elif isinstance(node, ast.ImportFrom | ast.Import):
            modules = [node.module or ""] if isinstance(node, ast.ImportFrom) else [each.name for each in node.names]
            for module in modules:
                if module.partition(".")[0] in ("toolkit", "export"):
                    continue
                if any(map(private, module.split("."))):
                    yield module
                elif isinstance(node, ast.ImportFrom):
                    yield from (each.name for each in node.names if private(each.name))


def defined(trees: list[ast.AST]) -> set[str]:
    """The private functions, methods and attributes that our own classes have."""
    names = set()
    for node in (node for tree in trees for node in ast.walk(tree)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            names.add(node.name)
        elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
            names.add(node.attr)
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            names.add(node.target.id)
    return names


@pytest.mark.parametrize("line", ["torch.cpu._is_there()", "super()._load(path)", "from click._compat import isatty",
                                  "import numpy._core", "from os import _exit", "trainer.model._x = 1; trainer._y", "self._run()"])  # fmt: skip
def test_the_search_finds(line):
    assert list(private_names(ast.parse(line), {"_load"}))


def test_private_names_of_libraries_are_in_compat_alone():
    trees = {path.relative_to(ROOT).as_posix(): ast.parse(path.read_text(encoding="utf-8")) for path in SOURCES}
    ours = defined([tree for path, tree in trees.items() if path not in ALLOWED])
    found = {path: set(private_names(tree, ours)) for path, tree in trees.items()}
    assert {path: names for path, names in found.items() if names} == ALLOWED


@pytest.mark.parametrize("module", ["callbacks", "order", "trainer"])
def test_no_private_method_of_a_library_is_overridden_outside_compat(module):
    module = importlib.import_module(f"toolkit.training.{module}")
    classes = [each for each in vars(module).values() if inspect.isclass(each) and each.__module__ == module.__name__]
    assert classes
    for own in classes:
        theirs = {
            name for base in own.__mro__ if not base.__module__.startswith("toolkit") for name in vars(base)
        }  # fmt: skip
        assert not {name for name in vars(own) if private(name)} & theirs, own


def test_transformers_reads_its_verbosity_from_the_environment(monkeypatch):
    from transformers.utils import logging as its_logging

    for word, level in (("error", logging.ERROR), ("info", logging.INFO)):
        monkeypatch.setenv("TRANSFORMERS_VERBOSITY", word)
        assert its_logging._get_default_logging_level() == level


@pytest.mark.parametrize(
    ("package", "pattern", "variable"),
    [
        ("tokenizers", "*.so", "TOKENIZERS_PARALLELISM"),
        ("onnxruntime", "capi/*.so*", compat.ORT_TELEMETRY),
        ("ray", "_common/usage/usage_constants.py", "RAY_USAGE_STATS_ENABLED"),
        ("ray", "_raylet.so", "RAY_BACKEND_LOG_LEVEL"),
    ],
)
def test_the_variables_are_still_read(package, pattern, variable):
    folder = Path(pytest.importorskip(package).__file__).parent
    assert any(variable.encode() in path.read_bytes() for path in folder.glob(pattern)), (
        f"{package} knows no {variable}"
    )


def test_who_has_set_a_variable_keeps_it(monkeypatch):
    monkeypatch.setenv("TRANSFORMERS_VERBOSITY", "debug")
    monkeypatch.delenv("TOKENIZERS_PARALLELISM", raising=False)
    compat.quiet_libraries(verbose=False)
    assert os.environ["TRANSFORMERS_VERBOSITY"] == "debug"
    assert os.environ["TOKENIZERS_PARALLELISM"] == "true"


def test_onnxruntime_is_imported_with_its_telemetry_off():
    code = (
        "import os, sys\n"
        "from toolkit import compat\n"
        "assert not compat.onnxruntime_telemetry_is_off()\n"
        "compat.import_onnxruntime()\n"
        "assert compat.onnxruntime_telemetry_is_off() and 'onnxruntime' in sys.modules\n"
    )
    environment = {"PATH": "/usr/bin:/bin", "PYTHONPATH": str(ROOT)}
    subprocess.run([sys.executable, "-c", code], env=environment, check=True)


def test_onnxruntimes_fusions_are_the_ones_that_are_chosen():
    """One that is new is on by default, and the graph that is rearranged would be another."""
    pytest.importorskip("onnx")
    from onnxruntime.transformers.fusion_options import FusionOptions
    from onnxruntime.transformers.optimizer import optimize_model

    fusions = {name for name in vars(FusionOptions("bert")) if name.startswith("enable_")}
    assert fusions == {
        "enable_attention", "enable_bias_gelu", "enable_bias_skip_layer_norm", "enable_embed_layer_norm", "enable_gelu",
        "enable_gelu_approximation", "enable_gemm_fast_gelu", "enable_layer_norm", "enable_qordered_matmul",
        "enable_rotary_embeddings", "enable_shape_inference", "enable_skip_layer_norm",
    }  # fmt: skip
    assert {"opt_level", "optimization_options"} <= set(inspect.signature(optimize_model).parameters)


def test_the_root_logger_is_as_it_was():
    before = logging.getLogger().level
    with compat.quiet_root_logger():
        assert logging.getLogger().level == logging.ERROR
    assert logging.getLogger().level == before


def test_the_trainer_has_what_is_asked_of_it_and_calls_it():
    from transformers import Trainer

    parameters = {
        "_determine_best_metric": ["self", "metrics", "trial"],
        "_get_learning_rate": ["self"],
        "_get_train_sampler": ["self", "train_dataset"],
        "_load_best_model": ["self"],
        "_load_callback_state": ["self"],
        "_load_from_checkpoint": ["self", "resume_from_checkpoint", "model"],
        "_load_optimizer_and_scheduler": ["self", "checkpoint"],
        "_load_rng_state": ["self", "checkpoint"],
        "_save_checkpoint": ["self", "model", "trial"],
    }
    source = inspect.getsource(Trainer)
    for name, expected in parameters.items():
        assert list(inspect.signature(getattr(Trainer, name)).parameters) == expected
        assert f"self.{name}" in source, f"the Trainer no longer calls {name}"


def test_every_private_step_of_the_trainer_leads_to_a_public_one(tmp_path):
    from toolkit.training.compat import OpenTrainer

    trainer = object.__new__(OpenTrainer)  # without a model
    for step, arguments in (("_load_best_model", ()), ("_load_from_checkpoint", (str(tmp_path), object()))):
        with pytest.raises(NotImplementedError):
            getattr(trainer, step)(*arguments)


def test_the_device_of_the_arguments_is_kept_where_it_is_put(tmp_path):
    import torch
    from transformers import TrainingArguments

    from toolkit.training.compat import name_cpu_without_number

    arguments = TrainingArguments(output_dir=str(tmp_path), use_cpu=True, report_to=[])
    assert arguments.device.type == "cpu"
    arguments.__dict__["_setup_devices"] = torch.device("cpu:0")
    assert str(arguments.device) == "cpu:0"
    name_cpu_without_number(arguments)
    assert str(arguments.device) == "cpu"


@pytest.mark.parametrize(
    ("amx", "avx512", "units"), [(True, True, "AMX"), (False, True, "AVX512-BF16"), (False, False, None)]
)
def test_torch_says_what_computes_bf16_in_the_cpu(monkeypatch, amx, avx512, units):
    import torch

    from toolkit.training.compat import cpu_bf16_units

    assert isinstance(torch.cpu._is_amx_tile_supported(), bool)
    assert isinstance(torch.cpu._is_avx512_bf16_supported(), bool)
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: amx)
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: avx512)
    assert cpu_bf16_units() == units
