"""What a person gets when a page cannot be shown."""

import pytest

from nightreel_ui.database import media_database

BROWSER = {"Accept": "text/html,application/xhtml+xml,*/*;q=0.8"}


def test_an_address_without_a_page_says_so_in_the_look_of_all_pages(visit):
    shown = visit("viewer").get("/nothing/<b>here", headers=BROWSER)
    assert shown.status_code == 404
    assert "There is nothing here" in shown.text
    assert "nightreel.css" in shown.text
    assert "default-src 'none'" in shown.headers["content-security-policy"]


def test_a_stranger_is_told_to_log_in(visit):
    shown = visit("anonymous").get("/", headers=BROWSER)
    assert shown.status_code == 401
    assert "Log in to Airflow" in shown.text


def test_an_address_that_lacks_something_says_what(visit):
    shown = visit("viewer").get("/outputs/process_media", headers=BROWSER)
    assert shown.status_code == 422
    assert "run_id: Field required" in shown.text


def test_a_database_that_is_away_is_said_and_logged(visit, monkeypatch, caplog):
    visitor = visit("viewer")
    media_database.cache_clear()
    monkeypatch.setenv("NIGHTREEL_DATABASE_URL", "postgresql+psycopg://media:secret@127.0.0.1:1/media")
    shown = visitor.get("/timings", headers=BROWSER)
    assert shown.status_code == 503
    assert "The media database does not answer" in shown.text
    assert "make status" in shown.text
    assert "secret" not in shown.text + caplog.text
    assert "/timings could not be shown" in caplog.text


@pytest.mark.parametrize("path", ["/nothing", "/outputs/process_media"])
def test_a_program_gets_json(visit, path):
    assert "detail" in visit("viewer").get(path).json()
