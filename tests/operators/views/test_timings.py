"""What the pages on timings read, on a real Postgres."""

import random
from concurrent.futures import ThreadPoolExecutor
from datetime import date, timedelta
from statistics import quantiles
from zoneinfo import ZoneInfo

import pytest
from sqlalchemy import Engine, text

from operators.migrate import migrate, read_migrations
from operators.stage_plan import AttemptOutcome
from operators.timings import (
    AttemptEnd,
    RunOutcome,
    RunStart,
    begin_attempt,
    begin_run,
    finish_attempt,
    finish_run,
    record_phases,
)
from operators.views.timings import (
    RunFilter,
    Scope,
    read_dags,
    read_phases,
    read_runs,
    read_series,
    read_slowest,
    read_stage_nights,
    read_task_attempts,
    read_task_phases,
    read_timeline,
)
from stage_contract.request import TaskKey
from stage_contract.vocabulary import Phase, PhaseOutcome, Stage, Variant
from tests.operators.views.timed_runs import DAG, MEDIA_S, START, TASK, Timed, make_run, phase

BERLIN = ZoneInfo("Europe/Berlin")
NIGHT = date(2026, 11, 20)
EVER = START - timedelta(days=60), START + timedelta(days=60)


def attempt(database: Engine, run_id: str, task_id: str = TASK, try_number: int = 1) -> TaskKey:
    task = TaskKey(dag_id=DAG, run_id=run_id, task_id=task_id, try_number=try_number)
    begin_attempt(database, task, Stage.TRANSCRIBE, START)
    return task


def beside(database: Engine, made: Timed, task_id: str) -> None:
    """8 s of decoding of a run's first file, 5 s after its transcription began."""
    at = START + timedelta(seconds=20)
    record_phases(database, attempt(database, made.run_id, task_id), [phase(Phase.DECODE, at, 8, made.asset_ids[0])])
    finish_run(database, DAG, made.run_id, START + timedelta(seconds=40), RunOutcome.DONE)


def test_a_run_tells_its_wall_time_coverage_media_and_shares(media_database: Engine) -> None:
    make_run(media_database, work_s=30)

    (run,) = read_runs(media_database, RunFilter())

    assert (run.wall_s, run.covered_s, run.outcome) == (80, 75, "done")
    assert run.coverage == 75 / 80
    assert (run.assets, run.media_s) == (2, 2 * MEDIA_S)
    assert (run.wait_s, run.overhead_s, run.work_s) == (10, 5, 60)
    assert run.share(run.work_s) == 60 / 75


def test_phases_of_an_asset_that_overlap_are_its_work_once(media_database: Engine) -> None:
    made = make_run(media_database, work_s=10)
    beside(media_database, made, TASK)
    beside(media_database, made, "another_task")

    (run,) = read_runs(media_database, RunFilter())
    nights = read_stage_nights(media_database, *EVER, BERLIN)
    attempts = read_task_attempts(media_database, DAG, TASK, 0, 9)
    slowest = read_slowest(media_database, *EVER, by_ratio=False)

    assert [one.work_s for one in attempts] == [13 + 10]
    assert run.work_s == sum(night.work_s for night in nights) == 13 + 10 + 8
    assert [(one.asset_id, one.work_s) for one in slowest] == [(made.asset_ids[0], 13 + 8), (made.asset_ids[1], 10)]


def test_a_run_without_phases_has_no_shares(media_database: Engine) -> None:
    begin_run(media_database, RunStart(DAG, "empty", {}, START, START))
    finish_run(media_database, DAG, "empty", START, RunOutcome.FAILED)

    (run,) = read_runs(media_database, RunFilter())

    assert (run.coverage, run.share(run.work_s), run.assets) == (None, None, 0)


