"""What holds for every page that links lead to, whichever room it is of, full or empty."""

import pytest

from nightreel_ui.page import SECTIONS
from operators import settings
from tests.plugins import hostile
from tests.plugins.crawl import crawl, is_ours


@pytest.fixture(params=["empty", "full"])
def pages(request, visit, media_database, results, tmp_path, monkeypatch):
    if request.param == "full":
        hostile.plant(media_database, results, tmp_path)
    return [shown for shown in crawl(visit("user"), starts(request.param)) if shown.source]


@pytest.fixture
def full_pages(visit, media_database, results, tmp_path, monkeypatch):
    monkeypatch.setattr(settings, "RESULTS_MOUNT", results)
    planted = hostile.plant(media_database, results, tmp_path)
    return planted, crawl(visit("user"), starts("full"))


def starts(kind):
    sections = [path for path, _ in SECTIONS]
    return sections if kind == "empty" else [*sections, f"/archive?q={hostile.RARE_WORD}"]


def test_links_lead_to_pages_and_files_that_are_there(full_pages):
    _, everything = full_pages
    dead = [(shown.address, shown.found_on, shown.status) for shown in everything if shown.status >= 400]
    assert not dead


def test_hostile_text_is_text_on_every_page(full_pages):
    _, everything = full_pages
    broken = {shown.address: mark for shown in everything for mark in hostile.FORBIDDEN if mark in shown.text}
    assert not broken
    shown = [one.address for one in everything if hostile.RARE_WORD in one.text]
    assert len(shown) >= len(SECTIONS), f"what was planted shows on {shown}"


def test_a_page_has_one_heading(pages):
    assert {shown.address: shown.source.headings for shown in pages if shown.source.headings != 1} == {}


def test_a_page_has_no_script_or_style_of_its_own(pages):
    assert {shown.address: shown.source.inline for shown in pages if shown.source.inline} == {}


def test_every_control_has_a_name(pages):
    assert {shown.address: shown.source.nameless for shown in pages if shown.source.nameless} == {}


def test_an_id_stands_for_one_thing(pages):
    twice = {shown.address: {one for one in shown.source.ids if shown.source.ids.count(one) > 1} for shown in pages}
    assert {address: ids for address, ids in twice.items() if ids} == {}


def test_links_to_airflow_leave_the_frame_and_others_stay(pages):
    wrong = [
        (shown.address, link)
        for shown in pages
        for link, target in shown.source.links
        if link.startswith("/") and is_ours(link) == (target == "_top")
    ]
    assert not wrong


def test_no_link_opens_a_window_which_the_iframe_may_not(pages):
    assert {target for shown in pages for _, target in shown.source.links} <= {"", "_top"}


def test_nothing_is_loaded_from_elsewhere(pages):
    assert {link for shown in pages for link in shown.source.loaded if "//" in link} == set()
