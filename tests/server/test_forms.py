"""The forms of requests and answers: text-embeddings-inference's, the Hub's, and our own."""

import asyncio
import codecs
import gzip
import json
import math
import shutil
import subprocess
import sys

import pytest

pytest.importorskip("starlette", reason="the extra 'serve' is not installed")

from tests.server.conftest import JSON, NDJSON, Asked
from toolkit.server.settings import LARGEST_BODY

TEXTS = ["A quiet film that stays with you.", "Two hours of explosions.", "I have no opinion on this one at all."]


def ask(local_of, *requests, **settings):
    """The replies to requests, each a path and a body, to one application."""

    async def run():
        async with local_of(**settings).running() as local:
            return [await local.post(path, body) for path, body in requests]

    return asyncio.run(run())


def scores(prediction, numbers=None):
    pairs = zip(prediction.probabilities, numbers or prediction.probabilities.values(), strict=True)
    return sorted(({"label": name, "score": number} for name, number in pairs), key=lambda each: -each["score"])


def test_predict_has_the_forms_of_text_embeddings_inference(make_local, slow_predictor):
    first, second = slow_predictor.predict_many(TEXTS[:2])
    replies = ask(
        make_local,
        ("/predict", {"inputs": TEXTS[0]}),
        ("/predict", {"inputs": [TEXTS[0]]}),
        ("/predict", {"inputs": [[TEXTS[0]], [TEXTS[1]]]}),
        ("/predict", {"inputs": [[TEXTS[0]]]}),
        ("/predict", {"inputs": TEXTS[0], "raw_scores": True, "truncate": None, "truncation_direction": "Right"}),
        ("/predict", {"inputs": TEXTS[0], "truncate": True, "prompt_name": None, "normalize": True}),
    )
    assert [reply.json() for reply in replies] == [
        scores(first), scores(first), [scores(first), scores(second)], [scores(first)], scores(first, first.logits), scores(first),
    ]  # fmt: skip
    assert {reply.status for reply in replies} == {200}


def test_what_is_not_read_whole_is_refused_where_the_client_wants_it_so(make_local):
    long = "film " * 300  # the fake predictor reads 64 tokens
    whole, off, left, right = ask(
        make_local,
        ("/predict", {"inputs": long}),
        ("/predict", {"inputs": [[TEXTS[0]], [long]], "truncate": False}),
        ("/predict", {"inputs": long, "truncate": True, "truncation_direction": "left"}),
        ("/predict", {"inputs": long, "truncate": True, "truncation_direction": "right"}),
    )
    assert whole.json() == right.json()
    assert off.status == 413
    assert off.json() == {"error": "inputs[1] must have at most 64 tokens. Given: 302", "error_type": "Validation"}
    assert left.status == 422
    assert left.json()["error"].startswith("truncation_direction: ")


def test_the_hubs_form_nests_and_applies_what_is_asked(make_local, slow_predictor):
    first, second = slow_predictor.predict_many(TEXTS[:2])
    replies = ask(
        make_local,
        ("/", {"inputs": TEXTS[0]}),
        ("/", {"inputs": TEXTS[:2], "parameters": {"top_k": 1}, "options": {"wait_for_model": True}}),
        ("/", {"inputs": TEXTS[0], "parameters": {"function_to_apply": "none"}}),
        ("/", {"inputs": TEXTS[0], "parameters": {"function_to_apply": "sigmoid", "top_k": None}}),
    )
    sigmoid = [1 / (1 + math.exp(-logit)) for logit in first.logits]
    assert [reply.json() for reply in replies[:3]] == [
        [scores(first)], [scores(first)[:1], scores(second)[:1]], [scores(first, first.logits)],
    ]  # fmt: skip
    for given, expected in zip(replies[3].json()[0], scores(first, sigmoid), strict=True):
        assert given == {"label": expected["label"], "score": pytest.approx(expected["score"], rel=1e-12)}


def test_sigmoid_overflows_nowhere():
    from toolkit.server.inference import _sigmoid

    assert [_sigmoid(logit) for logit in (-1e4, 0, 1e4)] == [0.0, 0.5, 1.0]


