"""What stands between the network and Chainlit: who may ask, how much may be sent, and what a page may load."""

import json
import re
from collections.abc import Awaitable, Callable, MutableMapping
from contextvars import ContextVar
from http.cookies import CookieError, SimpleCookie
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit

from toolkit.chat.settings import LARGEST_UPLOAD, ServerSettings
from toolkit.chat.texts import LANGUAGE_COOKIE, TAGS, TEXTS, choose_language

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Application = Callable[[Scope, Receive, Send], Awaitable[None]]

MEGABYTE = 1_000_000
OVERHEAD = 64_000  # bytes of a multipart form around its file
DISCARDED = 200 * MEGABYTE  # of a refused body read and thrown away, since a browser shows an answer only after sending
LOOPBACK = ("localhost", "127.0.0.1", "::1")

request_language: ContextVar[str] = ContextVar("request_language", default="zh")

_OUTSIDE_TAGS = re.compile(rb'<link\b[^>]*"https?://[^>]*>\s*|<meta property="og:[^>]*>\s*')
_TITLE = re.compile(rb"<title>[^<]*</title>")
# Chainlit's page has inline scripts, and runs the elements of ours through eval; nothing comes from another host.
_POLICY = (
    "default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data: blob:; font-src 'self' data:; worker-src 'self' blob:; object-src 'none'; base-uri 'self'; "
    "form-action 'self'; frame-ancestors 'none'; connect-src 'self' ws://{host} wss://{host}"
)


class Guard:
    """ASGI middleware around Chainlit.

    Args:
        app: what is guarded.
        settings: of the server.
        host: the address it is bound to; on loopback only loopback names are answered, against DNS rebinding.
        health: gives the status code and the body of `/health`.
    """

    def __init__(
        self, app: Application, settings: ServerSettings, host: str, health: Callable[[], tuple[int, dict[str, Any]]]
    ) -> None:
        self._app = app
        self._settings = settings
        self._local = host in LOOPBACK
        self._health = health

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Refuse, answer, or pass on with a safer answer."""
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        language = self._language(headers)
        request_language.set(language)
        path = scope["path"].removeprefix(scope.get("root_path", ""))
        if not self._may_ask(headers):
            await _refuse(scope, send, 403, "this page may not use the server; see TOOLKIT_CHAT_ORIGINS")
        elif scope["type"] == "websocket":
            await self._app(scope, receive, send)
        elif path == "/health":
            await _answer(send, *self._health())
        elif problem := _body_problem(scope["method"], headers, language):
            await _discard(receive, headers)
            await _refuse(scope, send, 413, problem)
        else:
            if path.startswith("/project/") and scope.get("query_string"):
                scope = {**scope, "query_string": _speak(scope["query_string"], language)}
            await self._app(scope, receive, _Answer(send, path, headers.get("host", ""), language).send)

    def _language(self, headers: dict[str, str]) -> str:
        return choose_language(
            headers.get("accept-language"), language_cookie(headers.get("cookie")), self._settings.language
        )

    def _may_ask(self, headers: dict[str, str]) -> bool:
        allowed = [urlsplit(origin).netloc for origin in self._settings.origins]
        host = headers.get("host", "")
        if self._local and _hostname(host) not in LOOPBACK and host not in allowed:
            return False
        origin = headers.get("origin")
        return origin is None or urlsplit(origin).netloc == host or origin in self._settings.origins


class _Answer:
    """Adds headers to an answer, and takes what lies outside out of a page."""

    def __init__(self, send: Send, path: str, host: str, language: str) -> None:
        self._send = send
        self._path = path
        self._host = host
        self._language = language
        self._page: Message | None = None  # the start of an answer that is a page, held back until its body is there
        self._body = b""

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            message = {**message, "headers": [*message.get("headers", []), *self._headers()]}
            if any(name == b"content-type" and value.startswith(b"text/html") for name, value in message["headers"]):
                self._page = message
                return
        if self._page is None:
            await self._send(message)
            return
        self._body += message.get("body", b"")
        if message.get("more_body"):
            return
        body = _OUTSIDE_TAGS.sub(b"", self._body)
        body = body.replace(b'<html lang="en">', f'<html lang="{TAGS[self._language]}">'.encode(), 1)
        body = _TITLE.sub(f"<title>{TEXTS[self._language].title}</title>".encode(), body, count=1)
        headers = [(name, value) for name, value in self._page["headers"] if name != b"content-length"]
        headers.append((b"content-length", str(len(body)).encode()))
        await self._send({**self._page, "headers": headers})
        await self._send({"type": "http.response.body", "body": body})

    def _headers(self) -> list[tuple[bytes, bytes]]:
        host = self._host if re.fullmatch(r"[\w.:\[\]-]+", self._host) else ""
        headers = {
            "content-security-policy": _POLICY.format(host=host),
            "x-content-type-options": "nosniff",
            "referrer-policy": "no-referrer",
        }
        if self._path.startswith("/project/file/"):  # somebody's upload: saved, never opened as a page
            headers |= {"content-disposition": "attachment", "content-security-policy": "sandbox"}
        return [(name.encode(), value.encode()) for name, value in headers.items()]


def language_cookie(cookies: str | None) -> str | None:
    """The language a user chose earlier, from the `Cookie` header."""
    try:
        morsel = SimpleCookie(cookies or "").get(LANGUAGE_COOKIE)
    except CookieError:
        return None
    return morsel.value if morsel else None


def _hostname(host: str) -> str | None:
    try:
        return urlsplit(f"//{host}").hostname
    except ValueError:
        return None


def _body_problem(method: str, headers: dict[str, str], language: str) -> str | None:
    if method not in ("POST", "PUT", "PATCH"):
        return None
    length = headers.get("content-length")
    if length is None or not length.isdigit():
        return TEXTS[language].upload_length
    if int(length) > LARGEST_UPLOAD * MEGABYTE + OVERHEAD:
        return TEXTS[language].upload_size.format(limit=LARGEST_UPLOAD)
    return None


def _speak(query: bytes, language: str) -> bytes:
    """The query with the language that was settled on in the place of the browser's."""
    pairs = parse_qsl(query.decode("latin-1"), keep_blank_values=True)
    return urlencode([(name, TAGS[language] if name == "language" else value) for name, value in pairs]).encode()


async def _discard(receive: Receive, headers: dict[str, str]) -> None:
    length = headers.get("content-length", "")
    read = 0 if length.isdigit() and int(length) <= DISCARDED else DISCARDED
    while read < DISCARDED:
        message = await receive()
        read += len(message.get("body", b""))
        if not message.get("more_body"):
            return


async def _refuse(scope: Scope, send: Send, status: int, sentence: str) -> None:
    if scope["type"] == "websocket":
        await send({"type": "websocket.close", "code": 1008, "reason": sentence})
    else:
        await _answer(send, status, {"detail": sentence})


async def _answer(send: Send, status: int, content: dict[str, Any]) -> None:
    body = json.dumps(content, ensure_ascii=False).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
