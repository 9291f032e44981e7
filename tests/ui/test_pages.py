"""Every page and tab inside Airflow's UI, as a person meets it: in both themes, on a phone, and empty."""

import pytest

from nightreel_plugin import PAGES
from tests.ui.person import THEMES
from tests.ui.places import FRONTS, places

FRONT_NAMES = [front.name for front in FRONTS]


@pytest.fixture(scope="module")
def all_places(work):
    return {place.name: place for place in places(work)}


def test_every_page_is_what_it_says_and_shows_what_was_recorded(looks, all_places):
    for (name, _theme), look in looks.items():
        assert look.heading, name
    missing = {
        name: [word for word in all_places[name].words if word not in look.text] for (name, _), look in looks.items()
    }
    assert {name: words for name, words in missing.items() if words} == {}


def test_no_page_makes_the_browser_complain(looks, narrow_looks, empty_looks):
    complaints = {
        key: look.errors for seen in (looks, narrow_looks, empty_looks) for key, look in seen.items() if look.errors
    }
    assert not complaints


def test_pages_wear_the_theme_of_airflow(looks):
    assert {key: look.theme for key, look in looks.items()} == {key: key[1] for key in looks}


def test_no_page_scrolls_sideways_on_a_phone(narrow_looks):
    assert {key: look.overflow_px for key, look in narrow_looks.items() if look.overflow_px > 0} == {}


@pytest.mark.parametrize("theme", THEMES)
@pytest.mark.parametrize("name", FRONT_NAMES)
def test_an_empty_page_says_what_to_do(empty_looks, name, theme):
    look = empty_looks[name, theme]
    assert look.heading
    assert any(word in look.text for word in ("make ", "process_media", "Trigger", ".env")), look.text


def test_the_navigation_leads_to_every_page(editor):
    with editor.at(FRONTS[-1]) as visit:
        for name in PAGES:
            visit.page.get_by_role("button", name="Plugins").first.click()
            visit.page.get_by_text("Nightreel", exact=True).hover()
            visit.page.get_by_role("menuitem", name=name).click()
            visit.page.wait_for_url(f"**/plugin/nightreel-{PAGES[name]}**")


def test_a_link_to_airflow_leaves_the_frame(editor, work, all_places):
    with editor.at(all_places["task"]) as visit:
        visit.frame.locator('a[target="_top"]').first.click()
        visit.page.wait_for_url("**/dags/process_media/runs/**")
        assert not visit.errors
