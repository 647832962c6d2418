"""Bodies of requests that are refused, and what their headers say of them."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from typing import Any

from toolkit.web.limits import DISCARDED, IDLE_SECONDS

Message = MutableMapping[str, Any]


async def discard(receive: Callable[[], Awaitable[Message]], headers: Mapping[str, str]) -> None:
    """Read a refused body and throw it away, for a while, since a browser shows an answer only after sending."""
    length = headers.get("content-length", "")
    read = 0 if is_number(length) and int(length) <= DISCARDED and "transfer-encoding" not in headers else DISCARDED
    try:
        async with asyncio.timeout(IDLE_SECONDS):
            while read < DISCARDED:
                message = await receive()
                read += len(message.get("body", b""))
                if not message.get("more_body"):
                    return
    except TimeoutError:
        return


def is_number(length: str) -> bool:
    """Whether a `Content-Length` is one, and not absurd."""
    return length.isascii() and length.isdigit() and len(length) < 16
