"""Clients that are slow, large, many, wrong or gone: others are answered meanwhile, and the server is as before."""

import asyncio
import contextlib
import json
import socket
import time
import tracemalloc
from concurrent.futures import ThreadPoolExecutor

import pytest

pytest.importorskip("starlette", reason="the extra 'serve' is not installed")

from tests.server.conftest import JSON, PATIENCE, Asked
from toolkit.server import bodies
from toolkit.server.refusals import Refusal

MEANWHILE = 30.0  # seconds in which others have to be answered; an attack that holds the server takes longer
SECRET = "Xylophonia"


def run(coroutine):
    return asyncio.run(asyncio.wait_for(coroutine, PATIENCE))


def others_are_answered(server) -> None:
    started = time.monotonic()
    for _ in range(3):
        assert server.get("/health").status == 200
        assert server.post("/predict", {"inputs": "Great fun."}).status == 200
    assert time.monotonic() - started < MEANWHILE


@contextlib.contextmanager
def connections(server, count: int, data: bytes):
    with contextlib.ExitStack() as stack:
        opened = [
            stack.enter_context(socket.create_connection(("127.0.0.1", server.port), PATIENCE)) for _ in range(count)
        ]
        for connection in opened:
            connection.sendall(data)
        yield opened


def head(length: int | None, path: str = "/predict", **headers: str) -> bytes:
    size = "Transfer-Encoding: chunked" if length is None else f"Content-Length: {length}"
    more = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    return f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n{size}\r\n{more}\r\n".encode()


def status(connection) -> int:
    return int(connection.recv(4096).split()[1])


def test_slow_bodies_hold_nobody_up(serving):
    with connections(serving, 100, head(1000) + b'{"inputs": "'):
        others_are_answered(serving)


def test_a_body_that_does_not_come_is_not_waited_for(make_local, monkeypatch):
    monkeypatch.setattr(bodies, "IDLE_SECONDS", 0.1)

    asked = Asked(b'{"inputs"', b': "a"}', pause=0.3)

    async def ask():
        async with make_local().running() as local:
            return await local.post("/predict", headers={**JSON, "content-length": "15"}, asked=asked)

    reply = run(ask())
    assert (reply.status, reply.headers["connection"]) == (408, "close")
    assert len(asked.parts) == 2  # nor is it waited for to be thrown away


def test_a_body_that_drips_is_not_waited_for(make_local, monkeypatch):
    monkeypatch.setattr(bodies, "BODY_SECONDS", 0.2)

    async def ask():
        async with make_local().running() as local:
            return await local.post("/predict", asked=Asked(*[b" "] * 1000, pause=0.01))

    assert run(ask()).status == 408


def test_an_endless_body_ends(serving):
    with connections(serving, 1, head(None)) as (connection,):
        block = b"10000\r\n" + b" " * 65_536 + b"\r\n"
        sent = 0
        with contextlib.suppress(ConnectionError):
            while sent < 400_000_000:
                connection.sendall(block)
                sent += len(block)
        assert sent < 400_000_000
    others_are_answered(serving)


def test_a_body_that_is_announced_too_large_is_refused_before_it_comes(serving):
    with connections(serving, 1, head(5_000_000, Expect="100-continue")) as (connection,):
        assert status(connection) == 413
    for length in ("-1", "1e9", "9" * 400, "0x10"):
        with connections(serving, 1, head(0).replace(b"Content-Length: 0", f"Content-Length: {length}".encode())) as (
            connection,
        ):
            assert status(connection) in (400, 413)


