"""The OpenAPI description of the server, and the page that shows it."""

import html
import json
from collections.abc import Iterator, Mapping
from typing import Any

from toolkit.machine import package_versions
from toolkit.server.inference import FUNCTIONS
from toolkit.server.settings import LARGEST_BODY, ServerSettings

Schema = dict[str, Any]

_TEXT: Schema = {"type": "string", "example": "A quiet film that stays with you."}
_NUMBER: Schema = {"type": "number", "format": "double"}
_REFUSALS = {
    400: "Not HTTP, or not as it should be",
    401: "The key is missing or wrong",
    408: "The body did not come in time",
    413: f"The body has more than {LARGEST_BODY} bytes or too many texts, or a text is longer than is read",
    415: "The body is not said to be JSON, or is compressed",
    422: "The body is wrong; the error begins with the field",
    424: "The model cannot answer",
    429: "Too much waits already; Retry-After says when to come again",
    503: "No answer within the deadline, or before the server ends",
}


def describe(settings: ServerSettings) -> Schema:
    """The server in OpenAPI 3.0.

    Args:
        settings: How it was started.
    """
    version = package_versions("distilbert-review-toolkit").get("distilbert-review-toolkit", "0")
    description: Schema = {
        "openapi": "3.0.3",
        "info": {
            "title": "toolkit serve",
            "version": version,
            "description": "Says whether an English film review is positive or negative.",
            "license": {"name": "Apache 2.0", "url": "https://www.apache.org/licenses/LICENSE-2.0"},
        },
        "paths": {
            "/predict": _post(
                "predict",
                "Probabilities of all labels, as text-embeddings-inference gives them.",
                "PredictRequest",
                "PredictResponse",
            ),
            "/": _post("infer", "The same as clients of the Hub ask for it.", "InferRequest", "InferResponse"),
            "/classify": _classify(),
            "/health": _get("health", "Whether a model answers.", _json(_ref("Health")), {503: _json(_ref("Health"))}),
            "/info": _get("info", "The model, its hashes and labels, versions and limits.", _json(_ref("Info"))),
            "/metrics": _get("metrics", "What Prometheus reads.", {"text/plain": {"schema": {"type": "string"}}}),
        },
        "components": {"schemas": _schemas(settings)},
    }
    if settings.key is not None:
        description["components"]["securitySchemes"] = {"key": {"type": "http", "scheme": "bearer"}}
        description["security"] = [{"key": []}]
        description["paths"]["/health"]["get"]["security"] = []
    return description


def page(description: Mapping[str, Any]) -> str:
    """A page of HTML that shows a description: every endpoint, its forms and its answers.

    Args:
        description: As `describe` gives it.
    """
    return "\n".join(_page(description))


def _page(description: Mapping[str, Any]) -> Iterator[str]:
    info = description["info"]
    yield '<!DOCTYPE html><html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">'
    yield f"<title>{_escaped(info['title'])}</title><style>{_STYLE}</style>"
    yield f"<h1>{_escaped(info['title'])} {_escaped(info['version'])}</h1><p>{_escaped(info['description'])}</p>"
    yield '<p>For programs: <a href="openapi.json">openapi.json</a>.</p>'
    for path, methods in description["paths"].items():
        for method, operation in methods.items():
            yield f"<h2><code>{method.upper()} {_escaped(path)}</code></h2><p>{_escaped(operation['summary'])}</p>"
            for media, content in operation.get("requestBody", {}).get("content", {}).items():
                yield f"<p>Body, {_escaped(media)}: {_escaped(_name(content['schema']))}</p>"
            yield "<ul>"
            for status, response in operation["responses"].items():
                kinds = ", ".join(_name(content["schema"]) for content in response.get("content", {}).values())
                yield f"<li><code>{status}</code> {_escaped(response['description'])}: {_escaped(kinds)}</li>"
            yield "</ul>"
    for name, schema in description["components"]["schemas"].items():
        yield f'<h3 id="{_escaped(name)}">{_escaped(name)}</h3><pre>{_escaped(json.dumps(schema, indent=2))}</pre>'
    yield "</html>"


_STYLE = (
    "body{font:16px/1.5 system-ui,sans-serif;max-width:52rem;margin:2rem auto;padding:0 1rem}"
    "pre{background:#8881;padding:.7rem;overflow:auto}:root{color-scheme:light dark}"
)
_escaped = html.escape


def _name(schema: Schema) -> str:
    if "$ref" in schema:
        return str(schema["$ref"]).rpartition("/")[2]
    return " or ".join(map(_name, schema["oneOf"])) if "oneOf" in schema else str(schema["type"])


def _ref(name: str) -> Schema:
    return {"$ref": f"#/components/schemas/{name}"}


def _json(schema: Schema) -> Schema:
    return {"application/json": {"schema": schema}}


def _list(items: Schema, **more: object) -> Schema:
    return {"type": "array", "items": items, **more}


def _object(required: str = "", /, **properties: Schema) -> Schema:
    schema: Schema = {"type": "object", "properties": properties}
    return {**schema, "required": required.split()} if required else schema


