"""The app in a real browser, as somebody uses it all day. TOOLKIT_SCREENSHOTS=1 writes `docs/images/`."""

import csv
import io
import json
import os
import re
import shutil
from urllib.parse import urlsplit

import pytest

from tests.conftest import ROOT
from toolkit.chat.texts import starters
from toolkit.datasets.importers import ImportOptions, import_dataset
from toolkit.prediction import InferenceOptions, load_predictor

pytest.importorskip("chainlit", reason="the extra 'app' is not installed")
playwright = pytest.importorskip("playwright.sync_api", reason="the extra 'dev' is not installed")

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
ARGUMENTS = (
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
)  # fmt: skip
DESKTOP = {"width": 1100, "height": 860}
PHONE = {"width": 390, "height": 844}
POSITIVE = (
    "This is a wonderful film. The acting is superb and the story moved me to tears. "
    "I loved every minute and would gladly watch it again. One of the best of the year."
)
NEGATIVE = (
    "This is a terrible film. The plot is boring and the acting is awful. "
    "I hated every minute and nearly walked out. A complete waste of time and money."
)
SENTENCE = {"zh": "该文本被分类为: ", "en": "This text is classified as: "}


@pytest.fixture(scope="module")
def chromium():
    """Headless Chromium; CI has it, elsewhere its absence skips."""
    if CHROMIUM is None:
        if os.environ.get("CI", "").lower() in ("1", "true"):
            pytest.fail("no chromium found, and CI has to have it: apt-get install chromium fonts-noto-cjk")
        pytest.skip("no chromium found: apt-get install chromium fonts-noto-cjk")
    with playwright.sync_playwright() as player:
        browser = player.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield browser
        browser.close()


class Tab:
    """One page of the app, and what somebody does on it."""

    def __init__(self, browser, server, language="zh-CN", dark=False, size=DESKTOP, context=None, opened=True) -> None:
        self.context = context or browser.new_context(
            locale=language, viewport=size, color_scheme="dark" if dark else "light", accept_downloads=True
        )
        if dark:
            self.context.add_init_script("localStorage.setItem('vite-ui-theme', 'dark')")
        self.server = server
        self.page = self.context.new_page()
        self.outside: list[str] = []
        self.errors: list[str] = []
        self.page.on("request", lambda request: self._request(request.url))
        self.page.on("console", lambda message: self.errors.append(message.text) if message.type == "error" else None)
        self.page.on("pageerror", lambda error: self.errors.append(str(error)))
        self.page.set_default_timeout(180_000)
        if opened:
            self.open()

    def _request(self, url: str) -> None:
        if urlsplit(url).scheme not in ("data", "blob") and urlsplit(url).netloc != f"127.0.0.1:{self.server.port}":
            self.outside.append(url)

    def open(self) -> None:
        self.page.goto(self.server.url)
        self.ready()

    def ready(self) -> None:
        self.page.wait_for_selector("#starters button:not([disabled])")  # the WebSocket is connected

    def say(self, text: str) -> None:
        self.page.fill("#chat-input", text)
        if text.strip():
            self.page.wait_for_selector("#chat-submit:not([disabled])")  # the page has taken the text in
        self.page.press("#chat-input", "Enter")

    def ask(self, text: str) -> str:
        """Send a review, wait for its explanation, and return the whole answer."""
        count = self.page.locator("[data-testid=verdict]").count()
        self.say(text)
        return self.explained(count)

    def explained(self, count: int) -> str:
        panel = self.page.locator("[data-testid=verdict]").nth(count)
        panel.locator(".toolkit-review").wait_for(state="attached")  # that of a long one is folded
        return self.last_answer()

    def last_answer(self) -> str:
        return self.page.locator("[data-step-type=assistant_message]").last.inner_text()

    def percents(self) -> list[float]:
        """Negative and positive of the last answer, 0 to 100."""
        bar = self.page.locator("[data-testid=verdict] .toolkit-bar-names").last.inner_text()
        return [float(number) for number in re.findall(r"([\d.]+)%", bar)]

    def attach(self, path, content: bytes, accepted: bool = True) -> None:
        """Choose a file; once more where the page, still busy with itself, took no notice."""
        path.write_bytes(content)
        for seconds in (30, 150):
            self.page.locator("input[type=file]").first.set_input_files(path)
            if not accepted:
                return
            try:
                self.page.wait_for_selector("#chat-submit:not([disabled])", timeout=1000 * seconds)
                return
            except playwright.TimeoutError:
                found = self.page.locator("#message-composer").inner_text()
        raise AssertionError(f"the file was not taken: {found!r}\n{self.server.log.read_text()}")

    def in_sight(self, selector: str) -> bool:
        """Whether the last of these lies within the window, between the page's head and the field for the next review."""
        return self.page.locator(selector).last.evaluate(
            """(node) => {
              const { top, bottom, left } = node.getBoundingClientRect()
              return top >= 0 && bottom <= window.innerHeight && node.contains(document.elementFromPoint(left + 5, (top + bottom) / 2))
            }"""
        )

    def overflow(self) -> list[str]:
        """What reaches beyond the window's edges, be it cut off or scrolled to; a wide table has its own box."""
        return self.page.evaluate(
            """() => [...document.querySelectorAll("#root *")].filter((node) => {
              const { left, right, width } = node.getBoundingClientRect()
              return width && !node.closest(".toolkit-scroll table") && (left < -1 || right > document.documentElement.clientWidth + 1)
            }).map((node) => `${node.tagName}.${node.className}`)"""
        )

    def picture(self, name: str) -> None:
        if os.environ.get("TOOLKIT_SCREENSHOTS"):
            folder = ROOT / "docs" / "images"
            folder.mkdir(parents=True, exist_ok=True)
            self.page.mouse.move(0, 0)
            self.page.wait_for_timeout(800)  # fades and scrolls come to rest
            self.page.screenshot(path=folder / f"{name}.png")


