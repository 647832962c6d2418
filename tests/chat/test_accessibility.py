"""The app for those who do not see it, use no mouse, or want it dark; axe-core looks at every page."""

import re
from importlib.resources import files

import pytest

from toolkit.chat.texts import starters

pytest.importorskip("chainlit", reason="the extra 'app' is not installed")
pytest.importorskip("axe_playwright_python", reason="the extra 'dev' is not installed")

from tests.chat.tabs import PHONE, Tab, expect

WIDE = {"width": 1280, "height": 860}
AXE = (files("axe_playwright_python") / "axe.min.js").read_text(encoding="utf-8")
SERIOUS = ("serious", "critical")
SHOWN = """() => [...document.querySelectorAll("button, [role=slider], [role=combobox], textarea, section[aria-label], [role=navigation], [role=region]")]
  .filter((node) => node.checkVisibility() && !node.closest("[inert]"))
  .map((node) => (node.getAttribute("aria-label") || node.labels?.[0]?.innerText || node.innerText || node.outerHTML).trim())"""
ARROW = "button:has(> .lucide-arrow-down)"


def violations(tab: Tab) -> list[str]:
    """What axe-core finds that keeps somebody from using the page."""
    tab.at_rest()
    tab.page.evaluate(AXE)
    found = tab.page.evaluate("axe.run(document, { resultTypes: ['violations'] })")["violations"]
    return [
        f"{each['id']} ({each['impact']}): {node['target']} {node['failureSummary']}"
        for each in found
        if each["impact"] in SERIOUS
        for node in each["nodes"]
    ]


def test_the_search_finds(open_tab):
    tab = open_tab()
    tab.page.evaluate("document.body.append(Object.assign(document.createElement('button'), { id: 'nameless' }))")
    assert any("nameless" in each for each in violations(tab))


@pytest.mark.parametrize(
    ("dark", "size", "language"),
    [(False, WIDE, "zh-CN"), (True, WIDE, "en-GB"), (False, PHONE, "en-GB"), (True, PHONE, "zh-CN")],
)
def test_no_page_keeps_anybody_out(open_tab, tmp_path, dark, size, language):
    tab = open_tab(dark=dark, size=size, language=language)
    assert violations(tab) == [], "welcome"
    for button in ("#chat-settings-open-modal", "#readme-button", "#new-chat-button", "#theme-toggle"):
        tab.page.click(button)
        layer = tab.page.locator("[role=dialog], [role=menu]")
        layer.wait_for()
        assert violations(tab) == [], button
        if button == "#new-chat-button":  # whose dialog takes no keys but Enter
            layer.get_by_role("button").first.click()
        else:
            tab.page.keyboard.press("Escape")
        layer.wait_for(state="hidden")
    tab.ask(starters("en")[2][1])
    tab.page.locator("[data-testid=feedback] button").first.click()
    tab.page.locator("[data-testid=feedback] [aria-pressed=true]").wait_for()
    tab.page.locator("[data-sonner-toast]").first.wait_for()
    assert violations(tab) == [], "an answer"
    tab.ask("The plot makes no sense at all, and the acting is terrible. " * 30)
    tab.page.locator(".toolkit-why > summary").last.click()
    assert violations(tab) == [], "a long review"
    tab.attach(tmp_path / "reviews.txt", b"A fine film.\nA bad film.\n")
    assert violations(tab) == [], "a file that is attached"
    tab.page.press("#chat-input", "Enter")
    tab.page.locator("[data-testid=reviews]").wait_for()
    assert violations(tab) == [], "a file"


@pytest.mark.parametrize(("dark", "size"), [(False, WIDE), (True, PHONE)])
def test_signing_in_keeps_nobody_out(locked, dark, size):
    tab = locked(dark=dark, size=size, language="en-GB")
    tab.page.wait_for_function("document.activeElement.id === 'password'")
    tab.page.wait_for_selector("button:has(.lucide-eye)[aria-label]")
    assert violations(tab) == []
    tab.page.keyboard.type("guess")
    tab.page.keyboard.press("Enter")
    tab.page.locator("form .alert").wait_for()
    assert violations(tab) == []
    tab.page.fill("#password", "open sesame")
    tab.page.press("#password", "Enter")
    tab.ready()
    tab.page.click("#user-nav-button")
    tab.page.get_by_role("menu").wait_for()
    assert violations(tab) == []


