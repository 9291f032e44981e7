"""What Airflow's UI is told of the pages leads to pages."""

import re
from urllib.parse import urlsplit

import pytest
from starlette.routing import Match

from nightreel_plugin import PREFIX, NightreelPlugin
from nightreel_ui import app
from nightreel_ui.page import SECTIONS, STATIC

VIEWS = NightreelPlugin.external_views
DESTINATIONS = {"nav": set(), "dag_run": {"DAG_ID", "RUN_ID"}, "task": {"DAG_ID", "TASK_ID"}}
DESTINATIONS["task_instance"] = {"DAG_ID", "RUN_ID", "TASK_ID", "MAP_INDEX"}


@pytest.mark.parametrize("view", VIEWS, ids=lambda view: view["url_route"])
def test_a_view_leads_to_a_route_of_the_application(view):
    path = urlsplit(view["href"]).path.removeprefix(PREFIX)
    scope = {"type": "http", "method": "GET", "path": path, "headers": []}
    assert [route for route in app.build().routes if route.matches(scope)[0] is Match.FULL]


@pytest.mark.parametrize("view", VIEWS, ids=lambda view: view["url_route"])
def test_a_view_asks_only_for_what_airflow_knows_there(view):
    assert set(re.findall(r"\{(\w+)\}", view["href"])) <= DESTINATIONS[view["destination"]]


def test_views_can_be_told_apart():
    routes = [view["url_route"] for view in VIEWS]
    assert len(set(routes)) == len(routes)
    assert {view["destination"] for view in VIEWS} == set(DESTINATIONS)


def test_the_navigation_has_the_pages_own_sections():
    in_airflow = [(view["href"].removeprefix(PREFIX), view["name"]) for view in VIEWS if view["destination"] == "nav"]
    assert tuple(in_airflow) == SECTIONS


def test_icons_are_there():
    for view in VIEWS:
        for icon in (view["icon"], view["icon_dark_mode"]):
            assert (STATIC / icon.removeprefix(f"{PREFIX}/static/")).is_file()
