"""What the page "CPU and GPU" reads: ordinary runs, and benchmarks apart from them."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import Engine, text

from operators.advice import AdviceKind, advise
from operators.database import transaction
from operators.queries import query
from operators.stage_plan import AttemptOutcome
from operators.timings import (
    AttemptDetails,
    AttemptEnd,
    RunOutcome,
    RunStart,
    begin_attempt,
    begin_run,
    describe_attempt,
    finish_attempt,
    finish_run,
    record_phases,
)
from operators.views.comparison import benchmarked_stages, compare_devices, list_benchmarks, ordinary_work
from stage_contract.models import ModelRef
from stage_contract.phases import PhaseRecord
from stage_contract.request import TaskKey
from stage_contract.vocabulary import ItemOutcome, Phase, PhaseOutcome, Stage, Variant
from tests.operators.benchmark.made import MACHINE, begin_made, made_benchmark, made_plan

BEGIN = datetime(2026, 1, 5, 22, tzinfo=UTC)
MODEL = ModelRef(role="whisper", name="whisper-base.en", revision="r", sha256="", licence="MIT")
FILM_S = 120.0
LENGTH = text("update media_asset set duration_s = :duration_s where asset_id = :asset_id")


def add_attempt(
    database: Engine,
    number: int,
    variant: Variant,
    transcription_s: float,
    *,
    dag_id: str = "process_media",
    outcome: AttemptOutcome = AttemptOutcome.DONE,
    phase_outcome: PhaseOutcome = PhaseOutcome.DONE,
    decoding_s: float = 0.0,
) -> None:
    """One container that transcribed one film of two minutes, and decoded beside it."""
    asset_id = f"{number:064x}"
    begun = BEGIN + timedelta(minutes=number)
    task = TaskKey(dag_id=dag_id, run_id=str(number), task_id=f"audio_{variant}", try_number=1)
    begin_run(database, RunStart(dag_id, str(number), {}, begun, begun))
    with transaction(database) as connection:
        row = {"asset_id": asset_id, "size_bytes": 1, "seen_at": begun}
        connection.execute(query("add_asset"), row)
        connection.execute(LENGTH, {"asset_id": asset_id, "duration_s": FILM_S})
    begin_attempt(database, task, Stage.TRANSCRIBE, begun)
    device = "cpu" if variant is Variant.CPU else "GPU-1"
    describe_attempt(
        database,
        task,
        AttemptDetails(
            variant=variant, device=device, models=(MODEL,), compute_type="int8", container_id=f"container {number}"
        ),
    )

    def record(phase: Phase, seconds: float, of: str | None) -> PhaseRecord:
        return PhaseRecord(
            phase=phase, asset_id=of, started_at=begun, duration_s=seconds, span_s=seconds, outcome=phase_outcome
        )

    phases = [record(Phase.MODEL_LOAD, 1.0, None), record(Phase.TRANSCRIPTION, transcription_s, asset_id)]
    phases += [record(Phase.DECODE, decoding_s, asset_id)] if decoding_s else []
    record_phases(database, task, phases)
    finish_attempt(database, task, AttemptEnd(begun, outcome, items={ItemOutcome.DONE: 1}))


def test_a_stage_is_compared_for_a_minute_of_media_with_n_and_spread(media_database: Engine) -> None:
    for number, seconds in enumerate((20.0, 24.0, 28.0, 32.0, 36.0)):
        add_attempt(media_database, number, Variant.CPU, seconds)
        add_attempt(media_database, 100 + number, Variant.CUDA, seconds / 7)
    (stage,) = compare_devices(ordinary_work(media_database))
    (phase,) = stage.phases
    assert phase.cpu is not None
    assert (phase.phase, phase.cpu.n, phase.cpu.median_s) == ("transcription", 5, 14.0)
    assert (phase.cpu.q1_s, phase.cpu.q3_s) == (12.0, 16.0)
    assert phase.speed_up == pytest.approx(7)
    assert stage.in_all.speed_up == pytest.approx(7)
    assert stage.cpu is not None
    assert (stage.cpu.devices, stage.cpu.compute_types, stage.cpu.models) == (("cpu",), ("int8",), ("whisper-base.en",))
    assert stage.gpu is not None
    assert stage.gpu.devices == ("GPU-1",)
    assert [(one.phase, one.cpu.median_s if one.cpu else None) for one in stage.overheads] == [("model_load", 1.0)]
    assert AdviceKind.PAYS in {one.kind for one in advise(ordinary_work(media_database), [])}


def test_one_side_alone_is_shown_without_a_speed_up(media_database: Engine) -> None:
    add_attempt(media_database, 1, Variant.CPU, 20.0)
    (stage,) = compare_devices(ordinary_work(media_database))
    assert (stage.gpu, stage.in_all.speed_up, stage.phases[0].speed_up) == (None, None, None)


def test_phases_that_overlap_are_the_work_of_a_container_once(media_database: Engine) -> None:
    add_attempt(media_database, 1, Variant.CPU, 20.0, decoding_s=15.0)
    (work,) = ordinary_work(media_database)
    assert (work.work_s, work.overhead_s) == (20.0, 1.0)


def test_the_speed_up_is_that_of_the_time_that_passed(media_database: Engine) -> None:
    for number, transcription_s in enumerate((10.0, 20.0, 40.0)):
        add_attempt(media_database, number, Variant.CPU, transcription_s, decoding_s=15.0)
        add_attempt(media_database, 100 + number, Variant.CUDA, transcription_s / 4, decoding_s=15.0)
    (stage,) = compare_devices(ordinary_work(media_database))
    assert stage.cpu is not None
    assert (stage.cpu.in_all.n, stage.cpu.in_all.q1_s, stage.cpu.in_all.median_s) == (3, 8.75, 10.0)
    assert stage.in_all.speed_up == pytest.approx(20 / 15)


def test_what_failed_is_no_figure(media_database: Engine) -> None:
    add_attempt(media_database, 1, Variant.CPU, 20.0, outcome=AttemptOutcome.FAILED)
    add_attempt(media_database, 2, Variant.CPU, 20.0, phase_outcome=PhaseOutcome.FAILED)
    assert ordinary_work(media_database) == ()


def test_benchmarks_and_ordinary_runs_are_kept_apart(media_database: Engine, tmp_path: Path) -> None:
    made_benchmark(media_database, tmp_path, made_plan(), seconds={"float32": 10, "int8": 4})
    assert ordinary_work(media_database) == ()
    add_attempt(media_database, 1, Variant.CPU, 20.0)
    (stage,) = benchmarked_stages(media_database)
    assert [one.name for one in stage.variants] == ["float32", "int8"]
    assert [one.kind for one in advise([], [stage])] == [AdviceKind.USE]


def test_the_latest_benchmark_goes_first(media_database: Engine, tmp_path: Path) -> None:
    for number, seconds in (("1", 4), ("2", 40)):
        made_benchmark(
            media_database, tmp_path, made_plan(name=number), seconds={"float32": 10, "int8": seconds}, run_id=number
        )
    assert [one.benchmark for one in benchmarked_stages(media_database)] == ["2", "1"]


def test_benchmarks_are_listed_the_last_first_with_what_came_of_them(media_database: Engine, tmp_path: Path) -> None:
    made_benchmark(media_database, tmp_path, made_plan(name="old"), fails={"int8": "no"}, run_id="1")
    begin_made(media_database, tmp_path, made_plan(name="new"), ["a" * 64], MACHINE, "2")
    finish_run(media_database, "benchmark_devices", "2", BEGIN, RunOutcome.FAILED)
    new, old = list_benchmarks(media_database, 10)
    assert (new.header.name, new.has_died, new.variants) == ("new", True, 0)
    assert (old.header.name, old.has_died, old.variants, old.failed) == ("old", False, 2, 1)
    assert list_benchmarks(media_database, 1, 1)[0].header.name == "old"
