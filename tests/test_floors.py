"""Imports run one way: down the floors of `floors.toml`, of which CONTRIBUTING's map is printed."""

import ast
import tomllib

from tests.conftest import ROOT

FLOORS = [
    tuple(entry) for entry in tomllib.loads((ROOT / "tests" / "floors.toml").read_text(encoding="utf-8"))["floor"]
]
ROOMS = {
    path.strip().removesuffix("/").removesuffix(".py").replace("/", "."): number
    for number, entries in enumerate(reversed(FLOORS))
    for entry in entries
    for path in entry.split(",")
}


def room(module: str) -> str | None:
    """The room of a module of ours; None for others."""
    return next((name for name in ROOMS if module == name or module.startswith(f"{name}.")), None)


def imported(path) -> list[str]:
    """Every module that a file names in an import, wherever that stands."""
    names = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module:
            names += [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
        elif isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
    return names


def test_no_import_runs_upwards_or_next_door():
    wrong = []
    for path in [*ROOT.glob("toolkit/**/*.py"), *ROOT.glob("export/*.py")]:
        module = ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
        if module == "toolkit":
            continue  # hands out the public names lazily
        own = room(module)
        assert own is not None, f"{module} has no room; give it one in tests/floors.toml"
        for name in imported(path):
            other = room(name)
            if other and other != own and ROOMS[other] >= ROOMS[own]:
                wrong.append(f"{module} imports {name}")
    assert not wrong, "imports run down the floors of tests/floors.toml; these do not:\n" + "\n".join(wrong)


def test_every_room_is_there():
    for name in ROOMS:
        path = ROOT.joinpath(*name.split("."))
        assert path.is_dir() or path.with_suffix(".py").is_file(), f"tests/floors.toml names {name}, which is not there"
