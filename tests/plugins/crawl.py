"""Every page that can be reached by links, from the sections on."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from html.parser import HTMLParser
from urllib.parse import urljoin, urlsplit

from fastapi.testclient import TestClient

from nightreel_ui.page import SECTIONS

OURS = {path.split("/")[1] for path, _ in SECTIONS} | {"outputs", "static"}
MOST_PAGES = 300


@dataclass
class Source(HTMLParser):
    """What a page's source holds. `controls` are those that need a name; `ids` may hold one twice, by mistake."""

    links: list[tuple[str, str]] = field(default_factory=list)
    loaded: list[str] = field(default_factory=list)
    headings: int = 0
    ids: list[str] = field(default_factory=list)
    inline: list[str] = field(default_factory=list)
    controls: list[dict[str, str | None]] = field(default_factory=list)
    label_for: list[str] = field(default_factory=list)
    label_depth: int = 0

    def __post_init__(self) -> None:
        super().__init__()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note what there is."""
        given = dict(attrs)
        self.headings += tag == "h1"
        self.label_depth += tag == "label"
        self.ids += [str(given["id"])] if given.get("id") else []
        self.inline += [f"<{tag} {name}>" for name in given if name.startswith("on") or name == "style"]
        if tag == "style" or (tag == "script" and not given.get("src")):
            self.inline.append(f"<{tag}>")
        if tag == "label" and given.get("for"):
            self.label_for.append(str(given["for"]))
        if tag == "a" and given.get("href"):
            self.links.append((str(given["href"]), given.get("target") or ""))
        if tag in ("script", "img", "source", "video", "audio", "track", "image") and given.get("src"):
            self.loaded.append(str(given["src"]))
        if tag == "link" and given.get("href"):
            self.loaded.append(str(given["href"]))
        is_typed = tag == "input" and given.get("type") not in ("hidden", "submit")
        if (is_typed or tag in ("select", "textarea")) and not self.label_depth:
            self.controls.append(given)

    def handle_endtag(self, tag: str) -> None:
        """A label ends."""
        self.label_depth -= tag == "label"

    @property
    def nameless(self) -> list[dict[str, str | None]]:
        """Controls without a name for those who cannot see the page."""
        return [one for one in self.controls if not one.get("aria-label") and one.get("id") not in self.label_for]


@dataclass(frozen=True)
class Shown:
    """A page that was reached: from where, what the server answered, and its source."""

    address: str
    found_on: str
    status: int
    text: str
    source: Source | None


def crawl(client: TestClient, starts: Iterable[str]) -> list[Shown]:
    """Follow every link from `starts` on, and load every file, each once."""
    waiting = dict.fromkeys(starts, "")
    seen: dict[str, Shown] = {}
    while waiting and len(seen) < MOST_PAGES:
        address = next(iter(waiting))
        shown = _fetch(client, address, waiting.pop(address))
        seen[address] = shown
        for found in _next(shown):
            if found not in seen:
                waiting.setdefault(found, address)
    return list(seen.values())


def is_ours(address: str) -> bool:
    """Whether an address is one of the application's own."""
    parts = urlsplit(address)
    return not parts.netloc and parts.path.split("/")[1:2] in [[name] for name in OURS]


def _fetch(client: TestClient, address: str, found_on: str) -> Shown:
    answer = client.get(address, headers={"Accept": "text/html"}, follow_redirects=True)
    is_page = answer.headers.get("content-type", "").startswith("text/html")
    source = None
    if is_page:
        source = Source()
        source.feed(answer.text)
    return Shown(address, found_on, answer.status_code, answer.text if is_page else "", source)


def _next(shown: Shown) -> Iterable[str]:
    if shown.source is None:
        return
    for link in [*(href for href, _ in shown.source.links), *shown.source.loaded]:
        found = urljoin(shown.address, link).split("#")[0]
        if is_ours(found):
            yield found
