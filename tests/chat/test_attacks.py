"""The running server, attacked: what is refused, what stays as it was, and that others are answered meanwhile."""

import asyncio
import contextlib
import http.client
import json
import re
import socket
import time
import urllib.error
import urllib.parse
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from hashlib import sha256
from uuid import uuid4

import pytest

from tests.chat.test_server import Visitor, upload
from toolkit.web import limits as web_limits

pytest.importorskip("chainlit", reason="the extra 'app' is not installed")

MEANWHILE = 10.0  # seconds in which others have to be answered; an attack that holds the server takes longer
PASSWORD = "open sesame"


@pytest.fixture(scope="module")
def closed(start_server):
    """A server that asks for a password."""
    return start_server(TOOLKIT_CHAT_PASSWORD=PASSWORD)


def assert_answers_others(server) -> None:
    began = time.monotonic()
    assert server.health()[0] == 200
    assert time.monotonic() - began < MEANWHILE

    async def ask():
        async with Visitor(server.url) as visitor:
            assert (await visitor.ask("A quiet film.")).startswith("该文本被分类为: ")

    asyncio.run(ask())


def connect(server, source: str = "127.0.0.1") -> socket.socket:
    return socket.create_connection(("127.0.0.1", server.port), timeout=30, source_address=(source, 0))


def said(connection: socket.socket) -> bytes:
    """All that the server says until it closes; nothing, where it resets the connection."""
    content = b""
    with contextlib.suppress(ConnectionError):
        while part := connection.recv(65536):
            content += part
    return content


def head(server, method: str, path: str, *lines: str) -> bytes:
    return "\r\n".join([f"{method} {path} HTTP/1.1", f"Host: 127.0.0.1:{server.port}", *lines, "", ""]).encode()


def open_socket(server, *lines: str) -> tuple[socket.socket, bytes]:
    """A WebSocket by hand, and the first line of the answer."""
    connection = connect(server)
    upgrade = ("Upgrade: websocket", "Connection: Upgrade", "Sec-WebSocket-Version: 13")
    key = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="
    path = "/ws/socket.io/?EIO=4&transport=websocket"
    connection.sendall(head(server, "GET", path, *upgrade, key, *lines))
    answer = b""
    while b"\r\n\r\n" not in answer and (part := connection.recv(1)):
        answer += part
    return connection, answer.partition(b"\r\n")[0]


def frame(payload: bytes, opcode: int = 1) -> bytes:
    """A WebSocket frame of a client; masked with zeros, which changes nothing."""
    size = len(payload)
    if size < 126:
        length = bytes([0x80 | size])
    else:
        length = b"\xfe" + size.to_bytes(2, "big") if size < 1 << 16 else b"\xff" + size.to_bytes(8, "big")
    return bytes([0x80 | opcode]) + length + bytes(4) + payload


def assert_closed(connection: socket.socket) -> None:
    """The server says that it closes the WebSocket; it then waits a while for the other end to agree."""
    content = b""
    with contextlib.suppress(ConnectionError):
        while b"\x88" not in content and (part := connection.recv(65536)):
            content += part
    connection.close()


def joined(server, session: str | None = None) -> socket.socket:
    """A WebSocket by hand that takes part in a conversation."""
    connection, _ = open_socket(server)
    auth = {"sessionId": session or str(uuid4()), "clientType": "webapp"}
    connection.sendall(frame(b"40" + json.dumps(auth).encode()))
    connection.settimeout(30)
    answer = b""
    while b'40{"sid"' not in answer:
        part = connection.recv(4096)
        assert part, answer
        answer += part
    return connection


# Ids, routes and events.


