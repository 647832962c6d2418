"""The app in a real browser, as somebody uses it all day. TOOLKIT_SCREENSHOTS=1 writes `docs/images/`."""

import csv
import io
import json
import re

import pytest

from tests.conftest import ROOT
from toolkit.chat.texts import starters
from toolkit.datasets.importers import ImportOptions, import_dataset
from toolkit.prediction import InferenceOptions, load_predictor

pytest.importorskip("chainlit", reason="the extra 'app' is not installed")
pytest.importorskip("playwright.sync_api", reason="the extra 'dev' is not installed")

from tests.chat.tabs import CONTRAST, DESKTOP, PHONE, Tab, expect

POSITIVE = (
    "This is a wonderful film. The acting is superb and the story moved me to tears. "
    "I loved every minute and would gladly watch it again. One of the best of the year."
)
NEGATIVE = (
    "This is a terrible film. The plot is boring and the acting is awful. "
    "I hated every minute and nearly walked out. A complete waste of time and money."
)
SENTENCE = {"zh": "该文本被分类为: ", "en": "This text is classified as: "}


def test_it_loads_in_chinese_without_asking_anybody_else(open_tab, server):
    tab = open_tab()
    assert tab.page.title() == "影评分类"
    expect(tab.page.locator("#chat-input")).to_have_attribute("placeholder", "请输入一段英文影评以进行分类")
    labels = [label for label, _ in starters("zh")]
    expect(tab.page.locator("#starters button")).to_have_text(labels)
    tab.picture("welcome")
    tab.page.get_by_role("button", name="说明").click()
    tab.page.get_by_text("所有计算都在这台服务器上进行").wait_for()
    assert tab.outside == []
    assert tab.errors == []
    assert server.outside_calls() == ""


def test_a_starter_is_answered(open_tab, reader):
    tab = open_tab()
    label, review = starters("zh")[0]
    tab.page.locator("#starters").get_by_text(label).click()
    answer = tab.explained(0)
    prediction = reader.predict(review)
    assert answer.startswith(SENTENCE["zh"] + prediction.label.display("zh"))
    assert f"读取 {prediction.tokens_read} / {prediction.tokens} 个词元 · onnx · CPU" in answer
    tab.picture("answer-light")


@pytest.mark.parametrize("language", ["zh", "en"])
def test_typed_reviews_get_their_verdict_in_the_browsers_language(open_tab, reader, language):
    tab = open_tab(language={"zh": "zh-CN", "en": "en-GB"}[language])
    for review in (POSITIVE, NEGATIVE):
        prediction = reader.predict(review)
        answer = tab.ask(review)
        assert answer.startswith(SENTENCE[language] + prediction.label.display(language))
        expected = [100 * probability for probability in prediction.probabilities.values()]
        assert tab.percents() == pytest.approx(expected, abs=0.101)
    expect(tab.page.locator("[data-testid=why] [aria-label]")).to_have_count(8)
    assert tab.errors == []
    if language == "en":
        tab.picture("answer-english")


def test_the_shipped_model_tells_good_from_bad(open_tab, bundle):
    if bundle != ROOT / "onnx_model":
        pytest.skip("no model is shipped; the tiny one knows nothing of films")
    tab = open_tab(language="en-US")
    for label, review in (("positive", POSITIVE), ("negative", NEGATIVE)):
        assert tab.ask(review).startswith(SENTENCE["en"] + label)


def test_every_sentence_has_a_sign_and_words_beside_its_colour(open_tab):
    tab = open_tab(language="en-US")
    tab.ask(POSITIVE)
    segments = tab.page.locator("[data-testid=why] .toolkit-segment")
    expect(segments).to_have_count(4)
    for segment in segments.all():
        sign = segment.locator("sub").inner_text()[0]
        side = {"+": "positive", "−": "negative"}[sign]
        assert f"toolkit-{side}" in segment.get_attribute("class")
        assert segment.get_attribute("title").endswith(f"pushes to {side}")
        assert segment.get_attribute("aria-label").endswith(f"pushes to {side})")


def test_empty_input_is_answered_or_not_sent(open_tab):
    tab = open_tab()
    tab.page.press("#chat-input", "Enter")
    tab.say("   ")
    assert tab.page.locator("[data-step-type]").count() == 0
    expect(tab.page.locator("#chat-input")).to_have_attribute("placeholder", "请输入一段英文影评以进行分类")
    tab.say("<br /> <br />")
    tab.page.locator("[data-step-type=assistant_message]", has_text="请输入一段影评以进行分类").wait_for()


