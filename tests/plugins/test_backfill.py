"""The pages of backfills, and pausing them there."""

import pytest
from sqlalchemy import text

from operators.backfill.pause import PauseAction, find_pause, switch_backfills
from operators.views.nights import last_pauses
from tests.operators.backfill.night_setup import begin
from tests.operators.views.night_samples import add_failures, night_that_is_over, night_under_way


@pytest.fixture(autouse=True)
def nights_are_set(monkeypatch):
    monkeypatch.setenv("NIGHTREEL_NIGHT_DAYS", "mon-sun")
    monkeypatch.setenv("NIGHTREEL_NIGHT_HOURS", "22:00-06:00")
    monkeypatch.setenv("NIGHTREEL_AIRFLOW_URL", "http://airflow:8080")
    monkeypatch.setenv("NIGHTREEL_NOTES_PASSWORD", "secret")


def page_of(client, path="/backfill"):
    answer = client.get(path)
    assert answer.status_code == 200
    return answer.text


def test_an_empty_page_says_when_the_next_night_is_and_how_to_begin_one(visit):
    told = page_of(visit("viewer"))
    assert "No backfill is under way" in told
    assert "make backfill FOLDER=archive" in told
    assert 'id="refresh"' not in told


def test_no_nights_are_told_with_the_setting_to_change(visit, monkeypatch):
    monkeypatch.setenv("NIGHTREEL_NIGHT_DAYS", "")
    assert "NIGHTREEL_NIGHT_DAYS" in page_of(visit("viewer"))


def test_a_night_under_way_shows_progress_runs_and_links(visit, media_database):
    night_under_way(media_database)
    told = page_of(visit("viewer"))
    assert "<progress" in told
    assert "left, " in told
    assert 'target="_top" href="/dags/archive_backfill/runs/night"' in told
    assert 'href="/dags/process_media/runs/shard__' in told
    assert "/timings/run/process_media?run_id=shard__" in told
    assert 'id="refresh"' in told


def test_a_night_that_is_over_is_listed_and_its_page_has_the_whole_report_and_its_runs(visit, media_database):
    client, backfill_id = visit("viewer"), night_that_is_over(media_database)
    assert f'href="/backfill/nights/{backfill_id}"' in page_of(client)
    told = page_of(client, f"/backfill/nights/{backfill_id}")
    assert "2 done, 1 rejected, 1 failed, 1 left" in told
    assert "tape 0003.mp4" in told
    assert "/dags/process_media/runs/shard__" in told


def test_a_night_under_way_has_a_page_too(visit, media_database):
    backfill_id = night_under_way(media_database)
    told = page_of(visit("viewer"), f"/backfill/nights/{backfill_id}")
    assert "<progress" in told
    assert "under way" in told


def test_a_night_that_never_was_is_not_found(visit):
    assert visit("viewer").get("/backfill/nights/77").status_code == 404


def test_past_nights_come_in_pages(visit, media_database):
    for number in range(25):
        begin(media_database, f"night-{number:02}")
    with media_database.begin() as connection:
        connection.execute(text("update backfill set finished_at = now(), report = '{}'"))
    client = visit("viewer")
    first, second = page_of(client), page_of(client, "/backfill?page=2")
    assert ("night-24" in first, "night-04" in first) == (True, False)
    assert ("night-24" in second, "night-04" in second) == (False, True)
    assert 'rel="next"' in first
    assert 'rel="next"' not in second


def test_failures_are_listed_by_kind_with_reasons(visit, media_database):
    night_under_way(media_database)
    add_failures(media_database, 2, is_parked=True, reason="out of memory")
    client = visit("viewer")
    assert "parked until you ask for them" in page_of(client)
    told = page_of(client, "/backfill/failures?kind=parked")
    assert "archive/tape 0001.mp4" in told
    assert "out of memory" in told
    assert "--retry-parked" in told
    assert "Nothing of the kind" in page_of(client, "/backfill/failures?kind=waiting")
    assert client.get("/backfill/failures?kind=odd").status_code == 404


def test_an_editor_pauses_and_resumes_in_their_own_name(visit, media_database):
    client = visit("op")
    answer = client.post("/backfill/pause", data={"reason": "disks are moved"})
    assert (answer.status_code, answer.headers["location"]) == (303, "/backfill")
    pause = find_pause(media_database)
    assert pause is not None
    assert (pause.paused_by, pause.reason) == ("op", "disks are moved")
    told = page_of(client)
    assert "backfills are paused: nothing is launched" in told
    assert "Let them go on" in told
    client.post("/backfill/resume")
    assert find_pause(media_database) is None
    told = page_of(client)
    assert "backfills go on" in told
    assert "Pause all backfills" in told


def test_a_pause_without_a_reason_is_refused_in_words(visit, media_database):
    client = visit("op")
    client.post("/backfill/pause", data={"reason": " "})
    assert find_pause(media_database) is None
    assert "notice refused" in page_of(client)


def test_who_pauses_second_is_told_who_was_first(visit, media_database):
    switch_backfills(media_database, PauseAction.PAUSE, "ann", "disks are moved")
    client = visit("op")
    client.post("/backfill/pause", data={"reason": "me too"})
    assert "paused already, by ann" in page_of(client)
    assert [pause.paused_by for pause in last_pauses(media_database, 5)] == ["ann"]


def test_a_viewer_sees_no_buttons_and_changes_nothing(visit, media_database):
    client = visit("viewer")
    assert 'method="post"' not in page_of(client)
    assert client.post("/backfill/pause", data={"reason": "why not"}).status_code == 403
    assert find_pause(media_database) is None
    switch_backfills(media_database, PauseAction.PAUSE, "ann", "disks are moved")
    assert client.post("/backfill/resume").status_code == 403
    assert find_pause(media_database) is not None
    told = page_of(client)
    assert "disks are moved" in told
    assert 'method="post"' not in told


def test_markup_in_names_and_reasons_is_text(visit, media_database):
    hostile = "<script>alert(1)</script>"
    night_under_way(media_database)
    add_failures(media_database, 1, is_parked=True, reason=hostile)
    with media_database.begin() as connection:
        connection.execute(
            text("update media_location set path = :path where path = 'tape 0000.mp4'"), {"path": hostile}
        )
    switch_backfills(media_database, PauseAction.PAUSE, hostile, hostile)
    client = visit("op")
    client.post("/backfill/pause", data={"reason": hostile})
    told = page_of(client) + page_of(client, "/backfill/failures")
    assert hostile not in told
    assert told.count("&lt;script&gt;") >= 6
