"""Answers on their way out: safer headers, pages without what lies outside, refusals."""

import re
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from toolkit.chat.bodies import Body
from toolkit.chat.texts import TAGS, TEXTS
from toolkit.models.files import to_json

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Application = Callable[[Scope, Receive, Send], Awaitable[None]]

# Each alternative ends at the next bracket, so that a tag that never closes is looked at once.
_OUTSIDE_TAGS = re.compile(rb'<link\b[^<>]*>\s{0,80}|<meta property="og:[^<>]*>\s{0,80}')
_OUTSIDE = re.compile(rb'"https?://')
_TITLE = re.compile(rb"<title>[^<]*</title>")
_HOST = re.compile(r"[\w.:\[\]-]+", re.ASCII)
# Chainlit's page has inline scripts, and runs the elements of ours through eval; nothing comes from another host.
_POLICY = (
    "default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data: blob:; font-src 'self' data:; worker-src 'self' blob:; object-src 'none'; base-uri 'self'; "
    "form-action 'self'; frame-ancestors 'none'; connect-src 'self' ws://{host} wss://{host}"
)


class Answer:
    """Adds headers to an answer, and takes what lies outside out of a page.

    Args:
        send: where it goes.
        host: under which the server was asked.
        language: The language of the page.
        is_page: whether it is one of Chainlit's own pages, the only thing that is rewritten.
        is_file: whether it is somebody's file: saved, never opened as a page.
        secure: whether the browser came over TLS, and shall send its cookies over nothing else.
    """

    body: Body | None = None  # what the request has sent so far

    def __init__(self, send: Send, host: str, language: str, *, is_page: bool, is_file: bool, secure: bool) -> None:
        self._send = send
        self._host = host
        self._language = language
        self._is_page = is_page
        self._is_file = is_file
        self._secure = secure
        self._page: Message | None = None  # the start of an answer that is a page, held back until its body is there
        self._content = b""
        self._refused = self._started = False

    async def send(self, message: Message) -> None:
        """Pass on one message of the answer."""
        if self._refused:
            return
        if message["type"] == "http.response.start":
            self._started = True
            if self.body is not None and self.body.problem is not None:  # which a framework words in its own way
                self._refused = True
                await answer(self._send, self.body.problem.status, {"detail": str(self.body.problem)}, close=True)
                return
            message = {**message, "headers": [*map(self._cookie, message.get("headers", [])), *self._headers()]}
            if self._is_page:
                self._page = message
                return
        if self._page is None:
            await self._send(message)
            return
        self._content += message.get("body", b"")
        if message.get("more_body"):
            return
        content = self._rewritten()
        headers = [(name, value) for name, value in self._page["headers"] if name != b"content-length"]
        headers.append((b"content-length", str(len(content)).encode()))
        await self._send({**self._page, "headers": headers})
        await self._send({"type": "http.response.body", "body": content})

    async def fail(self) -> None:
        """Say that there is no answer, unless there is a part of one."""
        if not self._started:
            await answer(self._send, 500, {"detail": "the server could not answer this; see its log"}, close=True)

    def _rewritten(self) -> bytes:
        content = _OUTSIDE_TAGS.sub(_without_outside, self._content)
        content = content.replace(b'<html lang="en">', f'<html lang="{TAGS[self._language]}">'.encode(), 1)
        return _TITLE.sub(f"<title>{TEXTS[self._language].title}</title>".encode(), content, count=1)

    def _cookie(self, header: tuple[bytes, bytes]) -> tuple[bytes, bytes]:
        name, value = header
        if name == b"set-cookie" and self._secure and b"; secure" not in value.lower():
            return name, value + b"; Secure"
        return header

    def _headers(self) -> list[tuple[bytes, bytes]]:
        host = self._host if _HOST.fullmatch(self._host) else ""
        headers = {
            "content-security-policy": _POLICY.format(host=host),
            "x-content-type-options": "nosniff",
            "referrer-policy": "no-referrer",
        }
        if self._is_file:
            headers |= {"content-disposition": "attachment", "content-security-policy": "sandbox"}
        if self.body is not None and not self.body.finished:
            headers["connection"] = "close"  # nobody waits for the rest
        return [(name.encode(), value.encode()) for name, value in headers.items()]


def _without_outside(tag: re.Match[bytes]) -> bytes:
    return b"" if tag[0].startswith(b"<meta") or _OUTSIDE.search(tag[0]) else tag[0]


async def refuse(scope: Scope, send: Send, status: int, sentence: str) -> None:
    """Answer a request with a sentence; a WebSocket with nothing but no."""
    if scope["type"] == "websocket":
        await send({"type": "websocket.close", "code": 1008, "reason": sentence})
    else:
        await answer(send, status, {"detail": sentence}, close=True)


async def answer(send: Send, status: int, content: dict[str, Any], *, close: bool = False) -> None:
    """Answer in JSON, and close the connection where a body may still be on its way."""
    body = to_json(content).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    headers += [(b"connection", b"close")] if close else []
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
