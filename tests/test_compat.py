"""What is private or moving in the libraries below us is in one place, and is still what it was."""

import ast
import inspect
import logging
import os
import subprocess
import sys
from pathlib import Path

import click
import pytest

from tests.conftest import ROOT
from toolkit import compat

SOURCES = [*ROOT.glob("toolkit/**/*.py"), *ROOT.glob("export/*.py")]
# Of the Trainer and of torch, in the one module that is made of them.
ELSEWHERE = {
    ("toolkit/training/trainer.py", "_is_amx_tile_supported"),
    ("toolkit/training/trainer.py", "_load_best_model"),
    ("toolkit/training/trainer.py", "_load_from_checkpoint"),
    ("toolkit/training/trainer.py", "_load_optimizer_and_scheduler"),
    ("toolkit/training/trainer.py", "_load_rng_state"),
}


def private(name: str) -> bool:
    return name.startswith("_") and not name.startswith("__")


def private_names(tree: ast.AST, ours: set[str]):
    """The private names that code asks of a module or an object which are not of our making."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and private(node.attr):
            inherited = ast.unparse(node.value) == "super()"
            if inherited or (ast.unparse(node.value) not in ("self", "cls") and node.attr not in ours):
                yield node.attr
        elif isinstance(node, ast.ImportFrom | ast.Import):
            modules = [node.module or ""] if isinstance(node, ast.ImportFrom) else [each.name for each in node.names]
            for module in modules:
                if any(map(private, module.split("."))) and module.partition(".")[0] not in ("toolkit", "export"):
                    yield module


def defined(trees: list[ast.AST]) -> set[str]:
    """The private functions, methods and attributes that our own classes have."""
    names = set()
    for node in (node for tree in trees for node in ast.walk(tree)):
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            names.add(node.name)
        elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
            names.add(node.attr)
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            names.add(node.target.id)
    return names


@pytest.mark.parametrize("line", ["torch.cpu._is_there()", "super()._load(path)", "from click._compat import isatty",
                                  "import numpy._core", "trainer.model._x = 1; trainer._y"])  # fmt: skip
def test_the_search_finds(line):
    assert list(private_names(ast.parse(line), {"_load"}))


def test_private_names_of_libraries_are_in_compat_alone():
    trees = {path.relative_to(ROOT).as_posix(): ast.parse(path.read_text(encoding="utf-8")) for path in SOURCES}
    ours = defined(list(trees.values())) - {name for _, name in ELSEWHERE}
    found = {(path, name) for path, tree in trees.items() for name in private_names(tree, ours)}
    assert {name for path, name in found if path == "toolkit/compat.py"} == {"click._termui_impl"}
    assert {each for each in found if each[0] != "toolkit/compat.py"} <= ELSEWHERE


def test_a_progress_bar_is_of_the_class_that_is_named():
    from click._termui_impl import ProgressBar

    assert isinstance(click.progressbar(length=1), ProgressBar)
    assert {"update", "render_progress"} <= set(dir(ProgressBar))


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


def test_the_trainer_has_what_is_asked_of_it():
    import torch
    from transformers import Trainer

    assert isinstance(torch.cpu._is_amx_tile_supported(), bool)
    parameters = {
        "_load_best_model": ["self"],
        "_load_from_checkpoint": ["self", "resume_from_checkpoint", "model"],
        "_load_optimizer_and_scheduler": ["self", "checkpoint"],
        "_load_rng_state": ["self", "checkpoint"],
    }
    for name, expected in parameters.items():
        assert list(inspect.signature(getattr(Trainer, name)).parameters) == expected
