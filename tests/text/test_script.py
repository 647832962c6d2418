import pytest

from toolkit.text.script import is_mostly_foreign


@pytest.mark.parametrize(
    "text",
    [
        "这部电影很好看。",
        "Это очень хороший фильм",
        "素晴らしい映画でした",
        "정말 좋은 영화",
        "فيلم رائع",
        "very 很好看的电影",
        "Ένα film ταινία",
    ],
)
def test_other_scripts(text):
    assert is_mostly_foreign(text)


@pytest.mark.parametrize(
    "text",
    [
        "A fine film.", "Überraschend schön, für Groß und Klein!", "Điện ảnh Việt Nam", "½ ★★★★☆ 10/10 👍", "", "《英雄》: a great film",
        "１２３", "naïve façade — “quoted” … ﬁne", "Café " + "é" * 10,
    ],
)  # fmt: skip
def test_latin_scripts_and_none(text):
    assert not is_mostly_foreign(text)
