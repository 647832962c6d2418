"""What a published folder may replace, and what is there whenever the publication is killed."""

import hashlib
import os
import shutil
import signal
import subprocess
import sys
import textwrap
import threading

import pytest

from tests.conftest import ROOT
from tests.faults.conftest import assert_one_error, namespace, run
from tests.models.test_bundle import edit_manifest, write_bundle
from toolkit.errors import BundleError, ToolkitError
from toolkit.models import publishing, workspaces
from toolkit.models.bundle import REQUIRED_FILES, Kind, Manifest, read_manifest
from toolkit.models.publishing import publish, refuse_foreign_target, replacing_file
from toolkit.models.stable import read_stable


@pytest.fixture
def bundle(tmp_path):
    write_bundle(tmp_path / "onnx_model")
    return tmp_path / "onnx_model"


@pytest.fixture(params=["beside", "inside"])
def way(request, monkeypatch):
    """A folder that can be renamed, and one that cannot."""
    if request.param == "inside":
        for module in (publishing, workspaces):
            monkeypatch.setattr(module, "stays", lambda target: target.is_dir())
    return request.param


def content(folder):
    """Every file below a folder, and where every link leads."""
    return {
        path.relative_to(folder).as_posix(): os.readlink(path) if path.is_symlink() else path.read_bytes()
        for path in folder.rglob("*")
        if path.is_symlink() or path.is_file()
    }


@pytest.mark.usefixtures("way")
def test_publishing_replaces_the_old_bundle_whole(bundle):
    with publish(bundle, Manifest(Kind.ONNX, "minilm", 256)) as folder:
        (folder / "of_old").mkdir()
        (folder / "of_old" / "vocab.txt").write_text("a file that the next has not")
        for name in REQUIRED_FILES[Kind.ONNX]:
            (folder / name).write_text("{}")
    write_bundle(bundle, b"new")
    assert (bundle / "model.onnx").read_bytes().endswith(b"new")
    assert {path.name for path in bundle.iterdir()} == {*REQUIRED_FILES[Kind.ONNX], "manifest.json"}
    assert [path.name for path in bundle.parent.iterdir()] == ["onnx_model"]
    assert bundle.stat().st_mode & 0o777 == 0o777 & ~current_umask()
    assert (bundle / "model.onnx").stat().st_mode & 0o777 == 0o666 & ~current_umask()


def add_note(folder):
    (folder / "NOTES.txt").write_text("mine")


def add_repository(folder):
    (folder / ".git").mkdir()
    (folder / ".git" / "HEAD").write_text("ref: refs/heads/main")


def add_checkpoint(folder):
    (folder / "checkpoint-500").mkdir()
    (folder / "checkpoint-500" / "model.onnx").write_text("of another tool")


def add_empty_folder(folder):
    (folder / "later").mkdir()


def add_link_to_nowhere(folder):
    (folder / "data").symlink_to("/nonexistent/data")


def add_link_to_a_folder(folder):
    (folder / "home").symlink_to("/", target_is_directory=True)


OTHERS = {
    add_note: "NOTES.txt", add_repository: ".git/", add_checkpoint: "checkpoint-500/", add_empty_folder: "later/",
    add_link_to_nowhere: "data", add_link_to_a_folder: "home",
}  # fmt: skip


@pytest.mark.usefixtures("way")
@pytest.mark.parametrize("add", OTHERS, ids=OTHERS.values())
def test_what_somebody_has_put_into_a_bundle_is_not_lost(bundle, add):
    add(bundle)
    before = content(bundle)
    for attempt in (lambda: refuse_foreign_target(bundle, Kind.ONNX), lambda: write_bundle(bundle)):
        with pytest.raises(
            ToolkitError, match=rf"onnx_model holds {OTHERS[add]}; expected a new or empty folder, or noth"
        ):
            attempt()
    assert content(bundle) == before


def test_the_first_few_are_named(bundle):
    for name in ("a", "b", "c", "d", "e"):
        (bundle / name).write_text("")
    with pytest.raises(ToolkitError, match="holds a, b, c and 2 more; expected"):
        refuse_foreign_target(bundle, Kind.ONNX)


