"""Chainlit's conversations, with ids that name no path, events that are checked, and files and memory that are bounded."""

import asyncio
import logging
import re
import shutil
import uuid
from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path
from typing import Any

from chainlit import socket as chainlit_socket
from chainlit.chat_context import chat_context
from chainlit.config import FILES_DIRECTORY, config
from chainlit.context import init_ws_context
from chainlit.emitter import ChainlitEmitter
from chainlit.server import sio
from chainlit.session import WebsocketSession, ws_sessions_id
from chainlit.user_session import user_sessions
from socketio.exceptions import ConnectionRefusedError as Refused

from toolkit.chat.guard import request_language
from toolkit.chat.limits import SESSIONS, STORED, STORED_EACH, Budget
from toolkit.chat.sockets import EVENTS, is_connected
from toolkit.chat.texts import TEXTS
from toolkit.errors import ToolkitError

MOST_FILES = (
    100  # that the page lets somebody choose, as in assets/config.toml; the app takes fewer, and has words for it
)
_UUID4 = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}")
_SETTINGS = ("language", "backend", "max_length", "uncertain_below")
_KEPT_HEADERS = ("HTTP_ACCEPT_LANGUAGE", "HTTP_COOKIE")
_stored = Budget(STORED, STORED_EACH)
_logger = logging.getLogger(__name__)


class QuotaError(ToolkitError):
    """A file for which there is no room."""


class Session(WebsocketSession):
    """A conversation whose files are counted, and lie where no id can point; its end ends what it has begun.

    Attributes:
        memory: what the app remembers of it. Chainlit's `user_session` would begin anew for one that has ended, for good.
    """

    def __init__(self, *arguments: Any, **named: Any) -> None:  # noqa: ANN401 - Chainlit's
        super().__init__(*arguments, **named)
        self.memory: dict[str, Any] = {}
        self._work: set[asyncio.Task[Any]] = set()
        self._ended = asyncio.Event()

    @property
    def files_dir(self) -> Path:
        """The folder of this conversation's files; Chainlit would join the client's id to a path."""
        return Path(FILES_DIRECTORY) / sha256(str(self.id).encode(errors="replace")).hexdigest()

    async def persist_file(
        self, name: str, mime: str, path: str | None = None, content: bytes | str | None = None
    ) -> Any:  # noqa: ANN401
        """Store a file.

        Raises:
            QuotaError: this conversation has ended, or it or the server has stored enough.
        """
        content = content.encode() if isinstance(content, str) else content
        size = Path(path).stat().st_size if path else len(content or b"")
        if self._ended.is_set() or not _stored.take(self.id, size):
            raise QuotaError(TEXTS[request_language.get()].no_room)
        try:
            return await super().persist_file(name, mime, path, content)
        except BaseException:
            _stored.give(self.id, size)
            raise
        finally:
            if self._ended.is_set():  # meanwhile, and nobody would come again to remove it
                self._forget_files()

    def begin(self, task: "asyncio.Task[Any] | None") -> None:
        """Have a task end with the conversation."""
        if task is not None:
            self._work.add(task)
            task.add_done_callback(self._work.discard)

    @property
    def is_working(self) -> bool:
        """Whether a message is being answered."""
        return any(not task.done() for task in self._work)

    def stop(self) -> None:
        """Give up what is being done."""
        for task in self._work:
            task.cancel()

    async def delete(self) -> None:
        """End the conversation: its work, its files and all that was remembered of it."""
        self._ended.set()
        self.stop()
        await super().delete()
        self._forget_files()
        self.memory.clear()
        user_sessions.pop(self.id, None)

    def _forget_files(self) -> None:
        shutil.rmtree(self.files_dir, ignore_errors=True)
        _stored.give(self.id)


def secure_sessions() -> None:
    """Replace what Chainlit does with a client's ids, events and messages."""
    chainlit_socket.WebsocketSession = Session
    chat_context.add = lambda message: message  # a language model's memory, which nothing here reads and nobody empties
    handlers = sio.handlers["/"]
    checked = {
        "connect": _checked_connect(handlers["connect"]),
        "disconnect": handlers["disconnect"],
        "client_message": _checked_event(handlers["client_message"], _message),
        "chat_settings_change": _checked_event(handlers["chat_settings_change"], _settings),
    }
    handlers |= {"stop": _stop, "connection_successful": _greet_again(handlers["connection_successful"])}
    sio.handlers["/"] = {name: _without_arguments(handlers[name]) for name in EVENTS} | checked
    ChainlitEmitter.init_thread = _named_thread(ChainlitEmitter.init_thread)