def test_a_review_of_five_thousand_words(open_tab):
    tab = open_tab()
    review = " ".join(["The plot goes nowhere and the acting is dull throughout."] * 500)
    assert len(review.split()) == 5000
    answer = tab.ask(review)
    read, tokens = re.search(r"读取 ([\d,]+) / ([\d,]+) 个词元", answer).groups()
    assert read == tokens, "n-grams leave nothing out"
    assert tab.in_sight(".toolkit-verdict"), "the verdict of a long review stays where one looks"
    assert tab.page.locator("[data-testid=why] .toolkit-segment").count() <= 16
    assert tab.overflow() == []
    tab.picture("long-review")


@pytest.mark.parametrize("size", [DESKTOP, PHONE])
def test_the_verdict_of_a_long_review_stays_in_sight(open_tab, size):
    tab = open_tab(size=size, language="en-GB")
    tab.ask("The plot makes no sense at all, and the acting is terrible. " * 16)
    why = tab.page.locator("[data-testid=why]")
    assert not why.is_visible()
    assert tab.in_sight(".toolkit-verdict")
    tab.page.locator(".toolkit-why > summary").click()
    why.wait_for(state="visible")
    tab.page.locator("[data-testid=why] .toolkit-segment").last.scroll_into_view_if_needed()
    assert tab.in_sight(".toolkit-verdict"), "also beside its last reasons"
    assert tab.overflow() == []
    tab.ask("A fine film. It is short.")
    expect(why.last, "that of a short one needs no click").to_be_visible()


@pytest.mark.parametrize(("dark", "size"), [(False, DESKTOP), (True, PHONE)])
def test_n_grams_shade_words_and_a_strange_text_gets_no_verdict(
    chromium, start_server, ngram_bundle, tmp_path, dark, size
):
    server = start_server(TOOLKIT_ONNX_MODEL=str(ngram_bundle))
    tab = Tab(chromium, server, dark=dark, size=size)
    review = "It is not good of the film. But a bad end!"
    tab.ask(review)
    explanation = load_predictor("onnx", onnx_model=ngram_bundle).explain(review)
    shaded = tab.page.locator("[data-testid=why] .toolkit-word")
    weighing = [word for word in explanation.words if abs(word.push) >= 0.08 * explanation.strongest_word]
    expect(shaded).to_have_text([word.text for word in weighing])
    assert "bad" in {word.text for word in weighing}
    for word, found in zip(weighing, shaded.all(), strict=True):
        side, sign = ("positive", "+") if word.push >= 0 else ("negative", "−")
        assert f"toolkit-{side}" in found.get_attribute("class")
        assert found.get_attribute("title").startswith(f"{sign}{abs(word.push):.2f}：推向")
    phrases = tab.page.locator("[data-testid=phrases] .toolkit-phrase").all_inner_texts()
    assert [phrase.rpartition(" ")[0] for phrase in phrases] == [each.text for each in explanation.phrases]
    assert (
        tab.page.locator("[data-testid=why]")
        .inner_text()
        .replace("\u2060", "")
        .startswith("It is not good of the film.")
    )
    assert tab.overflow() == []
    assert tab.page.evaluate(CONTRAST) == []

    answer = tab.ask("zyx qwv vwq. xyz!")
    assert answer.startswith("该文本被分类为: 不确定")
    assert "模型学习的是英文影评，这段文字看起来是别的内容，因此不作判断。" in answer
    assert "%" not in answer
    tab.page.get_by_text("仍然显示判断").click()
    assert sum(tab.percents()) == pytest.approx(100, abs=0.2)
    expect(tab.page.locator("[data-testid=why]").last).to_be_visible()
    assert tab.overflow() == []
    assert tab.page.evaluate(CONTRAST) == []

    tab.attach(tmp_path / "reviews.txt", b"good\nzyx qwv\nqwv vwq\n")
    tab.page.press("#chat-input", "Enter")
    panel = tab.page.locator("[data-testid=reviews]")
    panel.wait_for()
    expect(panel).to_contain_text("因此结果为“不确定”的有 2 条。")
    expect(panel.locator(".toolkit-chart-count").last).to_have_text("2")
    assert (tab.outside, tab.errors) == ([], [])
    tab.context.close()


