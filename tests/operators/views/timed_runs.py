"""Runs with timings, recorded by the same functions as the tasks do."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from sqlalchemy import Engine, text

from operators.stage_plan import AttemptOutcome
from operators.timings import (
    AttemptDetails,
    AttemptEnd,
    RunItem,
    RunItemOutcome,
    RunOutcome,
    RunStart,
    begin_attempt,
    begin_run,
    describe_attempt,
    finish_attempt,
    finish_run,
    record_phases,
    set_item_outcomes,
)
from stage_contract.models import ModelRef
from stage_contract.phases import PhaseRecord
from stage_contract.request import TaskKey
from stage_contract.vocabulary import Phase, PhaseOutcome, Stage, Variant

START = datetime(2026, 11, 20, 22, 0, tzinfo=UTC)
DAG = "process_media"
TASK = "audio_transcribe_cpu"
WHISPER = ModelRef(role="whisper", name="base.en", revision="1", sha256="0" * 64, licence="MIT")
MEDIA_S = 120.0


@dataclass(frozen=True)
class Timed:
    """What `make_run` made: the run's id and its assets'."""

    run_id: str
    asset_ids: tuple[str, ...]


def asset_id(name: str) -> str:
    """A made-up asset's id."""
    return name.encode().hex().rjust(64, "0")[-64:]


def phase(
    which: Phase,
    at: datetime,
    duration_s: float,
    asset: str | None = None,
    outcome: PhaseOutcome = PhaseOutcome.DONE,
) -> PhaseRecord:
    """One that came in one turn."""
    return PhaseRecord(
        phase=which,
        asset_id=asset,
        started_at=at,
        duration_s=duration_s,
        span_s=duration_s,
        outcome=outcome,
        counters={"audio_s": MEDIA_S},
        peak_rss_mib=512,
    )


def make_run(
    database: Engine,
    run_id: str = "manual__2026-11-20T22:00:00+00:00",
    dag_id: str = DAG,
    begins_at: datetime = START,
    files: tuple[str, ...] = ("2024/one.mp4", "2024/two.mp4"),
    work_s: float = 30,
    variant: Variant = Variant.CPU,
    outcome: RunOutcome = RunOutcome.DONE,
) -> Timed:
    """A run of one stage: 10 s waiting, 5 s loading a model, then `work_s` for each file. All files are 2 minutes long.

    Where it failed, so did the last file.
    """
    assets = tuple(asset_id(f"{run_id} {file}") for file in files)
    task = TaskKey(dag_id=dag_id, run_id=run_id, task_id=TASK, try_number=1)
    begin_run(database, RunStart(dag_id, run_id, {}, begins_at, begins_at))
    with database.begin() as connection:
        for asset in assets:
            connection.execute(
                text("insert into media_asset (asset_id, size_bytes) values (:asset, 1)"), {"asset": asset}
            )
    set_item_outcomes(
        database,
        dag_id,
        run_id,
        [RunItem("archive", file, asset, RunItemOutcome.DONE) for file, asset in zip(files, assets, strict=True)],
    )
    begin_attempt(database, task, Stage.TRANSCRIBE, begins_at + timedelta(seconds=10))
    device = "cpu" if variant is Variant.CPU else "GPU-1a2b"
    describe_attempt(database, task, AttemptDetails(variant, device, models=(WHISPER,), compute_type="int8"))
    records = [phase(Phase.QUEUE, begins_at, 10), phase(Phase.MODEL_LOAD, begins_at + timedelta(seconds=10), 5)]
    for number, asset in enumerate(assets):
        is_failed = outcome is RunOutcome.FAILED and number == len(assets) - 1
        at = begins_at + timedelta(seconds=15 + number * work_s)
        phase_outcome = PhaseOutcome.FAILED if is_failed else PhaseOutcome.DONE
        records.append(phase(Phase.TRANSCRIPTION, at, work_s, asset, phase_outcome))
    record_phases(database, task, records)
    ends_at = begins_at + timedelta(seconds=15 + len(assets) * work_s)
    ended = AttemptOutcome.FAILED if outcome is RunOutcome.FAILED else AttemptOutcome.DONE
    finish_attempt(database, task, AttemptEnd(ends_at, ended, message="told <b>by</b> the task"))
    # Lengths are known when results are published, just before the run ends.
    with database.begin() as connection:
        connection.execute(
            text("update media_asset set duration_s = :media_s where asset_id = any(:assets)"),
            {"media_s": MEDIA_S, "assets": list(assets)},
        )
    finish_run(database, dag_id, run_id, ends_at + timedelta(seconds=5), outcome)
    return Timed(run_id, assets)
