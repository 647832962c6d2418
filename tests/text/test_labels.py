import pytest

from toolkit.text.labels import ID2LABEL, LABEL2ID, Label, parse_label


@pytest.mark.parametrize(
    ("value", "label"),
    [
        (0, Label.NEGATIVE), ("0.0", Label.NEGATIVE), ("1.0", Label.POSITIVE), ("1", Label.POSITIVE), (1.0, Label.POSITIVE), ("neg", Label.NEGATIVE),
        (" Positive ", Label.POSITIVE), ("NEGATIVE", Label.NEGATIVE), ("pos", Label.POSITIVE),
        (2, None), (-1, None), ("", None), (None, None), (float("nan"), None), (0.5, None), (True, None), ("good", None),
    ],
)  # fmt: skip
def test_parse_label(value, label):
    assert parse_label(value) is label


def test_names_and_numbers_agree():
    assert ID2LABEL == {0: "negative", 1: "positive"}
    assert LABEL2ID == {"negative": 0, "positive": 1}
    assert Label.POSITIVE.display("zh") == "正面评论"
