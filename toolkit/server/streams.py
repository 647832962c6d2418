"""NDJSON in, NDJSON out: a line each, in order, in bounded memory, however many there are."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import cast

from starlette.requests import Request
from starlette.types import Message, Send

from toolkit.errors import BundleError, EmptyReviewError
from toolkit.models.files import to_json
from toolkit.prediction.explanation import answer_to_dict
from toolkit.server.bodies import ClientGoneError, check_choice, check_object, check_text, parse_json, wait_until_gone
from toolkit.server.models import Model
from toolkit.server.queue import Answer
from toolkit.server.refusals import Refusal, invalid, overloaded, too_large
from toolkit.server.service import Service
from toolkit.server.settings import BLOCK_LINES, LARGEST_LINE, STREAM_IDLE_SECONDS, STREAMS

NDJSON = ("application/x-ndjson", "application/ndjson", "application/jsonl", "application/x-jsonlines")


@dataclass(frozen=True, slots=True)
class _Line:
    """A review, or why a line is none.

    Attributes:
        number: Its number, from 1; blank ones count.
        text: The review.
        explain: Whether its answer is explained.
        problem: Why it is none.
    """

    number: int
    text: str = ""
    explain: bool = False
    problem: Refusal | None = None


async def answer_stream(service: Service, request: Request, send: Send) -> None:
    """Read lines and answer them, a few blocks ahead; a client that does not take its answers is not read on.

    Raises:
        Refusal: There are as many streams as there may be.
    """
    if service.streams >= STREAMS:
        raise overloaded(f"{STREAMS} streams are open already; send yours again in a moment")
    service.streams += 1
    try:
        with service.models.current.used() as model:
            await _Conversation(service, model, request, send).run()
    finally:
        service.streams -= 1


class _Conversation:
    """One stream.

    Args:
        service: The server.
        model: The model that answers all of it.
        request: The request.
        send: Where the answer goes.
    """

    def __init__(self, service: Service, model: Model, request: Request, send: Send) -> None:
        self._service = service
        self._model = model
        self._request = request
        self._send = send
        # Beside the block that is in it, one waits to be put there, and one is being sent.
        self._blocks: asyncio.Queue[asyncio.Task[list[str]] | None] = asyncio.Queue(1)
        self._block_lines = min(BLOCK_LINES, service.settings.queue)  # more would wait for room that there never is

    async def run(self) -> None:
        """Answer until the lines end, the client hangs up, or the server is told to end."""
        headers = [(b"content-type", NDJSON[0].encode())]
        await self._send({"type": "http.response.start", "status": 200, "headers": headers})
        try:
            async with asyncio.TaskGroup() as group:
                gone = group.create_task(wait_until_gone(self._request))
                group.create_task(self._read(group))
                while (block := await self._blocks.get()) is not None:
                    body = "".join(f"{line}\n" for line in await block).encode()
                    await self._send({"type": "http.response.body", "body": body, "more_body": True})
                gone.cancel()
        except* ClientGoneError:
            pass
        else:
            await self._send({"type": "http.response.body", "body": b""})

    async def _read(self, group: asyncio.TaskGroup) -> None:
        """Begin to answer lines as they come."""
        async for lines in self._arrivals():
            for first in range(0, len(lines), self._block_lines):
                block = lines[first : first + self._block_lines]
                if is_last := self._service.stopping.is_set():
                    block = [_Line(block[0].number, problem=_ending())]
                await self._blocks.put(group.create_task(self._answer(block)))
                if is_last:
                    await self._blocks.put(None)
                    return
        await self._blocks.put(None)

    async def _arrivals(self) -> AsyncIterator[list[_Line]]:
        """Lines, as many as there are; where they end early, the last says why."""
        rest, number, is_skipping, more = b"", 0, False, True
        while more:
            try:
                message = await self._message()
            except Refusal as end:
                yield [_Line(number + 1, problem=end)]
                return
            more = message.get("more_body", False)
            data = rest + message.get("body", b"")
            if is_skipping:
                _, end_of_line, data = data.partition(b"\n")
                is_skipping = not end_of_line
            *parts, rest = data.split(b"\n")
            if not more:
                parts.append(rest)
            lines = [_parsed(raw, place) for place, raw in enumerate(parts, start=number + 1) if raw.strip()]
            number += len(parts)
            if more and len(rest) > LARGEST_LINE:
                number += 1
                problem = too_large(f"line {number} has more than {LARGEST_LINE} bytes")
                lines.append(_Line(number, problem=problem))
                rest, is_skipping = b"", True
            yield lines

    async def _message(self) -> Message:
        """The next part of the request.

        Raises:
            Refusal: None comes, or the server was told to end.
            ClientGoneError: The client hung up.
        """
        waiting = [asyncio.create_task(each) for each in (self._receive(), self._service.stopping.wait())]
        try:
            await asyncio.wait(waiting, timeout=STREAM_IDLE_SECONDS, return_when=asyncio.FIRST_COMPLETED)
            if self._service.stopping.is_set():
                raise _ending()
            if not waiting[0].done():
                raise Refusal(408, "Validation", f"nothing came for {STREAM_IDLE_SECONDS} seconds")
            return cast("Message", waiting[0].result())
        finally:
            for task in waiting:
                task.cancel()

    async def _receive(self) -> Message:
        message = await self._request.receive()
        if message["type"] == "http.disconnect":
            raise ClientGoneError
        return message

    async def _answer(self, lines: Sequence[_Line]) -> list[str]:
        """The answers to lines, in order, as they are sent."""
        answers: dict[int, Answer | Refusal] = {line.number: line.problem for line in lines if line.problem}
        for explain in (False, True):
            asked = [line for line in lines if line.explain == explain and not line.problem]
            try:
                given: Sequence[Answer | Refusal] = await self._service.queue.answer(
                    self._model, [line.text for line in asked], explain=explain, patient=True
                )
            except BundleError as error:
                given = [Refusal(424, "Backend", str(error))] * len(asked)
            answers.update(zip((line.number for line in asked), given, strict=True))
        return [self._written(line.number, answers[line.number]) for line in lines]

    def _written(self, number: int, answer: Answer | Refusal) -> str:
        if answer is None:
            answer = invalid(f"line {number}", str(EmptyReviewError()))
        if isinstance(answer, Refusal):
            return to_json({"line": number, **answer.to_dict()})
        return to_json(answer_to_dict(answer, self._service.settings.language))


def _ending() -> Refusal:
    return overloaded("the server ends; send this line and what follows again", 503)


def _parsed(raw: bytes, number: int) -> _Line:
    """A line: a text, or an object whose `text` is one; what else it holds is the client's own."""
    place = f"line {number}"
    try:
        value = parse_json(raw, place)
        fields = {"text": value} if isinstance(value, str) else check_object(value, place)
        explain = bool(check_choice(fields, "explain", (True, False), f"{place}, "))
        return _Line(number, check_text(fields.get("text"), f"{place}, text"), explain)
    except Refusal as problem:
        return _Line(number, problem=problem)
