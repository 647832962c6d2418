"""The running server, asked over HTTP and WebSockets as pages and strangers would."""

import asyncio
import http.client
import json
import os
import re
import subprocess
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
from hashlib import sha256
from uuid import uuid4

import pytest

from tests.chat.conftest import is_ready
from tests.conftest import ROOT
from toolkit.chat.limits import FILES_OF_A_MESSAGE
from toolkit.chat.texts import TEXTS
from toolkit.prediction import InferenceOptions, load_predictor

pytest.importorskip("chainlit", reason="the extra 'app' is not installed")


PATIENCE = 180  # seconds for what takes one; machines are busy at times


def checkout_files() -> set:
    """Path and time of every file of the project, compiled and ignored ones apart."""
    folders = ("toolkit", "dataset", "export", "onnx_model", "lora_model")
    files = [path for folder in folders for path in (ROOT / folder).rglob("*") if "__pycache__" not in path.parts]
    return {(str(path), path.stat().st_mtime_ns) for path in [*files, *ROOT.glob("*")] if path.is_file()}


class Visitor:
    """One browser session, without the browser: connects, asks, collects what comes back."""

    def __init__(self, url: str, language: str = "zh-CN", cookie: str = "") -> None:
        import socketio

        self.url, self.language, self.cookie = url, language, cookie
        self.session = str(uuid4())
        self.client = socketio.AsyncClient(reconnection=False)
        self.answers: asyncio.Queue = asyncio.Queue()
        self.elements: dict[str, dict] = {}
        self.panels: list = []
        self.client.on("new_message", self._message)
        self.client.on("update_message", self._message)
        self.client.on("element", self._element)
        self.toasts: asyncio.Queue = asyncio.Queue()
        self.windows: asyncio.Queue = asyncio.Queue()
        self.client.on("window_message", self.windows.put_nowait)
        self.client.on("chat_settings", self._panel)
        self.client.on("toast", self._toast)

    async def _message(self, message):
        if message["type"] == "assistant_message":
            await self.answers.put(message["output"])

    async def _panel(self, panel):
        self.panels.append(panel)

    async def _toast(self, toast):
        await self.toasts.put(toast["message"])

    async def _element(self, element):
        self.elements[element["id"]] = element

    async def __aenter__(self):
        auth = {"sessionId": self.session, "clientType": "webapp", "threadId": "", "userEnv": "", "chatProfile": ""}
        headers = {"Accept-Language": self.language} | ({"Cookie": self.cookie} if self.cookie else {})
        await self.client.connect(
            self.url, headers=headers, auth=auth, socketio_path="/ws/socket.io", transports=["websocket"]
        )
        await self.client.emit("connection_successful")
        return self

    async def __aexit__(self, *_):
        await self.client.disconnect()

    async def say(self, text: str) -> None:
        message = {
            "id": str(uuid4()),
            "threadId": "",
            "name": "User",
            "type": "user_message",
            "output": text,
            "createdAt": "",
        }
        await self.client.emit("client_message", {"message": message, "fileReferences": []})

    async def ask(self, text: str) -> str:
        await self.say(text)
        return await asyncio.wait_for(self.answers.get(), PATIENCE)

    async def why(self, count: int = 1) -> list[dict]:
        """The verdict panels, once `count` of them are explained."""
        for _ in range(10 * PATIENCE):
            panels = [element["props"] for element in self.elements.values() if element["name"] == "Verdict"]
            explained = [panel for panel in panels if panel["why"]["segments"]]
            if len(explained) >= count:
                return explained
            await asyncio.sleep(0.1)
        raise AssertionError("no explanation came")


def test_health_names_the_bundle_and_the_backend(server, bundle):
    status, health = server.health()
    assert status == 200
    digest = sha256((bundle / "manifest.json").read_bytes()).hexdigest()
    assert health == {"status": "ok", "backend": "onnx", "device": "CPU", "model": digest}