def test_runs_are_found_by_dag_outcome_and_time(media_database: Engine) -> None:
    for number in range(4):
        make_run(
            media_database,
            f"run {number}",
            dag_id=DAG if number else "process_media_urgent",
            begins_at=START + timedelta(days=number),
            outcome=RunOutcome.FAILED if number == 2 else RunOutcome.DONE,
        )

    def found(wanted: RunFilter, offset: int = 0, limit: int = 9) -> list[str]:
        return [run.run_id for run in read_runs(media_database, wanted, offset, limit)]

    assert found(RunFilter()) == ["run 3", "run 2", "run 1", "run 0"]
    assert found(RunFilter(), 1, 2) == ["run 2", "run 1"]
    assert found(RunFilter(dag_id="process_media_urgent")) == ["run 0"]
    assert found(RunFilter(outcome="failed")) == ["run 2"]
    assert found(RunFilter(since=START + timedelta(days=1), until=START + timedelta(days=3))) == ["run 2", "run 1"]
    assert read_dags(media_database) == ["process_media", "process_media_urgent"]


def test_percentiles_are_at_most_ten_percent_off_and_mostly_less_than_two(media_database: Engine) -> None:
    begin_run(media_database, RunStart(DAG, "many", {}, START, START))
    task = attempt(media_database, "many")
    source = random.Random(5)
    durations = [source.lognormvariate(1, 1.5) for _ in range(2000)]
    record_phases(
        media_database,
        task,
        [phase(Phase.VAD, START + timedelta(seconds=number), value) for number, value in enumerate(durations)],
    )

    (series,) = read_series(media_database, NIGHT, NIGHT)

    exact = quantiles(durations, n=100)
    off = [
        abs(read / exact[position] - 1)
        for read, position in ((series.p50_s, 49), (series.p95_s, 94), (series.p99_s, 98))
    ]
    assert series.n == 2000
    assert series.sum_s == pytest.approx(sum(durations))
    assert max(off) < 0.1
    assert sorted(off)[1] < 0.02


def test_series_are_told_apart_by_phase_device_and_model(media_database: Engine) -> None:
    make_run(media_database, "one", variant=Variant.CPU, work_s=30)
    make_run(media_database, "two", variant=Variant.CUDA, work_s=6)

    series = read_series(media_database, NIGHT, NIGHT)

    told = {(one.phase, one.device, one.model_names, one.compute_type): (one.n, one.p50_s) for one in series}
    assert told["transcription", "cpu", "base.en", "int8"] == (2, 30)
    assert told["transcription", "GPU-1a2b", "base.en", "int8"] == (2, 6)
    assert len(told) == 6
    assert read_series(media_database, NIGHT + timedelta(days=1), NIGHT + timedelta(days=9)) == []


def test_phases_that_failed_are_no_measure_of_how_long_they_take(media_database: Engine) -> None:
    make_run(media_database, outcome=RunOutcome.FAILED)

    series = read_series(media_database, NIGHT, NIGHT)

    assert {one.phase: one.n for one in series}["transcription"] == 1


def test_what_is_recorded_twice_is_counted_once(media_database: Engine) -> None:
    begin_run(media_database, RunStart(DAG, "again", {}, START, START))
    task = attempt(media_database, "again")
    records = [phase(Phase.VAD, START + timedelta(seconds=number), 1) for number in range(6)]
    record_phases(media_database, task, records[:4])
    record_phases(media_database, task, records)
    record_phases(media_database, task, records)

    (series,) = read_series(media_database, NIGHT, NIGHT)
    (run,) = read_runs(media_database, RunFilter())
    assert (series.n, series.sum_s, run.work_s, run.covered_s) == (6, 6, 6, 6)


def test_tasks_that_record_at_once_are_all_counted(media_database: Engine) -> None:
    begin_run(media_database, RunStart(DAG, "many", {}, START, START))
    tasks = [attempt(media_database, "many", f"task_{number}") for number in range(6)]
    records = [phase(one, START + timedelta(seconds=10 * at), 10) for at, one in enumerate((Phase.VAD, Phase.WRITE))]

    def record(number: int) -> None:
        at = timedelta(seconds=20 * number)
        record_phases(
            media_database,
            tasks[number],
            [one.model_copy(update={"started_at": one.started_at + at}) for one in records],
        )

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(record, range(6)))

    (run,) = read_runs(media_database, RunFilter())
    assert (run.covered_s, run.work_s) == (120, 120)
    assert {(one.phase, one.n) for one in read_series(media_database, NIGHT, NIGHT)} == {("vad", 6), ("write", 6)}