@pytest.fixture
def open_tab(chromium, server):
    tabs = []

    def open_one(**options) -> Tab:
        tabs.append(Tab(chromium, server, **options))
        return tabs[-1]

    yield open_one
    for tab in tabs:
        assert tab.outside == []
        tab.context.close()


@pytest.fixture(scope="module")
def reader(bundle):
    """The same model, asked directly."""
    return load_predictor("onnx", onnx_model=bundle, options=InferenceOptions(120))


def test_it_loads_in_chinese_without_asking_anybody_else(open_tab, server):
    tab = open_tab()
    assert tab.page.title() == "影评分类"
    assert tab.page.get_attribute("#chat-input", "placeholder") == "请输入一段英文影评以进行分类"
    labels = [label for label, _ in starters("zh")]
    assert tab.page.locator("#starters button").all_inner_texts() == labels
    tab.picture("welcome")
    tab.page.get_by_text("说明").click()
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
    assert tab.page.locator("[data-testid=why] [aria-label]").count() == 8
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
    assert segments.count() == 4
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
    assert tab.page.get_attribute("#chat-input", "placeholder") == "请输入一段英文影评以进行分类"
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
    assert why.last.is_visible(), "that of a short one needs no click"


@pytest.mark.parametrize(("dark", "size"), [(False, DESKTOP), (True, PHONE)])
def test_n_grams_shade_words_and_a_strange_text_gets_no_verdict(
    chromium, start_server, ngram_bundle, tmp_path, dark, size
):
    server = start_server(TOOLKIT_ONNX_MODEL=str(ngram_bundle))
    tab = Tab(chromium, server, dark=dark, size=size)
    review = "It is not good of the film. But a bad end!"
    tab.ask(review)
    explanation = load_predictor("onnx", onnx_model=ngram_bundle, options=InferenceOptions(120)).explain(review)
    shaded = tab.page.locator("[data-testid=why] .toolkit-word")
    weighing = [word for word in explanation.words if abs(word.push) >= 0.08 * explanation.strongest_word]
    assert shaded.all_inner_texts() == [word.text for word in weighing]
    assert "bad" in shaded.all_inner_texts()
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
    assert tab.page.locator("[data-testid=why]").last.is_visible()
    assert tab.overflow() == []
    assert tab.page.evaluate(CONTRAST) == []

    tab.attach(tmp_path / "reviews.txt", b"good\nzyx qwv\nqwv vwq\n")
    tab.page.press("#chat-input", "Enter")
    panel = tab.page.locator("[data-testid=reviews]")
    panel.wait_for()
    assert "因此结果为“不确定”的有 2 条。" in panel.inner_text()
    assert panel.locator(".toolkit-chart-count").all_inner_texts()[-1] == "2"
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
    assert panel.locator("tbody tr").count() == 20
    predictions = list(reader.predict_many(reviews))
    counts = dict(zip(panel.locator(".toolkit-chart-name").all_inner_texts(),
                      panel.locator(".toolkit-chart-count").all_inner_texts(), strict=True))  # fmt: skip
    expected = {
        text: sum(each.display("zh") == text for each in predictions) for text in ("负面评论", "正面评论", "不确定")
    }
    assert sum(expected.values()) == len(reviews)
    assert counts == {**{text: str(count) for text, count in expected.items() if count}, "无法读取": "1"}
    tab.picture("file")
    with tab.page.expect_download() as download:
        tab.page.get_by_text("reviews-predictions.csv").click()
    assert download.value.suggested_filename == "reviews-predictions.csv"
    with open(download.value.path(), encoding="utf-8-sig", newline="") as saved:
        rows = list(csv.DictReader(saved))
    harmless = [*reviews[:-1], f"'{reviews[-1]}"]  # which a spreadsheet would have run
    assert [row["text"] for row in rows[:-1]] == harmless
    assert [row["verdict"] for row in rows[:-1]] == [prediction.verdict for prediction in predictions]
    assert float(rows[0]["score"]) == pytest.approx(predictions[0].score, abs=1e-6)
    assert rows[-1]["problem"] == "空影评"
    assert tab.errors == []


