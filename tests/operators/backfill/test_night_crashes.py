"""What a night makes of deaths between any two of its lines, and of others at the same work."""

from dataclasses import replace
from datetime import timedelta
from threading import Barrier, Thread

import pytest
from sqlalchemy import text

from operators.backfill.night import Night, tick
from operators.backfill.night_operator import MOST_ERRORS, try_tick
from operators.backfill.pause import PauseAction, switch_backfills
from operators.backfill.store import read_counts
from operators.database import open_engine
from operators.timings import RunItemOutcome
from tests.operators.backfill.night_setup import (
    MINUTE,
    NOW,
    asset_id,
    begin,
    claimed,
    fill_archive,
    finish,
    night_of,
    rows,
)


def test_a_crash_between_the_claim_and_the_request_is_made_good(media_database, airflow, clock):
    fill_archive(media_database, [60] * 3)
    backfill_id = begin(media_database)
    airflow.refuses_posts = True
    assert try_tick(night_of(media_database, backfill_id, airflow, clock)) is None
    assert rows(media_database, "select launched_at from backfill_shard") == [(None,)]
    airflow.refuses_posts = False
    tick(night_of(media_database, backfill_id, airflow, clock))
    assert sorted(claimed(airflow)) == [asset_id(number) for number in range(3)]
    assert len(set(airflow.posts)) == 1


def test_a_crash_between_the_request_and_its_record_asks_for_no_second_run(media_database, airflow, clock):
    fill_archive(media_database, [60] * 3)
    backfill_id = begin(media_database)
    airflow.deaf_after_post = True
    assert try_tick(night_of(media_database, backfill_id, airflow, clock)) is None
    airflow.deaf_after_post = False
    tick(night_of(media_database, backfill_id, airflow, clock))
    assert len(airflow.posts) == 1
    assert rows(media_database, "select launched_at is not null, outcome from backfill_shard") == [(True, None)]


def test_a_run_that_is_there_already_is_taken_as_launched(airflow):
    with airflow.session() as runs:
        runs.create_run("process_media", "shard__1_1", {})
        runs.create_run("process_media", "shard__1_1", {})
    assert list(airflow.runs) == [("process_media", "shard__1_1")]


def test_a_request_that_may_be_under_way_is_not_withdrawn_at_once(media_database, airflow, clock):
    fill_archive(media_database, [60])
    closes_at = NOW + 60 * MINUTE
    night = night_of(media_database, begin(media_database, closes_at=closes_at), airflow, clock)
    clock.now = closes_at - 20 * MINUTE
    airflow.refuses_posts = True
    assert try_tick(night) is None
    clock.now = closes_at
    night.clock = lambda: closes_at - 20 * MINUTE + timedelta(seconds=30)
    switch_backfills(media_database, PauseAction.PAUSE, "anna", "disks")
    tick(night)
    assert rows(media_database, "select outcome from backfill_shard") == [(None,)]
    night.clock = lambda: closes_at
    assert tick(night).is_over
    assert rows(media_database, "select outcome from backfill_shard") == [("withdrawn",)]
    assert rows(media_database, "select shard_id, returns from backfill_item") == [(None, 0)]


def test_an_ended_run_is_settled_once(media_database, airflow, clock):
    fill_archive(media_database, [60] * 2)
    backfill_id = begin(media_database)
    night = night_of(media_database, backfill_id, airflow, clock)
    tick(night)
    finish(media_database, airflow, airflow.posts[0], a1=RunItemOutcome.FAILED)
    for _ in range(3):
        tick(replace(night))
    assert rows(media_database, "select failures from asset_failure") == [(1,)]
    counts = read_counts(media_database, backfill_id)
    assert (counts.done, counts.failed) == (1, 1)


def test_a_second_process_does_nothing_while_the_first_is_at_it(media_database, airflow, clock):
    fill_archive(media_database, [1200] * 20)
    backfill_id = begin(media_database)
    nights = [night_of(media_database, backfill_id, airflow, clock) for _ in range(4)]
    barrier, troubles = Barrier(4), []

    def step(night: Night) -> None:
        engine = open_engine(media_database.url.render_as_string(hide_password=False))
        barrier.wait()
        try:
            tick(replace(night, database=engine))
        except Exception as error:
            troubles.append(error)
        finally:
            engine.dispose()

    threads = [Thread(target=step, args=(night,)) for night in nights]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert troubles == []
    assert len(airflow.posts) == len(set(airflow.posts)) == 2
    assert len(claimed(airflow)) == len(set(claimed(airflow)))