def has_session(session_id: str) -> bool:
    """Whether there is a conversation of this id."""
    return session_id in ws_sessions_id


def _named_thread(init_thread: Any) -> Any:  # noqa: ANN401
    """The page offers to stop only what a conversation with a name does, and a file without a message gives it none."""

    async def init(emitter: Any, interaction: str) -> None:  # noqa: ANN401
        await init_thread(emitter, interaction or "files")

    return init


async def _stop(sid: str) -> None:
    """Stop every message that is being answered, and let the app say so; Chainlit would in English."""
    session = Session.get(sid)
    init_ws_context(session)
    session.stop()
    if config.code.on_stop:
        await config.code.on_stop()


def _greet_again(greet: Any) -> Any:  # noqa: ANN401
    """A page that comes back is told that nothing is being done; where something is, it can still be stopped."""

    async def greeted(sid: str) -> None:
        await greet(sid)
        session = Session.get(sid)
        if session is not None and session.is_working:
            await init_ws_context(session).emitter.task_start()

    return greeted


def _checked_connect(connect: Any) -> Any:  # noqa: ANN401
    async def checked(sid: str, environ: Mapping[str, Any], auth: object = None) -> Any:  # noqa: ANN401
        session_id = auth.get("sessionId") if isinstance(auth, dict) else None
        if not isinstance(session_id, str) or not _UUID4.fullmatch(session_id):
            raise Refused("expected a sessionId that is a UUID of version 4")
        if not has_session(session_id) and len(ws_sessions_id) >= SESSIONS and not await _end_an_abandoned_one():
            raise Refused("too many conversations; come back later")
        kept = {name: environ[name] for name in _KEPT_HEADERS if name in environ}
        ours = {"sessionId": session_id, "clientType": "webapp", "threadId": "", "userEnv": "", "chatProfile": ""}
        return await connect(sid, kept, ours)

    return checked


async def _end_an_abandoned_one() -> bool:
    """End the oldest conversation whose page is gone; Chainlit would keep it for ten minutes."""
    for session in list(ws_sessions_id.values()):
        if not is_connected(session):
            await session.delete()
            return True
    return False


def _checked_event(handler: Any, check: Any) -> Any:  # noqa: ANN401
    async def checked(sid: str, payload: object = None, *_: object) -> None:
        session = Session.get(sid)
        if session is None:
            return
        try:
            cleaned = check(payload)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            _logger.info("an event that the page would not send was dropped (%s)", error)
            return
        await handler(sid, cleaned)
        session.begin(session.current_task)

    return checked


def _without_arguments(handler: Any) -> Any:  # noqa: ANN401
    async def checked(sid: str, *_: object) -> None:
        if Session.get(sid) is not None:
            await handler(sid)

    return checked


def _message(payload: Any) -> dict[str, Any]:  # noqa: ANN401
    """A message with its text and files, and nothing else that a client may say of it."""
    message, files = payload["message"], payload.get("fileReferences") or []
    text, identifier = message["output"], message["id"]
    if not isinstance(text, str) or uuid.UUID(identifier).version != 4 or len(files) > MOST_FILES:
        raise ValueError("a message of another form")
    references = [{"id": str(uuid.UUID(file["id"]))} for file in files]
    step = {"id": str(uuid.UUID(identifier)), "threadId": "", "name": "User", "type": "user_message"}
    return {"message": {**step, "output": text, "createdAt": ""}, "fileReferences": references}


def _settings(panel: Any) -> dict[str, Any]:  # noqa: ANN401
    """What the panel has; each value is looked at where it is used."""
    values = {name: panel[name] for name in _SETTINGS if name in panel}
    return {
        name: value for name, value in values.items() if isinstance(value, int | float | str) and len(str(value)) < 64
    }
