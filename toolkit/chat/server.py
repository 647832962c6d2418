"""The server around the conversation: its settings and models, who may come in, and how Chainlit is made safe."""

import asyncio
import functools
import logging
import os
import secrets
import sys
from collections.abc import Mapping
from functools import cache
from typing import Any

from toolkit.chat.guard import Guard, Questions, request_address, request_language
from toolkit.chat.guesses import Guesses
from toolkit.chat.limits import LARGEST_FRAME, LONGEST_NAME, MEGABYTE
from toolkit.chat.models import Models
from toolkit.chat.settings import LARGEST_UPLOAD, ServerSettings, upload_format
from toolkit.chat.state import is_prepared, prepare
from toolkit.chat.texts import TEXTS
from toolkit.web.hosts import is_loopback, is_secret
from toolkit.web.logs import log_plainly

_guesses = Guesses()
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


async def signed_in(cookies: Mapping[str, str]) -> bool:
    """Whether the cookies are of somebody who knew the password, where there is one."""
    from chainlit.auth import get_current_user, get_token_from_cookies
    from fastapi import HTTPException

    if not server_settings().password:
        return True
    try:
        return await get_current_user(get_token_from_cookies(dict(cookies))) is not None
    except HTTPException:
        return False


async def authenticate(user: str, password: str) -> Any:  # noqa: ANN401
    """Let in whoever knows the password; the name is only a name, and every sign-in a user of its own.

    Nothing is awaited between the question whether a guess may be made and its outcome, so guesses come one by one.

    Raises:
        HTTPException: It is wrong; or there were too many wrong ones, and this one was not looked at.
    """
    from chainlit import User
    from fastapi import HTTPException

    address, texts = request_address.get(), TEXTS[request_language.get()]
    wait = _guesses.wait(address)
    if wait > 0:
        seconds = str(int(wait) + 1)
        raise HTTPException(429, texts.denied_for_now.format(seconds=seconds), {"Retry-After": seconds})
    if not is_secret(password, server_settings().password or ""):
        _guesses.wrong(address)
        _logger.warning("a wrong password from %s", address)
        raise HTTPException(401, texts.denied)
    _guesses.right(address)
    return User(identifier=secrets.token_hex(16), display_name=user[:LONGEST_NAME] or "reader")


def refuse_upload(file: Any, spec: object = None) -> None:  # noqa: ANN401
    """Chainlit's check of an upload, by the file's ending, since browsers disagree on the type, and in the user's words.

    Raises:
        ValueError: the sentence for the user.
    """
    texts = TEXTS[request_language.get()]
    if max(len(file.filename or ""), len(file.content_type or "")) > LONGEST_NAME:
        raise ValueError(texts.upload_name.format(limit=LONGEST_NAME))
    if upload_format(file.filename or "") is None:
        raise ValueError(texts.upload_type)
    if file.size == 0:
        raise ValueError(texts.upload_empty)
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
    os.umask(0o077)  # what users send is read by nobody else
    log_plainly()
    _guard(settings, config.run)
    if settings.password:
        os.environ.setdefault("CHAINLIT_AUTH_SECRET", secrets.token_hex(32))
        config.code.password_auth_callback = authenticate  # Chainlit's decorator would turn "later" into "wrong"
    elif not is_loopback(config.run.host):
        _logger.warning("anybody who reaches %s can use this server; TOOLKIT_CHAT_PASSWORD asks them", config.run.host)
    chainlit.on_app_startup(load_in_background)
    config.run.headless = True


def _guard(settings: ServerSettings, run: Any) -> None:  # noqa: ANN401
    """Put ours between Chainlit and the network, and in the place of what Chainlit does with what comes from there."""
    import uvicorn
    from chainlit import server
    from fastapi.responses import JSONResponse
    from starlette.middleware import Middleware

    from toolkit.chat.connections import app_config
    from toolkit.chat.sessions import QuotaError, has_session, secure_sessions

    async def answer_quota(_: object, error: Exception) -> JSONResponse:
        return JSONResponse({"detail": str(error)}, 413)

    uvicorn.Config = functools.partial(app_config, uvicorn.Config)  # type: ignore[misc, assignment]
    secure_sessions()
    questions = Questions(health, signed_in, has_session)
    guard = Middleware(Guard, settings=settings, host=run.host, root_path=run.root_path, questions=questions)
    server.app.user_middleware.append(guard)  # innermost, so that it sees pages before they are compressed
    server.app.add_exception_handler(QuotaError, answer_quota)
    server.validate_file_upload = refuse_upload
    server.sio.eio.transports = ["websocket"]  # polling would keep a visitor for 45 s for every request that asks
    server.sio.eio.max_http_buffer_size = LARGEST_FRAME  # sockets.py measures, and has words for it