def test_two_backfills_over_the_same_assets_never_share_one(media_database, airflow, clock):
    fill_archive(media_database, [3600] * 12)
    nights = [
        night_of(media_database, begin(media_database, f"night {number}"), airflow, clock, cpu_slots=6)
        for number in range(2)
    ]
    # Both have all of it in their plans before either launches.
    switch_backfills(media_database, PauseAction.PAUSE, "anna", "let both plan")
    for night in nights:
        tick(night)
    switch_backfills(media_database, PauseAction.RESUME, "anna", "")
    nights[0].settings = replace(nights[0].settings, cpu_slots=2)
    for night in nights:
        tick(night)
    assert len(airflow.posts) == 7
    assert {run_id.split("_")[2] for run_id in airflow.posts} == {str(night.backfill_id) for night in nights}
    assert len(claimed(airflow)) == len(set(claimed(airflow)))


def test_airflow_or_the_database_away_for_a_step_changes_nothing(media_database, airflow, clock):
    fill_archive(media_database, [60])
    backfill_id = begin(media_database)
    night = night_of(media_database, backfill_id, airflow, clock)
    airflow.is_down = True
    assert try_tick(night) is None
    airflow.is_down = False
    nowhere = open_engine("postgresql+psycopg://nobody:no@127.0.0.1:1/media")
    assert try_tick(replace(night, database=nowhere)) is None
    tick(night)
    assert len(airflow.posts) == 1


def test_the_next_backfill_settles_what_one_that_is_over_left_behind(media_database, airflow, clock):
    fill_archive(media_database, [60])
    first = begin(media_database, "first")
    tick(night_of(media_database, first, airflow, clock))
    with media_database.begin() as connection:
        connection.execute(text("update backfill set finished_at = now()"))
    finish(media_database, airflow, airflow.posts[0])
    tick(night_of(media_database, begin(media_database, "second"), airflow, clock))
    assert read_counts(media_database, first).done == 1
    assert rows(media_database, "select outcome from backfill_shard order by shard_id limit 1") == [("done",)]


def test_the_wait_before_a_withdrawal_counts_from_the_last_request(media_database, airflow, clock):
    fill_archive(media_database, [60])
    night = night_of(media_database, begin(media_database), airflow, clock)
    airflow.refuses_posts = True
    for _ in range(3):
        assert try_tick(night) is None
        clock.now += timedelta(seconds=50)
    switch_backfills(media_database, PauseAction.PAUSE, "anna", "disks")
    tick(night)
    assert rows(media_database, "select outcome from backfill_shard") == [(None,)]


def test_a_backfill_that_somebody_stopped_does_not_hold_up_the_others(media_database, airflow, clock):
    fill_archive(media_database, [60] * 3)
    tick(night_of(media_database, begin(media_database, "stopped"), airflow, clock))
    (shard_run,) = airflow.posts
    airflow.end("stopped", "failed", dag_id="archive_backfill")
    airflow.end(shard_run, "failed", ended_at=clock.now - timedelta(minutes=5))
    tick(night_of(media_database, begin(media_database, "other"), airflow, clock))
    assert len(airflow.posts) == 2
    assert claimed(airflow)[-1] in map(asset_id, range(3))


def test_an_error_that_does_not_pass_ends_the_night_and_one_that_may_does_not(media_database, airflow, clock):
    night = night_of(media_database, begin(media_database), airflow, clock)
    airflow.is_down = True
    for _ in range(MOST_ERRORS + 1):
        assert try_tick(night) is None
    broken = replace(night, open_airflow=answer_nonsense)
    for _ in range(MOST_ERRORS - 1):
        assert try_tick(broken) is None
    with pytest.raises(KeyError):
        try_tick(broken)


def answer_nonsense():
    raise KeyError("access_token")
