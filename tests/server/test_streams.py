"""NDJSON in, NDJSON out: in order, as it comes, and in bounded memory."""

import asyncio
import http.client
import json
import socket
import threading
import time

import pytest

pytest.importorskip("starlette", reason="the extra 'serve' is not installed")

from tests.server.conftest import NDJSON, PATIENCE, Asked
from toolkit.prediction.explanation import answer_to_dict
from toolkit.server import streams
from toolkit.server.settings import LARGEST_LINE, STREAMS


def stream(make_local, asked, then=None, **settings):
    """The lines that come back for a request to `/classify`."""

    async def run():
        async with make_local(**settings).running() as local:
            asking = asyncio.create_task(local.post("/classify", headers=NDJSON, asked=asked))
            if then is not None:
                await then(local)
            reply = await asyncio.wait_for(asking, PATIENCE)
            assert local.service.streams == 0
            assert local.service.queue.waiting == 0
            return reply

    reply = asyncio.run(run())
    return [json.loads(line) for line in reply.body.splitlines()]


def test_lines_are_answered_in_order_wherever_the_parts_end(make_local, slow_predictor):
    texts = [f"film number {number}, é and 电影" for number in range(300)]
    data = "\n".join(
        json.dumps(text if number % 2 else {"text": text, "id": number}) for number, text in enumerate(texts)
    )
    parts = [data.encode()[start : start + 777] for start in range(0, len(data.encode()), 777)]
    assert stream(make_local, Asked(*parts)) == list(map(answer_to_dict, slow_predictor.predict_many(texts)))


def test_a_line_that_is_wrong_has_its_error_in_its_place(make_local, slow_predictor):
    lines = [b'"Good."', b"", b"{", b"[1]", b'{"text": 1}', b'{"text": "a", "explain": "yes"}', b'"\xff"', b'" "',
             b'"\\ud800"', b"NaN", b"[" * 5000, b'"' + b"a" * (LARGEST_LINE + 70_000) + b'"', b'"Bad."\r', b"   "]  # fmt: skip
    data = b"\n".join(lines)
    parts = [data[start : start + 65_536] for start in range(0, len(data), 65_536)]
    first, *problems, last = stream(make_local, Asked(*parts))
    assert [first, last] == [answer_to_dict(each) for each in slow_predictor.predict_many(["Good.", "Bad."])]
    assert [problem["line"] for problem in problems] == [3, 4, 5, 6, 7, 8, 9, 10, 11, 12]
    assert all(problem["error"].startswith(f"line {problem['line']}") for problem in problems)
    assert problems[-1]["error"] == f"line 12 has more than {LARGEST_LINE} bytes"
    assert all(len(json.dumps(problem)) < 400 for problem in problems)


def test_a_queue_that_is_shorter_than_a_block_is_enough(make_local):
    assert len(stream(make_local, Asked(b'"a film"\n' * 70), queue=5, most_texts=5)) == 70


def test_a_line_may_ask_to_be_explained(make_local, slow_predictor):
    text = "A quiet film. It stays with you."
    plain, explained = stream(
        make_local, Asked(json.dumps(text).encode() + b"\n" + json.dumps({"text": text, "explain": True}).encode())
    )
    assert plain == answer_to_dict(slow_predictor.predict(text))
    assert explained == json.loads(json.dumps(answer_to_dict(slow_predictor.explain(text))))


def test_a_client_that_hangs_up_costs_a_few_blocks_at_most(make_local, slow_predictor):
    slow_predictor.seconds = 0.01
    lines = b'"a film"\n' * 100_000
    stream(make_local, Asked(lines, hangs_up=0.1))
    assert sum(map(len, slow_predictor.batches)) < 1000


def test_who_sends_nothing_more_is_not_waited_for_for_ever(make_local, monkeypatch):
    monkeypatch.setattr(streams, "STREAM_IDLE_SECONDS", 0.2)
    first, end = stream(make_local, Asked(b'"a film"\n', b"", pause=0.15)), None
    assert len(first) == 1
    *answers, end = stream(make_local, Asked(b'"a film"\n', b'"too late"\n', b"", pause=0.5))
    assert (answers, end["line"]) == ([], 1)
    assert "nothing came" in end["error"]


def test_a_server_that_ends_says_where_to_go_on(make_local):
    class Endless(Asked):
        async def receive(self):
            await asyncio.sleep(0.01)
            return {"type": "http.request", "body": b'"a film"\n', "more_body": True}

    async def stop(local):
        await asyncio.sleep(0.3)
        local.service.stopping.set()

    *answers, end = stream(make_local, Endless(), stop)
    assert len(answers) > 2
    assert all("score" in answer for answer in answers)
    assert end["line"] == len(answers) + 1
    assert end["error_type"] == "Overloaded"