def test_what_is_a_picture_has_a_name_in_the_pages_language(open_tab, tmp_path):
    tab = open_tab()
    for name in ("新建对话", "附加文件", "设置", "发送消息", "切换主题", "说明"):
        expect(tab.page.get_by_role("button", name=name, exact=True), name).to_have_count(1)
    for landmark in ("banner", "navigation", "main"):
        expect(tab.page.get_by_role(landmark).first).to_be_attached()
    expect(tab.page.get_by_role("heading", level=1).first).to_have_text("影评分类")
    tab.ask(starters("zh")[0][1])
    tab.page.get_by_role("button", name="复制到剪贴板", exact=True).wait_for()
    tab.attach(tmp_path / "a.txt", b"Fine.\n")
    tab.page.get_by_role("button", name="移除附件", exact=True).wait_for()
    nameless = [name for name in tab.page.evaluate(SHOWN) if not re.search("[\u4e00-\u9fff]", name)]
    assert nameless == []
    tab.page.click("#chat-settings-open-modal")
    dialog = tab.page.get_by_role("dialog")
    dialog.get_by_role("button", name="关闭", exact=True).wait_for()
    for name in ("最多读取的词元数", "低于此概率时回答“不确定”"):
        dialog.get_by_role("slider", name=name, exact=True).wait_for()
    assert [name for name in tab.page.evaluate(SHOWN) if not re.search("[\u4e00-\u9fff]", name)] == []


def test_an_answer_is_read_out_and_progress_is_not(open_tab, tmp_path):
    tab = open_tab(language="en-GB")
    voice = tab.page.get_by_role("status").and_(tab.page.locator("#toolkit-voice"))
    answer = tab.ask("A quiet film. A loud film.")
    expect(voice).to_have_text(answer.splitlines()[0])
    tab.page.evaluate("""() => {
      window.heard = []
      new MutationObserver(() => window.heard.push(document.querySelector("#toolkit-voice").textContent))
        .observe(document.querySelector("#toolkit-voice"), { childList: true })
    }""")
    tab.attach(tmp_path / "many.txt", b"A film that goes on and on.\n" * 1_500)
    tab.page.press("#chat-input", "Enter")
    tab.page.wait_for_function("window.heard.length > 0")
    assert tab.page.evaluate("window.heard") == ["many.txt: 1,500 reviews."]


def test_the_theme_is_the_systems_until_another_is_chosen(open_tab):
    tab = open_tab(dark=True)
    theme = "document.documentElement.classList.contains('dark') ? 'dark' : 'light'"
    assert tab.page.evaluate(theme) == "dark"
    tab.page.emulate_media(color_scheme="light")
    tab.page.wait_for_function(f"({theme}) === 'light'")
    tab.page.emulate_media(color_scheme="dark")
    tab.page.wait_for_function(f"({theme}) === 'dark'")
    tab.page.click("#theme-toggle")
    tab.page.get_by_role("menuitem", name="浅色主题").click()
    tab.page.wait_for_function(f"({theme}) === 'light'")
    tab.open()
    assert tab.page.evaluate(theme) == "light", "chosen for good"


def test_a_menu_gives_the_keyboard_back(open_tab):
    tab = open_tab()
    tab.page.focus("#theme-toggle")
    tab.page.keyboard.press("Enter")
    tab.page.get_by_role("menu").wait_for()
    tab.page.keyboard.press("Escape")
    tab.page.get_by_role("menu").wait_for(state="hidden")
    tab.page.wait_for_function("document.activeElement.id === 'theme-toggle'")


def test_the_arrow_points_at_something(open_tab):
    tab = open_tab(size=WIDE)
    for _ in range(2):
        tab.ask("A quiet film. A loud film.")
    tab.page.mouse.move(640, 400)
    for _ in range(20):  # once the page has come to rest, what lies below is empty space
        tab.page.mouse.wheel(0, -10)
        if tab.appears(ARROW):
            break
    tab.page.wait_for_selector(ARROW, state="attached")
    tab.page.locator(ARROW).wait_for(state="hidden")
    tab.page.mouse.wheel(0, -3_000)
    tab.page.mouse.wheel(0, 10)
    tab.page.locator(ARROW).wait_for()
    tab.page.locator(ARROW).click()
    tab.page.locator(ARROW).wait_for(state="hidden")