@pytest.mark.parametrize(
    "identifier",
    ["{folder}", "", "../x", "x" * 5000, 7, None, ["x"], "{uuid}/..", "{uuid}\n"],
)
def test_an_id_names_no_path(server, tmp_path, identifier):
    from socketio.exceptions import ConnectionError as Refused

    (tmp_path / "kept.txt").write_text("kept")
    if isinstance(identifier, str):
        identifier = identifier.replace("{folder}", str(tmp_path)).replace("{uuid}", str(uuid4()))

    async def attack():
        async with Visitor(server.url) as other:
            _, stored, _ = await asyncio.to_thread(upload, server, other.session, "a.txt", b"Private.\n")
            attacker = Visitor(server.url)
            attacker.session = identifier
            with contextlib.suppress(Refused):
                async with attacker:
                    await asyncio.to_thread(upload, server, str(identifier), "a.txt", b"Planted.\n")
                    await attacker.client.emit("clear_session")
                    await asyncio.sleep(0.2)
            await asyncio.sleep(0.3)
            assert [path.name for path in tmp_path.iterdir()] == ["kept.txt"]
            path = f"/project/file/{stored['id']}?session_id={other.session}"
            assert (await asyncio.to_thread(server.get, path))[2] == "Private.\n"

    asyncio.run(attack())


def test_files_lie_in_folders_that_no_client_names(server):
    async def attack():
        async with Visitor(server.url) as visitor:
            await asyncio.to_thread(upload, server, visitor.session, "a.txt", b"Private.\n")
            names = [path.name for path in (server.state / f"server-{server.port}" / ".files").iterdir()]
            assert visitor.session not in names
            assert all(re.fullmatch("[0-9a-f]{64}", name) for name in names)

    asyncio.run(attack())


def test_an_event_does_not_stand_in_for_a_connection(server, tmp_path):
    """Socket.IO would call the handlers of `connect` and `disconnect` with whatever an event of that name brings."""
    (tmp_path / "kept.txt").write_text("kept")
    auth = {"sessionId": str(tmp_path), "clientType": "webapp"}
    connection = joined(server)
    for event in (["connect", {"HTTP_COOKIE": "a=b"}, auth], ["clear_session"], ["disconnect"], ["disconnect", "x"]):
        connection.sendall(frame(b"42" + json.dumps(event).encode()))
    time.sleep(0.5)
    connection.close()
    time.sleep(0.5)
    assert (tmp_path / "kept.txt").exists()


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/docs"),
        ("GET", "/redoc"),
        ("GET", "/openapi.json"),
        ("GET", "/docs/oauth2-redirect"),
        ("GET", "/copilot/index.js"),
        ("GET", "/auth/oauth/github"),
        ("POST", "/auth/jwt"),
        ("POST", "/auth/header"),
        ("POST", "/mcp"),
        ("DELETE", "/mcp"),
        ("PUT", "/feedback"),
        ("PUT", "/project/element"),
        ("DELETE", "/project/element"),
        ("POST", "/project/threads"),
        ("GET", "/project/thread/x"),
        ("GET", "/project/share/x"),
        ("DELETE", "/project/thread"),
        ("GET", "/ws/socket.io/?EIO=4&transport=polling"),
        ("POST", "/ws/socket.io/?EIO=4&transport=polling&sid=x"),
        ("GET", "/anything/else"),
        ("TRACE", "/"),
    ],
)
def test_what_the_page_does_not_need_is_closed(server, method, path):
    body = json.dumps({"sessionId": "none", "element": {"type": "custom"}}).encode()
    request = urllib.request.Request(f"{server.url}{path}", body, {"Content-Type": "application/json"}, method=method)
    assert server.request(request)[0] == 404
    assert "Traceback" not in server.log.read_text()


def test_a_forged_action_is_a_line_in_the_log(server):
    before = len(server.log.read_text())
    for action in (
        {"name": "correct", "payload": {}},
        {},
        {"name": "correct", "payload": 7},
        {"name": "\x1b[31m", "payload": {}},
    ):
        for session in (str(uuid4()), "", "../x"):
            body = json.dumps({"sessionId": session, "action": action}).encode()
            request = urllib.request.Request(f"{server.url}/project/action", body, {"Content-Type": "application/json"})
            assert server.request(request)[0] in (400, 404, 422, 500)
    log = server.log.read_text()[before:]
    assert "Traceback" not in log
    assert log.count("/project/action failed (") == len(log.splitlines()) <= 12


