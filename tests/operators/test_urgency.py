"""Who may hold a slot while urgent work needs room. Every task must come to the same answer by itself."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from operators.urgency import URGENT_DAG_ID, Holder, Pause, Pool, PoolRoom, Standing, staying, why_aside, why_wait
from stage_contract.request import TaskKey

START = datetime(2026, 11, 21, 22, 0, tzinfo=UTC)
PAUSE = Pause("anna", "the disks are being changed")


def holder(number, at_s=0.0, pool=Pool.CPU, slots=1, dag_id="process_media", is_backfill=False):
    task = TaskKey(dag_id=dag_id, run_id=f"run-{number}", task_id="media_probe", try_number=1)
    return Holder(task, pool, slots, START + timedelta(seconds=at_s), is_backfill)


def standing(*holders, slots=4, per_urgent_run=2, urgent_runs=0, pause=None):
    room = PoolRoom(slots, per_urgent_run)
    return Standing({Pool.CPU: room, Pool.GPU: room}, urgent_runs, pause, holders)


# Few instants and sizes, so that ties and exact fits are met often.
DRAWN = st.tuples(
    st.integers(0, 3),
    st.sampled_from(Pool),
    st.integers(1, 3),
    st.sampled_from(["process_media", URGENT_DAG_ID]),
    st.booleans(),
)
HOLDERS = st.lists(DRAWN, max_size=8).map(lambda drawn: tuple(holder(n, *one) for n, one in enumerate(drawn)))
STANDINGS = st.builds(
    lambda holders, slots, per_run, runs, pause: standing(
        *holders, slots=slots, per_urgent_run=per_run, urgent_runs=runs, pause=pause
    ),
    HOLDERS,
    st.integers(0, 8),
    st.integers(1, 3),
    st.integers(0, 4),
    st.sampled_from([None, PAUSE]),
)
POOLS = st.sampled_from(Pool)


@given(STANDINGS)
def test_urgent_tasks_never_step_aside(found):
    assert all(why_aside(found, one) is None for one in found.holders if one.is_urgent)


@given(STANDINGS, POOLS)
def test_who_stays_fits_into_what_urgent_runs_leave(found, pool):
    if found.urgent_runs:
        taken = sum(one.slots for one in staying(found, pool) if not one.is_urgent)
        assert taken <= found.left_for_others(pool)


@given(STANDINGS, POOLS)
def test_nobody_goes_while_an_earlier_one_of_its_kind_could_have_gone(found, pool):
    kept = staying(found, pool)
    others = [one for one in found.holders if one.pool is pool and not one.is_urgent]
    others = [one for one in others if not (found.pause and one.is_backfill)]
    assert all(early in kept for early in others for late in others if late in kept and early.place < late.place), (
        "the earliest stay"
    )


@given(STANDINGS, POOLS, st.randoms())
def test_the_order_in_which_holders_are_told_does_not_matter(found, pool, random):
    shuffled = list(found.holders)
    random.shuffle(shuffled)
    assert staying(replace(found, holders=tuple(shuffled)), pool) == staying(found, pool)


@given(STANDINGS, POOLS)
def test_whoever_comes_last_sends_nobody_away(found, pool):
    last = holder("last", at_s=99, pool=pool, slots=2)
    assert staying(replace(found, holders=(*found.holders, last)), pool) - {last} == staying(found, pool)


@given(STANDINGS, POOLS)
def test_one_urgent_run_less_never_sends_anybody_away(found, pool):
    fewer = replace(found, urgent_runs=max(0, found.urgent_runs - 1))
    assert staying(found, pool) <= staying(fewer, pool)


@given(STANDINGS)
def test_without_urgent_runs_only_a_pause_sends_anybody_away_and_only_backfills(found):
    calm = replace(found, urgent_runs=0)
    gone = {one for one in calm.holders if why_aside(calm, one)}
    assert gone == {one for one in calm.holders if calm.pause and one.is_backfill and not one.is_urgent}


@given(STANDINGS, POOLS, st.booleans())
def test_whoever_may_begin_does_not_have_to_step_aside_once_it_has(found, pool, is_backfill):
    newcomer = holder("new", at_s=50, pool=pool, is_backfill=is_backfill)
    if why_wait(found, newcomer) is None:
        assert why_aside(replace(found, holders=(*found.holders, newcomer)), newcomer) is None


def test_a_task_that_waits_comes_after_all_that_run_whenever_it_first_began():
    running = [holder(n, at_s=10) for n in range(2)]
    assert why_wait(standing(*running, urgent_runs=1), holder("early", at_s=0)) is not None
    assert why_wait(standing(running[0], urgent_runs=1), holder("early", at_s=0)) is None


def test_a_pause_makes_no_room_in_vain():
    found = standing(holder(1, is_backfill=True), holder(2, 1), holder(3, 2), urgent_runs=1, pause=PAUSE)
    assert {one.task.run_id for one in staying(found, Pool.CPU)} == {"run-2", "run-3"}


@pytest.mark.parametrize(
    ("urgent_runs", "pause", "words"),
    [
        (1, None, "an urgent run is active, which leaves 0 of 2 slots in pool cpu"),
        (2, None, "2 urgent runs are active"),
        (0, PAUSE, "backfills are paused by anna: the disks are being changed"),
    ],
)
def test_the_reason_says_who_is_in_the_way(urgent_runs, pause, words):
    found = standing(holder(1, is_backfill=True), slots=2, urgent_runs=urgent_runs, pause=pause)
    assert words in str(why_aside(found, found.holders[0]))