def test_pages_name_nothing_outside_and_may_load_nothing_outside(server):
    status, headers, page = server.get("/", **{"Accept-Language": "zh-CN"})
    assert status == 200
    assert not re.findall(r"https?://", page)
    assert '<html lang="zh-CN">' in page
    assert "<title>影评分类</title>" in page
    policy = headers["content-security-policy"]
    assert "default-src 'self'" in policy
    assert "*" not in policy
    assert headers["x-content-type-options"] == "nosniff"
    assert "<title>Film reviews</title>" in server.get("/", **{"Accept-Language": "en"})[2]


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 200),
        ({"Origin": "{url}"}, 200),
        ({"Origin": "https://evil.example"}, 403),
        ({"Origin": "null"}, 403),
        ({"Host": "evil.example"}, 403),
        ({"Host": "evil.example", "Origin": "http://evil.example"}, 403),
    ],
)
@pytest.mark.parametrize("path", ["/", "/health", "/project/settings?language=zh-CN"])
def test_only_its_own_pages_may_ask(server, path, headers, status):
    sent = {name: value.format(url=server.url) for name, value in headers.items()}
    answer, answered, _ = server.get(path, **sent)
    assert answer == status
    assert answered.get("access-control-allow-origin") in (None, server.url)


def test_a_strange_page_gets_no_websocket(server):
    from socketio.exceptions import ConnectionError as Refused

    async def connect():
        visitor = Visitor(server.url)
        with pytest.raises(Refused):
            await visitor.client.connect(
                server.url, headers={"Origin": "https://evil.example"}, socketio_path="/ws/socket.io",
                transports=["websocket"],
            )  # fmt: skip

    asyncio.run(connect())


def form(name: str, content: bytes) -> tuple[str, bytes]:
    """The boundary of a form with a file in it, and the form."""
    boundary = uuid4().hex
    disposition = f'Content-Disposition: form-data; name="file"; filename="{name}"'
    head = f"--{boundary}\r\n{disposition}\r\nContent-Type: text/plain\r\n\r\n"
    return boundary, head.encode() + content + f"\r\n--{boundary}--\r\n".encode()


def upload(server, session: str, name: str, content: bytes, language: str = "zh-CN"):
    boundary, body = form(name, content)
    request = urllib.request.Request(f"{server.url}/project/file?session_id={session}", body, method="POST")
    request.add_header("Content-Type", f"multipart/form-data; boundary={boundary}")
    request.add_header("Accept-Language", language)
    status, headers, answer = server.request(request)
    return status, json.loads(answer), headers


def test_uploads_are_limited_in_type_and_size_and_refused_in_words(server):
    async def visit():
        async with Visitor(server.url) as visitor:
            for name, content, language, status, detail in (
                ("a.txt", b"x", "zh-CN", 200, None),
                ("a.exe", b"x", "zh-CN", 400, TEXTS["zh"].upload_type),
                ("a.txt.html", b"x", "en-US", 400, TEXTS["en"].upload_type),
                ("a.txt", b"x" * 20_000_001, "zh-CN", 400, TEXTS["zh"].upload_size.format(limit=20)),
                ("a.txt", b"x" * 30_000_000, "en-US", 413, TEXTS["en"].upload_size.format(limit=20)),
                (
                    "a.txt",
                    b"",
                    "en-US",
                    400,
                    "the file is empty; choose one with a review a line, or with a column text",
                ),
                ("a.csv", b"", "zh-CN", 400, "文件是空的；请选择每行一条影评、或含 text 列的文件"),
                (f"{'a' * 200}.txt", b"x", "zh-CN", 400, "文件名太长；请改名，最多 200 个字符"),
            ):
                answer = await asyncio.to_thread(upload, server, visitor.session, name, content, language)
                assert answer[0] == status, name
                assert answer[1].get("detail") == detail
                if status == 200:
                    stored = f"/project/file/{answer[1]['id']}?session_id={visitor.session}"
                    _, headers, content = await asyncio.to_thread(server.get, stored)
                    assert headers["content-disposition"] == "attachment"
                    assert headers["content-security-policy"] == "sandbox"

    asyncio.run(visit())
    assert "Traceback" not in server.log.read_text()


