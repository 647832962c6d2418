"""The guard's rooms one by one, without Chainlit: whose pages may ask, guesses, budgets, and text that stays text."""

import asyncio
import json
import logging
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT
from toolkit.chat import limits, settings
from toolkit.chat.corrections import Correction, save_correction
from toolkit.chat.guard import Guard, Questions, read_cookies
from toolkit.chat.guesses import FREE_MISTAKES, FREE_MISTAKES_OF_ALL, LONGEST_WAIT, LONGEST_WAIT_OF_ALL, Guesses
from toolkit.chat.limits import Budget
from toolkit.chat.pages import Answer
from toolkit.chat.plain import inert
from toolkit.chat.settings import ServerSettings
from toolkit.chat.state import prepare
from toolkit.chat.uploads import MAX_CELLS, MAX_ROWS
from toolkit.errors import ToolkitError
from toolkit.text.segmentation import clauses, sentences
from toolkit.web import limits as web_limits
from toolkit.web.limits import network_of
from toolkit.web.logs import PlainFormatter

ORIGIN = "https://reviews.example.org"


async def _yes(cookies) -> bool:
    return True


def ask(guard: Guard, path: str = "/", scheme: str = "http", **headers: str) -> tuple[int, dict[str, str], bytes]:
    """The status, the headers and the body that a guard sends."""
    sent: list = []

    async def send(message):
        sent.append(message)

    async def receive():
        return {"type": "http.request", "body": b"", "more_body": False}

    encoded = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
    scope = {"type": "http", "method": "GET", "path": path, "scheme": scheme, "headers": encoded, "query_string": b""}
    asyncio.run(guard(scope, receive, send))
    names = {name.decode(): value.decode() for name, value in sent[0]["headers"]}
    return sent[0]["status"], names, b"".join(message.get("body", b"") for message in sent[1:])


def guarded(tmp_path, host: str = "0.0.0.0", content: bytes = b"ok", origins=(ORIGIN,), root_path: str = "") -> Guard:
    async def application(scope, receive, send):
        headers = [(b"content-type", b"text/html"), (b"set-cookie", b"access_token=x; HttpOnly")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": content})

    questions = Questions(lambda: (200, {}), _yes, lambda session: True)
    return Guard(application, ServerSettings(tmp_path, origins=origins), host, root_path, questions)


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"host": "192.0.2.7:8000"}, 200),
        ({"host": "[2001:db8::1]:8000"}, 200),
        ({"host": "localhost:8000"}, 200),
        ({"host": "reviews.example.org"}, 200),
        ({"host": "reviews.example.org", "origin": ORIGIN}, 200),
        ({"host": "127.0.0.1:8000", "origin": ORIGIN}, 200),
        ({"host": "192.0.2.7:8000", "origin": "http://192.0.2.7:8000"}, 200),
        ({"host": "evil.example:8000"}, 403),
        ({"host": "evil.example:8000", "origin": "http://evil.example:8000"}, 403),
        ({"host": "192.0.2.7:8000", "origin": "http://evil.example:8000"}, 403),
        ({"host": "192.0.2.7.evil.example"}, 403),
        ({"host": "localhost.evil.example"}, 403),
        ({"host": "[evil"}, 403),
        ({"host": "[evil]"}, 403),
        ({"host": "evil@127.0.0.1"}, 403),
        ({"host": "127.0.0.1/evil"}, 403),
        ({"host": "LOCALHOST:8000", "origin": "http://["}, 403),
        ({"host": "localhost:8000", "origin": "//localhost:8000"}, 403),
        ({"host": ""}, 403),
        ({"origin": "http://evil.example:8000"}, 403),
        ({}, 200),  # HTTP/1.0, as load balancers ask
    ],
)
@pytest.mark.parametrize("host", ["0.0.0.0", "127.0.0.1", "192.0.2.7"])
def test_a_name_that_nobody_told_the_server_is_not_answered(tmp_path, host, headers, status):
    assert ask(guarded(tmp_path, host), **headers)[0] == status


def test_the_name_it_listens_on_is_one_of_its_own(tmp_path):
    assert ask(guarded(tmp_path, "Films.example.org"), host="films.example.org:8000")[0] == 200


def test_a_path_before_all_paths_changes_nothing(tmp_path):
    guard = guarded(tmp_path, root_path="/films/")
    assert ask(guard, "/films/login", host="localhost")[0] == 200
    assert ask(guard, "/films/docs", host="localhost")[0] == 404