def test_no_path_leads_out_of_the_folders_that_are_served(server):
    for path in ("/public/../.chainlit/config.toml", "/public/%2e%2e/.chainlit/config.toml", "/assets/..%2f..%2f..%2fserver.py",
                 "/avatars/..%2f..%2fconfig.toml", "/public//etc/passwd", "/project/file/..%2f..%2fx?session_id=none"):  # fmt: skip
        connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=30)
        connection.request("GET", path)  # as it is, which urllib would not send
        response = connection.getresponse()
        content = response.read()
        assert response.status in (400, 401, 404) or content.startswith(b"<!doctype html>"), path
        assert not re.search(b"allow_origins|root:|import ", content)


def test_packets_that_no_page_sends_end_their_connection_and_nothing_else(server):
    before = server.log.read_text()
    for packet in (b"451-", b"46", b"49", b"9", b"", b"42", b"42{}", b"42[]", b"42[7]", b"42" + b"[" * 100_000,
                   b'42["client_message",' + b"9" * 10_000 + b"]", b"40[1]", b"40/admin,{}", b"44{}", b"\xf0\x9f\x8e\xac"):  # fmt: skip
        connection = joined(server)
        connection.sendall(frame(packet))
        assert_closed(connection)
    connection = joined(server)
    connection.sendall(frame(b"42[]", opcode=2))
    assert_closed(connection)
    for event in (b'42["client_message"]', b'42["client_message",{"message":7}]', b'42["chat_settings_change",[]]', b'42["stop",1]',
                  b'42["client_message",{"message":{"id":"x","output":"y"}}]', b'42["fetch_favorites"]', b'42["audio_end"]'):  # fmt: skip
        connection = joined(server)
        connection.sendall(frame(event) * 2)
        connection.close()
    assert_answers_others(server)
    assert "Traceback" not in server.log.read_text()[len(before) :]


# Bodies and headers.


@pytest.mark.parametrize("payload", ["[]," * 20_000 + "[]", "[" * 940 + "]" * 940, '{"a":' * 600 + "1" + "}" * 600])
def test_events_of_lists_in_lists_end_their_connection(server, payload):
    """They took the time of ten times their size in text, and a depth that only one of two parsers bears."""
    before = server.log.stat().st_size
    connection = joined(server)
    connection.sendall(frame(f'42["client_message",[{payload}]]'.encode()))
    assert_closed(connection)
    assert b"RecursionError" not in server.log.read_bytes()[before:]


def test_a_length_beside_chunks_is_refused(server):
    async def attack():
        async with Visitor(server.url) as visitor:
            connection = connect(server)
            path = f"/project/file?session_id={visitor.session}"
            lines = ("Content-Length: 5", "Transfer-Encoding: chunked", "Content-Type: multipart/form-data; boundary=b")
            connection.sendall(head(server, "POST", path, *lines))
            sent = 0
            with contextlib.suppress(ConnectionError):
                while sent < 60_000_000:
                    connection.sendall(b"100000\r\n" + b"x" * 0x100000 + b"\r\n")
                    sent += 0x100000
            assert sent < 30_000_000  # what lies in the buffers of a connection that was closed

    asyncio.run(asyncio.wait_for(attack(), 60))


def test_nothing_is_read_of_whoever_has_not_signed_in(closed):
    boundary = "Content-Type: multipart/form-data; boundary=b"
    for path in (f"/project/file?session_id={uuid4()}", "/project/action"):
        connection = connect(closed)
        connection.sendall(head(closed, "POST", path, "Content-Length: 1000000", boundary))  # and no body
        assert said(connection).startswith(b"HTTP/1.1 401 ")
    assert closed.get("/project/file/x?session_id=y")[0] == 401
    connection, answer = open_socket(closed)
    assert b" 403 " in answer
    assert said(connection) == b""
    assert closed.get("/project/settings", Cookie="access_token=forged")[0] == 401


