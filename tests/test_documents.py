"""The map and the outputs in the documents are what the code gives; `nox -s docs` writes them."""

import re
import subprocess
import sys

import pytest

import toolkit
from tests import documents
from tests.conftest import ROOT


def test_the_map_is_the_floors():
    before, after = documents.renewed(documents.MAP)
    assert before == after, "CONTRIBUTING.md is older than tests/floors.toml; run: nox -s docs"


def test_a_map_has_every_room_on_its_floor():
    floors = '[[floor]]\n"a.py" = "the top"\n\n[[floor]]\n"b.py, c/" = "the ground"\n'
    assert documents.draw_map(floors).splitlines()[2:] == [
        "| 1 | `a.py` | the top |",
        "| 0 | `b.py`, `c/` | the ground |",
    ]


@pytest.mark.parametrize("page", [page for page in documents.PAGES if documents.examples(page)])
def test_the_pages_show_what_the_commands_print(page):
    if not (ROOT / "onnx_model" / "model.onnx").is_file():
        pytest.skip("no model is shipped in onnx_model/")
    before, after = documents.renewed(page)
    assert before == after, f"{page} shows something else than its commands print; run: nox -s docs"


def test_both_readmes_have_examples():
    assert [documents.examples(page) for page in documents.PAGES[:2]] == [3, 3]


@pytest.mark.parametrize(
    ("found", "same"),
    [
        ("positive  ██████████ 0.9742  A film.\n", True),
        ("positive  █████████░ 0.9600  A film.\n", True),  # another processor
        ("positive  █████████░ 0.9300  A film.\n", False),
        ("negative  ██████████ 0.9742  A film.\n", False),
        ("positive  ██████████ 0.9742  A film.\nmore\n", False),
        ("positive 0.9742  A film.\n", False),
    ],
)
def test_numbers_may_differ_a_little(found, same):
    assert documents.is_same(found, "positive  ██████████ 0.9742  A film.\n") is same


def test_an_example_is_renewed_where_it_differs(monkeypatch):
    page = "Text.\n\n```python\nprint('now', 0.5)\n```\n\n```\n{}\n```\n\nMore.\n"
    for written, expected in (("then 0.5", "now 0.5"), ("now 0.51", "now 0.51"), ("now 0.6", "now 0.5")):
        assert documents.with_outputs(page.format(written)) == page.format(expected)
    shell = "```sh\npython -m pip install .\necho here; pwd >/dev/null\n```\n\n```\nthere\n```\n"
    assert documents.with_outputs(shell) == shell.replace("there", "here")


def test_an_example_that_fails_is_told():
    with pytest.raises(AssertionError, match="no such"):
        documents.run("sh", "echo 'no such thing' >&2; false", ROOT)


@pytest.mark.parametrize("page", [*documents.PAGES, documents.MAP, "CHANGELOG.md", "SECURITY.md", "dataset/README.md"])
def test_links_inside_the_project_lead_somewhere(page):
    for link in re.findall(r"\]\((?!\w+://)([^)\s]+)\)", (ROOT / page).read_text(encoding="utf-8")):
        path, _, anchor = link.partition("#")
        target = ((ROOT / page).parent / path) if path else ROOT / page
        assert target.exists(), f"{page} names {link}"
        if anchor:
            headings = re.findall(r"^#+ (.*)$", target.read_text(encoding="utf-8"), re.MULTILINE)
            assert anchor in {re.sub(r"[^\w\- ]", "", heading).lower().replace(" ", "-") for heading in headings}, link


def test_the_changelog_has_the_headings_of_keep_a_changelog():
    headings = re.findall(r"^### (.*)$", (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert set(headings) <= {"Added", "Changed", "Deprecated", "Removed", "Fixed", "Security"}


def test_decisions_name_their_revisions():
    """Those that git knows, where there is a history."""
    if not (ROOT / ".git").exists():
        pytest.skip("no history")
    known = subprocess.run(
        ["git", "log", "--format=%h"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.split()
    named = re.findall(r"\b[0-9a-f]{7}\b", (ROOT / "docs" / "decisions.md").read_text(encoding="utf-8"))
    assert len(named) > 10
    if len(known) > 50:  # not a shallow clone
        assert not [name for name in named if not any(each.startswith(name) or name.startswith(each) for each in known)]


def test_the_reference_has_every_public_name(tmp_path):
    pytest.importorskip("pdoc", reason="the extra dev is not installed")
    subprocess.run([sys.executable, "-m", "tests.reference", tmp_path], cwd=ROOT, check=True, capture_output=True)
    page = (tmp_path / "toolkit.html").read_text(encoding="utf-8")
    assert not [name for name in toolkit.__all__ if f'id="{name}"' not in page]
    for module in ("toolkit/prediction", "toolkit/sklearn", "toolkit/training/config", "export/pipeline"):
        assert (tmp_path / f"{module}.html").is_file()
