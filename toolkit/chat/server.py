"""The server around the conversation: its settings and models, who may come in, and how Chainlit is made safe."""

import asyncio
import hmac
import logging
import os
import secrets
import sys
from functools import cache
from pathlib import Path
from typing import Any

from toolkit.chat.guard import MEGABYTE, Guard, request_language
from toolkit.chat.models import Models
from toolkit.chat.settings import LARGEST_UPLOAD, UPLOAD_SUFFIXES, ServerSettings
from toolkit.chat.state import is_prepared, prepare
from toolkit.chat.texts import TEXTS

LARGEST_MESSAGE = 16 << 20  # bytes; uvicorn's own limit for one WebSocket message
LOGIN_DELAY = 1.0  # seconds a wrong password costs
_logger = logging.getLogger(__name__)


@cache
def server_settings() -> ServerSettings:
    """How this server was started."""
    return ServerSettings.from_environment()


@cache
def models() -> Models:
    """The models everybody shares."""
    return Models(server_settings())


async def load_in_background() -> None:
    """Start loading the model when the server starts; messages wait for it, `/health` says when it is there."""

    def load() -> None:
        try:
            models().load()
        except Exception:  # told to whoever asks, and tried again then
            _logger.exception("the model could not be loaded")

    asyncio.get_running_loop().run_in_executor(None, load)


def health() -> tuple[int, dict[str, Any]]:
    """What `/health` answers: 200 with the model once it is loaded, 503 before."""
    model = models().loaded
    if model is None:
        return 503, {"status": "loading"}
    predictor = model.predictor
    return 200, {"status": "ok", "backend": predictor.backend, "device": predictor.device, "model": model.model_hash}


def is_connected(session: Any) -> bool:  # noqa: ANN401
    """Whether the page of a Chainlit session is still there."""
    from chainlit.server import sio

    return bool(sio.manager.is_connected(session.socket_id, "/"))


async def authenticate(user: str, password: str) -> Any:  # noqa: ANN401
    """Let in whoever knows the password; the name is only a name."""
    expected = server_settings().password or ""
    if hmac.compare_digest(password.encode(), expected.encode()):
        from chainlit import User

        return User(identifier=user or "reader")
    await asyncio.sleep(LOGIN_DELAY)
    return None


def refuse_upload(file: Any, spec: object = None) -> None:  # noqa: ANN401
    """Chainlit's check of an upload, by the file's ending, since browsers disagree on the type, and in the user's words.

    Raises:
        ValueError: the sentence for the user.
    """
    texts = TEXTS[request_language.get()]
    if Path(file.filename or "").suffix.lower() not in UPLOAD_SUFFIXES:
        raise ValueError(texts.upload_type)
    if file.size is None or file.size > LARGEST_UPLOAD * MEGABYTE:
        raise ValueError(texts.upload_size.format(limit=LARGEST_UPLOAD))


def serve() -> None:
    """Make the Chainlit server that is about to start ours.

    Chainlit reads its folder when it is imported, which `chainlit run` does before this file is read: the process then
    starts itself again with the folder that belongs to us.
    """
    import chainlit
    from chainlit.config import config

    settings = server_settings()
    if not is_prepared(config.root):
        environment = prepare(settings, config.run.port)
        os.execve(sys.executable, [sys.executable, *sys.orig_argv[1:]], {**os.environ, **environment})  # noqa: S606
    from chainlit import server
    from starlette.middleware import Middleware

    # Innermost, so that it sees pages before they are compressed.
    server.app.user_middleware.append(Middleware(Guard, settings=settings, host=config.run.host, health=health))
    server.validate_file_upload = refuse_upload
    server.sio.eio.max_http_buffer_size = LARGEST_MESSAGE
    chainlit.on_app_startup(load_in_background)
    config.run.headless = True
    if settings.password:
        os.environ.setdefault("CHAINLIT_AUTH_SECRET", secrets.token_hex(32))
        chainlit.password_auth_callback(authenticate)
    elif config.run.host not in ("127.0.0.1", "localhost", "::1"):
        _logger.warning("anybody who reaches %s can use this server; TOOLKIT_CHAT_PASSWORD asks them", config.run.host)
