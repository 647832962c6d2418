"""The ASGI application: its endpoints, and what runs beside them."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

from prometheus_client import CONTENT_TYPE_LATEST
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import Route

from toolkit.machine import available_cores, package_versions
from toolkit.models.files import to_json
from toolkit.server.bodies import ClientGoneError
from toolkit.server.classify import classify
from toolkit.server.description import describe, page
from toolkit.server.guard import Guard, refuse
from toolkit.server.inference import infer, predict
from toolkit.server.refusals import Refusal
from toolkit.server.service import Service

_PAGE_POLICY = (
    "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)


def application(service: Service) -> Starlette:
    """The application of a server.

    Args:
        service: The server.
    """

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        tasks = [asyncio.create_task(each) for each in (service.queue.work(), service.models.watch())]
        yield
        for task in tasks:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task

    middleware = [Middleware(Guard, service=service)]
    if service.settings.origins:
        cors = Middleware(
            CORSMiddleware, allow_origins=service.settings.origins, allow_methods=["GET", "POST"],
            allow_headers=["authorization", "content-type"],
        )  # fmt: skip
        middleware.insert(0, cors)
    app = Starlette(
        routes=[
            Route("/", infer, methods=["POST"]),
            Route("/predict", predict, methods=["POST"]),
            Route("/classify", classify, methods=["POST"]),
            *(Route(f"/{each.__name__}", each) for each in (health, info, metrics, docs)),
            Route("/openapi.json", description),
        ],
        middleware=middleware,
        exception_handlers=dict.fromkeys((Refusal, HTTPException, ClientGoneError, Exception), refuse),
        lifespan=lifespan,
    )
    app.router.redirect_slashes = False  # to another scheme, too, where a proxy has taken TLS off
    app.state.service = service
    return app


async def health(request: Request) -> Response:
    """`GET /health`."""
    service: Service = request.app.state.service
    status, content = service.health()
    return _json(content, status)


async def info(request: Request) -> Response:
    """`GET /info`: what text-embeddings-inference says of a classifier, and what is to know of the model besides."""
    service: Service = request.app.state.service
    model, settings = service.models.current, service.settings
    predictor, manifest = model.predictor, model.predictor.manifest
    names = [label.name for label in predictor.labels]
    return _json(
        {
            "model_id": model.name,
            "model_sha": model.model_hash,
            "model_dtype": predictor.backend,  # a graph has several
            "model_type": {
                "classifier": {
                    "id2label": {str(number): name for number, name in enumerate(names)},
                    "label2id": {name: number for number, name in enumerate(names)},
                }
            },
            "max_concurrent_requests": settings.queue,
            "max_input_length": predictor.tokenizer.max_length,
            "max_batch_tokens": settings.most_texts * predictor.tokenizer.max_length,
            "max_client_batch_size": settings.most_texts,
            "auto_truncate": True,
            "tokenization_workers": available_cores(),
            "version": package_versions("distilbert-review-toolkit").get("distilbert-review-toolkit", ""),
            "base_model": manifest.base_model,
            "files": {name: entry["sha256"] for name, entry in manifest.files.items()},
            "labels": names,
            "truncation": predictor.tokenizer.truncation,
            "readers": predictor.readers,
            "backend": predictor.backend,
            "device": predictor.device,
            "uncertain_below": predictor.threshold.uncertain_below,
            "versions": package_versions("onnxruntime", "tokenizers", "numpy", "torch", "transformers"),
        }
    )


async def metrics(request: Request) -> Response:
    """`GET /metrics`."""
    service: Service = request.app.state.service
    content = service.metrics.text(service.models.current.model_hash)
    return Response(content, headers={"content-type": CONTENT_TYPE_LATEST})


async def description(request: Request) -> Response:
    """`GET /openapi.json`."""
    return _json(describe(request.app.state.service.settings))


async def docs(request: Request) -> Response:
    """`GET /docs`: the same for readers, without a script, and nothing from elsewhere."""
    return HTMLResponse(
        page(describe(request.app.state.service.settings)), headers={"content-security-policy": _PAGE_POLICY}
    )


def _json(content: dict[str, Any], status: int = 200) -> Response:
    return Response(to_json(content), status, media_type="application/json")
