"""A cluster of Ray's to work on: one that is there, or one of our own that answers nobody else."""

import logging
import os
import secrets
import socket
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from toolkit.compat import import_ray
from toolkit.errors import ToolkitError, needs_extra

_PATIENCE = 10.0  # seconds for a connection to the cluster


def load_ray(address: str | None) -> Any:  # noqa: ANN401 - skipped by the type checker
    """The module; where no address is given, what it starts will be closed to others.

    Raises:
        MissingExtraError: it is not installed.
    """
    with needs_extra("ray", "the engine ray"):
        if not address:
            os.environ.update(_closed())
        return import_ray()


def _closed() -> dict[str, str]:
    """What makes a cluster of one's own refuse everybody else: its ports are open on every interface, whatever one asks.

    A secret that only this process and its workers know, drawn anew by each; Ray would keep one for all in the home folder.
    Ray reads the mode when it is imported, and asks for the secret by itself where that was before.
    """
    mode = {} if "ray" in sys.modules else {"RAY_AUTH_MODE": "token"}
    return {**mode, "RAY_AUTH_TOKEN": secrets.token_hex(32)}


@contextmanager
def connected(ray: Any, address: str | None) -> Iterator[None]:  # noqa: ANN401 - a module
    """A cluster to work on; one that is running already in this process is used and left."""
    if ray.is_initialized():
        yield
        return
    for name in ("ray", "ray.data"):
        logging.getLogger(name).setLevel(logging.ERROR)
    # Ray opens its folder to everybody on the machine, to exchange its sockets, to read its logs and what it spills: it gets
    # one in a folder that is closed.
    place = os.environ.get("RAY_TMPDIR") or "/tmp"  # noqa: S108 - Ray's own, so short that a socket's path fits
    with tempfile.TemporaryDirectory(prefix="ray-", dir=place, ignore_cleanup_errors=True) as folder:
        try:
            _knock(address)
            with _without_stderr():
                ray.init(
                    address=address or "local", log_to_driver=False, logging_level=logging.ERROR,
                    **({} if address else {"include_dashboard": False, "_temp_dir": f"{folder}/r"}),
                )  # fmt: skip
        except (OSError, ValueError, RuntimeError) as error:
            raise ToolkitError(
                f"no Ray cluster at {address or 'this machine'} ({str(error).splitlines()[0]}); "
                "start one with: ray start --head"
            ) from error
        context = ray.data.DataContext.get_current()
        context.enable_progress_bars = False
        try:
            yield
        finally:
            ray.shutdown()


def _knock(address: str | None) -> None:
    """Ray itself tries for minutes to reach a machine where nobody listens.

    Raises:
        OSError: nobody listens there.
    """
    parts = urlsplit(address if "://" in (address or "") else f"//{address or ''}")
    if isinstance(parts.hostname, str) and parts.port:
        socket.create_connection((parts.hostname, parts.port), timeout=_PATIENCE).close()


@contextmanager
def _without_stderr() -> Iterator[None]:
    """Ray's core announces its log level there, whatever that is; what goes wrong is raised."""
    kept = os.dup(2)
    with Path(os.devnull).open("w") as nowhere:
        os.dup2(nowhere.fileno(), 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
