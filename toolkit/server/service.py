"""What every endpoint needs: the settings, the model, the queue before it, and how a client's wait for an answer ends."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import suppress
from typing import Any, TypeVar

from starlette.requests import Request
from starlette.responses import Response

from toolkit.errors import BundleError, EmptyReviewError
from toolkit.models.files import to_json
from toolkit.prediction import Prediction
from toolkit.prediction.explanation import Explanation
from toolkit.server.bodies import Held, check_announced, parse_json, read_body, wait_until_gone
from toolkit.server.metrics import Metrics
from toolkit.server.models import Model, Models
from toolkit.server.queue import Queue
from toolkit.server.refusals import Refusal, invalid, overloaded
from toolkit.server.settings import ServerSettings

_Result = TypeVar("_Result")
Answered = Prediction | Explanation


class Service:
    """One server.

    Attributes:
        settings: How it was started.
        models: The model that answers.
        metrics: What Prometheus is told.
        queue: The queue before the model.
        streams: The number of NDJSON streams that are open.
        stopping: Set when the server was told to end.

    Args:
        settings: How it is started.
        models: The model that answers.
    """

    def __init__(self, settings: ServerSettings, models: Models) -> None:
        self.settings = settings
        self.models = models
        self.metrics = Metrics()
        self.queue = Queue(settings.queue, self.metrics.reviews.inc)
        self.metrics.queue.set_function(lambda: self.queue.waiting)
        self.streams = 0
        self.stopping = asyncio.Event()
        self._held = Held()

    def health(self) -> tuple[int, dict[str, Any]]:
        """What `/health` answers, in the app's words: 200 as long as the model answers."""
        if self.stopping.is_set():
            return 503, {"status": "stopping"}
        if self.queue.failed is not None:
            return 503, {"status": "failing"}
        model = self.models.current
        backend, device = model.predictor.backend, model.predictor.device
        return 200, {"status": "ok", "backend": backend, "device": device, "model": model.model_hash}

    async def respond(self, request: Request, answer: Callable[[Model, Any], Coroutine[Any, Any, object]]) -> Response:
        """Read a JSON body, and answer it in JSON, within the deadline and as long as the client is there.

        Args:
            request: The request.
            answer: Gives the answer to a body.

        Raises:
            Refusal: There is none.
            ClientGoneError: The client hung up.
        """
        check_announced(request)
        with self._held.room() as take:
            body = parse_json(await read_body(request, take), "the body")
            try:
                with self.models.current.used() as model:
                    async with asyncio.timeout(self.settings.deadline):
                        value = await _while_connected(request, answer(model, body))
            except TimeoutError:
                sentence = f"no answer within {self.settings.deadline:g} seconds; send it again, or in smaller parts"
                raise overloaded(sentence, 503) from None
        return Response(to_json(value), media_type="application/json")

    async def answer(
        self, model: Model, texts: list[str], places: Callable[[int], str], *, explain: bool = False
    ) -> list[Answered]:
        """The answers to texts of a JSON body.

        Args:
            model: Who answers.
            texts: The texts.
            places: What an error calls the text of a number.
            explain: Whether to explain the answers.

        Raises:
            Refusal: There is no room, the model cannot answer, or there is nothing to read in one of them.
        """
        try:
            answers = await self.queue.answer(model, texts, explain=explain)
        except BundleError as error:
            raise Refusal(424, "Backend", str(error)) from error
        empty = next((number for number, answer in enumerate(answers) if answer is None), None)
        if empty is not None:
            raise invalid(places(empty), str(EmptyReviewError()))
        return [answer for answer in answers if answer is not None]


async def _while_connected(request: Request, work: Awaitable[_Result]) -> _Result:
    """The result of work, which ends when the client hangs up."""
    task, gone = asyncio.ensure_future(work), asyncio.create_task(wait_until_gone(request))
    try:
        await asyncio.wait((task, gone), return_when=asyncio.FIRST_COMPLETED)
        return task.result() if task.done() else gone.result()
    finally:
        for each in (task, gone):
            each.cancel()
            with suppress(asyncio.CancelledError, Exception):
                await each
