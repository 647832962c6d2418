"""What every request passes: who may ask, what is counted and logged of it, and how a refusal is said."""

import asyncio
import logging
import time
from http import HTTPStatus

from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from toolkit.models.files import to_json
from toolkit.server.bodies import ClientGoneError
from toolkit.server.refusals import Refusal, overloaded
from toolkit.server.service import Service
from toolkit.web.bodies import discard
from toolkit.web.hosts import head_size, is_secret, may_ask
from toolkit.web.limits import LARGEST_HEAD

ENDPOINTS = ("/", "/predict", "/classify", "/health", "/info", "/metrics", "/docs", "/openapi.json")
OPEN = ("/health", "/docs", "/openapi.json")  # without a key: whether it lives, and how to ask it
_GONE = 499  # the status in the log of a client that hung up, as nginx has it
_WAITED_FOR = (408, 503)  # the statuses of a body that did not come in the time that there was
_NO_ENDPOINT = f"no such endpoint; there are {', '.join(ENDPOINTS)}"

_logger = logging.getLogger(__name__)


class Guard:
    """ASGI middleware around the endpoints.

    Args:
        app: What it guards.
        service: The server.
    """

    def __init__(self, app: ASGIApp, service: Service) -> None:
        self._app = app
        self._service = service
        self._names = service.settings.all_names

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Refuse, or pass on; count either way."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        metrics, started, status = self._service.metrics, time.perf_counter(), _GONE

        async def count(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                if self._service.stopping.is_set():
                    message = {**message, "headers": [*message.get("headers", []), (b"connection", b"close")]}
            await send(message)

        request = Request(scope, receive, count)
        request.state.is_read = scope["method"] not in ("POST", "PUT", "PATCH")
        try:
            self._admit(scope, Headers(scope=scope))
            await self._app(scope, receive, count)
        except Refusal as refusal:
            await (await refuse(request, refusal))(scope, receive, count)
        except asyncio.CancelledError:
            if not self._service.stopping.is_set():
                raise
            if status == _GONE:  # no answer was begun, and the grace time is over
                await (await refuse(request, overloaded("the server ends; send it again", 503)))(scope, receive, count)
        except Exception:
            status = 500
            raise
        finally:
            endpoint = scope["path"] if scope["path"] in ENDPOINTS else "other"
            seconds = time.perf_counter() - started
            metrics.requests.labels(endpoint, str(status)).inc()
            metrics.seconds.labels(endpoint).observe(seconds)
            if reason := _REASONS.get(status):
                metrics.rejected.labels(reason).inc()
            _logger.debug("%s %s %d %.0f ms", scope["method"], endpoint, status, 1000 * seconds)

    def _admit(self, scope: Scope, headers: Headers) -> None:
        """Let in who may ask.

        Raises:
            Refusal: The client may not.
        """
        if head_size(scope) > LARGEST_HEAD:  # before anything reads them
            raise Refusal(431, "Validation", "the headers are too large")
        if headers.get("content-encoding", "identity").strip().lower() not in ("", "identity"):
            raise Refusal(
                415, "Validation", "expected a body without Content-Encoding; the server reads no compressed ones"
            )
        if "content-length" in headers and "transfer-encoding" in headers:  # of two servers in a row, each believes one
            raise Refusal(400, "Validation", "expected Content-Length or Transfer-Encoding, found both")
        settings = self._service.settings
        if settings.key is None:
            if not may_ask(headers, self._names, settings.origins):
                raise Refusal(
                    403, "Validation", "asked under a name or by a page that may not; see --name and --origin"
                )
        elif scope["path"] not in OPEN:
            scheme, _, given = headers.get("authorization", "").partition(" ")
            if scheme.lower() != "bearer" or not is_secret(given.strip(), settings.key):
                authenticate = {"www-authenticate": "Bearer"}
                raise Refusal(401, "Validation", "expected the header Authorization: Bearer KEY", authenticate)


async def refuse(request: Request, error: Exception) -> Response:
    """The answer to a request that gets none; a client that hung up is told nothing."""
    if isinstance(error, ClientGoneError):
        return Response(status_code=_GONE)
    if isinstance(error, HTTPException):  # Starlette's own, where there is no such endpoint
        headers = dict(error.headers or {})
        sentence = f"expected {headers['Allow']}, found {request.method}" if error.status_code == 405 else _NO_ENDPOINT
        error = Refusal(error.status_code, "Validation", sentence, headers)
    if not isinstance(error, Refusal):
        error = Refusal(500, "Backend", HTTPStatus(500).phrase)
    headers = error.headers
    if not getattr(request.state, "is_read", False):
        # One that expects 100 Continue waits for the answer before it sends; one that was too slow has had its time.
        if "expect" not in request.headers and error.status not in _WAITED_FOR:
            await discard(request.receive, request.headers)
        headers = {**headers, "connection": "close"}
    return Response(to_json(error.to_dict()), error.status, headers, "application/json")


_REASONS = {
    401: "key", 403: "stranger", 408: "slow", 413: "size", 415: "body", 422: "body", 424: "model", 429: "queue",
    431: "size", 503: "deadline", _GONE: "gone",
}  # fmt: skip
