"""What the database says of urgent work, and runs that ended without a word."""

from datetime import UTC, datetime, timedelta

import httpx
import pytest
from sqlalchemy import text

from operators.airflow_api import AirflowApi
from operators.stage_plan import AttemptOutcome
from operators.timings import (
    AttemptDetails,
    AttemptEnd,
    RunStart,
    begin_attempt,
    begin_run,
    describe_attempt,
    finish_attempt,
)
from operators.urgency import URGENT_DAG_ID, Pause, Pool
from operators.urgency_store import (
    Asker,
    close_ended_runs,
    read_standing,
    running_runs,
    why_stay_aside,
    why_step_aside,
)
from stage_contract.request import TaskKey
from stage_contract.vocabulary import Stage, Variant

START = datetime(2026, 11, 21, 1, 0, tzinfo=UTC)


@pytest.fixture(autouse=True)
def two_slots(monkeypatch):
    monkeypatch.setenv("NIGHTREEL_CPU_SLOTS", "2")
    monkeypatch.setenv("NIGHTREEL_GPU_DEVICES", "GPU-1,GPU-2")
    monkeypatch.setenv("NIGHTREEL_GPU_VRAM_MIB", "8192,8192")


def key(run_id, dag_id="process_media"):
    return TaskKey(dag_id=dag_id, run_id=run_id, task_id="audio_transcribe", try_number=1)


def begin(database, run_id, at_s=0, dag_id="process_media", variant=Variant.CPU):
    """A running stage task. Returns who asks."""
    task = key(run_id, dag_id)
    started_at = START + timedelta(seconds=at_s)
    begin_run(database, RunStart(dag_id, run_id, {}, started_at, started_at))
    begin_attempt(database, task, Stage.TRANSCRIBE, started_at)
    describe_attempt(database, task, AttemptDetails(variant=variant))
    return Asker(task, Stage.TRANSCRIBE, variant)


def put_in_backfill(database, run_id):
    with database.begin() as connection:
        connection.execute(
            text(
                """
                with night as (
                    insert into backfill (dag_id, run_id, scope, wanted, opens_at)
                    values ('archive_backfill', 'night', '{}', '{}', now())
                    on conflict (dag_id, run_id) do update set opens_at = excluded.opens_at returning backfill_id
                )
                insert into backfill_shard (
                    backfill_id, dag_id, run_id, planned_at, expected_s, longest_s, media_s
                ) select backfill_id, 'process_media', :run_id, now(), 1, 1, 1 from night
                """
            ),
            {"run_id": run_id},
        )


def pause(database):
    statement = "insert into backfill_pause (paused_at, paused_by, reason) values (now(), 'anna', 'new disks')"
    with database.begin() as connection:
        connection.execute(text(statement))


def test_the_standing_tells_who_runs_where_and_for_whom(media_database):
    backfill = begin(media_database, "shard", 1)
    put_in_backfill(media_database, "shard")
    on_gpu = begin(media_database, "by hand", 2, variant=Variant.CUDA)
    ended = begin(media_database, "ended", 3)
    finish_attempt(media_database, ended.task, AttemptEnd(START, AttemptOutcome.DONE))
    begin(media_database, "urgent", 4, URGENT_DAG_ID)
    pause(media_database)

    standing, is_backfill = read_standing(media_database, backfill.task)

    assert is_backfill
    assert standing.urgent_runs == 1
    assert standing.pause == Pause("anna", "new disks")
    assert {(one.task.run_id, one.pool, one.slots, one.is_backfill, one.is_urgent) for one in standing.holders} == {
        ("shard", Pool.CPU, 1, True, False),
        ("by hand", Pool.GPU, 1, False, False),
        ("urgent", Pool.CPU, 1, False, True),
    }
    assert not read_standing(media_database, on_gpu.task)[1]


def test_of_two_the_later_steps_aside_when_urgent_work_needs_one_slot_of_three(media_database, monkeypatch):
    monkeypatch.setenv("NIGHTREEL_CPU_SLOTS", "3")
    first, second = begin(media_database, "first", 1), begin(media_database, "second", 2)
    assert why_step_aside(media_database, second) is None
    begin(media_database, "urgent", 3, URGENT_DAG_ID)
    assert why_step_aside(media_database, first) is None
    assert "urgent run is active" in str(why_step_aside(media_database, second))


