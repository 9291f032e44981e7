"""Backfills that overlap or follow one another: what one gives back, the others take up."""

import time

import pytest
from sqlalchemy import text

from operators.backfill.closing import close_backfill
from operators.backfill.night import tick
from operators.backfill.pause import PauseAction, switch_backfills
from operators.backfill.scope import BackfillScope
from operators.backfill.store import NewBackfill, open_backfill
from operators.gpu.configuration import GpuConfiguration
from operators.routing import with_prerequisites
from operators.timings import RunItemOutcome
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

NO_GPUS = GpuConfiguration.from_environment({})
WAITING = "select asset_id from backfill_item where shard_id is null order by asset_id"


def begin_with(database, run_id, **scope):
    wanted = dict.fromkeys(with_prerequisites(SCOPE.stages))
    chosen = BackfillScope(stages=SCOPE.stages, **scope)
    return open_backfill(database, NewBackfill("archive_backfill", run_id, chosen, wanted, NOW, None))


@pytest.fixture
def overlapping(media_database, airflow, clock):
    """One backfill has asset 0 in a run; the other, planned since, has asset 1 in another."""
    fill_archive(media_database, [600, 600])
    nights = []
    for backfill_id in (begin_with(media_database, "one", asset_ids=(asset_id(0),)), begin(media_database, "other")):
        nights.append(night_of(media_database, backfill_id, airflow, clock, cpu_slots=3))
        tick(nights[-1])
    assert claimed(airflow) == [asset_id(0), asset_id(1)]
    return nights


def test_what_waits_is_forgotten_with_the_report_and_what_ended_stays(media_database, airflow, clock):
    fill_archive(media_database, [3600] * 5)
    night = night_of(media_database, begin(media_database), airflow, clock)
    tick(night)
    finish(media_database, airflow, airflow.posts[0])
    tick(night)
    airflow.end(airflow.posts[1], "failed", ended_at=clock.now)
    report = close_backfill(media_database, night.backfill_id, night.settings, NO_GPUS)
    assert (report.done, report.left) == (1, 4)
    assert rows(media_database, WAITING) == []
    assert rows(media_database, "select count(*) from backfill_item where outcome = 'done'") == [(1,)]


def test_a_report_that_was_made_stays_as_it_was(media_database, airflow, clock):
    fill_archive(media_database, [3600] * 5)
    night = night_of(media_database, begin(media_database), airflow, clock)
    tick(night)
    first = close_backfill(media_database, night.backfill_id, night.settings, NO_GPUS)
    assert close_backfill(media_database, night.backfill_id, night.settings, NO_GPUS) == first
    assert first.left == 5


def test_a_backfill_that_is_cleared_plans_anew(media_database, airflow, clock):
    fill_archive(media_database, [36_000, 60])
    closes_at = NOW + 15 * MINUTE
    backfill_id = begin(media_database, closes_at=closes_at)
    night = night_of(media_database, backfill_id, airflow, clock)
    tick(night)
    finish(media_database, airflow, airflow.posts[0])
    assert tick(night).is_over
    close_backfill(media_database, backfill_id, night.settings, NO_GPUS)
    assert rows(media_database, WAITING) == []
    assert begin(media_database) == backfill_id
    tick(night_of(media_database, backfill_id, airflow, clock))
    assert claimed(airflow) == [asset_id(1), asset_id(0)]


@pytest.mark.parametrize("is_settled_late", [True, False])
def test_what_comes_back_to_a_backfill_that_is_over_is_taken_up_by_one_that_had_planned(
    media_database, airflow, clock, overlapping, is_settled_late
):
    one, other = overlapping
    close_backfill(media_database, one.backfill_id, one.settings, NO_GPUS)
    if not is_settled_late:
        airflow.end(airflow.posts[0], "failed", ended_at=clock.now)
        tick(other)
    finish(media_database, airflow, airflow.posts[1])
    airflow.end(airflow.posts[0], "failed", ended_at=clock.now)
    assert not tick(other).is_over
    assert rows(media_database, "select asset_id from backfill_item where outcome is null") == []
    other.extended_s = None
    assert not tick(other).is_over
    assert claimed(airflow) == [asset_id(0), asset_id(1), asset_id(0)]


def test_what_comes_back_to_one_that_goes_on_waits_there_and_has_the_other_plan_once_more(
    media_database, airflow, clock, overlapping
):
    one, other = overlapping
    switch_backfills(media_database, PauseAction.PAUSE, "anna", "look")
    airflow.end(airflow.posts[0], "failed", ended_at=clock.now)
    tick(one)
    assert rows(media_database, WAITING) == [(asset_id(0),)]
    assert rows(media_database, "select backfill_id from backfill where is_planned") == [(one.backfill_id,)]
    other.extended_s = None
    tick(other)
    assert rows(media_database, WAITING) == [(asset_id(0),)] * 2


def test_one_that_has_closed_does_not_plan_once_more(media_database, airflow, clock, overlapping):
    one, other = overlapping
    with media_database.begin() as connection:
        row = {"at": NOW + MINUTE, "backfill_id": other.backfill_id}
        connection.execute(text("update backfill set closes_at = :at where backfill_id = :backfill_id"), row)
    clock.now = NOW + 2 * MINUTE
    airflow.end(airflow.posts[0], "failed", ended_at=clock.now)
    tick(one)
    assert rows(media_database, "select count(*) from backfill where is_planned") == [(2,)]


@pytest.mark.parametrize(("retry_parked", "runs"), [(False, 1), (True, 2)])
def test_what_failed_in_one_backfill_is_not_tried_by_another_that_had_planned_it(
    media_database, airflow, clock, retry_parked, runs
):
    fill_archive(media_database, [60])
    ids = begin(media_database, "one"), begin_with(media_database, "other", retry_parked=retry_parked)
    one, other = (night_of(media_database, backfill_id, airflow, clock) for backfill_id in ids)
    switch_backfills(media_database, PauseAction.PAUSE, "anna", "let both plan")
    tick(one)
    tick(other)
    switch_backfills(media_database, PauseAction.RESUME, "anna", "")
    tick(one)
    finish(media_database, airflow, airflow.posts[0], a0=RunItemOutcome.FAILED)
    tick(one)
    assert tick(other).is_over == (not retry_parked)
    assert len(airflow.posts) == runs


def test_between_two_notes_nothing_is_counted_or_told(media_database, airflow, clock):
    fill_archive(media_database, [60])
    night = night_of(media_database, begin(media_database), airflow, clock)
    assert "1 left" in tick(night).told[0]
    assert tick(night).told == ()
    finish(media_database, airflow, airflow.posts[0])
    last = tick(night)
    assert last.is_over
    assert "1 done" in last.told[0]


@pytest.mark.parametrize(("took_s", "planned"), [(30.0, 1), (60.0, 0)])
def test_a_plan_that_took_long_is_extended_less_often(media_database, airflow, clock, took_s, planned):
    airflow.scan_state = "running"
    night = night_of(media_database, begin(media_database), airflow, clock)
    tick(night)
    fill_archive(media_database, [60])
    night.extended_s, night.extension_s = time.monotonic() - 200, took_s
    tick(night)
    assert len(claimed(airflow)) == planned
