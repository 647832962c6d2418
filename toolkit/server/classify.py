"""`/classify`: everything that a prediction has, as `toolkit predict --json` writes it."""

from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from toolkit.prediction.explanation import answer_to_dict
from toolkit.server.bodies import check_choice, check_object, check_one_or_more, content_type
from toolkit.server.models import Model
from toolkit.server.service import Service
from toolkit.server.streams import NDJSON, answer_stream

FIELDS = ("text", "explain")


async def classify(request: Request) -> Response:
    """`POST /classify`: one text or a list in JSON, any number in NDJSON."""
    service: Service = request.app.state.service
    if content_type(request) in NDJSON:
        return _Stream(request, service)

    async def answer(model: Model, body: Any) -> object:  # noqa: ANN401 - JSON
        fields = check_object(body, "the body", FIELDS)
        explain = bool(check_choice(fields, "explain", (True, False)))
        texts, places = check_one_or_more(fields.get("text"), "text", service.settings.most_texts)
        answers = [
            answer_to_dict(each, service.settings.language)
            for each in await service.answer(model, texts, places, explain=explain)
        ]
        return answers if isinstance(fields["text"], list) else answers[0]

    return await service.respond(request, answer)


class _Stream(Response):
    """An answer that is sent while the request still comes, which none of Starlette's does."""

    def __init__(self, request: Request, service: Service) -> None:
        self._request = request
        self._service = service

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await answer_stream(self._service, self._request, send)
