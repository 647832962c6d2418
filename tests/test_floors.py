"""Imports run one way: down the floors of `floors.toml`, of which CONTRIBUTING's map is printed."""

import ast
import tomllib
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

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


def modules() -> dict[str, Path]:
    """Every module of ours, and its file."""
    return {
        ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path
        for path in [*ROOT.glob("toolkit/**/*.py"), *ROOT.glob("export/*.py")]
    }


def circle(graph: dict[str, set[str]]) -> list[str] | None:
    """Modules each of which imports the next, the last one the first."""
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        return error.args[1][::-1]
    return None


def dependencies(path: Path, known: set[str]) -> set[str]:
    """The modules among `known` that a file imports, at its top or when it runs, also for types alone."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom):
            for name in node.names:
                member = f"{node.module}.{name.name}"
                found.add(member if member in known else node.module)
        elif isinstance(node, ast.Import):
            found |= {name.name for name in node.names}
    return found & known


def test_no_modules_import_each_other_in_a_circle():
    known = modules()
    graph = {module: dependencies(path, set(known)) for module, path in known.items()}
    assert sum(map(len, graph.values())) > 300, "the search finds nothing"
    found = circle(graph)
    assert not found, f"a circle of imports: {' imports '.join(found)}"


def test_a_circle_is_found(tmp_path):
    (tmp_path / "a.py").write_text("from toolkit import b\n")
    (tmp_path / "b.py").write_text("def late():\n    from toolkit.a import something\n")
    known = {"toolkit", "toolkit.a", "toolkit.b"}
    graph = {f"toolkit.{name}": dependencies(tmp_path / f"{name}.py", known) for name in "ab"}
    assert sorted(set(circle(graph))) == ["toolkit.a", "toolkit.b"]
    assert circle({"toolkit.a": {"toolkit.b"}}) is None


LONGEST = 360  # lines
LONGER = {"toolkit/cluster/ray_engine.py": 381}  # not longer than that, until it is two modules


def test_no_module_is_too_long():
    lengths = {
        path.relative_to(ROOT).as_posix(): path.read_text(encoding="utf-8").count("\n") for path in modules().values()
    }
    long = {name: length for name, length in lengths.items() if length > LONGER.get(name, LONGEST)}
    assert not long, f"a module has at most {LONGEST} lines; part what has more by its subjects: {long}"