WRONG = [
    ("/predict", b"", "the body: "), ("/predict", b"{", "the body: "), ("/predict", b"[]", "the body: "),
    ("/predict", b'"a"', "the body: "), ("/predict", b"\xff\xfe", "the body: "), ("/predict", b"\xef\xbb\xbf\xef\xbb\xbf{}", "the body: "),
    ("/predict", b'{"inputs": NaN}', "the body: "), ("/predict", b'{"inputs": 1e5, "a": -Infinity}', "the body: "),
    ("/predict", b"[" * 100_000, "the body: "), ("/predict", b'{"inputs": ' + b"[" * 50_000, "the body: "),
    ("/predict", b'{"inputs": ' + b"9" * 5000 + b"}", "the body: "),
    ("/predict", {}, "inputs: "), ("/predict", {"inputs": None}, "inputs: "), ("/predict", {"inputs": 3}, "inputs: "),
    ("/predict", {"inputs": {"text": "a"}}, "inputs: "), ("/predict", {"inputs": []}, "inputs: "),
    ("/predict", {"inputs": ["a", "b"]}, "inputs: "), ("/predict", {"inputs": ["a", "b", "c"]}, "inputs: "),
    ("/predict", {"inputs": [["a"], "b"]}, "inputs[1]: "), ("/predict", {"inputs": [["a"], ["b", "c"]]}, "inputs[1]: "),
    ("/predict", {"inputs": [["a"], [[]]]}, "inputs[1][0]: "), ("/predict", {"inputs": [[["a"]]]}, "inputs[0][0]: "),
    ("/predict", {"inputs": " "}, "inputs: "), ("/predict", {"inputs": [["a"], [""]]}, "inputs[1]: "),
    ("/predict", b'{"inputs": "\\ud83d"}', "inputs: "), ("/predict", b'{"inputs": [["a"], ["\\udcff"]]}', "inputs[1][0]: "),
    ("/predict", {"inputs": "a", "raw_scores": 1}, "raw_scores: "), ("/predict", {"inputs": "a", "truncate": "no"}, "truncate: "),
    ("/predict", {"inputs": "a", "truncation_direction": "up"}, "truncation_direction: "),
    ("/", {"inputs": [1]}, "inputs[0]: "), ("/", {"text": "a"}, "inputs: "),
    *(("/", {"inputs": "a", "parameters": each}, "parameters: ") for each in ([1], [], "", 0, False)),
    ("/", {"inputs": "a", "parameters": {"topk": 1}}, "'topk': "),
    ("/", {"inputs": "a", "parameters": {"top_k": 0}}, "parameters.top_k: "),
    ("/", {"inputs": "a", "parameters": {"top_k": True}}, "parameters.top_k: "),
    ("/", {"inputs": "a", "parameters": {"function_to_apply": "relu"}}, "parameters.function_to_apply: "),
    ("/classify", {"inputs": "a"}, "'inputs': "), ("/classify", {"text": None}, "text: "), ("/classify", {"text": []}, "text: "),
    ("/classify", {"text": ["a", 2]}, "text[1]: "), ("/classify", {"text": ["a", "\u200b"]}, "text[1]: "),
    ("/classify", {"text": "a", "explain": 1}, "explain: "), ("/classify", {"text": "a", "explian": True}, "'explian': "),
]  # fmt: skip


def test_wrong_bodies_name_the_field_and_nothing_of_the_review(make_local):
    replies = ask(make_local, *((path, body) for path, body, _ in WRONG))
    for (path, body, place), reply in zip(WRONG, replies, strict=True):
        assert (reply.status, reply.json()["error_type"]) == (422, "Validation"), (path, body[:50], reply.body)
        assert reply.json()["error"].startswith(place), (path, body[:50], reply.body)
        assert len(reply.body) < 400
        assert b"sys." not in reply.body  # advice for the server's programmers


def test_there_are_limits_to_a_body(make_local):
    async def run():
        async with make_local(most_texts=3, queue=3).running() as local:
            return [
                await local.post("/predict", {"inputs": [["a"]] * 4}),
                await local.post("/classify", {"text": ["a"] * 4}),
                await local.post("/predict", b"{}", {**JSON, "content-length": str(LARGEST_BODY + 1)}),
                await local.post("/predict", b"{}", {**JSON, "content-length": "many"}),
                await local.post("/predict", asked=Asked(*[b" " * 500_000] * 9)),  # of no announced length
                await local.post("/predict", {"inputs": "a"}, {"content-type": "text/plain"}),
                await local.post("/predict", {"inputs": "a"}, {"content-type": "application/json; charset=utf-8"}),
                await local.post("/predict", gzip.compress(b'{"inputs": "a"}'), {**JSON, "content-encoding": "gzip"}),
                await local.post("/classify", gzip.compress(b'"a"'), {**NDJSON, "content-encoding": "gzip"}),
                await local.post("/predict", {"inputs": "a"}, {**JSON, "content-encoding": "identity"}),
                await local.get("/nothing"),
                await local.post("/predict/", {"inputs": "a"}),
                await local.get("/predict"),
                await local.get("/health", {"x": "y" * 40_000}),
            ]

    replies = asyncio.run(run())
    statuses = [reply.status for reply in replies]
    assert statuses == [413, 413, 413, 413, 413, 415, 200, 415, 415, 200, 404, 404, 405, 431]
    for reply in replies:
        assert reply.status == 200 or set(reply.json()) == {"error", "error_type"}
    assert "batch size 4 > maximum allowed batch size 3" in replies[0].json()["error"]
    assert replies[4].headers["connection"] == "close"
    assert replies[7].json()["error"] == replies[8].json()["error"]
    assert "Content-Encoding" in replies[7].json()["error"]
    assert replies[10].json()["error"].startswith("no such endpoint; there are /, /predict, ")
    assert replies[12].json()["error"] == "expected POST, found GET"


