"""A WebSocket of the page: only the packets that the page sends reach Socket.IO, and who does not join is closed."""

import asyncio
import json
from typing import Any
from uuid import uuid4

from toolkit.chat.limits import (
    JOIN_SECONDS,
    LARGE_BYTES_PER_SECOND,
    LARGE_MESSAGE,
    LARGEST_MESSAGE,
    MESSAGE_BURST,
    MESSAGES_PER_SECOND,
)
from toolkit.chat.pages import Message, Receive, Send
from toolkit.chat.settings import LONGEST_TEXT

# Socket.IO would take `connect` and `disconnect` too, with arguments of the client's making in the place of its own.
EVENTS = ("connection_successful", "client_message", "chat_settings_change", "clear_session", "stop")
_GONE: Message = {"type": "websocket.disconnect", "code": 1008}
_one_large_message = asyncio.Lock()  # at a time, whoever sends it


def is_connected(session: Any) -> bool:  # noqa: ANN401
    """Whether the page of a Chainlit session is still there."""
    from chainlit.server import sio

    return bool(sio.manager.is_connected(session.socket_id, "/"))


class Socket:
    """What Chainlit receives and sends in the place of the connection.

    Engine.IO's packets begin with a digit (1 close, 3 pong, 4 message), Socket.IO's inside of those with another
    (0 connect, 1 disconnect, 2 event). The page sends no others, and no binary ones.

    Args:
        receive: what comes in.
        send: where it goes out.
    """

    def __init__(self, receive: Receive, send: Send) -> None:
        self._receive = receive
        self._send = send
        self._asked = self._joined = False
        self._join_by = asyncio.get_running_loop().time() + JOIN_SECONDS
        self._allowance = float(MESSAGE_BURST)
        self._last = asyncio.get_running_loop().time()

    async def send(self, message: Message) -> None:
        """Pass on what the server sends; its answer to a connect packet says that the client is in."""
        if (message.get("text") or "").startswith("40"):
            self._joined = True
        await self._send(message)

    async def receive(self) -> Message:
        """The next message that may pass; the end of the connection, where the client breaks the rules."""
        while True:
            try:
                async with asyncio.timeout_at(None if self._joined else self._join_by):
                    message = await self._receive()
            except TimeoutError:
                return _GONE
            if message["type"] != "websocket.receive":
                return message
            await self._pace()
            text = await self._measured(message.get("text") or "")
            if text.startswith("42["):
                event = _parsed(text[2:])
                if not isinstance(event, list) or not event or not isinstance(event[0], str):
                    return _GONE
                if event[0] not in EVENTS:
                    continue  # the page asks for a few things that are closed
            elif not self._is_packet(text):
                return _GONE
            return {"type": "websocket.receive", "text": text}

    def _is_packet(self, text: str) -> bool:
        if text.startswith("40"):  # once: another would be a second visitor on this connection, or another's
            asked, self._asked = self._asked, True
            return not asked and isinstance(_parsed(text[2:]), dict)
        if text == "41":  # leaves the conversation, and the connection soon
            self._asked = self._joined = False
            self._join_by = asyncio.get_running_loop().time() + JOIN_SECONDS
        return text in ("1", "3", "41")

    async def _measured(self, text: str) -> str:
        size = len(text) if text.isascii() else len(text.encode(errors="replace"))
        if size > LARGE_MESSAGE:
            async with _one_large_message:
                await asyncio.sleep(min(size, LARGEST_MESSAGE) / LARGE_BYTES_PER_SECOND)
        if size > LARGEST_MESSAGE:
            return _too_long() if text.startswith('42["client_message"') else ""
        return text

    async def _pace(self) -> None:
        now = asyncio.get_running_loop().time()
        self._allowance = min(MESSAGE_BURST, self._allowance + (now - self._last) * MESSAGES_PER_SECOND) - 1
        self._last = now
        if self._allowance < 0:
            await asyncio.sleep(-self._allowance / MESSAGES_PER_SECOND)


def _parsed(text: str) -> Any:  # noqa: ANN401
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def _too_long() -> str:
    """A message that is too long by a character, in the place of one that is far too long to be looked at."""
    text = "." * (LONGEST_TEXT + 1)
    message = {"id": str(uuid4()), "name": "User", "type": "user_message", "output": text}
    return "42" + json.dumps(["client_message", {"message": message, "fileReferences": []}])
