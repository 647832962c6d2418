import pytest

from toolkit.text.segmentation import clauses, merge, sentences, words


def cut(parts, text):
    return [text[start:end] for start, end in parts(text, (0, len(text)))]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("A film. A good one!", ["A film.", "A good one!"]),
        ('He said "no." Then he left', ['He said "no."', "Then he left"]),
        ("Mr. Bean and Dr. No", ["Mr. Bean and Dr. No"]),
        ("It got 7.5 of 10… Why?", ["It got 7.5 of 10…", "Why?"]),
        ("很好看。我喜欢！真的？是；对", ["很好看。", "我喜欢！", "真的？", "是；", "对"]),
        ("他说“好。”然后走了。 A film.", ["他说“好。”", "然后走了。", "A film."]),
        ("。。。", ["。。。"]),
        ("", []),
    ],
)
def test_sentences(text, expected):
    assert cut(sentences, text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Great, but too long.", ["Great,", "but too long."]),
        ("Slow but sure; fine: 1,000 films", ["Slow", "but sure;", "fine:", "1,000 films"]),
        ("But it is", ["But it is"]),
        ("butter is butter", ["butter is butter"]),
        ("画面很美，故事很闷", ["画面很美，", "故事很闷"]),
    ],
)
def test_clauses(text, expected):
    assert cut(clauses, text) == expected


def test_a_part_of_a_text_is_cut_within_its_bounds():
    text = "One. Two. Three."
    assert sentences(text, (5, 16)) == [(5, 9), (10, 16)]
    assert clauses("a, b, c", (3, 7)) == [(3, 5), (6, 7)]


def test_an_ideograph_is_a_word_of_its_own():
    text = "a well-made film，很好 「ok」"
    assert [text[start:end] for start, end in words(text)] == ["a", "well-made", "film，", "很", "好", "「ok」"]


def test_neighbours_are_joined_evenly():
    spans = [(number * 2, number * 2 + 1) for number in range(5)]
    assert merge(spans, 2) == [(0, 3), (4, 9)]
    assert merge(spans, 9) == spans
    assert merge([], 2) == []
