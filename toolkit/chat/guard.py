"""What stands between the network and Chainlit: who may ask what, how much may be sent, and what a page may load."""

import logging
from collections.abc import Awaitable, Callable, Mapping
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qs, parse_qsl, urlencode, urlsplit

from toolkit.chat.bodies import Body, BodyError
from toolkit.chat.limits import (
    LARGEST_FORM,
    MEGABYTE,
    SOCKETS,
    SOCKETS_EACH,
    UPLOADS,
    UPLOADS_EACH,
    Budget,
)
from toolkit.chat.pages import Answer, Application, Receive, Scope, Send, answer, refuse
from toolkit.chat.settings import LARGEST_UPLOAD, ServerSettings
from toolkit.chat.sockets import Socket
from toolkit.chat.texts import LANGUAGE_COOKIE, TAGS, TEXTS, choose_language
from toolkit.web.bodies import discard
from toolkit.web.hosts import head_size, may_ask
from toolkit.web.limits import LARGEST_HEAD, is_proxy, network_of

SOCKET_PATH = "/ws/socket.io"
UPLOAD_PATH = "/project/file"

_LONGEST_LINE = 200  # characters that somebody else chose
_logger = logging.getLogger(__name__)

request_language: ContextVar[str] = ContextVar("request_language", default="zh")
request_address: ContextVar[str] = ContextVar("request_address", default="")


@dataclass(frozen=True, slots=True)
class _Route:
    """Something of Chainlit's that the page needs; whatever has no route is closed.

    Attributes:
        method: of HTTP.
        path: the whole path, or its beginning where it ends in a slash.
        private: only for those who signed in, where there is a password.
    """

    method: str
    path: str
    private: bool = False

    def matches(self, method: str, path: str) -> bool:
        there = path.startswith(self.path) if len(self.path) > 1 and self.path.endswith("/") else path == self.path
        return there and (method == self.method or (method, self.method) == ("HEAD", "GET"))


PAGES = ("/", "/login")
_ROUTES = (
    *(_Route("GET", path) for path in PAGES),
    *(_Route("GET", path) for path in ("/assets/", "/public/", "/avatars/", "/favicon", "/logo")),
    *(_Route("GET", path) for path in ("/auth/config", "/project/translations")),
    *(_Route("GET", path, private=True) for path in ("/user", "/project/settings", f"{UPLOAD_PATH}/")),
    *(_Route("POST", path) for path in ("/login", "/logout")),
    *(_Route("POST", path, private=True) for path in (UPLOAD_PATH, "/project/action")),
)


@dataclass(frozen=True, slots=True)
class Questions:
    """What the guard has to ask the server behind it.

    Attributes:
        health: the status code and the body of `/health`.
        signed_in: whether these cookies are of somebody who knew the password; always, where there is none.
        has_session: whether there is a conversation of this id.
    """

    health: Callable[[], tuple[int, dict[str, Any]]]
    signed_in: Callable[[Mapping[str, str]], Awaitable[bool]]
    has_session: Callable[[str], bool]


