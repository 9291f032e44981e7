"""A person in front of Airflow's UI: logs in, opens a page of ours in its frame, and tells what there is to see."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from playwright.sync_api import Browser, ConsoleMessage, Frame, Page, StorageState

from console.terminal import BUILD

SCREENSHOTS = BUILD / "screenshots"
THEMES = ("light", "dark")
WIDE_PX, NARROW_PX, HEIGHT_PX = 1280, 390, 900
TALLEST_PX = 6000
WAIT_MS = 20_000
OURS = "/nightreel/"

# Airflow's UI keeps the theme there, and these pages read it from there.
WEAR = "localStorage.setItem('theme', '{theme}')"

READ_FRAME = """() => ({
    heading: document.querySelector('h1')?.innerText ?? '',
    text: document.body.innerText,
    theme: document.documentElement.dataset.theme ?? '',
    height_px: document.documentElement.scrollHeight,
    overflow_px: document.documentElement.scrollWidth - document.documentElement.clientWidth,
    planted: document.querySelectorAll('.planted').length,
})"""


@dataclass(frozen=True)
class Place:
    """Where a person goes: the page's name in screenshots, its address below Airflow's, and words that it must show."""

    name: str
    address: str
    words: tuple[str, ...] = ()


@dataclass(frozen=True)
class Look:
    """What there was to see. `overflow_px` is how far the page is wider than its frame; `planted` counts elements
    that a hostile text brought in; `errors` is what the browser complained about."""

    heading: str
    text: str
    theme: str
    height_px: int
    overflow_px: int
    planted: int
    errors: tuple[str, ...]


@dataclass(frozen=True)
class Person:
    """Someone who logged in. `session` holds the cookies."""

    browser: Browser
    airflow_url: str
    session: StorageState

    @contextmanager
    def at(self, place: Place, theme: str = "light", width_px: int = WIDE_PX) -> Iterator["Visit"]:
        """The place, opened in a fresh window, for the block."""
        context = self.browser.new_context(
            storage_state=self.session, viewport={"width": width_px, "height": HEIGHT_PX}, reduced_motion="reduce"
        )
        context.set_default_timeout(WAIT_MS)
        context.add_init_script(WEAR.format(theme=theme))
        try:
            page = context.new_page()
            errors: list[str] = []
            page.on("console", lambda message: errors.extend(_complaint(message)))
            page.on("pageerror", lambda error: errors.extend(_fault(error.stack or "")))
            page.on("dialog", lambda dialog: errors.append(f"a dialog said {dialog.message}"))
            page.goto(self.airflow_url + place.address)
            yield Visit(page, _our_frame(page), errors)
        finally:
            context.close()

    def look(self, place: Place, theme: str, width_px: int = WIDE_PX, kind: str = "") -> Look:
        """Open the place, keep its picture in build/screenshots, and tell what there was."""
        with self.at(place, theme, width_px) as visit:
            look = visit.look()
            size = "" if width_px == WIDE_PX else f"-{width_px}"
            visit.picture(SCREENSHOTS / f"{place.name}{kind}-{theme}{size}.png", look.height_px)
            return look


@dataclass(frozen=True)
class Visit:
    """An open window: Airflow's page, our page in its frame, and what the browser has complained about so far."""

    page: Page
    frame: Frame
    errors: list[str]

    def look(self) -> Look:
        """What there is to see now."""
        return Look(**self.frame.evaluate(READ_FRAME), errors=tuple(self.errors))

    def picture(self, target: Path, height_px: int) -> None:
        """All of the page, in a window that is tall enough for it."""
        target.parent.mkdir(parents=True, exist_ok=True)
        size = self.page.viewport_size
        frame = self.page.locator("iframe").bounding_box()
        if size and frame:
            around_px = size["height"] - int(frame["height"])
            self.page.set_viewport_size({"width": size["width"], "height": min(TALLEST_PX, height_px + around_px)})
        self.page.screenshot(path=target)


def log_in(browser: Browser, airflow_url: str, user: str, password: str) -> Person:
    """Through Airflow's own form."""
    context = browser.new_context()
    try:
        page = context.new_page()
        page.set_default_timeout(WAIT_MS)
        page.goto(f"{airflow_url}/auth/login")
        page.fill("input[name=username]", user)
        page.fill("input[name=password]", password)
        page.keyboard.press("Enter")
        page.wait_for_url(lambda url: "/login" not in url)
        return Person(browser, airflow_url, context.storage_state())
    finally:
        context.close()


def _our_frame(page: Page) -> Frame:
    page.frame_locator("iframe").locator("main").wait_for()
    element = page.locator("iframe").element_handle()
    frame = element.content_frame()
    if frame is None:
        raise ValueError(f"{page.url} must show a page of ours in a frame: there is none")
    frame.wait_for_load_state()
    return frame


def _complaint(message: ConsoleMessage) -> Iterator[str]:
    if message.type == "error" and urlsplit(message.location["url"]).path.startswith(OURS):
        yield message.text


def _fault(stack: str) -> Iterator[str]:
    if f"{OURS}static/" in stack:
        yield stack
