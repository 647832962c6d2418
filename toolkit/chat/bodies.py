"""The body of a request: counted as it comes, and not waited for without end."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from typing import Any

from toolkit.chat.limits import FORM_SECONDS, UPLOAD_SECONDS
from toolkit.chat.settings import LARGEST_UPLOAD
from toolkit.chat.texts import TEXTS
from toolkit.web.bodies import is_number
from toolkit.web.limits import IDLE_SECONDS

Message = MutableMapping[str, Any]


class BodyError(Exception):
    """A body that is not taken.

    Attributes:
        status: the code that says so.
    """

    def __init__(self, status: int, sentence: str) -> None:
        super().__init__(sentence)
        self.status = status


class Body:
    """What an application receives in the place of the body.

    Args:
        receive: where it comes from.
        headers: The headers of the request.
        limit: bytes.
        language: The language to refuse it in.
        is_upload: an upload has more time.

    Raises:
        BodyError: what the headers say of it is not taken.
    """

    problem: BodyError | None = None
    finished = False

    def __init__(
        self,
        receive: Callable[[], Awaitable[Message]],
        headers: Mapping[str, str],
        limit: int,
        language: str,
        *,
        is_upload: bool,
    ) -> None:
        length, texts = headers.get("content-length"), TEXTS[language]
        # With both headers, one of two servers in a row believes the one and the second the other.
        if length is None or not is_number(length) or "transfer-encoding" in headers:
            raise BodyError(413, texts.upload_length)
        self._too_large = BodyError(413, texts.upload_size.format(limit=LARGEST_UPLOAD))
        self._too_late = BodyError(408, texts.upload_stalled)
        if int(length) > limit:
            raise self._too_large
        self._receive = receive
        self._limit = limit
        self._read = 0
        self._end = asyncio.get_running_loop().time() + (UPLOAD_SECONDS if is_upload else FORM_SECONDS)

    async def receive(self) -> Message:
        """The next part.

        Raises:
            BodyError: it does not come, or is too much.
        """
        if self.finished:
            return await self._receive()
        try:
            async with asyncio.timeout_at(min(self._end, asyncio.get_running_loop().time() + IDLE_SECONDS)):
                message = await self._receive()
        except TimeoutError:
            self.problem = self._too_late
            raise self.problem from None
        self._read += len(message.get("body", b""))
        if self._read > self._limit:
            self.problem = self._too_large
            raise self.problem
        self.finished = not message.get("more_body")
        return message