def test_all_files_of_a_message_may_be_sent_at_once(server):
    """As browsers do."""
    boundary, body = form("a.txt", b"A quiet film.")

    def begin(session: str) -> http.client.HTTPConnection:
        connection = http.client.HTTPConnection(urllib.parse.urlsplit(server.url).netloc, timeout=PATIENCE)
        connection.putrequest("POST", f"/project/file?session_id={session}")
        connection.putheader("Content-Type", f"multipart/form-data; boundary={boundary}")
        connection.putheader("Content-Length", str(len(body)))
        connection.endheaders(body[:9])
        return connection

    def send(session: str) -> tuple[list[int], int]:
        begun = [begin(session) for _ in range(FILES_OF_A_MESSAGE)]
        time.sleep(1)  # in which the server has looked at the heads
        one_more, *_ = upload(server, session, "a.txt", b"A quiet film.")
        for connection in begun:
            connection.send(body[9:])
        statuses = [connection.getresponse().status for connection in begun]
        for connection in begun:
            connection.close()
        return statuses, one_more

    async def visit():
        async with Visitor(server.url) as visitor:
            return await asyncio.to_thread(send, visitor.session)

    statuses, one_more = asyncio.run(visit())
    assert statuses == [200] * FILES_OF_A_MESSAGE
    assert one_more == 503


def test_uploads_of_a_killed_server_go_with_the_next_start_and_a_living_ones_stay(start_server, server):
    killed = start_server()

    async def leave_a_file(at):
        async with Visitor(at.url) as visitor:
            assert (await asyncio.to_thread(upload, at, visitor.session, "a.txt", b"Private.\n"))[0] == 200
            if at is killed:
                at.process.kill()
                at.process.wait()

    for each in (server, killed):
        asyncio.run(leave_a_file(each))
        assert list((each.state / f"server-{each.port}" / ".files").rglob("*.txt"))
    # The three share a state folder then, as servers of one user do.
    (server.state / f"server-{killed.port}").symlink_to(killed.state / f"server-{killed.port}")
    start_server(TOOLKIT_STATE=str(server.state))
    assert not (killed.state / f"server-{killed.port}" / ".files").exists()
    assert list((server.state / f"server-{server.port}" / ".files").rglob("*.txt"))


def test_a_body_of_unknown_size_is_refused(server):
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=30)
    connection.putrequest("POST", "/project/file?session_id=x")
    connection.putheader("Transfer-Encoding", "chunked")
    connection.endheaders()  # and no body, which the answer would come before
    response = connection.getresponse()
    assert response.status == 413
    assert json.loads(response.read())["detail"] == TEXTS["zh"].upload_length


def test_twenty_sessions_at_once_all_get_their_own_answers(server, bundle):
    predictor = load_predictor("onnx", onnx_model=bundle, options=InferenceOptions())
    texts = [
        f"{'Good fun. ' * (number % 5)}{'Awful and dull. ' * (number % 7)}Film number {number}." for number in range(20)
    ]

    async def visit(text: str, language: str):
        async with Visitor(server.url, language) as visitor:
            sentence = await visitor.ask(text)
            (panel,) = await visitor.why()
            assert visitor.answers.empty()
            return sentence, panel

    async def visit_all():
        return await asyncio.gather(*(visit(text, ("zh-CN", "en-US")[index % 2]) for index, text in enumerate(texts)))

    for index, (text, (sentence, panel)) in enumerate(zip(texts, asyncio.run(visit_all()), strict=True)):
        prediction = predictor.predict(text)
        if index % 2:
            assert sentence == f"This text is classified as: {prediction.label.name}"
        else:
            assert sentence == f"该文本被分类为: {prediction.label.display('zh')}"
        shown = [each["percent"] / 100 for each in panel["classes"]]
        assert shown == pytest.approx(list(prediction.probabilities.values()), abs=1e-6)
        assert " ".join(segment["text"] for segment in panel["why"]["segments"]) == text


async def send_file(server, visitor, lines: bytes) -> None:
    """A file without a word beside it."""
    _, stored, _ = await asyncio.to_thread(upload, server, visitor.session, "a.txt", lines)
    message = {
        "id": str(uuid4()),
        "threadId": "",
        "name": "User",
        "type": "user_message",
        "output": "",
        "createdAt": "",
    }
    await visitor.client.emit("client_message", {"message": message, "fileReferences": [{"id": stored["id"]}]})