def test_html_and_markdown_in_a_review_are_text(open_tab):
    tab = open_tab()
    review = "<b>A</b> **bad** film. The acting is terrible and the plot makes no sense, so it is a waste of time and I would not watch it again for all the money in the world. <img src=x onerror=\"document.title='hacked'\"> ![x](https://outside.example/x.png) End."
    tab.ask(review)
    assert tab.page.locator("[data-step-type=user_message]").inner_text().strip() == review
    shown = tab.page.locator("[data-testid=why]").inner_text()
    assert "<b>A</b> **bad** film." in shown
    assert "<img src=x onerror=" in shown
    assert (
        tab.page.locator("[data-testid=why] b, [data-testid=why] img, [data-step-type=user_message] img").count() == 0
    )
    assert tab.page.title() == "影评分类"
    assert tab.outside == []


def test_a_file_goes_in_and_a_csv_comes_out(open_tab, reader, tmp_path):
    tab = open_tab()
    reviews = [*[review for _, review in starters("zh")] * 8, '=1+1, "quoted" <b>& more</b>']
    stream = io.StringIO()
    csv.writer(stream).writerows(
        [["id", "Review"], *([number, review] for number, review in enumerate(reviews)), [99, ""]]
    )
    tab.attach(tmp_path / "reviews.csv", stream.getvalue().encode())
    tab.page.locator("#message-composer").get_by_text("reviews.csv").wait_for()
    tab.page.press("#chat-input", "Enter")
    panel = tab.page.locator("[data-testid=reviews]")
    panel.wait_for()
    assert "reviews.csv：共 26 条影评。" in tab.last_answer()
    expect(panel.locator("tbody tr")).to_have_count(20)
    predictions = list(reader.predict_many(reviews))
    counts = dict(zip(panel.locator(".toolkit-chart-name").all_inner_texts(),
                      panel.locator(".toolkit-chart-count").all_inner_texts(), strict=True))  # fmt: skip
    expected = {
        text: sum(each.display("zh") == text for each in predictions) for text in ("负面评论", "正面评论", "不确定")
    }
    assert sum(expected.values()) == len(reviews)
    assert counts == {**{text: str(count) for text, count in expected.items() if count}, "无法读取": "1"}
    widths = [
        float(style[:-1])
        for style in panel.locator(".toolkit-fill").evaluate_all("(all) => all.map((each) => each.style.width)")
    ]
    assert sum(widths) == pytest.approx(100, abs=0.1), "the track is all of the file"
    tab.picture("file")
    with tab.page.expect_download() as download:
        tab.page.get_by_role("link", name="下载结果：reviews-predictions.csv").click()
    assert download.value.suggested_filename == "reviews-predictions.csv"
    with open(download.value.path(), encoding="utf-8-sig", newline="") as saved:
        rows = list(csv.DictReader(saved))
    harmless = [*reviews[:-1], f"'{reviews[-1]}"]  # which a spreadsheet would have run
    assert list(rows[0]) == ["id", "Review", "label", "score", "probabilities", "tokens", "tokens_read", "error"]
    assert [row["Review"] for row in rows[:-1]] == harmless
    assert [row["id"] for row in rows] == [*map(str, range(len(reviews))), "99"]
    assert [row["label"] for row in rows[:-1]] == [prediction.verdict for prediction in predictions]
    assert float(rows[0]["score"]) == predictions[0].score
    assert rows[-1]["error"].endswith("空影评")
    assert tab.errors == []


@pytest.mark.parametrize(
    ("name", "content", "sentence"),
    [
        ("film.exe", b"MZ", "无法上传 film.exe: 只接受 .txt、.csv、.tsv、.jsonl 或 .json 文件"),
        ("film.txt", b"x" * 21_000_000, "无法上传 film.txt: 文件超过 20 MB；请分成几个文件"),
        ("film.csv", b"", "无法上传 film.csv: 文件是空的；请选择每行一条影评、或含 text 列的文件"),
    ],
)
def test_a_file_that_is_refused_gets_a_sentence(open_tab, tmp_path, name, content, sentence):
    tab = open_tab()
    tab.attach(tmp_path / name, content, accepted=False)
    tab.page.get_by_text(sentence).wait_for()
    tab.ask("A quiet film.")