def test_a_byte_order_mark_before_a_body_or_a_line_is_none_of_it(make_local):
    plain, marked = (
        ask(make_local, ("/predict", mark + b'{"inputs": "a"}')) for mark in (b"", codecs.BOM_UTF8)
    )  # fmt: skip
    assert (marked[0].status, marked[0].body) == (200, plain[0].body)


def test_answers_are_those_of_the_command_byte_for_byte(serving, bundle, toolkit_command):
    printed = toolkit_command("predict", "--json", "--onnx-model", bundle, *TEXTS).stdout.decode().splitlines()
    assert [serving.post("/classify", {"text": text}).body.decode() for text in TEXTS] == printed
    assert serving.post("/classify", {"text": TEXTS}).body.decode() == f"[{', '.join(printed)}]"
    assert serving.post("/classify", {"text": TEXTS[:1], "explain": False}).body.decode() == f"[{printed[0]}]"
    why = toolkit_command("predict", "--json", "--why", "--onnx-model", bundle, TEXTS[0]).stdout.decode().strip()
    assert serving.post("/classify", {"text": TEXTS[0], "explain": True}).body.decode() == why


def test_every_answer_is_the_predictors_to_the_bit_whatever_came_at_the_same_time(serving, predictor, demo_reviews):
    from concurrent.futures import ThreadPoolExecutor

    texts = [review.text for review in demo_reviews["test"]]
    expected = {text: scores(prediction) for text, prediction in zip(texts, predictor.predict_many(texts), strict=True)}

    def single(text):
        return serving.post("/predict", {"inputs": text}).json() == expected[text]

    def batch(first):
        some = texts[first : first + 10]
        reply = serving.post("/predict", {"inputs": [[text] for text in some]})
        return reply.json() == [expected[text] for text in some]

    with ThreadPoolExecutor(8) as threads:
        outcomes = [*threads.map(single, texts), *threads.map(batch, range(0, len(texts), 10))]
    assert all(outcomes)
    assert len(outcomes) > 60


def test_the_hubs_client_works(serving, predictor):
    hub = pytest.importorskip("huggingface_hub", reason="no client of the Hub is installed")
    client = hub.InferenceClient(serving.url)
    (prediction,) = predictor.predict_many(TEXTS[:1])
    elements = client.text_classification(TEXTS[0])
    assert [(each.label, each.score) for each in elements] == [tuple(each.values()) for each in scores(prediction)]
    assert len(client.text_classification(TEXTS[0], top_k=1)) == 1
    logits = client.text_classification(TEXTS[0], function_to_apply="none")
    assert {each.label: each.score for each in logits} == dict(
        zip(prediction.probabilities, prediction.logits, strict=True)
    )
    with pytest.raises(hub.errors.HfHubHTTPError, match="422"):
        client.text_classification(" ")


def test_curl_works(serving):
    if shutil.which("curl") is None:
        pytest.skip("no curl")

    def curl(*arguments, stdin=b""):
        process = subprocess.run(
            ["curl", "-sS", "--max-time", "60", *arguments], input=stdin, capture_output=True, check=True
        )
        return process.stdout.decode()

    header = "Content-Type: application/json"
    assert json.loads(curl(f"{serving.url}/predict", "-H", header, "-d", '{"inputs": "Great fun."}'))[0]["label"]
    large = json.dumps({"inputs": "a" * (LARGEST_BODY + 10)}).encode()
    refused = curl("-w", "%{http_code}", f"{serving.url}/predict", "-H", header, "--data-binary", "@-", stdin=large)
    assert refused.endswith("413")
    lines = curl(
        "-T",
        "-",
        "-X",
        "POST",
        f"{serving.url}/classify",
        "-H",
        "Content-Type: application/x-ndjson",
        stdin=b'"Great fun."\n' * 500,
    )
    assert len(set(lines.splitlines())) == 1
    assert lines.count("\n") == 500


# The description.


