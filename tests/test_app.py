import asyncio
import threading
from types import SimpleNamespace

import pytest

pytest.importorskip("chainlit", reason="the extra 'app' is not installed")

from toolkit import app
from toolkit.chat.models import Model
from toolkit.chat.server import models, server_settings
from toolkit.chat.settings import UserSettings


@pytest.fixture
def start(monkeypatch, tmp_path):
    """Settings as a server started with these variables has them."""

    def set_variables(**variables):
        for name, value in {"TOOLKIT_STATE": tmp_path, **variables}.items():
            monkeypatch.setenv(name, str(value))
        server_settings.cache_clear()
        models.cache_clear()

    yield set_variables
    server_settings.cache_clear()
    models.cache_clear()


def test_a_review_gets_the_documented_sentence(start, tiny_bundle):
    from toolkit.prediction import InferenceOptions, load_predictor

    start(TOOLKIT_ONNX_MODEL=tiny_bundle)
    predictor = load_predictor(onnx_model=tiny_bundle, options=InferenceOptions())
    for text in ("A quiet film.", "Loud and dull, all of it.", "It goes on. " * 200):
        assert app.classify_review(text) == f"该文本被分类为: {predictor.predict(text).label.display('zh')}"


@pytest.mark.parametrize("blank", ["", "  \n", "<br />"])
def test_empty_input(blank):
    assert app.classify_review(blank) == "请输入一段影评以进行分类"


def test_a_failure_is_shown_and_logged(start, tmp_path, caplog):
    start(TOOLKIT_ONNX_MODEL=tmp_path / "nowhere")
    assert app.classify_review("A quiet film.").startswith("错误信息: 找不到")
    assert "could not be classified" in caplog.text


def test_the_model_is_loaded_once_and_reads_as_documented(start, tiny_bundle):
    start(TOOLKIT_ONNX_MODEL=tiny_bundle)
    (first, tokenizer), (second, _) = app.get_model_and_tokenizer(), app.get_model_and_tokenizer()
    assert first._sessions is second._sessions
    assert tokenizer.max_length == first.manifest.max_length, "as the shell does"
    start(TOOLKIT_ONNX_MODEL=tiny_bundle, TOOLKIT_CHAT_MAX_LENGTH="120")
    assert app.get_model_and_tokenizer()[1].max_length == 120


class Part:
    """What is sent to the page, kept instead."""

    sent: list = []  # noqa: RUF012 - emptied by the fixture

    def __init__(self, **fields):
        self.__dict__.update(fields)

    id = "a message"

    async def send(self, **_):
        self.sent.append(self)
        return self

    update = send


@pytest.fixture
def conversation(monkeypatch, fake_predictor):
    """The handlers without a page, on a model that answers once `fake_predictor.released` is set."""
    fake_predictor.asked, fake_predictor.released = threading.Event(), threading.Event()
    logits = fake_predictor.logits

    def slow(encodings):
        fake_predictor.asked.set()
        assert fake_predictor.released.wait(5), "the model held up whoever should have released it"
        return logits(encodings)

    fake_predictor.logits = slow
    model = Model(fake_predictor, "hash")
    monkeypatch.setattr(app, "models", lambda: SimpleNamespace(load=lambda backend: model))
    monkeypatch.setattr(app, "_user_settings", lambda: UserSettings("zh", "onnx", 64, 0.5))
    monkeypatch.setattr(app, "_remember", lambda identifier, answer: None)

    async def persist_file(**file):
        return {"id": "a file"}

    monkeypatch.setattr(app, "is_connected", lambda session: fake_predictor.connected)
    monkeypatch.setattr(
        app.chainlit,
        "context",
        SimpleNamespace(session=SimpleNamespace(id="a conversation", persist_file=persist_file)),
    )
    fake_predictor.connected = True
    for name in ("Message", "CustomElement"):
        monkeypatch.setattr(app.chainlit, name, Part)
    Part.sent.clear()
    return fake_predictor


@pytest.mark.parametrize("kind", ["review", "file"])
def test_a_slow_model_holds_nobody_up(conversation, tmp_path, kind):
    path = tmp_path / "reviews.txt"
    path.write_text("A quiet film.\n" * 20)
    files = [SimpleNamespace(path=str(path), name="reviews.txt")] if kind == "file" else []
    message = SimpleNamespace(content="" if files else "A quiet film. A loud film.", elements=files)

    async def answer_and_release():
        task = asyncio.create_task(app.on_message(message))
        while not conversation.asked.is_set() and not task.done():
            await asyncio.sleep(0.001)
        conversation.released.set()  # too late if the model ran here: it would have given up
        await task

    asyncio.run(answer_and_release())
    contents = [part.content for part in Part.sent if hasattr(part, "content")]
    assert contents[-1].startswith({"review": "该文本被分类为: ", "file": "reviews.txt：共 20 条影评。"}[kind])


def test_too_many_files_get_a_sentence(conversation, tmp_path):
    """The page would refuse them too, but in English."""
    files = [SimpleNamespace(path=str(tmp_path / "a.txt"), name="a.txt")] * 6
    asyncio.run(app.on_message(SimpleNamespace(content="A quiet film.", elements=files)))
    assert [part.content for part in Part.sent] == ["一次最多发送 5 个文件；请分几次发送。"]


def test_a_failure_in_a_conversation_is_shown_and_logged(conversation, caplog):
    def fail(encodings):
        raise RuntimeError("the model is ill")

    conversation.logits = fail
    asyncio.run(app.on_message(SimpleNamespace(content="A quiet film.", elements=[])))
    assert Part.sent[-1].content == "错误信息: the model is ill"
    assert "a message could not be answered" in caplog.text


def test_a_file_is_given_up_when_its_user_has_left(conversation, tmp_path, monkeypatch):
    path = tmp_path / "reviews.txt"
    path.write_text("A quiet film.\n" * 200)
    monkeypatch.setattr(app, "ABSENCE_SECONDS", 0.0)
    conversation.connected = False
    conversation.released.set()
    files = [SimpleNamespace(path=str(path), name="reviews.txt")]
    asyncio.run(app.on_message(SimpleNamespace(content="", elements=files)))
    assert [part.content for part in Part.sent] == ["reviews.txt：已分类 0 / 200"]


def test_a_conversation_keeps_few_texts(monkeypatch):
    kept: dict = {}
    monkeypatch.setattr(app, "_answers", lambda: kept)
    for number in range(300):
        app._remember(str(number), SimpleNamespace(text="Fine."))
    assert list(kept) == [str(number) for number in range(200, 300)]
    for number in range(300, 310):
        app._remember(str(number), SimpleNamespace(text="x" * 200_000))
    assert list(kept) == ["308", "309"]