def test_names_and_headers_of_a_file_become_no_links(open_tab):
    tab = open_tab()
    name = "[film](https:evil.example) www.evil.example <b> &#104;ttp.csv"
    header = "https://evil.example/x,www.evil.example,a@evil.example,[click](https://evil.example),![x](//evil.example/y.png)"
    file = {"name": name, "mimeType": "text/csv", "buffer": f"{header}\n1,2,3,4,5\n".encode()}
    tab.page.locator("input[type=file]").first.set_input_files(file)
    tab.page.wait_for_selector("#chat-submit:not([disabled])")
    tab.page.click("#chat-submit")
    answer = tab.page.locator("[data-step-type=assistant_message]").last
    answer.get_by_text("[click]").wait_for()
    shown = answer.inner_text().replace("\N{WORD JOINER}", "")
    for part in (name, *header.split(",")):
        assert part in shown
    assert answer.locator("a").count() == 0
    assert tab.outside == []


def test_two_tabs_at_once(open_tab, chromium, server, reader):
    first = open_tab(language="en-US")
    second = Tab(chromium, server, context=first.context)
    first.say(POSITIVE)
    second.say(NEGATIVE)
    for tab, review in ((first, POSITIVE), (second, NEGATIVE)):
        answer = tab.explained(0)
        assert answer.startswith(SENTENCE["en"] + reader.predict(review).label.name)
        expect(tab.page.locator("[data-testid=verdict]")).to_have_count(1)


def test_a_reload_in_the_middle_of_an_answer(open_tab, server, tmp_path):
    tab = open_tab()
    lines = b"It goes on and on, and nothing happens in it at all.\n" * 20_000
    tab.attach(tmp_path / "long.txt", lines)
    tab.page.press("#chat-input", "Enter")
    tab.page.locator(
        "[data-step-type=assistant_message]", has_text=re.compile(r"已分类 [1-9][\d,]* / 20,000")
    ).wait_for()
    tab.page.reload()
    tab.ready()
    assert tab.ask("A quiet film. A loud film.").startswith(SENTENCE["zh"])
    assert "Traceback" not in server.log.read_text()


def test_the_settings_change_what_is_read_and_when_it_is_uncertain(open_tab, bundle):
    tab = open_tab()
    review = "It goes on and on, and nothing happens. " * 30
    tab.choose(0, keys=("Home",))
    shortest = load_predictor("onnx", onnx_model=bundle, options=InferenceOptions(16)).predict(review)
    assert f"读取 {shortest.tokens_read} / {shortest.tokens} 个词元" in tab.ask(review)
    tab.choose(1, keys=("End",))
    answer = tab.ask(review)
    assert answer.startswith("该文本被分类为: 不确定")
    buttons = tab.page.locator("[data-testid=feedback]").last.get_by_role("button")
    expect(buttons).to_have_text(["应为负面评论", "应为正面评论"])


def test_another_language_is_the_whole_pages_and_is_remembered(open_tab):
    tab = open_tab()
    tab.ask("A quiet film. A loud film.")
    with tab.page.expect_navigation():
        tab.choose(0, label="English")
    for _ in range(2):
        tab.ready()
        expect(tab.page).to_have_title("Film reviews")
        expect(tab.page.locator("html")).to_have_attribute("lang", "en-US")
        expect(tab.page.locator("#chat-input")).to_have_attribute("placeholder", "Enter a film review in English")
        expect(tab.page.locator("#starters button")).to_have_text([label for label, _ in starters("en")])
        assert not re.search("[\u4e00-\u9fff]", tab.page.locator("body").inner_text())
        tab.page.get_by_role("button", name="About").click()
        dialog = tab.page.get_by_role("dialog")
        dialog.get_by_text("Everything is computed on this server").wait_for()
        assert not re.search("[\u4e00-\u9fff]", dialog.inner_text())
        tab.page.keyboard.press("Escape")
        dialog.wait_for(state="hidden")
        assert tab.ask("A quiet film. A loud film.").startswith(SENTENCE["en"])
        tab.page.reload()


def test_a_file_alone_can_be_stopped(open_tab, server, tmp_path):
    tab = open_tab()
    tab.attach(tmp_path / "long.txt", b"It goes on and on, and nothing happens in it at all.\n" * 50_000)
    tab.page.press("#chat-input", "Enter")
    tab.page.locator("#stop-button").click()
    tab.page.locator("[data-step-type=assistant_message]", has_text="已停止。").wait_for()
    assert tab.ask("A quiet film. A loud film.").startswith(SENTENCE["zh"])
    assert "Task manually stopped" not in tab.page.locator("body").inner_text()
    assert "Traceback" not in server.log.read_text()