def test_a_large_head_costs_nothing(server):
    began = time.monotonic()
    for _ in range(20):
        cookie = "Cookie: " + '"\\' * 30_000
        connection = connect(server)
        connection.sendall(head(server, "GET", "/", cookie))
        assert said(connection)[9:12] in (b"400", b"431", b"")
    assert_answers_others(server)
    assert time.monotonic() - began < 2 * MEANWHILE


def test_who_is_slow_is_not_waited_for_and_keeps_nobody_out(closed):
    """More connections than there are places send half a head; others stop in a body; a WebSocket never joins."""
    waiting = [connect(closed) for _ in range(web_limits.CONNECTIONS + 50)]
    for number, connection in enumerate(waiting):
        with contextlib.suppress(ConnectionError):
            connection.sendall(b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n" if number % 2 else b"")
    began = time.monotonic()
    assert closed.health()[0] == 200
    assert time.monotonic() - began < MEANWHILE
    stalled = connect(closed)
    stalled.sendall(
        head(closed, "POST", "/login", "Content-Length: 1000", "Content-Type: application/x-www-form-urlencoded")
    )
    stalled.sendall(b"username=")
    cookie = sign_in(closed, PASSWORD)[1]
    silent, answer = open_socket(closed, f"Cookie: {cookie}")
    assert b" 101 " in answer
    refused, _ = open_socket(closed, f"Cookie: {cookie}")
    refused.sendall(frame(b'40{"sessionId":"no id"}'))
    assert said(stalled).startswith(b"HTTP/1.1 408 ")
    for connection in (silent, refused):
        assert_closed(connection)
    for connection in waiting:
        said(connection)  # returns, since the server closes
    assert closed.health()[0] == 200


def test_one_address_has_so_many_connections(server):
    """Loopback itself is where a proxy is; its neighbour is anybody."""
    connections = [connect(server, "127.0.0.5") for _ in range(web_limits.CONNECTIONS_EACH + 30)]
    time.sleep(0.5)
    ended = 0
    for connection in connections:
        connection.setblocking(False)
        try:
            ended += connection.recv(1) == b""
        except ConnectionError:
            ended += 1
        except BlockingIOError:
            pass
    assert ended == 30
    assert_answers_others(server)
    for connection in connections:
        connection.close()


# Messages and quotas.


def memory(server) -> float:
    """Of the server's process, in MB."""
    with open(f"/proc/{server.process.pid}/status") as stream:
        return next(int(line.split()[1]) for line in stream if line.startswith("VmRSS")) / 1000


def test_large_messages_are_refused_in_a_sentence_and_not_kept(server):
    async def attack():
        async with Visitor(server.url) as visitor:
            await visitor.ask("A quiet film.")
            await visitor.ask("x" * 3_000_000)
            before = memory(server)
            for _ in range(10):
                assert "最多 200,000 个" in await visitor.ask("x" * 3_000_000)
            for _ in range(20):
                assert "最多 200,000 个" in await visitor.ask("x" * 900_000)
            assert memory(server) - before < 30  # each kept, they would be 48 MB
        for _ in range(3):
            async with Visitor(server.url) as visitor:
                with contextlib.suppress(Exception):
                    await visitor.say("x" * 15_000_000)
                    await asyncio.wait_for(visitor.client.wait(), 30)
        assert memory(server) - before < 60
        async with Visitor(server.url) as visitor:
            assert (await visitor.ask("A quiet film.")).startswith("该文本被分类为: ")

    asyncio.run(attack())


def test_a_session_stores_so_much_and_no_more(server):
    async def attack():
        async with Visitor(server.url) as visitor:
            answers = [
                await asyncio.to_thread(upload, server, visitor.session, "a.txt", b"x\n" * 9_500_000) for _ in range(6)
            ]
            assert [status for status, _, _ in answers] == [200] * 5 + [413]
            assert answers[-1][1]["detail"].startswith("已保存的文件太多")
            await visitor.client.emit("clear_session")
            await asyncio.sleep(0.5)  # Chainlit may look at the end of the connection first

    asyncio.run(attack())
    for _ in range(100):
        with contextlib.suppress(FileNotFoundError):  # one goes between being listed and being looked at
            if sum(path.stat().st_size for path in server.state.rglob("*.txt")) < 20_000_000:
                break
        time.sleep(0.1)
    else:
        raise AssertionError("the files outlive their session")


def test_nothing_outlives_a_conversation_that_ends_in_the_middle_of_its_work(server):
    for _ in range(3):
        session = str(uuid4())
        connection = joined(server, session)
        status, stored, _ = upload(server, session, "a.txt", b"A quiet film.\n" * 500)
        assert status == 200
        for text, files in ("A quiet film.", []), ("", [{"id": stored["id"]}]):
            message = {"message": {"id": str(uuid4()), "output": text}, "fileReferences": files}
            connection.sendall(frame(f"42{json.dumps(['client_message', message])}".encode()))
        connection.sendall(frame(b'42["clear_session"]') + frame(b"1"))
        connection.close()
        folder = sha256(session.encode()).hexdigest()
        until(lambda folder=folder: not list(server.state.rglob(folder)))
        time.sleep(3)  # in which the answers would come
        assert not list(server.state.rglob(folder))


def until(done, seconds: float = 30) -> None:
    deadline = time.monotonic() + seconds
    while not done():
        assert time.monotonic() < deadline
        time.sleep(0.1)


def test_many_messages_at_once_wait_in_bounded_memory(server):
    connection = joined(server)
    text = json.dumps("Fine. " * 33_000)
    message = '42["client_message",{"message":{"id":"%s","output":%s}}]'
    for _ in range(25):
        connection.sendall(frame((message % (uuid4(), text)).encode()))
    connection.settimeout(60)
    content = b""
    while json.dumps("前面的消息还没有处理完")[1:-1].encode() not in content:
        part = connection.recv(65536)
        assert part
        content += part
    connection.sendall(frame(b'42["stop"]') + frame(b'42["clear_session"]'))
    connection.close()
    assert_answers_others(server)


# Passwords.


def sign_in(server, password: str, source: str = "127.0.0.1", **headers: str) -> tuple[int, str]:
    """The status, and the cookie."""
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=60, source_address=(source, 0))
    form = urllib.parse.urlencode({"username": "me", "password": password})
    connection.request("POST", "/login", form, {"Content-Type": "application/x-www-form-urlencoded", **headers})
    response = connection.getresponse()
    response.read()
    return response.status, response.headers.get("set-cookie") or ""