def test_cookies_are_secure_where_the_browser_came_over_tls(tmp_path):
    guard = guarded(tmp_path)
    assert "Secure" not in ask(guard, host="localhost")[1]["set-cookie"]
    assert ask(guard, scheme="https", host="localhost")[1]["set-cookie"].endswith("; Secure")
    assert ask(guard, host="reviews.example.org")[1]["set-cookie"].endswith("; Secure")  # a proxy that does not say so


def test_pages_are_rewritten_and_files_are_not(tmp_path):
    page = b'<html lang="en"><link href="https://a.example/x"><link rel="icon" href="/favicon">\n<title>x</title>'
    guard = guarded(tmp_path, content=page)
    assert b"a.example" not in ask(guard, "/", host="localhost")[2]
    assert b'<link rel="icon" href="/favicon">' in ask(guard, "/", host="localhost")[2]
    _, headers, content = ask(guard, "/project/file/x", host="localhost")
    assert content == page
    assert headers["content-disposition"] == "attachment"


def test_expressions_look_at_everything_once():
    """Each of these took minutes, or would, where an expression begins anew at every character."""
    for text in ("." * 400_000 + "a", '!"' * 200_000 + "a", "a" * 400_000):
        assert len(sentences(text, (0, len(text)))) == len(clauses(text, (0, len(text)))) == 1
    assert len(sentences("。" * 400_000 + "a", (0, 400_001))) == 2
    answer = Answer(None, "", "en", is_page=True, is_file=False, secure=False)
    for part in (b"<link ", b'<link "https://', b'<meta property="og:', b"<title>", b"<link>" + b" " * 1000):
        answer._content = part * (1_000_000 // len(part))
        answer._rewritten()
    assert read_cookies("a=b; " + '"\\' * 500_000 + ";toolkit-language=en")["toolkit-language"] == "en"


# Guesses and budgets.


def test_mistakes_cost_more_and_more_patience():
    now = [0.0]
    guesses = Guesses(lambda: now[0])
    waits = []
    for _ in range(FREE_MISTAKES + 12):
        now[0] += guesses.wait("192.0.2.1")
        waits.append(guesses.wait("192.0.2.1"))
        assert waits[-1] == 0
        guesses.wrong("192.0.2.1")
    assert guesses.wait("192.0.2.1") == LONGEST_WAIT
    assert now[0] > 1000
    assert guesses.wait("192.0.2.2") == 0
    now[0] += 1000
    assert guesses.wait("192.0.2.1") == 0


def test_many_who_guess_wait_for_each_other_and_keep_nobody_out():
    guesses = Guesses(lambda: 0.0)
    guesses.right("192.0.2.200")
    guesses.right("127.0.0.1")
    for number in range(FREE_MISTAKES_OF_ALL + 10):
        guesses.wrong(f"192.0.2.{number}")
    assert guesses.wait("198.51.100.1") == LONGEST_WAIT_OF_ALL
    assert guesses.wait("127.0.0.1") == LONGEST_WAIT_OF_ALL  # anybody may stand behind a proxy
    assert guesses.wait("192.0.2.200") == 0
    for number in range(20_000):
        guesses.wrong(f"10.0.{number // 256}.{number % 256}")
    assert len(guesses._mistakes) <= 10_000


def test_a_network_of_addresses_is_one():
    assert network_of("2001:db8::1") == network_of("2001:db8::ffff:2") != network_of("2001:db8:0:1::1")
    assert network_of("::ffff:192.0.2.1") == network_of("192.0.2.1")
    assert network_of("fe80::1%eth0") == "fe80::/64"
    assert network_of("") == ""


def test_a_budget_is_for_each_and_for_all():
    budget = Budget(total=10, each=6)
    assert budget.take("a", 6)
    assert not budget.take("a", 1)
    assert not budget.take("b", 5)
    assert budget.take("b", 4)
    budget.give("a", 2)
    assert budget.take("a", 2)
    budget.give("a")
    assert budget.take("c", 6)
    assert not budget.take("d")


# Text.


@pytest.mark.parametrize(
    "text",
    [
        "[x](https://evil.example)",
        "<https://evil.example>",
        "![x](//evil.example/y.png)",
        "http&#58;//evil.example",
        "`a` *b*",
        ":name[a]{b}",
    ],
)
def test_markdown_of_strangers_is_text(text):
    shown = inert(text)
    assert shown != text
    for mark in "[]<>`*&!":
        assert shown.count(f"\\{mark}") == text.count(mark)
    assert "://e" not in shown
    assert inert("see www.evil.example, a@b.example").count("\N{WORD JOINER}") == 2


def test_a_log_shows_control_characters_and_one_line_a_message():
    formatter = PlainFormatter("%(levelname)s %(message)s")
    record = logging.LogRecord("x", logging.WARNING, "x", 1, "a\x1b[31m\nWARNING forged\x9b\u202e", (), None)
    assert formatter.format(record) == "WARNING a\\x1b[31m\\nWARNING forged\\x9b\\u202e"
    try:
        raise ValueError("b\x1b\nWARNING forged")
    except ValueError:
        record = logging.LogRecord("x", logging.ERROR, "x", 1, "failed", (), sys.exc_info())
    lines = formatter.format(record).splitlines()
    assert lines[0] == "ERROR failed"
    assert all(line.startswith("  ") for line in lines[1:])
    assert "\x1b" not in "".join(lines)


# What is kept.


def test_the_documented_limits_are_those_that_hold():
    documented = (ROOT / "docs" / "app.md").read_text()
    for sentence in (
        f"| {settings.LONGEST_TEXT:,} characters |",
        f"| {limits.LARGEST_MESSAGE >> 20} MiB; {limits.LARGEST_FRAME >> 20} MiB |",
        f"| {limits.MESSAGE_BURST} at once, then {limits.MESSAGES_PER_SECOND} a second; those over "
        f"{limits.LARGE_MESSAGE // 1000} kB, of all connections, {limits.LARGE_BYTES_PER_SECOND // 10**6} MB a second |",
        f"| {limits.WAITING_EACH // 10**6} MB a conversation, {limits.WAITING // 10**6} MB in all |",
        f"| {settings.LARGEST_UPLOAD} MB, {MAX_ROWS:,} rows, a name of {limits.LONGEST_NAME} characters; "
        f"{limits.UPLOAD_SECONDS} s, {web_limits.IDLE_SECONDS} s between its parts |",
        f"| files of a message | {limits.FILES_OF_A_MESSAGE} |",
        f"| {MAX_CELLS:,} cells |",
        f"{settings.KEPT_SECONDS} by default |",
        f"| {limits.UPLOADS_EACH} a conversation, {limits.UPLOADS} in all |",
        f"| {limits.STORED_EACH // 10**6} MB a conversation, {limits.STORED // 10**9} GB in all |",
        f"| {limits.LARGEST_FORM // 1000} kB, {limits.FORM_SECONDS} s |",
        f"| {web_limits.LARGEST_HEAD // 1000} kB, {web_limits.HEAD_SECONDS} s |",
        f"| {web_limits.CONNECTIONS_EACH} an address, {web_limits.CONNECTIONS} in all |",
        f"| {limits.SOCKETS_EACH} an address, {limits.SOCKETS} in all; {limits.JOIN_SECONDS} s to join",
        f"| {web_limits.STALLED_SECONDS} s |",
        f"| {limits.SESSIONS:,} |",
        f"| {limits.KEPT_ANSWERS}, with {limits.KEPT_CHARACTERS:,} characters |",
        f"| {limits.LARGEST_CORRECTIONS // 10**6} MB |",
    ):
        assert sentence in documented, sentence


def test_corrections_are_their_owners_alone_and_follow_no_link(tmp_path, monkeypatch):
    correction = Correction("Fine.", "positive", "positive", 0.9, "0" * 64)
    path = tmp_path / "corrections.jsonl"
    path.touch(mode=0o644)
    save_correction(path, correction)
    assert path.stat().st_mode & 0o777 == 0o600
    (tmp_path / "link").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(OSError, match="symbolic links"):
        save_correction(tmp_path / "link", correction)
    monkeypatch.setattr("toolkit.chat.corrections.LARGEST_CORRECTIONS", 200)
    with pytest.raises(OSError, match="is full"):
        for _ in range(10):
            save_correction(path, correction)
    assert path.stat().st_size <= 200


def test_several_servers_append_whole_lines(tmp_path):
    """Each process writes lines that end in two writes; without a lock they would mix."""
    code = """
import io, sys
from pathlib import Path
import toolkit.chat.corrections as room
class Halves(io.FileIO):
    def write(self, data):
        return super().write(bytes(data)[: max(1, len(data) // 2)])
room.os.fdopen = lambda descriptor, *_, **__: Halves(descriptor, "ab+")
for number in range(100):
    room.save_correction(Path(sys.argv[1]), room.Correction("x" * 500, sys.argv[2], "positive", 0.9, "0"))
"""
    path = tmp_path / "corrections.jsonl"
    servers = [subprocess.Popen([sys.executable, "-c", code, str(path), str(number)]) for number in range(4)]
    assert [server.wait(60) for server in servers] == [0] * 4
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert len(lines) == 400
    assert {line["text"] for line in lines} == {"x" * 500}


def test_a_state_folder_of_somebody_else_is_refused(tmp_path, monkeypatch):
    pytest.importorskip("chainlit")
    mine = tmp_path / "mine"
    mine.mkdir(mode=0o755)
    root = Path(prepare(ServerSettings(mine), 8000)["CHAINLIT_APP_ROOT"])
    assert [folder.stat().st_mode & 0o777 for folder in (mine, root)] == [0o700, 0o700]
    (tmp_path / "link").symlink_to(mine)
    prepare(ServerSettings(tmp_path / "link"), 8000)  # one's own link to one's own folder
    shared = tmp_path / "shared"
    shared.mkdir()
    shared.chmod(0o1777)
    with pytest.raises(ToolkitError, match=r"that nobody else can write, found .*mode 1777"):
        prepare(ServerSettings(shared), 8000)
    user = os.geteuid()
    monkeypatch.setattr("toolkit.chat.state.os.geteuid", lambda: user + 1)
    with pytest.raises(
        ToolkitError, match=rf"belongs to this user \({user + 1}\), found .* of user {user}; name another"
    ):
        prepare(ServerSettings(mine), 8000)
    assert root.is_dir()


# Conversations; in a process of their own, since Chainlit writes into its folder when it is imported.

CONVERSATIONS = """
import asyncio, sys
from pathlib import Path
from uuid import uuid4
import chainlit.server
from chainlit.session import ws_sessions_id
from socketio.exceptions import ConnectionRefusedError as Refused
from toolkit.chat import sessions
from toolkit.chat.limits import Budget
sessions.SESSIONS, sessions._stored = 3, Budget(100, 60)
connected = set()
sessions.is_connected = lambda session: session.socket_id in connected
sessions.secure_sessions()
connect = sessions.sio.handlers["/"]["connect"]

async def join(number):
    environ = {"HTTP_COOKIE": "a=b", "HTTP_ACCEPT_LANGUAGE": "en", "asgi.scope": object()}
    auth = {"sessionId": str(uuid4()), "clientType": "copilot", "threadId": "x", "userEnv": "{", "chatProfile": "y"}
    connected.add(f"sid{number}")
    await connect(f"sid{number}", environ, auth)
    return ws_sessions_id[auth["sessionId"]]

async def main():
    first, second, third = [await join(number) for number in range(3)]
    assert (first.client_type, first.thread_id_to_resume, first.user_env, first.chat_profile) == ("webapp", None, {}, None)
    assert first.environ == {"HTTP_COOKIE": "a=b", "HTTP_ACCEPT_LANGUAGE": "en"}
    try:
        await join(3)
    except Refused:
        pass
    else:
        raise AssertionError("a fourth")
    await second.persist_file("a", "text/plain", content=b"x" * 40)
    folder = second.files_dir
    assert folder.is_dir() and len(folder.name) == 64
    try:
        await second.persist_file("a", "text/plain", content=b"x" * 21)
    except sessions.QuotaError:
        pass
    else:
        raise AssertionError("61 of 60")
    connected.discard("sid1")
    await join(4)
    assert second.id not in ws_sessions_id and not folder.exists() and len(ws_sessions_id) == 3
    await third.persist_file("a", "text/plain", content=b"x" * 60)  # there is room again
    await first.persist_file("a", "text/plain", content=b"x" * 40)

asyncio.run(main())
print("held")
"""


def test_conversations_are_bounded_and_carry_nothing_of_the_clients_making(tmp_path):
    pytest.importorskip("chainlit", reason="the extra 'app' is not installed")
    variables = {**os.environ, **prepare(ServerSettings(tmp_path / "state"), 8000)}
    process = subprocess.run(
        [sys.executable, "-c", CONVERSATIONS], env=variables, cwd=tmp_path, capture_output=True, text=True, timeout=120
    )
    assert process.stdout == "held\n", process.stderr
