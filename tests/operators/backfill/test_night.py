"""A night's steps against a real Postgres; Airflow is a double at the HTTP border."""

from datetime import timedelta

import pytest

from operators.backfill.night import tick
from operators.backfill.pause import PauseAction, switch_backfills
from operators.backfill.store import read_counts
from operators.run import RunRequest, begin_shard
from operators.settings import Folders
from operators.shard import RunFolder
from operators.timings import RunItemOutcome, RunStart
from tests.operators.backfill.night_setup import (
    MINUTE,
    NOW,
    SCOPE,
    asset_id,
    begin,
    claimed,
    fill_archive,
    finish,
    night_of,
    rows,
)


def test_a_night_takes_every_asset_once_and_ends_when_all_are_done(media_database, airflow, clock):
    fill_archive(media_database, [600] * 40)
    backfill_id = begin(media_database)
    night = night_of(media_database, backfill_id, airflow, clock)
    for _ in range(60):
        standing = tick(night)
        if standing.is_over:
            break
        for run_id in airflow.running():
            if run_id.startswith("shard__"):
                finish(media_database, airflow, run_id)
    assert standing.is_over
    assert sorted(claimed(airflow)) == [asset_id(number) for number in range(40)]
    counts = read_counts(media_database, backfill_id)
    assert (counts.done, counts.left) == (40, 0)
    assert len(airflow.posts) == len(set(airflow.posts)) > 1


def test_no_more_runs_are_under_way_than_keep_the_pools_busy(media_database, airflow, clock):
    fill_archive(media_database, [1200] * 30)
    night = night_of(media_database, begin(media_database), airflow, clock, cpu_slots=2)
    for _ in range(3):
        tick(night)
    assert len(airflow.posts) == 3


def test_the_newest_go_first(media_database, airflow, clock):
    fill_archive(media_database, [7200] * 5)
    tick(night_of(media_database, begin(media_database), airflow, clock))
    assert claimed(airflow) == [asset_id(0), asset_id(1)]


def test_a_run_gets_what_the_form_of_process_media_takes(media_database, airflow, clock):
    fill_archive(media_database, [60])
    tick(night_of(media_database, begin(media_database), airflow, clock))
    (run,) = [run for (dag_id, _), run in airflow.runs.items() if dag_id == "process_media"]
    assert run["conf"] == {
        "asset_ids": [asset_id(0)],
        "stages": ["audio.transcribe"],
        "device": "auto",
        "language": None,
    }


@pytest.mark.parametrize("late", [timedelta(0), timedelta(hours=1)])
def test_nothing_is_launched_from_the_closing_on(media_database, airflow, clock, late):
    fill_archive(media_database, [60] * 3)
    closes_at = NOW + 60 * MINUTE
    night = night_of(media_database, begin(media_database, closes_at=closes_at), airflow, clock)
    clock.now = closes_at + late
    assert tick(night).is_over
    assert airflow.posts == []


def test_what_cannot_end_before_the_closing_is_not_launched_and_shorter_work_is(media_database, airflow, clock):
    fill_archive(media_database, [36000, 60])
    closes_at = NOW + 15 * MINUTE
    night = night_of(media_database, begin(media_database, closes_at=closes_at), airflow, clock)
    tick(night)
    assert claimed(airflow) == [asset_id(1)]
    ((longest_s,),) = rows(media_database, "select longest_s from backfill_shard")
    assert longest_s <= 15 * 60
    finish(media_database, airflow, airflow.posts[0])
    assert tick(night).is_over


def test_runs_under_way_at_the_closing_are_settled_before_the_night_is_over(media_database, airflow, clock):
    fill_archive(media_database, [60])
    closes_at = NOW + 60 * MINUTE
    backfill_id = begin(media_database, closes_at=closes_at)
    night = night_of(media_database, backfill_id, airflow, clock)
    tick(night)
    clock.now = closes_at + MINUTE
    assert not tick(night).is_over
    finish(media_database, airflow, airflow.posts[0])
    assert tick(night).is_over
    assert read_counts(media_database, backfill_id).done == 1


def test_rejected_counts_as_ended_and_what_a_run_did_not_come_to_waits_again(media_database, airflow, clock):
    fill_archive(media_database, [60] * 3)
    backfill_id = begin(media_database)
    night = night_of(media_database, backfill_id, airflow, clock)
    tick(night)
    finish(media_database, airflow, airflow.posts[0], a0=RunItemOutcome.REJECTED, a1=RunItemOutcome.LEFT)
    tick(night)
    assert read_counts(media_database, backfill_id).rejected == 1
    (again,) = [run_id for run_id in airflow.running() if run_id.startswith("shard__")]
    assert airflow.runs["process_media", again]["conf"]["asset_ids"] == [asset_id(1)]
    assert rows(media_database, "select returns from backfill_item where outcome is null") == [(1,)]


