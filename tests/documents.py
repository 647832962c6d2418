"""What the documents repeat: CONTRIBUTING's map of the code, and what the commands of the pages print.

    python -m tests.documents            writes both anew; `nox -s docs`
    python -m tests.documents --check    exits with 1 and a difference where a document says something else

A block of commands (`sh`) or of Python is followed by its output where another block without a language comes next. Numbers
that differ by a hundredth are left as they are: products round differently from processor to processor.
"""

import difflib
import os
import pty
import re
import subprocess
import sys
import tempfile
import tomllib
import tty
from pathlib import Path

from tests.conftest import ROOT
from tests.test_golden import TOLERANCE

FLOORS = ROOT / "tests" / "floors.toml"
MAP = "CONTRIBUTING.md"
PAGES = ("README.md", "README.zh-CN.md", *(f"docs/{path.name}" for path in sorted(ROOT.glob("docs/*.md"))))
_MARKED = re.compile(r"(<!-- The map: [^\n]*-->\n).*?(<!-- End of the map\. -->)", re.DOTALL)
_EXAMPLE = re.compile(r"(?P<input>```(?P<language>sh|python)\n(?P<code>.*?)```\n\n```\n)(?P<output>.*?)```", re.DOTALL)
_NUMBER = re.compile(r"-?\d+\.\d+")
_BAR = re.compile(r"[█░]+")  # as long as a score's bar, filled as far as the score
_INSTALLS = re.compile(r"^.*\bpip install\b.*$", re.MULTILINE)


def is_same(found: str, written: str, tolerance: float = TOLERANCE) -> bool:
    """Letter by letter but for numbers with a decimal point, which may differ a little, and bars, which follow them."""
    skeletons = [_NUMBER.sub("#", _BAR.sub("█", text)) for text in (found, written)]
    if skeletons[0] != skeletons[1]:
        return False
    pairs = zip(_NUMBER.findall(found), _NUMBER.findall(written), strict=True)
    return all(abs(float(now) - float(then)) <= tolerance for now, then in pairs)


def draw_map(floors: str) -> str:
    """The table of the modules, the top layer first."""
    storeys = tomllib.loads(floors)["floor"]
    lines = ["| layer | modules | what they do |", "|---|---|---|"]
    for number, storey in zip(reversed(range(len(storeys))), storeys, strict=True):
        for modules, purpose in storey.items():
            names = ", ".join(f"`{name.strip()}`" for name in modules.split(","))
            lines.append(f"| {number} | {names} | {purpose} |")
    return "\n".join(lines) + "\n"


def with_map(text: str) -> str:
    """CONTRIBUTING with its map as the floors have it."""
    table = draw_map(FLOORS.read_text(encoding="utf-8"))
    renewed, count = _MARKED.subn(lambda marks: f"{marks[1]}\n{table}\n{marks[2]}", text)
    assert count == 1, f"{MAP} has no place for the map"
    return renewed


def run(language: str, code: str, folder: Path) -> str:
    """What an example prints on a terminal, without colours, in a folder that is empty."""
    environment = {**os.environ, "TOOLKIT_ONNX_MODEL": str(ROOT / "onnx_model"), "NO_COLOR": "1", "COLUMNS": "120"}
    shell = f'toolkit() {{ "{sys.executable}" -m toolkit "$@"; }}\n{_INSTALLS.sub("", code)}'
    command = [sys.executable, "-c", code] if language == "python" else ["bash", "-euo", "pipefail", "-c", shell]
    terminal, inner = pty.openpty()
    tty.setraw(inner)  # nothing is added to what is written
    try:
        process = subprocess.Popen(command, cwd=folder, env=environment, stdin=subprocess.DEVNULL, stdout=inner,
                                   stderr=subprocess.PIPE)  # fmt: skip
        os.close(inner)
        output = b""
        while block := _read(terminal):
            output += block
        errors = process.communicate()[1].decode()
    finally:
        os.close(terminal)
    assert process.returncode == 0, f"{code}\n{errors}"
    return output.decode()


def _read(terminal: int) -> bytes:
    try:
        return os.read(terminal, 1 << 16)
    except OSError:  # how Linux says that nobody will write any more
        return b""


def with_outputs(text: str) -> str:
    """A page with the outputs of its examples; one that is nearly the same stays."""

    def renew(example: re.Match[str]) -> str:
        with tempfile.TemporaryDirectory(prefix="docs.") as folder:
            output = run(example["language"], example["code"], Path(folder))
        return example[0] if is_same(output, example["output"]) else f"{example['input']}{output}```"

    return _EXAMPLE.sub(renew, text)


def examples(page: str) -> int:
    """How many examples of a page show what they print."""
    return len(_EXAMPLE.findall((ROOT / page).read_text(encoding="utf-8")))


def renewed(page: str) -> tuple[str, str]:
    """A page as it is and as it should be."""
    text = (ROOT / page).read_text(encoding="utf-8")
    return text, with_map(text) if page == MAP else with_outputs(text)


def main(check: bool) -> int:
    """Write every page anew, or with `check` tell what would change."""
    status = 0
    for page in (MAP, *PAGES):
        before, after = renewed(page)
        if before == after:
            continue
        if check:
            status = 1
            lines = difflib.unified_diff(
                before.splitlines(), after.splitlines(), page, f"{page}, by nox -s docs", lineterm=""
            )
            sys.stdout.write("\n".join(lines) + "\n")
        else:
            (ROOT / page).write_text(after, encoding="utf-8")
            sys.stdout.write(f"{page}\n")
    return status


if __name__ == "__main__":
    sys.exit(main(check="--check" in sys.argv[1:]))
