"""A page of the app in a real browser, and what somebody does on it."""

import os
import re
import shutil
from urllib.parse import urlsplit

from playwright import sync_api as playwright

from tests.conftest import ROOT

PATIENCE = 180_000  # milliseconds
expect = playwright.expect  # what is drawn a moment later is waited for; a list of texts or a count read once is not
expect.set_options(timeout=PATIENCE)

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
ARGUMENTS = (
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
)  # fmt: skip
DESKTOP = {"width": 1100, "height": 860}
PHONE = {"width": 390, "height": 844}


class Tab:
    """One page of the app, and what somebody does on it."""

    def __init__(self, browser, server, language="zh-CN", dark=False, size=DESKTOP, context=None, opened=True) -> None:
        self.context = context or browser.new_context(
            locale=language, viewport=size, color_scheme="dark" if dark else "light", accept_downloads=True
        )
        self.server = server
        self.page = self.context.new_page()
        self.outside: list[str] = []
        self.errors: list[str] = []
        self.page.on("request", lambda request: self._request(request.url))
        self.page.on("console", lambda message: self.errors.append(message.text) if message.type == "error" else None)
        self.page.on("pageerror", lambda error: self.errors.append(str(error)))
        self.page.set_default_timeout(PATIENCE)
        if opened:
            self.open()

    def _request(self, url: str) -> None:
        if urlsplit(url).scheme not in ("data", "blob") and urlsplit(url).netloc != f"127.0.0.1:{self.server.port}":
            self.outside.append(url)

    def open(self) -> None:
        """The page, once it is there and its script has named what is on it."""
        self.page.goto(self.server.url)
        self.ready()

    def ready(self) -> None:
        self.page.wait_for_selector("#starters button:not([disabled])")  # the WebSocket is connected
        self.page.wait_for_selector("#chat-settings-open-modal[aria-label]")

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

    def choose(self, position: int, *, label: str | None = None, keys: tuple[str, ...] = ()) -> None:
        """Change one setting, the select or the slider at `position`, and confirm."""
        self.page.click("#chat-settings-open-modal")
        dialog = self.page.get_by_role("dialog")
        dialog.wait_for()
        if label:
            dialog.get_by_role("combobox").nth(position).click()
            self.page.get_by_role("option", name=label).click()
        else:
            for key in keys:
                dialog.get_by_role("slider").nth(position).press(key)
        self.picture("settings")
        dialog.locator("#confirm").click()
        dialog.wait_for(state="hidden")

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

    def appears(self, selector: str) -> bool:
        """Whether this is a part of the page within two seconds."""
        try:
            self.page.wait_for_selector(selector, state="attached", timeout=2_000)
        except playwright.TimeoutError:
            return False
        return True

    def at_rest(self) -> None:
        """Wait for fades and scrolls."""
        self.page.wait_for_function("document.getAnimations().every((each) => each.playState !== 'running')")

    def picture(self, name: str) -> None:
        if os.environ.get("TOOLKIT_SCREENSHOTS"):
            folder = ROOT / "docs" / "images"
            folder.mkdir(parents=True, exist_ok=True)
            self.page.mouse.move(0, 0)
            self.page.wait_for_timeout(800)  # smooth scrolling is no animation
            self.at_rest()
            self.page.screenshot(path=folder / f"{name}.png")


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
