import pytest

from toolkit.text.labels import NEGATIVE, POSITIVE, SENTIMENT, Label, LabelSet


@pytest.mark.parametrize(
    ("value", "label"),
    [
        (0, NEGATIVE), ("0.0", NEGATIVE), ("1.0", POSITIVE), ("1", POSITIVE), (1.0, POSITIVE), ("neg", NEGATIVE),
        (" Positive ", POSITIVE), ("NEGATIVE", NEGATIVE), ("pos", POSITIVE),
        (["positive"], POSITIVE), ('["negative"]', NEGATIVE), ("['pos']", POSITIVE), ("[0]", NEGATIVE), ([["pos"]], None),
        (["pos", "neg"], None), ("[positive]", None), ("[]", None), ([], None),
        (2, None), (-1, None), ("", None), (None, None), (float("nan"), None), (0.5, None), (True, None), ("good", None),
    ],
)  # fmt: skip
def test_the_original_pair_is_read_in_every_known_spelling(value, label):
    assert SENTIMENT.parse(value) == label


def test_the_original_pair_is_one_label_set_among_others():
    assert list(SENTIMENT) == [Label(0, "negative"), Label(1, "positive")]
    assert [label.display("zh") for label in SENTIMENT] == ["负面评论", "正面评论"]
    assert [(int(label), str(label)) for label in SENTIMENT] == [(0, "negative"), (1, "positive")]
    assert SENTIMENT.values == [0, 1]
    assert LabelSet.of_model(["negative", "positive"]).displays == SENTIMENT.displays
    assert LabelSet.of_model(["positive", "negative"]).displays == {}


@pytest.mark.parametrize(
    ("column", "names", "values"),
    [
        ([10, 9, 10, 1, 9, 1], ("1", "9", "10"), [1, 9, 10]),
        (["10", "9.0", 10.0, "-2", "9", -2], ("-2", "9", "10"), [-2, 9, 10]),
        (["体育", "财经", "体育", "财经", "科技", "科技"], ("体育", "科技", "财经"), ["体育", "科技", "财经"]),
        (["b", " a  a ", "b", "a a", None, ""], ("a a", "b"), ["a a", "b"]),
        ([4.5, 3, 4.5, 3, 12], ("3", "4.5", "12"), ["3", "4.5", "12"]),
        (["neg", 1, "POSITIVE", 0.0], ("negative", "positive"), [0, 1]),
    ],
)
def test_a_column_says_which_labels_there_are(column, names, values):
    labels = LabelSet.of_values(column)
    assert (labels.names, labels.values) == (names, values)
    assert [labels.parse(value) for value in column if value not in (None, "")].count(None) == 0


def test_a_label_may_have_brackets_of_its_own():
    labels = LabelSet(("[a]", "[b]"))
    assert labels.parse("[a]") == labels[0]


def test_a_third_label_beside_the_pair_is_one_where_it_is_frequent_and_a_slip_where_it_is_not():
    pair = ["positive", "negative"] * 20
    assert LabelSet.of_values([*pair, *["neutral"] * 9]) == SENTIMENT
    assert LabelSet.of_values([*pair, *["neutral"] * 10]).names == ("negative", "neutral", "positive")
    assert LabelSet.of_values(["spam"] * 30) == SENTIMENT, "which refuses them row by row"
    assert len(LabelSet.of_values(["1", "2", "3", "4", "5"] * 5)) == 5, "1 is a spelling of the pair's, and a star"


@pytest.mark.parametrize(
    ("column", "said"),
    [
        (
            list(range(2, 203)) * 2,
            "201 different labels in 402 rows, expected 2 to 200: this looks like text or a number",
        ),
        (["one", "two", "three"], "3 different labels in 3 rows"),
        (["x" * 101, "y"] * 5, "101 characters"),
        (["uncertain", "certain"] * 5, "what a withheld verdict is called"),
        (["a\u202e", "b"] * 5, "characters that can be printed"),
    ],
)
def test_a_column_that_holds_no_labels_is_refused(column, said):
    with pytest.raises(ValueError, match=said):
        LabelSet.of_values(column)


def test_words_for_labels_are_for_labels_that_there_are():
    labels = LabelSet.of_model(["a", "b"], {"zh": {"a": "甲"}})
    assert [label.display("zh") for label in labels] == ["甲", "b"]
    assert [label.display("en") for label in labels] == ["a", "b"]
    for displays, said in (
        ({"zh": {"c": "丙"}}, "'c', expected one of a, b"),
        ({"fr": {"a": "x"}}, "'fr', expected en or zh"),
    ):
        with pytest.raises(ValueError, match=said):
            LabelSet.of_model(["a", "b"], displays)
    assert LabelSet.of_model(SENTIMENT.names, {"zh": {"positive": "好评"}})[0].display("zh") == "负面评论"


def test_the_least_score_of_the_likeliest_of_k_labels():
    assert SENTIMENT.lowest_score == 0.5
    assert LabelSet(("a", "b", "c")).lowest_score == 0.333333
