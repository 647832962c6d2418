"""Imports run one way: front ends, then prediction, training and export, then text and data, then the ground floor."""

import ast

from tests.conftest import ROOT

FLOORS = (
    ("toolkit.errors", "toolkit.labels", "toolkit.machine", "toolkit.reading"),
    ("toolkit.bundle", "toolkit.metrics", "toolkit.calibration", "toolkit.hub"),
    ("toolkit.publishing", "toolkit.text", "toolkit.base_models"),
    ("toolkit.splits", "toolkit.data", "toolkit.plots", "toolkit.adapter"),
    ("toolkit.importers", "toolkit.prediction", "toolkit.training", "export"),
    ("toolkit.evaluation", "toolkit.streaming", "toolkit.doctor", "toolkit.benchmark"),
    ("toolkit.reporting", "toolkit.cluster"),
    ("toolkit.chat",),
    ("toolkit.commands",),
    ("toolkit.cli", "toolkit.app", "toolkit.__main__"),
)


def floor(module: str) -> int | None:
    """The floor of a module of ours; None for others."""
    for number, rooms in enumerate(FLOORS):
        if any(module == room or module.startswith(f"{room}.") for room in rooms):
            return number
    return None


def test_no_import_runs_upwards():
    for path in [*ROOT.glob("toolkit/**/*.py"), *ROOT.glob("export/*.py")]:
        module = ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
        if module == "toolkit":
            continue  # hands out the predictor lazily
        assert floor(module) is not None, f"{module} has no floor; give it one in this test and in CONTRIBUTING.md"
        for node in ast.walk(ast.parse(path.read_text())):
            names = [node.module] if isinstance(node, ast.ImportFrom) else []
            names += [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            for name in names:
                assert (floor(name or "") or 0) <= floor(module), f"{module} imports {name}, which lives above it"
