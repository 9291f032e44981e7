"""The benchmark of orchestration: what is decided, and what is read of a backfill. Running it takes a deployment."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import Engine, text

from console.airflow_api import RunState
from console.terminal import ConsoleError
from operators.shard import ShardItem
from operators.timings import RunStart, begin_attempt, begin_run, record_phases
from stage_contract.phases import PhaseRecord
from stage_contract.request import TaskKey
from stage_contract.vocabulary import Phase, PhaseOutcome, Stage
from tests.bench.clips import LONGEST_S, SHORTEST_S, free_box, plan_cuts
from tests.bench.cost_table import cost_lines, ratio, shard_lines
from tests.bench.measured_backfill import (
    SCAN_AND_PLAN,
    BackfillFailed,
    MeasuredBackfill,
    ShardTruth,
    measure_backfill,
)
from tests.bench.orchestration import work_folder
from tests.bench.same_results import Results, agreement
from tests.bench.slot_time import IDLE
from tests.bench.warm_stages import deal, item_seconds, total
from tests.deployment import Deployment

ASKED_AT = datetime(2026, 1, 1, 22, tzinfo=UTC)
ASSET = "a" * 64
RUN = RunState("archive_backfill", "by hand", "success", ASKED_AT, ASKED_AT, None)
SHARD_RUN = "shard__1_1"


@dataclass(frozen=True)
class DatabaseOnly(Deployment):
    """A deployment of which only the database is there."""

    engine: Engine

    def media_database(self) -> Engine:
        return self.engine


@pytest.fixture
def deployment(media_database: Engine) -> DatabaseOnly:
    return DatabaseOnly(cast(Any, None), cast(Any, None), {}, media_database)


def at(seconds: float) -> datetime:
    return ASKED_AT + timedelta(seconds=seconds)


def record(phase: Phase, begin_s: float, end_s: float, asset_id: str | None = None) -> PhaseRecord:
    return PhaseRecord(
        phase=phase,
        asset_id=asset_id,
        started_at=at(begin_s),
        duration_s=end_s - begin_s,
        span_s=end_s - begin_s,
        outcome=PhaseOutcome.DONE,
    )


def item(number: int) -> ShardItem:
    return ShardItem(asset_id=f"{number:064x}", root="archive", path=f"{number}.mp4", size_bytes=1, mtime_ns=1)


def write_backfill(database: Engine) -> None:
    """One shard: launched after 10 s, ended after 70 s, and one that was withdrawn."""
    with database.begin() as connection:
        backfill_id = connection.execute(
            text(
                "insert into backfill (dag_id, run_id, scope, wanted, opens_at) "
                "values (:dag_id, :run_id, '{}', '{}', :opens_at) returning backfill_id"
            ),
            {"dag_id": RUN.dag_id, "run_id": RUN.run_id, "opens_at": ASKED_AT},
        ).scalar_one()
        shard = text(
            "insert into backfill_shard (backfill_id, dag_id, run_id, planned_at, launched_at, ended_at, outcome, "
            "expected_s, longest_s, media_s) "
            "values (:id, 'process_media', :run_id, :begin, :begin, :end, :outcome, 50, 80, 4)"
        )
        common = {"id": backfill_id, "begin": at(10), "end": at(70)}
        connection.execute(shard, {**common, "run_id": SHARD_RUN, "outcome": "done"})
        connection.execute(shard, {**common, "run_id": "shard__1_2", "outcome": "withdrawn"})


def write_attempt(database: Engine) -> None:
    """A container that began after 20 s and worked on an item from 30 s to 60 s."""
    task = TaskKey(dag_id="process_media", run_id=SHARD_RUN, task_id="vision_analyze_cpu", try_number=1)
    begin_run(database, RunStart(task.dag_id, task.run_id, {}, at(10), at(10)))
    begin_attempt(database, task, Stage.ANALYZE, at(20))
    waits = [record(Phase.QUEUE, 10, 20), record(Phase.IMPORT, 20, 30)]
    record_phases(database, task, [*waits, record(Phase.DECODE, 31, 40, ASSET), record(Phase.CLIP, 35, 60, ASSET)])


def test_the_time_of_a_backfill_is_read_from_the_phases_of_its_runs(deployment):
    write_backfill(deployment.engine)
    write_attempt(deployment.engine)
    measured = measure_backfill(deployment, RUN, slots=1)
    assert measured.wall_s == 70
    assert measured.parts == pytest.approx({SCAN_AND_PLAN: 10, "queue": 10, "import": 10, Stage.ANALYZE: 30, IDLE: 10})
    assert measured.shards == (ShardTruth(SHARD_RUN, 0, 50, 80, 60),)


def test_a_backfill_that_launched_nothing_has_no_cost(deployment):
    with pytest.raises(BackfillFailed, match="must have been asked for"):
        measure_backfill(deployment, RUN, slots=1)


@given(st.lists(st.floats(3, 10_000), min_size=1, max_size=4), st.integers(1, 400))
def test_every_clip_lies_in_its_film_and_is_short(lengths_s, count):
    cuts = plan_cuts(lengths_s, count)
    assert len(cuts) == count
    for cut in cuts:
        assert cut.start_s >= 0
        assert cut.start_s + cut.duration_s <= lengths_s[cut.film] + 0.01
        assert SHORTEST_S <= cut.duration_s <= LONGEST_S


def test_a_free_box_says_its_length():
    assert free_box(b"clip") == b"\x00\x00\x00\x0cfreeclip"


@given(st.integers(1, 50), st.integers(1, 8))
def test_items_are_dealt_out_evenly_and_once(count, parts):
    dealt = deal(map(item, range(count)), parts)
    assert sorted(one.path for part in dealt for one in part) == sorted(f"{n}.mp4" for n in range(count))
    sizes = [len(part) for part in dealt]
    assert min(sizes) >= 1
    assert max(sizes) - min(sizes) <= 1


def test_imports_and_models_are_not_a_warm_stages_time():
    phases = [record(Phase.CONTAINER_START, 0, 1), record(Phase.IMPORT, 1, 3), record(Phase.MODEL_LOAD, 3, 7)]
    assert item_seconds([*phases, record(Phase.DECODE, 7.5, 8, ASSET), record(Phase.WRITE, 9, 10, ASSET)]) == 3


def test_halves_add_up_by_stage():
    assert total([{Stage.PROBE: 1.5, Stage.ENRICH: 2}, {Stage.PROBE: 2}]) == {Stage.PROBE: 3.5, Stage.ENRICH: 2}


def test_a_result_under_another_fingerprint_and_other_words_are_seen():
    key = (ASSET, str(Stage.TRANSCRIBE), "1" * 24)
    other = (ASSET, str(Stage.TRANSCRIBE), "2" * 24)
    first = Results(frozenset({key}), {ASSET: "good evening"})
    assert agreement(first, first).holds
    renamed = agreement(first, Results(frozenset({other}), {ASSET: "good evening"}))
    assert (renamed.only_first, renamed.only_second, renamed.holds) == (1, 1, False)
    reworded = agreement(first, Results(frozenset({key}), {ASSET: "good morning"}))
    assert (reworded.transcripts_differ, reworded.holds) == (1, False)


def test_the_table_says_what_stands_between_the_two_sides():
    parts = {str(Stage.ANALYZE): 60.0, "import": 10.0, "lease": 5.0, IDLE: 25.0}
    backfill = MeasuredBackfill(100.0, parts, ())
    warm = {Stage.ANALYZE: 55.0}
    lines = cost_lines(backfill, warm)
    assert ratio(backfill, warm) == pytest.approx(0.55)
    assert "**ratio 0.55**" in lines[0]
    assert "| work of `vision.analyze` | 60.0 | 60.0% | 55.0 |" in lines
    assert "| `import` | 10.0 | 10.0% |  |" in lines
    assert "| `lease` | 5.0 | 5.0% |  |" in lines
    assert f"| {IDLE} | 25.0 | 25.0% |  |" in lines
    assert lines[-1] == "| all | 100 | 100.0% | 55.0 |"


def test_a_shard_is_held_against_what_was_expected_of_it():
    lines = shard_lines([ShardTruth("a", 40, 50, 80, 60), ShardTruth("b", 40, 50, 80, 90)])
    assert lines[0] == "Of 2 shards, 1 ended within the longest time expected."
    assert lines[-2:] == ["| `a` | 40 | 50.0 | 80.0 | 60.0 | 1.20 |", "| `b` | 40 | 50.0 | 80.0 | 90.0 | 1.80 |"]


def test_a_folder_with_results_in_it_is_refused(tmp_path: Path):
    (tmp_path / "results").mkdir()
    with pytest.raises(ConsoleError, match="must be an empty folder"), work_folder(tmp_path):
        pass