def test_a_server_that_ends_does_not_finish_all_that_it_has_read(make_local, slow_predictor):
    async def stop(local):
        while not slow_predictor.batches:
            await asyncio.sleep(0.001)
        local.service.stopping.set()

    slow_predictor.seconds = 0.01
    *answers, end = stream(make_local, Asked(b'"a film"\n' * 5000), stop)
    assert all("score" in answer for answer in answers)
    assert 0 < len(answers) < 1000
    assert end["line"] == len(answers) + 1


def test_there_are_only_so_many_streams(make_local):
    async def run():
        async with make_local().running() as local:
            idle = [
                asyncio.create_task(local.post("/classify", headers=NDJSON, asked=Asked(b"", b"", pause=0.3)))
                for _ in range(STREAMS)
            ]
            await asyncio.sleep(0.1)
            refused = await local.post("/classify", headers=NDJSON)
            await asyncio.gather(*idle)
            return refused, await local.post("/classify", b'"a film"', NDJSON)

    refused, later = asyncio.run(run())
    assert (refused.status, refused.headers["retry-after"]) == (429, "1")
    assert later.status == 200


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%s\r\n" % (len(data), data)


HEAD = b"POST /classify HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/x-ndjson\r\nTransfer-Encoding: chunked\r\n\r\n"


def test_a_line_is_answered_before_the_next_is_sent(serving, predictor):
    connection = socket.create_connection(("127.0.0.1", serving.port), timeout=PATIENCE)
    with connection:
        connection.sendall(HEAD)
        response = http.client.HTTPResponse(connection)
        for number, text in enumerate(("Great fun.", "Dull.", "Neither.")):
            connection.sendall(chunk(json.dumps(text).encode() + b"\n"))
            if not number:
                response.begin()
            assert json.loads(response.readline()) == answer_to_dict(predictor.predict(text))
        connection.sendall(b"0\r\n\r\n")
        assert response.read() == b""


def test_memory_does_not_grow_with_the_lines_and_nobody_reads_on_for_whoever_takes_nothing(serving):
    """The client writes until the server stops to read, which it does for want of a reader; then it takes everything."""
    line = json.dumps({"text": "", "id": "x" * 900}).encode() + b"\n"  # which no model has to read
    count, sent = 40_000, 0  # whose answers, of 6 MB, are more than the sockets hold
    memory = serving.metric("process_resident_memory_bytes")
    with socket.socket() as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.connect(("127.0.0.1", serving.port))
        connection.sendall(HEAD)
        connection.settimeout(3.0)
        data = memoryview(b"".join(chunk(line) for _ in range(count)) + b"0\r\n\r\n")
        answered = connection.makefile("rb", buffering=0)
        try:
            while sent < len(data):
                sent += connection.send(data[sent : sent + 65_536])
        except TimeoutError:
            pass
        is_stopped = sent < len(data)
        connection.settimeout(PATIENCE)
        writing = threading.Thread(target=connection.sendall, args=(data[sent:],))
        writing.start()
        response = http.client.HTTPResponse(connection)
        response.begin()
        lines = sum(1 for _ in response)
        writing.join()
        answered.close()
    assert lines == count
    assert is_stopped, "the server read 36 MB for a client that took no answer"
    assert serving.metric("process_resident_memory_bytes") - memory < 30_000_000  # the lines have 36 MB


def test_others_are_answered_while_a_stream_goes_on(serving, predictor):
    def take(connection):
        try:
            while connection.recv(65_536):
                pass
        except OSError:
            pass

    def go_on(connection):
        block = chunk(b'"Great fun."\n' * 500)
        try:
            while not done.is_set():
                connection.sendall(block)
        except OSError:
            pass

    done = threading.Event()
    with socket.create_connection(("127.0.0.1", serving.port), timeout=PATIENCE) as connection:
        connection.sendall(HEAD)
        writing = threading.Thread(target=go_on, args=(connection,), daemon=True)
        taking = threading.Thread(target=take, args=(connection,), daemon=True)
        writing.start()
        taking.start()
        time.sleep(0.5)
        started = time.monotonic()
        for _ in range(5):
            answer = serving.post("/classify", {"text": "Dull."}).json()
            assert answer == answer_to_dict(predictor.predict("Dull."))
        assert time.monotonic() - started < 30
        done.set()
        connection.shutdown(socket.SHUT_RDWR)
        taking.join(PATIENCE)
    writing.join(PATIENCE)
