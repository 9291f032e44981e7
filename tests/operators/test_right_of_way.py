"""A stage task that makes way, and the trigger that waits for room."""

import asyncio
from datetime import UTC, datetime

import pytest

from operators import right_of_way, room_trigger
from operators.database import open_engine
from operators.right_of_way import MustStandAside, RightOfWay
from operators.room_trigger import RoomTrigger
from operators.stage_plan import Action, AttemptOutcome, Verdict
from operators.timings import (
    AttemptDetails,
    RunOutcome,
    RunStart,
    begin_attempt,
    begin_run,
    describe_attempt,
    finish_run,
)
from operators.urgency import URGENT_DAG_ID
from operators.urgency_store import Asker
from stage_contract.request import TaskKey
from stage_contract.vocabulary import Stage, Variant

START = datetime(2026, 11, 21, 1, 0, tzinfo=UTC)
ASKER = Asker(
    TaskKey(dag_id="process_media", run_id="plain", task_id="media_probe", try_number=1), Stage.PROBE, Variant.CPU
)
STEPPED_ASIDE = Verdict(Action.STEP_ASIDE, AttemptOutcome.STEPPED_ASIDE, "1 done, the rest left")


@pytest.fixture(autouse=True)
def at_once(monkeypatch):
    """Two slots, and no time between two looks."""
    monkeypatch.setenv("NIGHTREEL_CPU_SLOTS", "2")
    monkeypatch.setattr(right_of_way, "LOOK_EVERY_S", 0.0)


def begin(database):
    begin_attempt(database, ASKER.task, ASKER.stage, START)
    describe_attempt(database, ASKER.task, AttemptDetails(variant=ASKER.variant))


def begin_urgent(database):
    begin_run(database, RunStart(URGENT_DAG_ID, "now", {}, START, START))


def end_urgent(database):
    finish_run(database, URGENT_DAG_ID, "now", datetime.now(UTC), RunOutcome.DONE)


def test_a_container_is_asked_once_and_the_verdict_says_why(media_database, tmp_path):
    begin(media_database)
    way = RightOfWay(media_database, ASKER)
    way.attend(tmp_path)
    assert list(tmp_path.iterdir()) == []
    assert way.explain(STEPPED_ASIDE) == STEPPED_ASIDE, "somebody else asked it"

    begin_urgent(media_database)
    way.attend(tmp_path)
    (tmp_path / "step_aside").unlink()
    way.attend(tmp_path)

    assert not (tmp_path / "step_aside").exists()
    assert "1 done, the rest left; an urgent run is active" in way.explain(STEPPED_ASIDE).message


def test_a_task_that_has_not_begun_stands_aside(media_database):
    begin(media_database)
    way = RightOfWay(media_database, ASKER)
    way.require()
    begin_urgent(media_database)
    with pytest.raises(MustStandAside, match="urgent run"):
        way.require()


def test_it_is_asked_at_intervals_only(media_database, monkeypatch):
    monkeypatch.setattr(right_of_way, "LOOK_EVERY_S", 60.0)
    begin(media_database)
    way = RightOfWay(media_database, ASKER)
    way.require()
    begin_urgent(media_database)
    way.require()


def test_a_database_that_is_away_stops_no_work(tmp_path):
    absent = open_engine("postgresql+psycopg://media:secret@127.0.0.1:1/media")
    way = RightOfWay(absent, ASKER)
    way.require()
    way.attend(tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def triggerer(media_database, monkeypatch):
    """The triggerer's side, in a hurry; without an Airflow to ask."""
    monkeypatch.delenv("NIGHTREEL_AIRFLOW_URL", raising=False)
    monkeypatch.setattr(room_trigger, "ASK_EVERY_S", 0.1)
    monkeypatch.setattr(room_trigger, "_database", lambda: media_database)
    monkeypatch.setattr(room_trigger, "_ended_runs", room_trigger.EndedRuns())
    return media_database


async def first_event(trigger, timeout_s):
    async with asyncio.timeout(timeout_s):
        return await anext(aiter(trigger.run()))


def test_the_trigger_fires_when_the_urgent_run_has_ended_and_not_before(triggerer):
    begin_urgent(triggerer)
    _, plain = RoomTrigger.of(ASKER).serialize()
    trigger = RoomTrigger(**plain)
    with pytest.raises(TimeoutError):
        asyncio.run(first_event(trigger, 0.5))
    end_urgent(triggerer)
    assert asyncio.run(first_event(trigger, 5))


def test_the_trigger_outlives_a_database_that_is_away(triggerer, monkeypatch):
    absent = open_engine("postgresql+psycopg://media:secret@127.0.0.1:1/media")
    monkeypatch.setattr(room_trigger, "_database", lambda: absent)
    with pytest.raises(TimeoutError):
        asyncio.run(first_event(RoomTrigger.of(ASKER), 0.5))
    monkeypatch.setattr(room_trigger, "_database", lambda: triggerer)
    assert asyncio.run(first_event(RoomTrigger.of(ASKER), 5))


def test_many_that_wait_ask_airflow_once_in_a_while(media_database, monkeypatch):
    asked = []
    monkeypatch.setattr(room_trigger, "close_ended_runs", lambda database, dag_id: asked.append(dag_id))
    runs = room_trigger.EndedRuns()
    for _ in range(5):
        runs.close(media_database)
    assert asked == [URGENT_DAG_ID]
