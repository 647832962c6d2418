import asyncio

import pytest

pytest.importorskip("chainlit", reason="the extra 'app' is not installed")

from toolkit import app


@pytest.fixture
def model(monkeypatch, tiny_bundle):
    monkeypatch.setenv("TOOLKIT_ONNX_MODEL", str(tiny_bundle))
    app.get_model_and_tokenizer.cache_clear()
    yield
    app.get_model_and_tokenizer.cache_clear()


def test_a_review_gets_the_documented_sentence(model, tiny_bundle):
    from toolkit import load_predictor

    predictor = load_predictor(onnx_model=tiny_bundle)
    for text in ("A quiet film.", "Loud and dull, all of it."):
        assert app.classify_review(text) == f"该文本被分类为: {predictor.predict(text).label.display('zh')}"


@pytest.mark.parametrize("blank", ["", "  \n", "<br />"])
def test_empty_input(blank):
    assert app.classify_review(blank) == "请输入一段影评以进行分类"


def test_a_failure_is_shown_and_logged(monkeypatch, tmp_path, caplog):
    monkeypatch.setenv("TOOLKIT_ONNX_MODEL", str(tmp_path / "nowhere"))
    app.get_model_and_tokenizer.cache_clear()
    assert app.classify_review("A quiet film.").startswith("错误信息: 找不到")
    assert "could not be classified" in caplog.text


def test_the_model_is_loaded_once(model):
    assert app.get_model_and_tokenizer() is app.get_model_and_tokenizer()


def test_a_message_is_answered(model, monkeypatch):
    sent = []

    class Message:
        def __init__(self, content):
            self.content = content

        async def send(self):
            sent.append(self.content)

    monkeypatch.setattr(app.chainlit, "Message", Message)
    asyncio.run(app.on_message(Message("A quiet film.")))
    assert len(sent) == 1
    assert sent[0].startswith("该文本被分类为: ")