def test_many_large_bodies_do_not_fill_the_memory():
    held = bodies.Held()
    with contextlib.ExitStack() as stack:
        for _ in range(16):
            take = stack.enter_context(held.room())
            for _ in range(4):
                take(bodies.LARGEST_BODY // 4)
        with pytest.raises(Refusal) as refused, held.room() as take:
            take(1)
        assert refused.value.status == 429
    with held.room() as take:
        take(bodies.HELD)


def test_who_announces_much_and_sends_little_takes_nobodys_room(serving):
    with (
        connections(serving, 20, head(bodies.LARGEST_BODY) + b"{"),
        connections(serving, 20, head(None) + b"1\r\n{\r\n"),
    ):
        others_are_answered(serving)


@pytest.mark.parametrize("path", ["/predict", "/"])
def test_what_else_a_body_holds_is_not_held_while_it_waits(make_local, slow_predictor, monkeypatch, path):
    held = []

    def measure(texts):
        held.append(tracemalloc.get_traced_memory()[0])
        return type(slow_predictor).predict_each(slow_predictor, texts)

    monkeypatch.setattr(slow_predictor, "predict_each", measure)

    async def ask():
        async with make_local().running() as local:
            for more in (b"", b"," * 200_000):
                await local.post(path, b'{"inputs": "a", "more": [[]' + more.replace(b",", b",[]") + b"]}")

    tracemalloc.start()
    try:
        run(ask())
    finally:
        tracemalloc.stop()
    plain, large = held[-2:]  # before them, the model was tried
    assert large - plain < 3_000_000  # the lists alone are 11 MB


def test_deep_and_odd_json_holds_nobody_up(serving):
    odd = [b"[" * 1_000_000, b'{"inputs":' * 300_000, b'{"inputs": [' + b"0," * 1_000_000 + b"0]}", b'{"inputs": ' + b"1" * 1_000_000 + b"}",
           b'{"inputs": "' + b"\\u0000" * 100_000 + b'"}', b'{"inputs": "' + b"film " * 100_000 + b'"}']  # fmt: skip
    with ThreadPoolExecutor(6) as threads:
        replies = threads.map(lambda body: serving.post("/predict", body), odd)
        others_are_answered(serving)
        assert [reply.status for reply in replies] == [422, 422, 413, 422, 422, 200]


def test_what_is_no_http_is_refused(serving):
    for data in (
        b"\x16\x03\x01\x02\x00\x01\x00\r\n\r\n",
        b"GET\r\n\r\n",
        b"POST /predict HTTP/1.1\r\nContent-Length: a\r\n\r\n",
    ):
        with connections(serving, 1, data) as (connection,):
            assert status(connection) == 400
    others_are_answered(serving)


def test_two_lengths_are_none(serving):
    """Of two servers in a row, one would believe the first and the other the second."""
    both = head(None).replace(b"Transfer-Encoding", b"Content-Length: 5\r\nTransfer-Encoding")
    with connections(serving, 1, both + b"0\r\n\r\nGET /info HTTP/1.1\r\nHost: localhost\r\n\r\n") as (connection,):
        assert status(connection) == 400
        rest = connection.recv(4096)
        assert b"200 OK" not in rest


def test_a_flood_is_refused_and_what_was_accepted_is_answered(start_serve, predictor):
    server = start_serve("--queue", 40, "--most-texts", 20)
    text = "I went in expecting nothing, and for once I was not disappointed: nothing is what I got."
    expected = predictor.predict(text).score

    def ask(_):
        reply = server.post("/classify", {"text": [text] * 20})
        if reply.status == 200:
            assert [answer["score"] for answer in reply.json()] == [expected] * 20
        else:
            assert reply.headers["retry-after"] == "1"
            assert reply.json()["error_type"] == "Overloaded"
        return reply.status

    with ThreadPoolExecutor(40) as threads:
        statuses = list(threads.map(ask, range(120)))
    assert set(statuses) == {200, 429}
    assert ask(0) == 200
    rejected = server.get("/metrics").body.decode()
    assert f'toolkit_rejected_total{{reason="queue"}} {statuses.count(429)}.0' in rejected
    assert server.metric("toolkit_queue_reviews") == 0


def test_who_hangs_up_costs_nothing_more(serving):
    """One by one: what the model had begun may be finished, what waits is not."""
    body = json.dumps({"text": ["A film that goes on and on, and then some more of it."] * 1000}).encode()
    before = serving.metric("toolkit_reviews_total")
    for _ in range(20):
        with connections(serving, 1, head(len(body), "/classify") + body):
            pass
    deadline = time.monotonic() + PATIENCE
    while serving.metric("toolkit_queue_reviews"):
        assert time.monotonic() < deadline
    assert serving.metric("toolkit_reviews_total") - before < 10_000
    assert b'toolkit_rejected_total{reason="gone"}' in serving.get("/metrics").body


def test_a_client_that_is_gone_is_taken_out_of_the_queue(make_local, slow_predictor):
    slow_predictor.seconds = 0.05
    body = json.dumps({"text": ["a film"] * 1000}).encode()

    async def ask():
        async with make_local().running() as local:
            reply = await local.post("/classify", asked=Asked(body, hangs_up=0.1))
            assert local.service.queue.waiting == 0
            return reply

    assert run(ask()).status == 499
    assert sum(map(len, slow_predictor.batches)) < 500


def test_a_deadline_is_kept(make_local, slow_predictor):
    slow_predictor.seconds = 0.5

    async def ask():
        async with make_local(deadline=0.1).running() as local:
            late = await local.post("/predict", {"inputs": "a film"})
            health = await local.get("/health")
            assert local.service.queue.waiting == 0
            return late, health

    late, health = run(ask())
    assert (late.status, late.headers["retry-after"]) == (503, "1")
    assert late.json() == {
        "error": "no answer within 0.1 seconds; send it again, or in smaller parts",
        "error_type": "Overloaded",
    }
    assert health.status == 200


def test_a_model_that_fails_is_said_and_unhealthy(make_local, slow_predictor):
    from toolkit.errors import BundleError

    def fail(texts):
        raise BundleError("the weights are damaged")

    async def ask():
        async with make_local().running() as local:
            slow_predictor.predict_each = fail
            failed = await local.post("/predict", {"inputs": "a film"})
            unhealthy = await local.get("/health")
            del slow_predictor.predict_each
            await local.post("/predict", {"inputs": "a film"})
            return failed, unhealthy, await local.get("/health")

    failed, unhealthy, healthy = run(ask())
    assert (failed.status, failed.json()) == (424, {"error": "the weights are damaged", "error_type": "Backend"})
    assert (unhealthy.status, healthy.status) == (503, 200)


def test_the_key_is_asked_for_everywhere_but_where_health_is_looked_up(make_local):
    paths = ("/info", "/metrics", "/docs", "/openapi.json", "/health")

    async def ask():
        async with make_local(key="open-sesame").running() as local:
            closed = [await local.get(path) for path in paths]
            wrong = []
            for value in (
                "",
                "open-sesame",
                "Basic open-sesame",
                "Bearer",
                "Bearer open",
                "Bearer open-sesame2",
                "Bearer \xe9",
            ):
                wrong.append((await local.post("/predict", {"inputs": "a"}, {**JSON, "authorization": value})).status)
            right = [
                (
                    await local.post("/predict", {"inputs": "a"}, {**JSON, "host": "elsewhere", "authorization": value})
                ).status
                for value in ("Bearer open-sesame", "bearer  open-sesame ")
            ]
            return [each.status for each in closed], closed[0], wrong, right

    statuses, first, wrong, right = run(ask())
    assert statuses == [401, 401, 200, 200, 200]
    assert first.headers["www-authenticate"] == "Bearer"
    assert set(wrong) == {401}
    assert right == [200, 200]


@pytest.mark.parametrize(
    ("more", "code"), [(b"", 200), (b"Origin: https://evil.example\r\n", 403), (b"Host:\r\n", 403)]
)
def test_old_http_needs_no_name(serving, more, code):
    """As load balancers ask whether a server lives; every browser says a name."""
    with connections(serving, 1, b"GET /health HTTP/1.0\r\n" + more + b"\r\n") as (connection,):
        assert status(connection) == code
    with connections(serving, 1, b"GET /health HTTP/1.1\r\n" + more + b"\r\n") as (connection,):
        assert status(connection) in (400, 403)


ORIGIN = "https://reviews.example.org"


def test_without_a_key_only_known_names_and_pages_may_ask(make_local):
    asked = [
        ({}, 200), ({"host": "localhost:1"}, 200), ({"host": "[::1]:8080"}, 200), ({"host": "Films.LAN"}, 200),
        ({"host": "evil.example"}, 403), ({"host": ""}, 403), ({"origin": "https://evil.example"}, 403), ({"origin": "null"}, 403),
        ({"origin": ORIGIN}, 200), ({"origin": "http://127.0.0.1:8080"}, 200),
    ]  # fmt: skip

    async def ask():
        async with make_local(names=("films.lan",), origins=(ORIGIN,)).running() as local:
            return [await local.post("/predict", {"inputs": "a"}, {**JSON, **headers}) for headers, _ in asked]

    replies = run(ask())
    assert [reply.status for reply in replies] == [status for _, status in asked]
    allowed = [reply.headers.get("access-control-allow-origin") for reply in replies]
    assert allowed == [ORIGIN if headers.get("origin") == ORIGIN else None for headers, _ in asked]


def test_no_other_page_may_read_answers_unless_asked(make_local):
    async def ask():
        async with make_local().running() as local:
            return await local.get("/info", {"origin": "http://127.0.0.1:8080"}), await local.get(
                "/info", {"origin": ORIGIN}
            )

    own, other = run(ask())
    assert (own.status, other.status) == (200, 403)
    assert not [name for reply in (own, other) for name in reply.headers if name.startswith("access-control")]


def test_logs_hold_no_review(start_serve, bundle):
    server = start_serve("--uncertain-below", "0.6")
    server.post("/classify", {"text": SECRET})
    server.post("/predict", {"inputs": {SECRET: SECRET}, SECRET: 1})
    server.post("/classify", f'{{"text": "{SECRET}'.encode())
    server.post("/classify", f'"{SECRET}"\n{{"{SECRET}'.encode(), {"content-type": "application/x-ndjson"})
    server.request("POST", f"/{SECRET}")
    server.get("/health", **{"X-A": SECRET})
    server.process.terminate()
    server.process.wait(PATIENCE)
    assert SECRET not in server.log()