def test_thumbs_leave_a_mark_stay_in_place_and_can_be_taken_back(open_tab, server, reader, tmp_path):
    tab = open_tab()
    said, places = [], []
    for number in range(2):
        review = f"A film called number {number}. It has an end."
        label = reader.predict(review).label.name
        tab.ask(review)
        thumbs = tab.page.locator("[data-testid=feedback]").nth(number).get_by_role("button")
        expect(thumbs).to_have_text(["判断正确", "判断错误"])
        places.append([thumb.bounding_box()["x"] for thumb in thumbs.all()])
        thumbs.nth(number).click()
        tab.page.locator("[data-testid=feedback] [aria-pressed=true]").nth(number).wait_for()
        tab.page.get_by_text("已保存，谢谢。").nth(number).wait_for()
        other = {"positive": "negative", "negative": "positive"}[label]
        said.append((review, label, (label, other)[number]))
    assert places[0] == places[1]
    marked = tab.page.locator("[data-testid=feedback] [aria-pressed=true]")
    expect(marked).to_have_text(["判断正确", "判断错误"])
    lines = (server.state / "corrections.jsonl").read_text(encoding="utf-8").splitlines()
    saved = [json.loads(line) for line in lines][-2:]
    assert [(each["text"], each["predicted"], each["corrected"]) for each in saved] == said
    assert all(each["model_hash"] == server.health()[1]["model"] and 0.5 <= each["score"] <= 1 for each in saved)
    more = [
        json.dumps({**saved[n % 2], "text": f"{n}", "corrected": ("positive", "negative")[n // 2 % 2]})
        for n in range(40)
    ]
    (tmp_path / "corrections.jsonl").write_text("\n".join([*lines, *more]), encoding="utf-8")
    info = import_dataset(str(tmp_path / "corrections.jsonl"), tmp_path / "data", ImportOptions())
    assert sum(sum(counts.values()) for counts in info.counts.values()) >= 40
    marked.last.click()
    tab.page.get_by_text("已撤回。").wait_for()
    expect(marked).to_have_count(1)
    assert (server.state / "corrections.jsonl").read_text(encoding="utf-8").splitlines() == lines[:-1]


@pytest.mark.parametrize(
    ("language", "title", "wrong"),
    [("zh-CN", "请输入密码", "密码不对，请再试一次。"), ("en-GB", "Enter the password", "Wrong password; try again.")],
)
def test_a_password_is_asked_for_in_words_and_nothing_else(locked, language, title, wrong):
    tab = locked(language=language)
    tab.page.get_by_text(title).wait_for()
    expect(tab.page.locator("input:visible")).to_have_count(1)
    expect(tab.page.locator("img:visible"), "no picture beside the logo").to_have_count(1)
    tab.page.wait_for_function("document.activeElement.id === 'password'")
    for password in ("guess", "open sesame"):
        tab.page.fill("#password", password)
        with tab.page.expect_response("**/login") as answer:
            tab.page.press("#password", "Enter")
        if password == "guess":
            assert answer.value.status == 401
            expect(tab.page.locator("form .alert")).to_have_text(wrong)
            assert tab.page.get_by_text("credentialssignin").count() == 0
    tab.ready()
    assert tab.ask("A quiet film. A loud film.").startswith(SENTENCE[language[:2]])


@pytest.mark.parametrize(
    ("dark", "size", "name"),
    [(True, DESKTOP, "answer-dark"), (True, PHONE, "phone-dark"), (False, PHONE, "phone-light")],
)
def test_it_is_legible_and_overflows_nowhere(open_tab, tmp_path, dark, size, name):
    tab = open_tab(dark=dark, size=size)
    assert tab.overflow() == []
    tab.ask(starters("zh")[2][1])
    assert tab.overflow() == []
    assert tab.page.evaluate(CONTRAST) == []
    tab.picture(name)
    tab.ask("Supercalifragilisticexpialidocious" * 8 + ". It ends.")
    assert tab.overflow() == []
    if size is PHONE:
        tab.attach(tmp_path / "reviews.txt", f"{POSITIVE}\n{NEGATIVE}\n".encode())
        tab.page.wait_for_selector("#chat-submit:not([disabled])")
        tab.page.press("#chat-input", "Enter")
        tab.page.locator("[data-testid=reviews]").wait_for()
        assert tab.overflow() == []
        assert tab.page.evaluate(CONTRAST) == []
        if dark:
            tab.picture("phone-dark-file")