def test_a_task_that_waits_may_begin_when_the_room_is_free(media_database):
    waiting = Asker(key("waiting"), Stage.TRANSCRIBE, Variant.CPU)
    assert why_stay_aside(media_database, waiting) is None
    begin(media_database, "urgent", 0, URGENT_DAG_ID)
    assert why_stay_aside(media_database, waiting) is not None


def test_a_pause_stops_backfills_alone(media_database):
    shard, by_hand = begin(media_database, "shard"), begin(media_database, "by hand")
    put_in_backfill(media_database, "shard")
    pause(media_database)
    assert why_step_aside(media_database, shard) == "backfills are paused by anna: new disks"
    assert why_step_aside(media_database, by_hand) is None


@pytest.fixture
def airflow(monkeypatch):
    """Runs of a pretended Airflow, by id; a run that is not here was deleted."""
    monkeypatch.setenv("NIGHTREEL_AIRFLOW_URL", "http://airflow")
    monkeypatch.setenv("NIGHTREEL_NOTES_PASSWORD", "secret")
    states: dict[str, str] = {}

    def answer(request: httpx.Request) -> httpx.Response:
        if request.url.path == "/auth/token":
            return httpx.Response(201, json={"access_token": "t"})
        state = states.get(request.url.path.rsplit("/", 1)[1])
        if state is None:
            return httpx.Response(404)
        return httpx.Response(200, json={"state": state, "queued_at": None, "end_date": None})

    return states, lambda: AirflowApi(transport=httpx.MockTransport(answer))


def test_runs_that_airflow_has_ended_or_lost_are_closed_with_their_attempts(media_database, airflow):
    states, session = airflow
    states |= {"waits": "queued", "goes": "running", "red": "failed", "green": "success"}
    for run_id in (*states, "deleted"):
        begin(media_database, run_id, dag_id=URGENT_DAG_ID)

    closed = close_ended_runs(media_database, session=session)

    assert {run_id for _, run_id in closed} == {"red", "green", "deleted"}
    assert {run_id for _, run_id in running_runs(media_database)} == {"waits", "goes"}
    with media_database.connect() as connection:
        found = connection.execute(
            text(
                "select run_id, r.outcome, a.outcome from processing_run r join stage_attempt a using (dag_id, run_id)"
            )
        ).all()
    assert {tuple(row) for row in found} == {
        ("waits", "running", "running"),
        ("goes", "running", "running"),
        ("red", "cancelled", "lost"),
        ("green", "cancelled", "lost"),
        ("deleted", "cancelled", "lost"),
    }


def test_only_the_runs_of_the_dag_asked_for_are_closed(media_database, airflow):
    begin(media_database, "plain")
    begin(media_database, "urgent", dag_id=URGENT_DAG_ID)
    assert close_ended_runs(media_database, URGENT_DAG_ID, airflow[1]) == [(URGENT_DAG_ID, "urgent")]
    assert running_runs(media_database) == [("process_media", "plain")]


def test_a_run_that_began_anew_while_airflow_was_asked_goes_on(media_database, airflow):
    begin(media_database, "again", dag_id=URGENT_DAG_ID)
    states, session = airflow
    states["again"] = "failed"

    class Slow(AirflowApi):
        def find_run(self, dag_id: str, run_id: str):
            found = super().find_run(dag_id, run_id)
            later = datetime.now(UTC)
            begin_run(media_database, RunStart(dag_id, run_id, {}, later, later))
            return found

    def slow() -> AirflowApi:
        return Slow(transport=session()._client._transport)

    assert close_ended_runs(media_database, session=slow) == []
    assert running_runs(media_database) == [(URGENT_DAG_ID, "again")]


def test_airflow_is_not_asked_when_nothing_says_running(media_database):
    def session() -> AirflowApi:
        pytest.fail("nothing is to be asked")

    assert close_ended_runs(media_database, session=session) == []