def test_cookies_that_came_over_tls_go_over_nothing_else(closed):
    status, cookie = sign_in(
        closed, PASSWORD, "127.0.0.1", **{"X-Forwarded-Proto": "https", "X-Forwarded-For": "192.0.2.8"}
    )
    assert status == 200
    assert "; Secure" in cookie
    assert "httponly" in cookie.lower()
    assert "secure" not in sign_in(closed, PASSWORD)[1].lower()


def test_a_password_is_guessed_slowly(closed):
    """300 guesses side by side: few are compared, others are answered, and whoever knows it comes in."""
    with ThreadPoolExecutor(30) as pool:
        guesses = [pool.submit(sign_in, closed, f"guess {number}", "127.0.0.2") for number in range(300)]
        began = time.monotonic()
        assert closed.health()[0] == 200
        assert sign_in(closed, PASSWORD, "127.0.0.3")[0] == 200
        assert time.monotonic() - began < 2 * MEANWHILE
        statuses = [guess.result()[0] for guess in guesses]
    assert set(statuses) == {401, 429}
    assert statuses.count(401) < 15  # 4, and one more for each doubling of the wait
    assert sign_in(closed, PASSWORD, "127.0.0.2")[0] == 429  # also not the right one, which would tell
    for number in range(40):  # from everywhere
        status = sign_in(closed, "guess", f"127.0.1.{number + 1}")[0]
        assert status == (401 if number < 10 else status)
    assert status == 429
    assert sign_in(closed, PASSWORD, "127.0.0.3")[0] == 200  # known from before