class Guard:
    """ASGI middleware around Chainlit.

    Args:
        app: what is guarded.
        settings: of the server.
        host: the address or name it was told to listen on.
        root_path: what stands before every path.
        questions: see there.
    """

    def __init__(
        self, app: Application, settings: ServerSettings, host: str, root_path: str, questions: Questions
    ) -> None:
        self._app = app
        self._settings = settings
        self._root_path = root_path.rstrip("/")
        self._questions = questions
        self._names = {"localhost", host.lower(), *(urlsplit(each).hostname or "" for each in settings.origins)}
        self._uploads = Budget(UPLOADS, UPLOADS_EACH)
        self._sockets = Budget(SOCKETS, SOCKETS_EACH)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Refuse, answer, or pass on with a safer answer."""
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        if head_size(scope) > LARGEST_HEAD:  # before anything reads them
            await refuse(scope, send, 431, "the headers are too large; delete this site's cookies")
            return
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        cookies = read_cookies(headers.get("cookie"))
        language = choose_language(
            headers.get("accept-language"), cookies.get(LANGUAGE_COOKIE), self._settings.language
        )
        request_language.set(language)
        request_address.set((scope.get("client") or ("", 0))[0])
        path = scope["path"].removeprefix(self._root_path)
        if not may_ask(headers, self._names, self._settings.origins):
            await refuse(scope, send, 403, "this page may not use the server; see TOOLKIT_CHAT_ORIGINS")
        elif scope["type"] == "websocket":
            await self._open_socket(scope, receive, send, path, cookies)
        else:
            await self._answer(scope, receive, send, path, headers, cookies)

    async def _open_socket(
        self, scope: Scope, receive: Receive, send: Send, path: str, cookies: Mapping[str, str]
    ) -> None:
        if path.rstrip("/") != SOCKET_PATH:
            await refuse(scope, send, 404, "there is nothing here")
            return
        if not await self._questions.signed_in(cookies):
            await refuse(scope, send, 401, "sign in first")
            return
        address = request_address.get()
        holder = object() if is_proxy(address) else network_of(address)
        if not self._sockets.take(holder):
            await refuse(scope, send, 503, "too many visitors")
            return
        try:
            socket = Socket(receive, send)
            await self._app(scope, socket.receive, socket.send)
        finally:
            self._sockets.give(holder, 1)

    async def _answer(
        self,
        scope: Scope,
        receive: Receive,
        send: Send,
        path: str,
        headers: Mapping[str, str],
        cookies: Mapping[str, str],
    ) -> None:
        method, language = scope["method"], request_language.get()
        if path == "/health":
            await answer(send, *self._questions.health())
            return
        if (method, path) == ("POST", "/set-session-cookie"):  # for load balancers, and of the client's choosing: none
            await answer(send, 200, {"message": ""}, close=True)
            return
        route = next((each for each in _ROUTES if each.matches(method, path)), None)
        if route is None:
            await refuse(scope, send, 404, "there is nothing here")
            return
        if route.private and not await self._questions.signed_in(cookies):
            await refuse(scope, send, 401, "sign in first")
            return
        host = headers.get("host", "")
        secure = scope["scheme"] == "https" or f"https://{host}" in self._settings.origins
        response = Answer(
            send, host, language, is_page=path in PAGES, is_file=path.startswith(f"{UPLOAD_PATH}/"), secure=secure
        )
        if path.startswith("/project/") and scope.get("query_string"):
            scope = {**scope, "query_string": _speak(scope["query_string"], language)}
        if method != "POST":
            await self._pass_on(scope, receive, response)
            return
        session = None
        try:
            limit = LARGEST_UPLOAD * MEGABYTE if path == UPLOAD_PATH else 0
            body = Body(receive, headers, limit + LARGEST_FORM, language, is_upload=path == UPLOAD_PATH)
            if path == UPLOAD_PATH:
                session = self._admit_upload(scope, language)
        except BodyError as problem:
            await discard(receive, headers)
            await refuse(scope, send, problem.status, str(problem))
            return
        response.body = body
        try:
            await self._pass_on(scope, body.receive, response)
        finally:
            if session is not None:
                self._uploads.give(session, 1)

    async def _pass_on(self, scope: Scope, receive: Receive, response: Answer) -> None:
        """Have Chainlit answer; where a request that no page sends makes it fail, that is a line in the log."""
        try:
            await self._app(scope, receive, response.send)
        except Exception as error:  # whatever Chainlit did not foresee
            words = f"{type(error).__name__}: {error}"[:_LONGEST_LINE]
            _logger.error("%s %s failed (%s)", scope["method"], scope["path"][:_LONGEST_LINE], words)
            _logger.debug("where it failed", exc_info=True)
            await response.fail()

    def _admit_upload(self, scope: Scope, language: str) -> str:
        """The id of the conversation that the upload is for, which has to give its place back.

        Raises:
            BodyError: there is none, or too much is being sent already.
        """
        sessions: list[str] = parse_qs(scope["query_string"].decode("latin-1")).get("session_id", [])
        if len(sessions) != 1 or not self._questions.has_session(sessions[0]):
            raise BodyError(404, "there is no such conversation")
        if not self._uploads.take(sessions[0]):
            raise BodyError(503, TEXTS[language].uploads_busy)
        return sessions[0]


def read_cookies(header: str | None) -> dict[str, str]:
    """The cookies in a `Cookie` header; in one pass, whatever it holds."""
    pairs = (part.partition("=") for part in (header or "").split(";"))
    return {name.strip(): value.strip() for name, _, value in pairs}


def _speak(query: bytes, language: str) -> bytes:
    """The query with the language that was settled on in the place of the browser's."""
    pairs = parse_qsl(query.decode("latin-1"), keep_blank_values=True)
    return urlencode([(name, TAGS[language] if name == "language" else value) for name, value in pairs]).encode()
