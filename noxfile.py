"""Everything one does with a checkout: `nox -s tests`, `lint`, `docs`, `demo`, `app`, `bench`, `fuzz`, `audit`."""

import os
from pathlib import Path

import nox
from nox.command import CommandFailed

nox.options.sessions = ["tests"]
nox.options.reuse_existing_virtualenvs = True
nox.options.default_venv_backend = "virtualenv"  # pip finds torch's CPU build; uv does not look where it lies

DEMO = Path("build/demo")
REVIEWS = (
    "A quiet, generous film. I left the cinema wanting to phone my brother.",
    "Two hours of explosions and not one line anybody would say aloud.",
    "I went in expecting nothing, and for once I was not disappointed: nothing is what I got.",
)


def install(session: nox.Session, extras: str) -> None:
    """Install the checkout with `extras`, at the versions that are tested."""
    session.install("-c", "constraints.txt", "-e", f".[{extras}]", silent=True)


def check_style(session: nox.Session) -> None:
    """Lint, formatting and types."""
    session.run("ruff", "check", ".")
    # Still previews in ruff: a docstring names no argument, return value or yield that is not there.
    session.run("ruff", "check", "--preview", "--select", "DOC102,DOC202,DOC403", "toolkit", "export", "benchmarks")
    session.run("ruff", "format", "--check", ".")
    session.run("mypy")


@nox.session
def tests(session: nox.Session) -> None:
    """Style, then the whole test suite; arguments after `--` go to pytest (`-- -k hub`)."""
    install(session, "train,offline,app,serve,ray,dev")
    check_style(session)
    # The tests of a file stay together, since many share a model, a server or a run that takes seconds. One process more than
    # there are cores, since a third of a test's time it waits for a browser, a server or a process to start.
    processes = len(os.sched_getaffinity(0)) + 1
    session.run(
        "pytest",
        f"--numprocesses={processes}",
        "--dist=loadfile",
        "--no-loadscope-reorder",
        "--durations=10",
        *session.posargs,
    )


@nox.session
def lint(session: nox.Session) -> None:
    """Style alone."""
    install(session, "train,dev")
    check_style(session)


@nox.session
def docs(session: nox.Session) -> None:
    """Write CONTRIBUTING's map, the outputs of the pages' commands (`-- --check` only compares) and build/reference."""
    install(session, "train,dev")
    session.run("python", "-m", "tests.documents", *session.posargs)
    session.run("python", "-m", "tests.reference", "build/reference")


@nox.session
def demo(session: nox.Session) -> None:
    """Train on the demo corpus without a hub, export, evaluate, and classify three reviews, all under build/demo/."""
    install(session, "train,offline")
    adapter, onnx_model = str(DEMO / "lora_model"), str(DEMO / "onnx_model")
    session.run("toolkit", "train", "--preset", "demo", "--output", adapter)
    session.run("toolkit", "export", "--adapter", adapter, "--output", onnx_model, "--small-parity-set")
    session.run("toolkit", "evaluate", "--split", "test", "--onnx-model", onnx_model)
    session.run("toolkit", "predict", "--onnx-model", onnx_model, *REVIEWS)


def models() -> tuple[Path, Path]:
    """The shipped adapter and bundle, or the demo's where none is shipped."""
    folder = Path() if Path("onnx_model/model.onnx").is_file() else DEMO
    return folder / "lora_model", folder / "onnx_model"


@nox.session
def app(session: nox.Session) -> None:
    """Open the chat app on localhost, port 8000; its state goes under build/app/."""
    install(session, "app")
    session.run("toolkit", "chat", "--onnx-model", str(models()[1]), "--state", "build/app", *session.posargs)


@nox.session
def bench(session: nox.Session) -> None:
    """Time the backends, arguments after `--` going to `toolkit bench`; with `-- --peers` other libraries beside them."""
    peers = "--peers" in session.posargs
    install(session, "train,offline,bench" if peers else "train,offline")
    adapter, onnx_model = models()
    command = ["python", "benchmarks/peers.py"] if peers else ["toolkit", "bench"]
    arguments = [argument for argument in session.posargs if argument != "--peers"]
    session.run(*command, "--adapter", str(adapter), "--onnx-model", str(onnx_model), *arguments)


@nox.session
def fuzz(session: nox.Session) -> None:
    """Throw bytes at everything that reads some, for ten minutes; `-- --seconds 60` for one, `-- toml` for one reader."""
    install(session, "train,app,serve,ray,dev,fuzz")
    session.run("python", "-m", "tests.fuzz", *session.posargs)


@nox.session
def audit(session: nox.Session) -> None:
    """Look up known vulnerabilities of every version in constraints.txt; needs the network."""
    session.install("-c", "constraints.txt", "pip-audit", silent=True)
    try:
        # Strict: what cannot be looked up is a failure; without it an index that knows nothing makes a clean bill.
        session.run("pip-audit", "--strict", "--no-deps", "--disable-pip", "-r", "constraints.txt", *session.posargs)
    except CommandFailed:
        session.error("a version has a known vulnerability, or could not be looked up; the line above says which")