def test_other_folders_and_files_are_not_replaced(tmp_path, bundle):
    """Among them an adapter that PEFT saved, a browser extension's manifest, and a bundle of the other kind."""
    (tmp_path / "peft" / "checkpoint-500").mkdir(parents=True)
    (tmp_path / "peft" / "checkpoint-500" / "optimizer.pt").write_text("days")
    for name in REQUIRED_FILES[Kind.ADAPTER]:
        (tmp_path / "peft" / name).write_text('{"peft_type": "LORA"}')
    (tmp_path / "peft" / "thesis.tex").write_text("years")
    (tmp_path / "extension").mkdir()
    (tmp_path / "extension" / "manifest.json").write_text('{"manifest_version": 3, "name": "somebody\'s", "files": {}}')
    (tmp_path / "readme").mkdir()
    (tmp_path / "readme" / "README.md").write_text("somebody wrote it")
    before = content(tmp_path)
    for folder, kind, found in (
        ("peft", Kind.ADAPTER, "adapter_config.json, adapter_model.safetensors, checkpoint-500/ and 3 more"),
        ("extension", Kind.ONNX, "manifest.json"),
        ("readme", Kind.ONNX, "README.md"),
        ("onnx_model", Kind.ADAPTER, "config.json, manifest.json, model.onnx and 2 more"),
    ):
        with pytest.raises(ToolkitError, match=rf"{folder} holds {found}; expected"):
            refuse_foreign_target(tmp_path / folder, kind)
    with pytest.raises(ToolkitError, match="is a file; expected a folder"):
        refuse_foreign_target(tmp_path / "peft" / "thesis.tex", Kind.ADAPTER)
    assert content(tmp_path) == before


def test_a_link_that_leads_to_itself(tmp_path):
    (tmp_path / "loop").symlink_to("loop")
    with pytest.raises(ToolkitError, match="a link that leads to itself"):
        refuse_foreign_target(tmp_path / "loop", Kind.ONNX)


@pytest.mark.parametrize("version", [1, 2, 3, 4])
def test_a_bundle_of_any_version_may_be_replaced(bundle, version):
    edit_manifest(bundle, format=version)
    write_bundle(bundle, b"new")
    read_manifest(bundle, Kind.ONNX)


@pytest.mark.parametrize(("folder", "kind"), [("lora_model", Kind.ADAPTER), ("onnx_model", Kind.ONNX)])
def test_the_shipped_folders_may_be_replaced(folder, kind, tmp_path):
    if not (ROOT / folder).is_dir():
        pytest.skip(f"no {folder}/ here")
    shutil.copytree(ROOT / folder, tmp_path / folder)
    refuse_foreign_target(tmp_path / folder, kind)


def test_new_and_empty_folders_are_written(tmp_path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "ahead").symlink_to(tmp_path / "elsewhere" / "not yet")
    for place in ("empty", "ahead", "new/and/deep"):
        refuse_foreign_target(tmp_path / place, Kind.ONNX)
        write_bundle(tmp_path / place)
        read_manifest(tmp_path / place, Kind.ONNX)
    assert (tmp_path / "ahead").is_symlink()


@pytest.mark.parametrize(
    "arguments",
    [
        ["export", "--adapter", "none", "--parity-set", "none.csv"],
        ["train", "--base-model", "none"],
        ["evaluate", "--file", "{reviews}", "--onnx-model", "none"],
    ],
)
def test_every_command_that_replaces_a_folder_refuses_before_the_work(arguments, tmp_path):
    """The model that is named is not even looked for."""
    (tmp_path / "reviews.csv").write_text("text,label\na film,1\n")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.tex").write_text("years of work")
    arguments = [each.format(reviews=tmp_path / "reviews.csv") for each in arguments]
    process = run([*arguments, "--output", tmp_path / "mine"])
    assert_one_error(process, "mine holds thesis.tex; expected a new or empty folder")
    assert content(tmp_path / "mine") == {"thesis.tex": b"years of work"}


def test_a_file_is_not_put_where_none_can_be(tmp_path):
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "pipe")
    for name, found in (("folder", "a folder"), ("pipe", "no regular file")):
        with pytest.raises(ToolkitError, match=f"is {found}; expected a file"), replacing_file(tmp_path / name):
            pytest.fail("the work began")


def test_a_half_written_folder_is_no_adapter(tmp_path):
    """Nor does it pass for one that PEFT saved, which has no manifest either."""
    for name in REQUIRED_FILES[Kind.ADAPTER]:
        (tmp_path / name).write_text('{"peft_type": "LORA", "task_type": "SEQ_CLS", "base_model_name_or_path": "x"}')
    assert read_manifest(tmp_path, Kind.ADAPTER).base_model == "x"
    (tmp_path / f".{tmp_path.name}.abcdefgh.partial").mkdir()
    with pytest.raises(BundleError, match="is being written, or a run that wrote it was killed; wait for that run"):
        read_manifest(tmp_path, Kind.ADAPTER)