def test_nobody_waits_for_a_long_file(server, tmp_path):
    """While one user's file of thousands of reviews runs, another's review is answered before the file is done."""

    async def visit():
        async with Visitor(server.url) as busy, Visitor(server.url) as other:
            lines = b"It goes on and on, and nothing happens in it at all. " * 20 + b"\n"
            await send_file(server, busy, lines * 2000)
            assert "0 / 2,000" in await asyncio.wait_for(busy.answers.get(), PATIENCE)
            assert (await other.ask("A quiet film.")).startswith("该文本被分类为: ")
            while not busy.answers.empty():
                assert "共 2,000 条" not in busy.answers.get_nowait()
            await busy.client.emit("stop")

    asyncio.run(visit())


@pytest.mark.parametrize(("language", "stopped"), [("zh-CN", "已停止。"), ("en-US", "Stopped.")])
def test_a_file_alone_can_be_stopped_also_by_a_page_that_comes_back(server, language, stopped):
    """The page offers it once the conversation has a name, and as long as it knows of work."""

    async def visit():
        events: asyncio.Queue = asyncio.Queue()
        async with Visitor(server.url, language) as visitor:
            visitor.client.on("first_interaction", lambda data: events.put_nowait(("named", data["interaction"])))
            await send_file(server, visitor, b"It goes on and on, and nothing happens in it at all.\n" * 50_000)
            assert await asyncio.wait_for(events.get(), PATIENCE) == ("named", "files")
            assert "0" in await asyncio.wait_for(visitor.answers.get(), PATIENCE)
            returned = Visitor(server.url, language)
            returned.session = visitor.session
            returned.client.on("task_start", lambda *_: events.put_nowait("working"))
            returned.client.on("task_end", lambda *_: events.put_nowait("done"))
            async with returned:
                assert [await asyncio.wait_for(events.get(), PATIENCE) for _ in range(2)] == ["done", "working"]
                await returned.client.emit("stop")
                assert await asyncio.wait_for(events.get(), PATIENCE) == "done"
                said = []
                while not said or stopped not in said[-1]:
                    said.append(await asyncio.wait_for(returned.answers.get(), PATIENCE))
                assert (await returned.ask("A quiet film.")).startswith(TEXTS[language[:2]].verdict[:5])

    asyncio.run(visit())


def test_what_is_said_of_an_answer_can_be_changed_and_taken_back(server):
    path = server.state / "corrections.jsonl"

    def saved() -> list[dict]:
        return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []

    def press(session: str, answer: str, label: str) -> None:
        action = {"name": "correct", "payload": {"answer": answer, "label": label}}
        body = json.dumps({"sessionId": session, "action": action}).encode()
        request = urllib.request.Request(f"{server.url}/project/action", body, {"Content-Type": "application/json"})
        assert server.request(request)[0] == 200

    async def visit():
        before = saved()
        async with Visitor(server.url, "en-US") as visitor:
            await visitor.ask("A film with an end of its own.")
            await visitor.why()

            async def pressed(label):
                await asyncio.to_thread(press, visitor.session, answer, label)
                toast = await asyncio.wait_for(visitor.toasts.get(), PATIENCE)
                return toast, panel()["chosen"], [each["corrected"] for each in saved()[len(before) :]]

            def panel():
                (found,) = (each["props"] for each in visitor.elements.values() if each["name"] == "Feedback")
                return found

            answer = panel()["answer"]
            assert await pressed("positive") == ("Saved, thank you.", "positive", ["positive"])
            assert await pressed("negative") == ("Saved, thank you.", "negative", ["negative"])
            assert await pressed("negative") == ("Taken back.", None, [])
            presses = [asyncio.to_thread(press, visitor.session, answer, "positive") for _ in range(5)]
            await asyncio.gather(*presses)
            assert [each["corrected"] for each in saved()[len(before) :]] == ["positive"], "one after the other"
            for _ in presses:
                await visitor.toasts.get()
            path.rename(path.with_suffix(".imported"))
            assert await pressed("positive") == (TEXTS["en"].already_taken, "positive", [])
            path.with_suffix(".imported").rename(path)
            await pressed("positive")
        assert saved() == before

    asyncio.run(visit())


