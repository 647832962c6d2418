import pytest

pytest.importorskip("chainlit", reason="the extra 'app' is not installed")

from toolkit import app
from toolkit.chat.server import models, server_settings


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
    from toolkit import load_predictor

    start(TOOLKIT_ONNX_MODEL=tiny_bundle)
    predictor = load_predictor(onnx_model=tiny_bundle, max_length=120)
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
    assert tokenizer.max_length == 120