@pytest.mark.parametrize(
    "journal", ['{"last": "manifest.json", "remove": ["../mine.txt"]}', '{"last": "manifest.json", "remove": ["%s/mine.txt"]}',
                '{"last": "../mine.txt", "remove": []}', '{"last": 5, "remove": "mine.txt"}', "{", "[]"],
)  # fmt: skip
def test_a_journal_that_is_not_ours_removes_nothing(bundle, tmp_path, journal):
    """Somebody else may write into a folder that is mounted."""
    (tmp_path / "mine.txt").write_text("mine")
    room = bundle / ".onnx_model.abcdefgh.partial"
    (room / "new").mkdir(parents=True)
    (room / "new" / "manifest.json").write_text("{}")
    (room / "journal.json").write_text(journal.replace("%s", str(tmp_path)))
    before = read_manifest(bundle, Kind.ONNX)
    refuse_foreign_target(bundle, Kind.ONNX)
    assert (tmp_path / "mine.txt").read_text() == "mine"
    assert read_manifest(bundle, Kind.ONNX) == before
    assert not room.exists()


IMPORTS = "from pathlib import Path; from toolkit.models.bundle import *; from toolkit.models.publishing import *; from tests.models.test_bundle import *"


@pytest.mark.parametrize("mount", ["mount -t tmpfs tmpfs {folder}", "mount --bind {source} {folder}"])
def test_a_mount_point_is_published_into(mount, tmp_path, bundle):
    """As `docker run -v` has them, twice, with what the file system itself keeps there; and a second bundle over it."""
    script = f"""
        mkdir {tmp_path}/onnx {tmp_path}/source {tmp_path}/onnx/lost+found {tmp_path}/source/lost+found
        {mount.format(folder=tmp_path / "onnx", source=tmp_path / "source")}
        "$@"
        "$@"
        ls -A {tmp_path}/onnx > {tmp_path}/left
        {sys.executable} -c '{IMPORTS}; read_manifest(Path("{tmp_path}/onnx"), Kind.ONNX)'
        touch {tmp_path}/onnx/mine
        "$@"
    """
    command = namespace(script)
    if command is None:
        pytest.skip("no mount namespaces here")
    publication = f'{IMPORTS}; write_bundle(Path("{tmp_path}/onnx"))'
    process = subprocess.run(
        [*command, "sh", sys.executable, "-c", publication], capture_output=True, text=True, check=False, cwd=ROOT
    )
    assert process.stderr.splitlines()[-1].endswith("holds mine; expected a new or empty folder, or nothing but an earlier "
        "ONNX bundle of this toolkit: move the rest elsewhere, or choose another --output"), process.stderr  # fmt: skip
    left = set((tmp_path / "left").read_text().split()) - {"lost+found"}
    assert left == {*REQUIRED_FILES[Kind.ONNX], "manifest.json"}


def test_a_mounted_file_is_no_place_for_another(tmp_path):
    (tmp_path / "out.csv").write_text("")
    (tmp_path / "source").write_text("")
    command = namespace(f'mount --bind {tmp_path}/source {tmp_path}/out.csv; exec "$@"')
    if command is None:
        pytest.skip("no mount namespaces here")
    script = f'{IMPORTS}\nwith replacing_file(Path("{tmp_path}/out.csv")): print("began")'
    process = subprocess.run(
        [*command, "sh", sys.executable, "-c", script], capture_output=True, text=True, check=False, cwd=ROOT
    )
    assert "out.csv is a mount point; expected a file to write" in process.stderr
    assert "began" not in process.stdout


def current_umask():
    umask = os.umask(0)
    os.umask(umask)
    return umask


def test_a_failing_block_leaves_the_old_bundle(bundle):
    with pytest.raises(RuntimeError, match="no"), publish(bundle, Manifest(Kind.ONNX, "minilm", 256)) as folder:
        (folder / "model.onnx").write_bytes(b"half")
        raise RuntimeError("no")
    read_manifest(bundle, Kind.ONNX)
    assert [path.name for path in bundle.parent.iterdir()] == ["onnx_model"]


def test_an_incomplete_block_is_not_published(tmp_path):
    with (
        pytest.raises(BundleError, match=r"model\.onnx, .* was not written"),
        publish(tmp_path / "new", Manifest(Kind.ONNX, "minilm", 256)),
    ):
        pass
    assert not (tmp_path / "new").exists()


def test_a_killed_publication_leaves_the_old_bundle(bundle):
    script = f"""
        import os, signal
        from pathlib import Path
        from toolkit.models.bundle import REQUIRED_FILES, Kind, Manifest
        from toolkit.models.publishing import publish
        with publish(Path({str(bundle)!r}), Manifest(Kind.ONNX, "minilm", 256)) as folder:
            (folder / "model.onnx").write_bytes(b"half")
            os.kill(os.getpid(), signal.SIGKILL)
    """
    process = subprocess.run([sys.executable, "-c", textwrap.dedent(script)], check=False)
    assert process.returncode == -signal.SIGKILL
    read_manifest(bundle, Kind.ONNX)