def test_settings_follow_a_page_into_another_language(server):
    async def visit():
        cookie = "toolkit-language=en; toolkit-settings=%7B%22language%22%3A%22zh%22%2C%22max_length%22%3A20%7D"
        async with Visitor(server.url, "zh-CN", cookie) as visitor:
            assert (await visitor.ask("It goes on and on. " * 40)).startswith("This text is classified as: ")
            length = next(each for each in visitor.panels[0] if each["id"] == "max_length")
            assert length["initial"] == 20
            await visitor.client.emit("chat_settings_change", {"language": "zh", "max_length": 30})
            message = await asyncio.wait_for(visitor.windows.get(), PATIENCE)
            assert {name: message["toolkitSettings"][name] for name in ("language", "max_length")} == {
                "language": "zh",
                "max_length": 30,
            }
        async with Visitor(server.url, "zh-CN") as visitor:
            await visitor.ask("A quiet film.")
            length = next(each for each in visitor.panels[0] if each["id"] == "max_length")
            assert length["initial"] == length["max"], "the model's own length, as in the shell"

    asyncio.run(visit())


def test_oversized_and_empty_messages_get_a_sentence(server):
    async def visit():
        async with Visitor(server.url) as visitor:
            assert await visitor.ask("<br /> \n") == "请输入一段影评以进行分类"
            assert "最多 200,000 个" in await visitor.ask("a " * 1_500_000)
            assert (await visitor.ask("A quiet film.")).startswith("该文本被分类为: ")

    asyncio.run(visit())


def test_forged_settings_and_corrections_are_harmless(server):
    async def visit():
        async with Visitor(server.url) as visitor:
            forged = {"backend": "../../etc", "max_length": -5, "uncertain_below": 99, "language": {"a": 1}}
            await visitor.client.emit("chat_settings_change", forged)
            assert await visitor.ask("A quiet film.") == "该文本被分类为: 不确定"  # 99 became 1
            action = {"name": "correct", "payload": {"answer": "none", "label": "positive"}}
            body = json.dumps({"sessionId": visitor.session, "action": action}).encode()
            request = urllib.request.Request(f"{server.url}/project/action", body, {"Content-Type": "application/json"})
            before = len(list(server.state.glob("corrections.jsonl")))
            assert (await asyncio.to_thread(server.request, request))[0] == 200
            assert len(list(server.state.glob("corrections.jsonl"))) == before

    asyncio.run(visit())


def test_the_backend_can_be_changed_where_both_are_there(start_server, tiny_adapter):
    server = start_server(TOOLKIT_ADAPTER=str(tiny_adapter), TOOLKIT_CHAT_BACKEND="onnx")

    async def visit():
        async with Visitor(server.url) as visitor:
            await visitor.ask("A quiet film. A loud film.")
            await visitor.why()
            backends = next(each for each in visitor.panels[0] if each["id"] == "backend")["items"]
            assert [each["value"] for each in backends] == ["onnx", "torch"]
            await visitor.client.emit("chat_settings_change", {"backend": "torch", "max_length": 20})
            assert await asyncio.wait_for(visitor.toasts.get(), PATIENCE) == "设置已保存。"
            await visitor.ask("A quiet film. A loud film.")
            return [panel["tokens"] for panel in await visitor.why(2)]

    first, last = asyncio.run(visit())
    assert first.endswith("onnx · CPU")
    assert "torch · " in last
    assert last.startswith("读取 ")


def test_a_password_is_asked_for_where_one_is_set(start_server):
    server = start_server(TOOLKIT_CHAT_PASSWORD="open sesame")
    assert server.health()[0] == 200
    assert server.get("/project/settings?language=zh-CN")[0] == 401

    def log_in(password: str, language: str = "en") -> tuple[int, str | None]:
        form = urllib.parse.urlencode({"username": "me", "password": password}).encode()
        request = urllib.request.Request(f"{server.url}/login", form, {"Accept-Language": language})
        status, _, body = server.request(request)
        return status, json.loads(body).get("detail")

    assert log_in("guess") == (401, "Wrong password; try again.")
    assert log_in("guess", "zh-CN") == (401, "密码不对，请再试一次。")
    assert log_in("open sesame") == (200, None)

    async def enter():
        from socketio.exceptions import ConnectionError as Refused

        with pytest.raises(Refused):
            async with Visitor(server.url):
                pass

    asyncio.run(enter())