def _get(name: str, summary: str, content: Schema, others: Mapping[int, Schema] | None = None) -> Schema:
    responses = {"200": {"description": summary, "content": content}}
    responses |= {
        str(status): {"description": "No model answers", "content": each} for status, each in (others or {}).items()
    }
    return {"get": {"operationId": name, "summary": summary, "responses": responses}}


def _post(name: str, summary: str, body: str, answer: str) -> Schema:
    refusals = {
        str(status): {"description": text, "content": _json(_ref("ErrorResponse"))}
        for status, text in _REFUSALS.items()
    }
    return {
        "post": {
            "operationId": name,
            "summary": summary,
            "requestBody": {"required": True, "content": _json(_ref(body))},
            "responses": {"200": {"description": summary, "content": _json(_ref(answer))}, **refusals},
        }
    }


def _classify() -> Schema:
    operation = _post(
        "classify", "Everything that a prediction has, as toolkit predict --json writes it; NDJSON in, NDJSON out.",
        "ClassifyRequest", "ClassifyResponse",
    )  # fmt: skip
    lines = {"application/x-ndjson": {"schema": {"type": "string", "description": "An object a line, as ClassifyLine"}}}
    operation["post"]["requestBody"]["content"].update(lines)
    operation["post"]["responses"]["200"]["content"].update(lines)
    return operation


def _schemas(settings: ServerSettings) -> Schema:
    most = settings.most_texts
    texts = {"oneOf": [_TEXT, _list({"type": "string"}, minItems=1, maxItems=most)]}
    flag = {"type": "boolean", "default": False, "nullable": True}
    single = _list({"type": "string"}, minItems=1, maxItems=1)
    classification = _object(
        "label score probabilities tokens tokens_read",
        label={"type": "string", "description": "A label, or uncertain"},
        score=_NUMBER,
        probabilities={"type": "object", "additionalProperties": _NUMBER},
        tokens={"type": "integer"},
        tokens_read={"type": "integer"},
        read_by={"type": "string", "enum": ["ngrams", "both", "model"]},
        familiarity=_NUMBER,
        reason={"type": "string", "enum": ["unsure", "unfamiliar", "script"]},
        window=_list({"type": "integer"}, minItems=2, maxItems=2),
        why={"type": "object", "description": "As toolkit predict --json --why writes it"},
    )
    return {
        "PredictRequest": _object(
            "inputs",
            inputs={"oneOf": [_TEXT, single, _list(single, minItems=1, maxItems=most)]},
            raw_scores={**flag, "description": "Logits in the place of probabilities"},
            truncate={"type": "boolean", "nullable": True, "description": "false refuses a text of which a part is not read"},
            truncation_direction={"type": "string", "enum": ["Left", "Right"], "nullable": True},
        ),
        "Prediction": _object("label score", label={"type": "string"}, score=_NUMBER),
        "Predictions": _list(_ref("Prediction")),
        "PredictResponse": {"oneOf": [_ref("Predictions"), _list(_ref("Predictions"))]},
        "InferRequest": _object("inputs", inputs=texts, parameters=_ref("InferParameters")),
        "InferParameters": _object(
            function_to_apply={"type": "string", "enum": list(FUNCTIONS), "nullable": True},
            top_k={"type": "integer", "minimum": 1, "nullable": True},
        ),
        "InferResponse": _list(_ref("Predictions")),
        "ClassifyRequest": _object("text", text=texts, explain=flag),
        "ClassifyLine": _object("text", text=_TEXT, explain=flag),
        "Classification": classification,
        "ClassifyResponse": {"oneOf": [_ref("Classification"), _list(_ref("Classification"))]},
        "Health": _object(
            "status",
            status={"type": "string", "enum": ["ok", "failing", "stopping"]},
            backend={"type": "string"}, device={"type": "string"}, model={"type": "string"},
        ),
        "Info": _object(
            "model_id model_sha model_dtype model_type max_concurrent_requests max_input_length max_batch_tokens "
            "max_client_batch_size auto_truncate tokenization_workers version labels",
            model_id={"type": "string"}, model_sha={"type": "string"}, model_dtype={"type": "string"},
            model_type={"type": "object"}, max_concurrent_requests={"type": "integer"},
            max_input_length={"type": "integer"}, max_batch_tokens={"type": "integer"},
            max_client_batch_size={"type": "integer"}, auto_truncate={"type": "boolean"},
            tokenization_workers={"type": "integer"}, version={"type": "string"}, base_model={"type": "string"},
            files={"type": "object", "additionalProperties": {"type": "string"}}, labels=_list({"type": "string"}),
            truncation={"type": "string"}, readers={"type": "string"}, backend={"type": "string"},
            device={"type": "string"}, uncertain_below=_NUMBER,
            versions={"type": "object", "additionalProperties": {"type": "string"}},
        ),
        "ErrorResponse": _object("error error_type", error={"type": "string"}, error_type=_ref("ErrorType")),
        "ErrorType": {"type": "string", "enum": ["Unhealthy", "Backend", "Overloaded", "Validation", "Tokenizer"]},
    }  # fmt: skip
