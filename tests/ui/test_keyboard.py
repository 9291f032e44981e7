"""Every page can be used without a mouse."""

import pytest

from tests.ui.person import Visit
from tests.ui.places import FRONTS, below

PRESSES = 80

# What can be used and is there to see; a long list of rows is not gone through to its end.
MARK_CONTROLS = """() => {
    const controls = [...document.querySelectorAll(
        'nav.sections a, main input:not([type=hidden]), main select, main button, main summary, main textarea')];
    controls.filter(one => one.checkVisibility() && !one.disabled).forEach((one, at) => one.dataset.control = at);
    document.body.tabIndex = -1;
    document.body.focus();
    return document.querySelectorAll('[data-control]').length;
}"""
FOCUS = """() => {
    const one = document.activeElement, style = getComputedStyle(one);
    return {
        control: one.dataset?.control ?? null,
        is_marked: style.outlineStyle !== 'none' && parseFloat(style.outlineWidth) > 0,
        said: one.outerHTML.slice(0, 120),
    };
}"""


def walk(visit: Visit) -> tuple[int, dict[str, str], list[str]]:
    """Press Tab through the page: how many controls there are, those that had the focus, those without a mark of it."""
    count = visit.frame.evaluate(MARK_CONTROLS)
    reached: dict[str, str] = {}
    unmarked = []
    for _ in range(PRESSES):
        visit.page.keyboard.press("Tab")
        focus = visit.frame.evaluate(FOCUS)
        if focus["control"] is not None:
            reached[focus["control"]] = focus["said"]
            unmarked += [] if focus["is_marked"] else [focus["said"]]
        if len(reached) == count:
            break
    return count, reached, unmarked


@pytest.mark.parametrize("place", FRONTS, ids=lambda place: place.name)
def test_tab_reaches_every_control_and_shows_where_one_is(editor, work, place):
    with editor.at(place) as visit:
        count, reached, unmarked = walk(visit)
        assert count >= len(FRONTS)
        assert len(reached) == count, f"of {count} controls Tab reaches {sorted(reached.values())}"
        assert not unmarked


def test_the_first_tab_leads_to_the_content(editor, work):
    with editor.at(FRONTS[0]) as visit:
        visit.frame.evaluate("() => { document.body.tabIndex = -1; document.body.focus() }")
        visit.page.keyboard.press("Tab")
        assert visit.frame.evaluate("document.activeElement.getAttribute('href')") == "#main"


def test_a_search_is_sent_with_enter(editor, work):
    with editor.at(FRONTS[-1]) as visit:
        visit.frame.locator("input[type=search]").fill(work.spoken)
        visit.page.keyboard.press("Enter")
        visit.page.wait_for_url(f"**{below('archive', 'archive')}?*{work.spoken}*")
        assert not visit.errors
