"""Runs that Airflow has not started by the time they may not be launched any more."""

from datetime import timedelta

import pytest
from sqlalchemy import text

from operators.backfill.night import tick
from operators.backfill.night_operator import try_tick
from operators.backfill.pause import PauseAction, switch_backfills
from operators.backfill.store import finish_backfill, read_counts
from operators.timings import RunStart, begin_run
from tests.operators.backfill.night_setup import (
    MINUTE,
    NOW,
    asset_id,
    begin,
    fill_archive,
    finish,
    night_of,
    rows,
)

CLOSES_AT = NOW + 60 * MINUTE
SHARDS = "select outcome, launched_at is null from backfill_shard order by shard_id"


@pytest.fixture
def queued_night(media_database, airflow, clock):
    """A night with one run, which waits for its turn in Airflow."""
    fill_archive(media_database, [60])
    night = night_of(media_database, begin(media_database, closes_at=CLOSES_AT), airflow, clock)
    tick(night)
    airflow.queue(airflow.posts[0])
    return night


def test_a_run_that_is_still_queued_at_the_closing_is_taken_back(media_database, airflow, clock, queued_night):
    clock.now = CLOSES_AT
    assert tick(queued_night).is_over
    assert ("process_media", airflow.posts[0]) not in airflow.runs
    assert rows(media_database, SHARDS) == [("withdrawn", True)]
    assert rows(media_database, "select shard_id, returns from backfill_item") == [(None, 0)]


def test_a_run_that_has_started_goes_on_after_the_closing(media_database, airflow, clock, queued_night):
    airflow.runs["process_media", airflow.posts[0]]["state"] = "running"
    clock.now = CLOSES_AT
    assert not tick(queued_night).is_over
    assert rows(media_database, SHARDS) == [(None, False)]


def test_a_run_that_was_cleared_after_it_had_started_is_not_taken_back(media_database, airflow, clock, queued_night):
    begin_run(media_database, RunStart("process_media", airflow.posts[0], {}, NOW, NOW))
    clock.now = CLOSES_AT
    assert not tick(queued_night).is_over
    assert ("process_media", airflow.posts[0]) in airflow.runs
    assert rows(media_database, SHARDS) == [(None, False)]


def test_a_queued_run_stays_through_a_pause_within_the_window(media_database, airflow, clock, queued_night):
    switch_backfills(media_database, PauseAction.PAUSE, "anna", "disks are moved")
    clock.now = NOW + 5 * MINUTE
    tick(queued_night)
    assert ("process_media", airflow.posts[0]) in airflow.runs
    assert rows(media_database, SHARDS) == [(None, False)]


def test_a_run_that_starts_as_it_is_taken_back_goes_on_and_is_settled(media_database, airflow, clock, queued_night):
    airflow.starts_before_delete = True
    clock.now = CLOSES_AT
    assert not tick(queued_night).is_over
    assert not tick(queued_night).is_over
    assert rows(media_database, SHARDS) == [(None, False)]
    finish(media_database, airflow, airflow.posts[0])
    assert tick(queued_night).is_over
    assert read_counts(media_database, queued_night.backfill_id).done == 1


def test_the_answer_to_a_deletion_may_be_lost(media_database, airflow, clock, queued_night):
    airflow.deaf_after_delete = True
    clock.now = CLOSES_AT
    assert try_tick(queued_night) is None
    assert tick(queued_night).is_over
    assert rows(media_database, SHARDS) == [("withdrawn", True)]
    assert rows(media_database, "select shard_id, returns from backfill_item") == [(None, 0)]


def test_a_run_that_is_gone_already_is_as_good_as_deleted(airflow):
    with airflow.session() as runs:
        assert runs.delete_run("process_media", "shard__1_1")


def test_no_run_is_deleted_while_a_second_request_for_it_may_be_on_its_way(
    media_database, airflow, clock, queued_night
):
    with media_database.begin() as connection:
        connection.execute(text("update backfill set closes_at = :at"), {"at": NOW + timedelta(seconds=30)})
    clock.now = NOW + timedelta(seconds=59)
    assert not tick(queued_night).is_over
    assert rows(media_database, SHARDS) == [(None, False)]
    clock.now = NOW + timedelta(seconds=60)
    assert tick(queued_night).is_over


def test_what_a_backfill_that_is_over_left_queued_goes_to_the_next_one(media_database, airflow, clock, queued_night):
    finish_backfill(media_database, queued_night.backfill_id, NOW, "{}")
    clock.now = NOW + 2 * MINUTE
    tick(night_of(media_database, begin(media_database, "next"), airflow, clock))
    assert rows(media_database, SHARDS) == [("withdrawn", True), (None, False)]
    ((_, run),) = [(key, run) for key, run in airflow.runs.items() if key[0] == "process_media"]
    assert run["conf"]["asset_ids"] == [asset_id(0)]