def test_nights_begin_at_noon_by_the_clocks_of_the_zone(media_database: Engine) -> None:
    for number, hours in enumerate((0, 5, 13)):
        make_run(media_database, f"run {number}", begins_at=START + timedelta(hours=hours))

    nights = read_stage_nights(media_database, *EVER, BERLIN)

    assert [(night.night, night.work_s, night.wait_s) for night in nights] == [
        (date(2026, 11, 20), 120, 20),
        (date(2026, 11, 21), 60, 10),
    ]
    assert [night.media_s for night in nights] == [4 * MEDIA_S, 2 * MEDIA_S]
    assert read_stage_nights(media_database, EVER[1], EVER[1], BERLIN) == []


def test_media_that_failed_is_no_throughput(media_database: Engine) -> None:
    make_run(media_database, outcome=RunOutcome.FAILED)

    (night,) = read_stage_nights(media_database, *EVER, BERLIN)

    assert (night.media_s, night.work_s) == (MEDIA_S, 60)


def test_the_slowest_assets_are_found_by_work_and_by_ratio(media_database: Engine) -> None:
    slow = make_run(media_database, "slow", files=("long.mp4",), work_s=300)
    quick = make_run(media_database, "quick", files=("short.mp4",), work_s=100)
    with media_database.begin() as connection:
        connection.execute(
            text("update media_asset set duration_s = 3000 where asset_id = :asset"), {"asset": slow.asset_ids[0]}
        )
    finish_run(media_database, DAG, slow.run_id, START + timedelta(seconds=400), RunOutcome.DONE)

    by_work = read_slowest(media_database, *EVER, by_ratio=False)
    by_ratio = read_slowest(media_database, *EVER, by_ratio=True)

    assert [(one.name, one.work_s, one.media_s, one.ratio) for one in by_work] == [
        ("archive/long.mp4", 300, 3000, 0.1),
        ("archive/short.mp4", 100, MEDIA_S, 100 / MEDIA_S),
    ]
    assert [one.asset_id for one in by_ratio] == [quick.asset_ids[0], slow.asset_ids[0]]
    assert (by_work[0].phase, by_work[0].part, by_work[0].longest_s) == ("transcription", "audio.transcribe", 300)


def test_the_timeline_has_a_lane_for_each_try(media_database: Engine) -> None:
    made = make_run(media_database, outcome=RunOutcome.FAILED)
    again = attempt(media_database, made.run_id, try_number=2)
    later = START + timedelta(seconds=90)
    record_phases(media_database, again, [phase(Phase.QUEUE, later, 10)])
    finish_attempt(media_database, again, AttemptEnd(later + timedelta(seconds=60), AttemptOutcome.STEPPED_ASIDE))

    timeline = read_timeline(media_database, Scope(DAG, made.run_id))

    assert timeline is not None
    first, second = timeline.lanes
    assert [(one.bar.phase, one.look, one.bar.number) for one in first.bars] == [
        ("queue", "wait", 1),
        ("model_load", "overhead", 2),
        ("transcription", "work", 3),
        ("transcription", "failed", 4),
    ]
    assert (first.lane.outcome, first.lane.message) == ("failed", "told <b>by</b> the task")
    assert (second.lane.try_number, second.lane.outcome) == (2, "stepped_aside")
    assert first.x == 0


def test_a_run_of_many_phases_is_drawn_with_few_bars(media_database: Engine) -> None:
    begin_run(media_database, RunStart(DAG, "many", {}, START, START))
    task = attempt(media_database, "many")
    records = [phase(Phase.QUEUE, START, 500)] + [
        phase(Phase.DECODE, START + timedelta(seconds=500 + number / 2), 0.5) for number in range(2000)
    ]
    failed = records[1000].model_copy(update={"outcome": PhaseOutcome.FAILED})
    record_phases(media_database, task, [*records[:1000], failed, *records[1001:]])

    timeline = read_timeline(media_database, Scope(DAG, "many"))

    assert timeline is not None
    bars = timeline.lanes[0].bars
    assert sum(one.bar.phases for one in bars) == 2001
    assert [one.look for one in bars] == ["wait", "work", "failed", "work"]
    (shown,) = read_phases(media_database, Scope(DAG, "many"), bars[1].bar.number - 1, 1)
    assert shown.phase == "decode"