def components(description: dict) -> dict:
    """A JSON Schema of a name, out of OpenAPI's dialect."""

    def translated(value):
        if isinstance(value, dict):
            value = {key: translated(each) for key, each in value.items()}
            if value.pop("nullable", False):
                value = {"anyOf": [value, {"type": "null"}]}
        return [translated(each) for each in value] if isinstance(value, list) else value

    return translated(description["components"])


def test_the_description_is_true(serving):
    jsonschema = pytest.importorskip("jsonschema", reason="no validator is installed")
    description = serving.get("/openapi.json").json()
    schemas = components(description)

    def check(name: str, value) -> None:
        jsonschema.Draft202012Validator({"$ref": f"#/components/schemas/{name}", "components": schemas}).validate(value)

    for path, request, asked, answered in (
        ("/predict", {"inputs": TEXTS[0]}, "PredictRequest", "PredictResponse"),
        ("/predict", {"inputs": [[TEXTS[0]]], "truncation_direction": "Left"}, "PredictRequest", "PredictResponse"),
        ("/", {"inputs": TEXTS, "parameters": {"top_k": 1}}, "InferRequest", "InferResponse"),
        ("/classify", {"text": TEXTS[0], "explain": True}, "ClassifyRequest", "ClassifyResponse"),
        ("/classify", {"text": TEXTS}, "ClassifyRequest", "ClassifyResponse"),
    ):
        check(asked, request)
        reply = serving.post(path, request)
        assert reply.status == 200, reply.body
        check(answered, reply.json())
        assert path in description["paths"]
    check("ErrorResponse", serving.post("/predict", {}).json())
    check("Health", serving.get("/health").json())
    check("Info", serving.get("/info").json())
    for wrong in ({"inputs": 3}, {"text": "a"}, {"inputs": ["a", "b"]}):
        with pytest.raises(jsonschema.ValidationError):
            check("PredictRequest", wrong)


def test_the_description_is_valid(serving):
    validator = pytest.importorskip("openapi_spec_validator", reason="no validator of OpenAPI is installed")
    validator.validate(serving.get("/openapi.json").json())


def test_a_generated_client_works(serving, tmp_path):
    pytest.importorskip("openapi_python_client", reason="no generator of clients is installed")
    (tmp_path / "openapi.json").write_bytes(serving.get("/openapi.json").body)
    subprocess.run(
        [sys.executable, "-m", "openapi_python_client", "generate", "--path", tmp_path / "openapi.json", "--meta", "none",
         "--output-path", tmp_path / "generated"], check=True, capture_output=True, cwd=tmp_path,
    )  # fmt: skip
    script = f"""
from generated import Client
from generated.api.default import classify, health, predict
from generated.models import ClassifyRequest, PredictRequest
client = Client(base_url={serving.url!r})
print(health.sync(client=client).status)
print(predict.sync(client=client, body=PredictRequest(inputs={TEXTS[0]!r}))[0].label)
print(classify.sync(client=client, body=ClassifyRequest(text={TEXTS[0]!r})).score)
"""
    process = subprocess.run([sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert process.returncode == 0, process.stderr
    status, label, score = process.stdout.split()
    answer = serving.post("/classify", {"text": TEXTS[0]}).json()
    assert (status, label, float(score)) == ("ok", answer["label"], answer["score"])


def test_the_page_fetches_nothing(serving):
    reply = serving.get("/docs")
    page = reply.body.decode()
    assert "POST /classify" in page
    assert "PredictRequest" in page
    assert "<script" not in page
    assert not [word for word in page.replace("&quot;", " ").split() if word.startswith(("src=", "@import"))]
    assert "default-src 'none'" in reply.headers["content-security-policy"]
    assert serving.outside_calls() == ""


def test_info_and_metrics_say_what_there_is(serving, predictor, bundle):
    from hashlib import sha256

    info = serving.get("/info").json()
    digest = sha256((bundle / "manifest.json").read_bytes()).hexdigest()
    assert info["model_sha"] == digest == serving.get("/health").json()["model"]
    assert info["files"]["model.onnx"] == sha256((bundle / "model.onnx").read_bytes()).hexdigest()
    assert info["labels"] == [label.name for label in predictor.labels]
    assert info["max_input_length"] == predictor.tokenizer.max_length
    before = serving.metric("toolkit_reviews_total")
    serving.post("/classify", {"text": TEXTS})
    assert serving.metric("toolkit_reviews_total") == before + 3
    assert serving.metric("toolkit_queue_reviews") == 0
    text = serving.get("/metrics").body.decode()
    assert f'toolkit_model_info{{sha256="{digest}"}} 1.0' in text
    assert 'toolkit_request_seconds_bucket{endpoint="/classify",le="+Inf"}' in text
