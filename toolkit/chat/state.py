"""The state folder: the app's own configuration and pages, what Chainlit keeps while it runs, and the corrections."""

import fcntl
import importlib.util
import json
import os
import shutil
from pathlib import Path
from typing import Any

from toolkit.chat.settings import KEPT_SECONDS, ServerSettings
from toolkit.chat.translations import CHAINLIT_TEXTS
from toolkit.errors import ToolkitError, needs_extra

ASSETS = Path(__file__).parent / "assets"
PREPARED = "TOOLKIT_CHAT_PREPARED"  # names the folder that was made ready for the process that reads it
CONFIGURATION = "config.toml"
CORRECTIONS = "corrections.jsonl"


def prepare(settings: ServerSettings, port: int) -> dict[str, str]:
    """Make the folder in which Chainlit will run, one a port, so that two servers do not clear each other's uploads.

    Returns:
        The environment that has to be set before Chainlit is imported.

    Raises:
        ToolkitError: the state folder cannot be written, or is not this user's alone.
        MissingExtraError: Chainlit is not installed.
    """
    root = settings.state / f"server-{port}"
    temporary = root / "tmp"
    try:
        settings.state.mkdir(parents=True, exist_ok=True, mode=0o700)
        _own(settings.state)
        root.mkdir(exist_ok=True, mode=0o700)
        _own(root)
        _claim(root)
        temporary.mkdir(exist_ok=True, mode=0o700)
        _copy_pages(root)
        _write_configuration(root, settings)
    except OSError as error:
        raise ToolkitError(
            f"the state folder {settings.state} cannot be written ({error}); name another in TOOLKIT_STATE"
        ) from error
    return {
        "CHAINLIT_APP_ROOT": str(root),
        "TMPDIR": str(temporary),
        "TOOLKIT_STATE": str(settings.state),
        PREPARED: str(root),
    }


def _own(folder: Path) -> None:
    """Make a folder this user's alone, which it must have been before.

    What lies in it is cleared away, read and believed, also by root: in a folder of somebody else's, or where others may
    write, they say what that is. A link is followed where the user made it (a home on another disk), since elsewhere
    whoever made it chooses the folder.

    Raises:
        ToolkitError: it is another's, or others can write it.
    """
    link, found, user = folder.lstat(), folder.stat(), os.geteuid()
    if found.st_uid != user or link.st_uid != user:
        raise ToolkitError(
            f"expected a state folder that belongs to this user ({user}), found {folder} of user "
            f"{found.st_uid if found.st_uid != user else link.st_uid}; name another in TOOLKIT_STATE"
        )
    if found.st_mode & 0o022:
        raise ToolkitError(
            f"expected a state folder that nobody else can write, found {folder} with mode "
            f"{found.st_mode & 0o7777:o}; run chmod go-w on it, or name another in TOOLKIT_STATE"
        )
    if found.st_mode & 0o077:
        folder.chmod(0o700)


def _claim(root: Path) -> None:
    """Hold this server's folder, and remove from the others what killed servers have left of their users' uploads.

    The lock lasts as long as this process, also as the one that it may become by exec.
    """
    for folder in root.parent.glob("server-*"):
        if not folder.is_dir() or folder.stat().st_uid != os.geteuid():
            continue
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:  # a living server's, or no locks here
            os.close(descriptor)
            continue
        for name in (".files", "tmp"):
            shutil.rmtree(folder / name, ignore_errors=True)
        if folder == root:
            os.set_inheritable(descriptor, True)
        else:
            os.close(descriptor)


def is_prepared(root: str) -> bool:
    """Whether `prepare` made `root` for this process."""
    return os.environ.get(PREPARED) == root


def _copy_pages(root: Path) -> None:
    """Contents only: the modes of a read-only checkout would make the state folder read-only."""
    for source in ASSETS.rglob("*"):
        target = root / source.relative_to(ASSETS)
        if source.is_file() and source.name != CONFIGURATION:
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source, target)


def _write_configuration(root: Path, settings: ServerSettings) -> None:
    folder = root / ".chainlit"
    (folder / "translations").mkdir(parents=True, exist_ok=True)
    configuration = (ASSETS / CONFIGURATION).read_text(encoding="utf-8")
    changes = {
        "allow_origins = []": f"allow_origins = {json.dumps(settings.origins)}",
        f"session_timeout = {KEPT_SECONDS}": f"session_timeout = {settings.kept_seconds}",
    }
    for default, ours in changes.items():
        configuration = configuration.replace(default, ours)
    (folder / CONFIGURATION).write_text(configuration, encoding="utf-8")
    for tag, changed in CHAINLIT_TEXTS.items():
        translation = json.loads((_chainlit_folder() / "translations" / f"{tag}.json").read_text(encoding="utf-8"))
        merged = json.dumps(_merge(translation, changed), ensure_ascii=False)
        (folder / "translations" / f"{tag}.json").write_text(merged, encoding="utf-8")


def _chainlit_folder() -> Path:
    """Where Chainlit is installed; importing it would already write into the working folder."""
    spec = importlib.util.find_spec("chainlit")
    if spec is None or not spec.submodule_search_locations:
        with needs_extra("app", "the chat app"):
            raise ModuleNotFoundError(name="chainlit")
    return Path(spec.submodule_search_locations[0])


def _merge(base: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    merged = dict(base)
    for key, value in changes.items():
        merged[key] = _merge(merged.get(key, {}), value) if isinstance(value, dict) else value
    return merged