def test_a_run_that_nothing_is_known_of_has_no_timeline(media_database: Engine) -> None:
    assert read_timeline(media_database, Scope(DAG, "unheard of")) is None
    assert read_runs(media_database, RunFilter(dag_id=DAG, run_id="unheard of")) == []


def test_phases_are_listed_as_they_began_with_all_that_was_measured(media_database: Engine) -> None:
    made = make_run(media_database)
    scope = Scope(DAG, made.run_id)

    phases = read_phases(media_database, scope, 0, 9)

    assert [one.phase for one in phases] == ["queue", "model_load", "transcription", "transcription"]
    last = phases[-1]
    assert (last.name, last.asset_id, last.counters) == (
        "archive/2024/two.mp4",
        made.asset_ids[1],
        {"audio_s": MEDIA_S},
    )
    assert (last.kind, last.device, last.peak_rss_mib, last.peak_vram_mib) == ("work", "cpu", 512, None)
    assert [one.phase for one in read_phases(media_database, scope, 1, 1)] == ["model_load"]


def test_one_task_of_a_run_is_told_by_itself(media_database: Engine) -> None:
    made = make_run(media_database)
    record_phases(media_database, attempt(media_database, made.run_id, "publish"), [phase(Phase.PUBLISH, START, 3)])
    scope = Scope(DAG, made.run_id, "publish")

    timeline = read_timeline(media_database, scope)

    assert timeline is not None
    assert [drawn.lane.task_id for drawn in timeline.lanes] == ["publish"]
    assert [one.phase for one in read_phases(media_database, scope, 0, 9)] == ["publish"]
    assert read_timeline(media_database, Scope(DAG, made.run_id, "publish", 3)) is None


def test_a_task_is_told_over_its_runs(media_database: Engine) -> None:
    for number in range(3):
        make_run(media_database, f"run {number}", begins_at=START + timedelta(hours=number), work_s=10 + number)

    attempts = read_task_attempts(media_database, DAG, TASK, 0, 9)
    phases = {one.phase: one for one in read_task_phases(media_database, DAG, TASK)}

    assert [(one.run_id, one.work_s, one.media_s) for one in attempts] == [
        ("run 2", 24, 2 * MEDIA_S),
        ("run 1", 22, 2 * MEDIA_S),
        ("run 0", 20, 2 * MEDIA_S),
    ]
    assert (attempts[0].model_names, attempts[0].wall_s) == ("base.en", 29)
    assert (phases["transcription"].n, phases["transcription"].p50_s, phases["transcription"].longest_s) == (6, 11, 12)
    assert read_task_attempts(media_database, DAG, "no_such_task", 0, 9) == []


def test_what_was_recorded_before_is_summed_up_by_the_migration(media_database: Engine, empty_database: Engine) -> None:
    made = make_run(media_database, work_s=10)
    for task_id in (TASK, "another_task"):
        beside(media_database, made, task_id)
    migrate(empty_database, read_migrations()[:6])
    tables = ("media_asset", "processing_run", "run_item", "stage_attempt", "phase_timing")
    with media_database.begin() as source, empty_database.begin() as target:
        for table in tables:
            columns = target.execute(
                text("select column_name from information_schema.columns where table_name = :table"), {"table": table}
            ).scalars()
            names = ", ".join(columns)
            select = text(f"select row_to_json(t)::text from (select {names} from {table}) as t")  # noqa: S608 - ours
            insert = f"insert into {table} select * from json_populate_record(null::{table}, cast(:row as json))"  # noqa: S608
            for row in source.execute(select).scalars().all():
                target.execute(text(insert), {"row": row})

    migrate(empty_database)

    for read in (
        lambda database: read_runs(database, RunFilter()),
        lambda database: read_series(database, NIGHT, NIGHT),
        lambda database: read_stage_nights(database, *EVER, BERLIN),
        lambda database: read_slowest(database, *EVER, by_ratio=True),
    ):
        assert read(empty_database) == read(media_database)
        assert read(media_database)