def test_chainlit_run_opens_the_same_app(start_server, server):
    other = start_server(("-m", "chainlit", "run", str(ROOT / "toolkit" / "app.py")))
    assert other.health() == server.health()
    for path in ("/", "/public/elements/Verdict.jsx", "/project/translations?language=zh-CN"):
        assert other.get(path)[2] == server.get(path)[2]
    assert other.get("/", Origin="https://evil.example")[0] == 403
    assert other.get("/openapi.json")[0] == 404
    assert other.get("/", Cookie="x" * 33_000)[0] in (400, 431)
    assert "server" not in {name.lower() for name in other.get("/")[1]}  # the configuration of uvicorn is ours

    async def visit():
        async with Visitor(other.url) as visitor:
            assert (await visitor.ask("A quiet film.")).startswith("该文本被分类为: ")

    asyncio.run(visit())
    assert (other.state / f"server-{other.port}" / ".files").is_dir()


def test_a_missing_model_ends_the_command_and_is_told_by_the_server(start_server, toolkit_command, tmp_path):
    variables = {"TOOLKIT_STATE": str(tmp_path / "state"), "TOOLKIT_ONNX_MODEL": str(tmp_path / "onnx_model")}
    process = toolkit_command("chat", cwd=tmp_path, **variables)
    assert process.returncode == 1
    assert "onnx_model not found; make it with: toolkit export" in process.stderr.decode()
    assert b"Traceback" not in process.stderr
    served = start_server(("-m", "chainlit", "run", str(ROOT / "toolkit" / "app.py")), wait=False, **variables)
    wait_for_answer(served)
    assert served.health() == (503, {"status": "loading"})

    async def visit():
        async with Visitor(served.url) as visitor:
            assert (await visitor.ask("A quiet film.")).startswith("错误信息: 找不到")

    asyncio.run(visit())
    assert "a message could not be answered" in served.log.read_text()


def wait_for_answer(server) -> None:
    for _ in range(600):
        try:
            server.health()
        except OSError:
            time.sleep(0.1)
        else:
            return
    raise AssertionError(server.log.read_text())


def test_a_port_that_is_taken_is_one_line(server, toolkit_command, bundle, tmp_path):
    process = toolkit_command(
        "chat", "--port", server.port, "--onnx-model", bundle, "--state", tmp_path / "state", cwd=tmp_path
    )
    assert process.returncode == 1
    assert b"choose others with --host and --port" in process.stderr
    assert b"Traceback" not in process.stderr


def test_nothing_is_written_outside_the_state_folder_nor_asked_of_the_network(start_server):
    before = checkout_files()
    server = start_server()

    async def visit():
        async with Visitor(server.url) as visitor:
            await visitor.ask("A quiet film. A loud film.")
            await visitor.why()
            assert (await asyncio.to_thread(upload, server, visitor.session, "a.txt", b"Fine.\n"))[0] == 200

    asyncio.run(visit())
    assert checkout_files() == before
    assert [str(path) for path in server.home.rglob("*")] == []
    assert server.outside_calls() == ""
    assert list((server.state / f"server-{server.port}" / ".files").rglob("*.txt"))


def test_a_read_only_checkout_serves(start_server, tmp_path, bundle):
    """A copy whose folders and files are not for writing; root could write all the same, hence the look at what is new."""
    import shutil

    copy = tmp_path / "checkout"
    shutil.copytree(ROOT / "toolkit", copy / "toolkit", ignore=shutil.ignore_patterns("__pycache__"))
    for path in [*copy.rglob("*"), copy]:
        path.chmod(0o555 if path.is_dir() else 0o444)
    code = (
        f"import sys; sys.path.insert(0, {str(copy)!r}); from toolkit.cli import main; sys.argv[0] = 'toolkit'; main()"
    )
    server = start_server(("-P", "-c", code, "chat"), PYTHONDONTWRITEBYTECODE="1")
    try:
        assert is_ready(server)
        root = server.state / f"server-{server.port}"
        assert os.access(root / "public" / "toolkit.css", os.W_OK)
        assert (root / "public" / "toolkit.css").stat().st_mode & 0o200  # not the checkout's mode
        assert not list(copy.rglob("__pycache__"))
    finally:
        for path in [copy, *copy.rglob("*")]:
            path.chmod(0o755)


def test_help_needs_neither_chainlit_nor_a_model():
    code = "import sys; from toolkit.cli import cli; cli(['chat', '--help'], standalone_mode=False); print('chainlit' in sys.modules)"
    process = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert process.stdout.strip().endswith("False")
    assert "toolkit chat" in process.stdout
