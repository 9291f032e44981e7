"""What the pages of backfills read."""

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest
from sqlalchemy import Engine, text

from operators.backfill.night_settings import NightSettings
from operators.backfill.pause import PauseAction, switch_backfills
from operators.views import nights
from tests.operators.backfill.night_setup import NOW, begin
from tests.operators.views.night_samples import add_failures, night_that_is_over, night_under_way

ZONE = ZoneInfo("Europe/Berlin")


@pytest.fixture(autouse=True)
def airflow_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NIGHTREEL_AIRFLOW_URL", "http://airflow:8080")
    monkeypatch.setenv("NIGHTREEL_NOTES_PASSWORD", "secret")


def settings(days: str) -> NightSettings:
    return NightSettings.from_environment({"NIGHTREEL_NIGHT_DAYS": days, "NIGHTREEL_TIME_ZONE": "Europe/Berlin"})


def test_a_night_under_way_has_its_figures_and_runs(media_database: Engine) -> None:
    night_under_way(media_database)
    (night,) = nights.open_nights(media_database, NOW, ZONE)
    assert (night.progress.counts.left, night.progress.counts.done) == (4, 0)
    assert any("4 left" in line for line in night.lines)
    assert sum(run.assets for run in night.runs) == night.progress.counts.under_way > 0
    assert {run.state for run in night.runs} == {"runs"}


def test_a_run_says_whether_airflow_has_it_and_how_it_ended(media_database: Engine) -> None:
    backfill_id = night_under_way(media_database)

    def state() -> set[str]:
        return {run.state for run in nights.night_runs(media_database, backfill_id, 9)}

    with media_database.begin() as connection:
        connection.execute(text("delete from processing_run"))
    assert state() == {"queued"}
    with media_database.begin() as connection:
        connection.execute(text("update backfill_shard set launched_at = null"))
    assert state() == {"asked for"}
    with media_database.begin() as connection:
        connection.execute(text("update backfill_shard set ended_at = now(), outcome = 'left'"))
    assert state() == {"left"}
    assert nights.night_runs(media_database, backfill_id, 9, only_under_way=True) == []


def test_a_night_that_is_over_has_figures_and_its_whole_report(media_database: Engine) -> None:
    backfill_id = night_that_is_over(media_database)
    (night,) = nights.past_nights(media_database, 9)
    assert (night.done, night.rejected, night.failed, night.left_over) == (2, 1, 1, 1)
    assert night.media_left_s == 360_000
    report = nights.told_report(nights.find_night(media_database, backfill_id), ZONE)
    assert "2 done, 1 rejected, 1 failed, 1 left" in report[0]
    assert any("tape 0003.mp4" in line for line in report)
    assert nights.open_nights(media_database, NOW, ZONE) == []


def test_a_report_of_another_version_tells_what_it_has(media_database: Engine) -> None:
    backfill_id = begin(media_database)
    with media_database.begin() as connection:
        connection.execute(
            text("update backfill set finished_at = now(), report = '{\"done\": 7}' where backfill_id = :id"),
            {"id": backfill_id},
        )
    (night,) = nights.past_nights(media_database, 9)
    assert (night.done, night.rejected, night.media_done_s) == (7, None, None)


def test_past_nights_come_in_pages_the_last_first(media_database: Engine) -> None:
    for number in range(3):
        begin(media_database, f"night-{number}")
    with media_database.begin() as connection:
        connection.execute(text("update backfill set finished_at = now(), report = '{}'"))
    assert [night.run_id for night in nights.past_nights(media_database, 2, 1)] == ["night-1", "night-0"]


def test_failures_tell_where_the_file_is_why_it_failed_and_what_becomes_of_it(media_database: Engine) -> None:
    night_under_way(media_database)
    add_failures(media_database, 1, is_parked=True, reason="out of\x1b[31m memory")
    (parked,) = nights.failures(media_database, True, 9)
    assert parked.is_parked
    assert (parked.name, parked.is_there) == ("archive/tape 0000.mp4", True)
    assert parked.reason == "out of\\x1b[31m memory"
    assert nights.failures(media_database, False, 9) == []
    assert nights.count_failures(media_database) == nights.FailureCounts(waiting=0, parked=1)


def test_failures_whose_file_is_gone_or_unknown_are_told(media_database: Engine) -> None:
    night_under_way(media_database)
    add_failures(media_database, 2, is_parked=False)
    with media_database.begin() as connection:
        connection.execute(text("update media_location set vanished_at = now() where path = 'tape 0000.mp4'"))
        connection.execute(text("delete from media_location where path = 'tape 0001.mp4'"))
    gone, unknown = nights.failures(media_database, None, 9)
    assert (gone.name, gone.is_there) == ("archive/tape 0000.mp4", False)
    assert (unknown.name, unknown.is_there) == (None, False)


def test_pauses_are_kept_with_who_and_why(media_database: Engine) -> None:
    switch_backfills(media_database, PauseAction.PAUSE, "ann", "disks are moved")
    assert nights.pause_in_force(media_database) is not None
    switch_backfills(media_database, PauseAction.RESUME, "bob", "")
    (pause,) = nights.last_pauses(media_database, 5)
    assert (pause.paused_by, pause.reason, pause.resumed_by) == ("ann", "disks are moved", "bob")
    assert nights.pause_in_force(media_database) is None


def test_the_next_night_is_the_one_that_is_open_or_opens_next() -> None:
    noon = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)
    coming = nights.next_night(settings("mon-sun"), noon)
    assert (coming.is_open, coming.window and coming.window.opens_at.hour) == (False, 21)
    assert nights.next_night(settings("mon-sun"), noon.replace(hour=23)).is_open
    assert nights.next_night(settings(""), noon).window is None