KILLED_AT_EVERY_STEP = """
    import os, signal, sys
    from itertools import count
    from pathlib import Path
    from toolkit.models import publishing, workspaces
    from toolkit.models.bundle import REQUIRED_FILES, Kind, Manifest, read_manifest
    from toolkit.errors import BundleError
    from toolkit.models.publishing import publish

    bundle, inside = Path(sys.argv[1]), sys.argv[2] == "inside"
    if inside:  # as if the folder could not be renamed
        publishing.stays = workspaces.stays = lambda target: True

    def publish_killed_at(step):
        seen = 0
        def kill(event, arguments):
            nonlocal seen
            seen += event.startswith(("os.", "open", "shutil.", "tempfile.", "fcntl.", "ctypes."))
            if seen == step:
                os.kill(os.getpid(), signal.SIGKILL)
        sys.addaudithook(kill)
        with publish(bundle, Manifest(Kind.ONNX, "minilm", 512)) as folder:
            for name in REQUIRED_FILES[Kind.ONNX]:
                (folder / name).write_text('{"new": true}')

    found = []
    for step in count(1):
        child = os.fork()
        if not child:
            publish_killed_at(step)
            os._exit(0)
        status = os.waitpid(child, 0)[1]
        try:
            found.append(read_manifest(bundle, Kind.ONNX).max_length)
        except BundleError as error:
            assert inside and "is being written, or a run that wrote it was killed" in str(error), error
            found.append(0)
        if status == 0:
            break
        assert os.WTERMSIG(status) == signal.SIGKILL, status
    print(*found)
"""


@pytest.mark.parametrize("way", ["beside", "inside"])
def test_killed_at_every_step_there_is_a_whole_bundle_or_one_that_says_it_is_none(bundle, way):
    """Every file operation of a publication is its last one once; the old bundle loads, or the new one.

    In a folder that cannot be renamed there are moments without a bundle, which say so and which the next run ends.
    """
    old = read_manifest(bundle, Kind.ONNX).max_length
    process = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(KILLED_AT_EVERY_STEP), bundle, way],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert process.returncode == 0, process.stderr
    found = [int(length) for length in process.stdout.split()]
    assert len(found) > 30
    assert found[0] == old
    if way == "beside":
        assert set(found) == {old, 512}
        assert sorted(found, key=lambda length: length == 512) == found, "once new, new for good"
    else:
        assert set(found) == {old, 0, 512}
        assert old not in found[found.index(0) :], "never back"
    assert found[-1] == 512
    assert [path.name for path in bundle.parent.iterdir()] == ["onnx_model"], "what the killed ones left is swept away"
    assert {path.name for path in bundle.iterdir()} == {*REQUIRED_FILES[Kind.ONNX], "manifest.json"}


def test_a_publication_under_way_is_not_swept_away(bundle):
    with publish(bundle, Manifest(Kind.ONNX, "minilm", 300)) as first:
        (first / "model.onnx").write_bytes(b"under way")
        write_bundle(bundle)
        assert (first / "model.onnx").read_bytes() == b"under way"
        for name in REQUIRED_FILES[Kind.ONNX]:
            (first / name).write_text("{}")
    assert read_manifest(bundle, Kind.ONNX).max_length == 300


def test_a_damaged_bundle_may_be_replaced(bundle):
    (bundle / "model.onnx").write_bytes(b"broken")
    write_bundle(bundle)
    read_manifest(bundle, Kind.ONNX)


def test_a_link_is_followed_and_stays(tmp_path, bundle):
    (tmp_path / "current").symlink_to(bundle)
    write_bundle(tmp_path / "current", b"new")
    assert (tmp_path / "current").is_symlink()
    assert (bundle / "model.onnx").read_bytes().endswith(b"new")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["current", "onnx_model"]


def test_a_reader_sees_one_bundle_whole_while_others_are_published(bundle):
    """Contents differ by a marker; a mixture would fail the manifest's hashes or pair marker and hash wrongly."""
    publishing = threading.Event()

    def publish_often():
        for number in range(150):
            write_bundle(bundle, str(number).encode())
        publishing.set()

    thread = threading.Thread(target=publish_often)
    thread.start()
    reads = 0
    while not publishing.is_set():
        manifest, content = read_stable(
            bundle, lambda: (read_manifest(bundle, Kind.ONNX), (bundle / "model.onnx").read_bytes())
        )
        assert hashlib.sha256(content).hexdigest() == manifest.files["model.onnx"]["sha256"]
        reads += 1
    thread.join()
    assert reads > 5