@pytest.mark.parametrize(
    ("name", "content", "sentence"),
    [
        ("film.exe", b"MZ", "无法上传 film.exe: 只接受 .txt、.csv、.tsv、.jsonl 或 .json 文件"),
        ("film.txt", b"x" * 21_000_000, "无法上传 film.txt: 文件超过 20 MB"),
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
        assert tab.page.locator("[data-testid=verdict]").count() == 1


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


def choose(tab: Tab, position: int, *, label: str | None = None, keys: tuple[str, ...] = ()) -> None:
    """Change one setting, the select or the slider at `position`, and confirm."""
    tab.page.click("#chat-settings-open-modal")
    dialog = tab.page.get_by_role("dialog")
    dialog.wait_for()
    if label:
        dialog.get_by_role("combobox").nth(position).click()
        tab.page.get_by_role("option", name=label).click()
    else:
        for key in keys:
            dialog.get_by_role("slider").nth(position).press(key)
    tab.picture("settings")
    dialog.locator("#confirm").click()
    dialog.wait_for(state="hidden")


def test_the_settings_change_what_is_read_and_when_it_is_uncertain(open_tab, bundle):
    tab = open_tab()
    review = "It goes on and on, and nothing happens. " * 30
    choose(tab, 0, keys=("End",))
    longest = load_predictor("onnx", onnx_model=bundle, options=InferenceOptions(512)).predict(review)
    assert f"读取 {longest.tokens_read} / {longest.tokens} 个词元" in tab.ask(review)
    choose(tab, 1, keys=("End",))
    answer = tab.ask(review)
    assert answer.startswith("该文本被分类为: 不确定")
    assert "应为正面评论" in answer
    assert "应为负面评论" in answer


def test_the_language_can_be_chosen_and_is_remembered(open_tab):
    tab = open_tab()
    choose(tab, 0, label="English")
    tab.page.get_by_text("Settings saved.").wait_for()
    assert tab.ask("A quiet film. A loud film.").startswith(SENTENCE["en"])
    tab.open()
    assert tab.page.title() == "Film reviews"
    assert tab.page.get_attribute("#chat-input", "placeholder") == "Enter a film review in English"
    assert tab.ask("A quiet film. A loud film.").startswith(SENTENCE["en"])


def test_thumbs_are_saved_and_can_be_imported(open_tab, server, reader, tmp_path):
    tab = open_tab()
    said = []
    for number in range(2):
        review = f"A film called number {number}. It has an end."
        label = reader.predict(review).label.name
        tab.ask(review)
        tab.page.get_by_role("button", name=("判断正确", "判断错误")[number]).click()
        tab.page.get_by_text("已保存，谢谢。").nth(number).wait_for()
        tab.page.get_by_role("button", name="判断正确").wait_for(state="detached")
        other = {"positive": "negative", "negative": "positive"}[label]
        said.append((review, label, (label, other)[number]))
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


def test_a_password_is_asked_for_in_words(chromium, start_server):
    server = start_server(TOOLKIT_CHAT_PASSWORD="open sesame")
    tab = Tab(chromium, server, opened=False)
    tab.page.goto(server.url)
    tab.page.get_by_text("请输入密码").wait_for()
    for password in ("guess", "open sesame"):
        tab.page.fill("#email", "reader")
        tab.page.fill("#password", password)
        with tab.page.expect_response("**/login") as answer:
            tab.page.press("#password", "Enter")
        assert answer.value.status == (200 if password == "open sesame" else 401)
    tab.ready()
    assert tab.ask("A quiet film. A loud film.").startswith(SENTENCE["zh"])
    assert tab.outside == []
    tab.context.close()


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


# Texts of our panels whose contrast with what lies behind them is under 4.5 (WCAG 2.2, 1.4.3), as "ratio text".
CONTRAST = """() => {
  const canvas = document.createElement("canvas").getContext("2d", { willReadFrequently: true })
  const rgba = (color) => {
    canvas.clearRect(0, 0, 1, 1); canvas.fillStyle = color; canvas.fillRect(0, 0, 1, 1)
    const [r, g, b, a] = canvas.getImageData(0, 0, 1, 1).data
    return [r, g, b, a / 255]
  }
  const over = ([r, g, b, a], under) => [r, g, b].map((value, index) => value * a + under[index] * (1 - a))
  const chain = (node) => (node ? [...chain(node.parentElement), node] : [])
  const behind = (node) => chain(node).reduce((under, each) => over(rgba(getComputedStyle(each).backgroundColor), under), [255, 255, 255])
  const opacity = (node) => chain(node).reduce((product, each) => product * Number(getComputedStyle(each).opacity), 1)
  const luminance = (color) => {
    const [r, g, b] = color.map((value) => { const v = value / 255; return v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4 })
    return 0.2126 * r + 0.7152 * g + 0.0722 * b
  }
  const low = []
  for (const node of document.querySelectorAll(".toolkit-panel *")) {
    const text = [...node.childNodes].filter((each) => each.nodeType === 3).map((each) => each.data).join("").trim()
    if (!text) continue
    const under = behind(node)
    const [r, g, b, a] = rgba(getComputedStyle(node).color)
    const [light, dark] = [luminance(over([r, g, b, a * opacity(node)], under)), luminance(under)].sort((x, y) => y - x)
    const ratio = (light + 0.05) / (dark + 0.05)
    if (ratio < 4.5) low.push(`${ratio.toFixed(2)} ${text.slice(0, 40)}`)
  }
  return low
}"""