def test_what_vanished_since_it_was_planned_ends_with_its_run(media_database, airflow, clock, tmp_path):
    fill_archive(media_database, [60] * 2)
    backfill_id = begin(media_database)
    night = night_of(media_database, backfill_id, airflow, clock)
    tick(night)
    (run_id,) = airflow.posts
    (tmp_path / "another.mp4").touch()
    places = Folders({"archive": tmp_path}, tmp_path, tmp_path, {}, tmp_path, tmp_path)
    folder = RunFolder(tmp_path, "process_media", run_id)
    asked = RunRequest((), (asset_id(0), asset_id(1)), SCOPE.stages)
    begin_shard(media_database, places, folder, RunStart("process_media", run_id, {}, NOW, NOW), asked)
    airflow.end(run_id)
    assert tick(night).is_over
    assert read_counts(media_database, backfill_id).rejected == 2


def test_after_runs_that_came_to_nothing_it_rests_and_says_so(media_database, airflow, clock):
    fill_archive(media_database, [60] * 3)
    night = night_of(media_database, begin(media_database), airflow, clock)
    tick(night)
    airflow.end(airflow.posts[0], "failed", ended_at=clock.now)
    night.noted_s = None
    resting = tick(night)
    assert airflow.running() == []
    assert not resting.is_over
    assert "nothing is launched until 22:01:00: the last 1 runs came to none of their files" in resting.told[-1]
    clock.now += timedelta(seconds=61)
    night.noted_s = None
    assert tick(night).told[-1] != resting.told[-1]
    assert len(airflow.posts) == 2


def test_what_no_run_comes_to_has_failed_after_the_third(media_database, airflow, clock):
    fill_archive(media_database, [60])
    backfill_id = begin(media_database)
    night = night_of(media_database, backfill_id, airflow, clock)
    for _ in range(3):
        tick(night)
        (run_id,) = [run_id for run_id in airflow.running() if run_id.startswith("shard__")]
        airflow.end(run_id, "failed", ended_at=clock.now)
        clock.now += timedelta(minutes=5)
    assert tick(night).is_over
    ((outcome, message),) = rows(media_database, "select outcome, message from backfill_item")
    assert outcome == "failed"
    assert "3 runs ended without coming to it" in message
    assert len(airflow.posts) == 3


def test_a_failure_waits_longer_each_night_and_is_parked_after_the_fourth(media_database, airflow, clock):
    fill_archive(media_database, [60])
    waits = []
    for number in range(4):
        backfill_id = begin(media_database, f"night {number}")
        night = night_of(media_database, backfill_id, airflow, clock)
        tick(night)
        finish(media_database, airflow, airflow.posts[-1], a0=RunItemOutcome.FAILED)
        tick(night)
        ((not_before,),) = rows(media_database, "select not_before from asset_failure")
        waits.append(not_before)
        early = night_of(media_database, begin(media_database, f"too early {number}"), airflow, clock)
        assert tick(early).is_over
        clock.now = not_before or clock.now + timedelta(days=30)
    assert len(airflow.posts) == 4
    assert waits == [*sorted(waits[:3]), None]
    ever_after = night_of(media_database, begin(media_database, "ever after"), airflow, clock)
    assert tick(ever_after).is_over


def test_a_success_forgets_earlier_failures(media_database, airflow, clock):
    fill_archive(media_database, [60])
    for number, fate in enumerate((RunItemOutcome.FAILED, RunItemOutcome.DONE)):
        night = night_of(media_database, begin(media_database, f"night {number}"), airflow, clock)
        tick(night)
        finish(media_database, airflow, airflow.posts[-1], a0=fate)
        tick(night)
        clock.now += timedelta(days=3)
    assert rows(media_database, "select * from asset_failure") == []


def test_a_pause_launches_nothing_and_the_night_goes_on_after_it(media_database, airflow, clock):
    fill_archive(media_database, [60])
    night = night_of(media_database, begin(media_database), airflow, clock)
    switch_backfills(media_database, PauseAction.PAUSE, "anna", "disks are moved")
    standing = tick(night)
    assert not standing.is_over
    assert any("disks are moved" in line for line in standing.told)
    assert airflow.posts == []
    switch_backfills(media_database, PauseAction.RESUME, "anna", "")
    tick(night)
    assert len(airflow.posts) == 1


def test_the_night_waits_for_the_scan_and_takes_up_what_it_finds(media_database, airflow, clock):
    backfill_id = begin(media_database)
    night = night_of(media_database, backfill_id, airflow, clock)
    airflow.scan_state = "running"
    assert not tick(night).is_over
    fill_archive(media_database, [60])
    airflow.scan_state = "success"
    assert not tick(night).is_over
    assert claimed(airflow) == [asset_id(0)]


def test_how_it_goes_is_in_the_runs_note_beside_a_persons_words(media_database, airflow, clock):
    fill_archive(media_database, [3600])
    airflow.runs["archive_backfill", "night"] = {"state": "running", "note": "ask Anna", "conf": {}}
    tick(night_of(media_database, begin(media_database), airflow, clock))
    first, *ours = airflow.notes[-1].splitlines()
    assert first == "ask Anna"
    assert ours[0].startswith("backfill: 0 done, 0 rejected, 0 failed, 1 left")
