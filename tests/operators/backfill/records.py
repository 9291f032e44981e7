"""Assets, results and timings as the catalog and earlier runs leave them."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from hashlib import sha256

from sqlalchemy import Engine, text

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
from stage_contract.phases import PhaseRecord
from stage_contract.request import TaskKey
from stage_contract.vocabulary import Phase, PhaseOutcome, Stage, Variant

NIGHT = datetime(2026, 11, 20, 22, 0, tzinfo=UTC)
DAG = "process_media"


def asset_id(number: int) -> str:
    """An id as scattered as real ones are."""
    return sha256(str(number).encode()).hexdigest()


def add_media(
    database: Engine,
    number: int,
    path: str | None = None,
    *,
    duration_s: float | None = 60.0,
    size_bytes: int = 60_000,
    has_audio: bool = True,
    has_video: bool = True,
    mtime_s: int = 0,
    root: str = "archive",
    vanished: bool = False,
) -> str:
    """An asset and where it lies; probed unless it has no duration."""
    asset = {
        "asset_id": asset_id(number),
        "size_bytes": size_bytes,
        "container": None if duration_s is None else "mov",
        "duration_s": duration_s,
        "has_audio": None if duration_s is None else has_audio,
        "has_video": None if duration_s is None else has_video,
    }
    location = {
        "root": root,
        "path": path or f"{number}.mp4",
        "asset_id": asset_id(number),
        "size_bytes": size_bytes,
        "mtime_ns": mtime_s * 1_000_000_000,
        "vanished_at": NIGHT if vanished else None,
    }
    with database.begin() as connection:
        connection.execute(
            text(
                "insert into media_asset (asset_id, size_bytes, container, duration_s, has_audio, has_video) values "
                "(:asset_id, :size_bytes, :container, :duration_s, :has_audio, :has_video) on conflict do nothing"
            ),
            asset,
        )
        connection.execute(
            text(
                "insert into media_location (root, path, asset_id, size_bytes, mtime_ns, inode, seen_at, vanished_at) "
                "values (:root, :path, :asset_id, :size_bytes, :mtime_ns, 1, now(), :vanished_at)"
            ),
            location,
        )
    return asset_id(number)


def add_result(
    database: Engine, asset: str, stage: Stage, fingerprint: str = "1" * 24, reason: str | None = None, day: int = 0
) -> None:
    """A published result, rejected where there is a reason."""
    row = {
        "asset_id": asset,
        "stage": stage,
        "fingerprint": fingerprint,
        "status": "rejected" if reason else "done",
        "reason": reason,
        "message": reason,
        "published_at": NIGHT + timedelta(days=day),
    }
    with database.begin() as connection:
        connection.execute(
            text(
                "insert into stage_result (asset_id, stage, fingerprint, status, reason, message, stage_version, "
                "variant, compute_type, models, parameters, inputs, files, task, finished_at, published_at) values "
                "(:asset_id, :stage, :fingerprint, :status, :reason, :message, '1', 'cpu', 'int8', '[]', '{}', '{}', "
                "'[]', '{}', :published_at, :published_at)"
            ),
            row,
        )


def add_run(database: Engine, run_id: str, asked_at: datetime, wall_s: float) -> None:
    """A run of process_media that has ended."""
    begin_run(database, RunStart(DAG, run_id, {}, asked_at, asked_at + timedelta(seconds=1)))
    finish_run(database, DAG, run_id, asked_at + timedelta(seconds=wall_s), RunOutcome.DONE)


def add_attempt(
    database: Engine,
    run_id: str,
    stage: Stage,
    work_s: Mapping[str, float],
    *,
    variant: Variant = Variant.CPU,
    overhead_s: float = 0.0,
    outcome: AttemptOutcome = AttemptOutcome.DONE,
    phase_outcome: PhaseOutcome = PhaseOutcome.DONE,
    started_at: datetime = NIGHT,
    aside_s: float = 0.0,
    beside_s: float = 0.0,
) -> None:
    """An attempt with two phases of work on each asset, which take turns, and a wait that is neither.

    For `beside_s` of the work on an asset both phases go on at once.
    """
    task = TaskKey(dag_id=DAG, run_id=run_id, task_id=stage.replace(".", "_"), try_number=1)
    begin_attempt(database, task, stage, started_at)
    describe_attempt(database, task, AttemptDetails(variant=variant))
    phases: list[tuple[Phase, str | None, float, float]] = [
        (Phase.QUEUE, None, 1_000.0, 1_000.0),
        (Phase.CONTAINER_START, None, overhead_s / 4, overhead_s / 4),
        (Phase.MODEL_LOAD, None, overhead_s * 3 / 4, overhead_s * 3 / 4),
    ]
    phases += [(Phase.ASIDE, None, aside_s, aside_s)] if aside_s else []
    for asset, seconds in work_s.items():
        phases += [
            (Phase.DECODE, asset, seconds / 4 + beside_s, seconds),
            (Phase.WRITE, asset, seconds * 3 / 4, seconds),
        ]
    records = [
        PhaseRecord(
            phase=phase,
            asset_id=asset,
            started_at=started_at,
            duration_s=duration_s,
            span_s=span_s,
            outcome=phase_outcome,
        )
        for phase, asset, duration_s, span_s in phases
    ]
    record_phases(database, task, records)
    finish_attempt(database, task, AttemptEnd(started_at + timedelta(hours=1), outcome))


def add_backfill(database: Engine, run_id: str = "night") -> int:
    """A backfill without a plan."""
    with database.begin() as connection:
        return int(
            connection.execute(
                text(
                    "insert into backfill (dag_id, run_id, scope, wanted, opens_at) "
                    "values ('archive_backfill', :run_id, '{}', '{}', :opens_at) returning backfill_id"
                ),
                {"run_id": run_id, "opens_at": NIGHT},
            ).scalar_one()
        )


def add_shard(
    database: Engine, backfill_id: int, run_id: str, launched_at: datetime = NIGHT, outcome: str | None = "done"
) -> int:
    """A shard of a backfill; it has ended unless it has no outcome."""
    row = {
        "backfill_id": backfill_id,
        "run_id": run_id,
        "at": launched_at,
        "ended_at": launched_at + timedelta(days=1) if outcome else None,
        "outcome": outcome,
    }
    with database.begin() as connection:
        return int(
            connection.execute(
                text(
                    "insert into backfill_shard (backfill_id, dag_id, run_id, planned_at, launched_at, ended_at, "
                    "outcome, expected_s, longest_s, media_s) values "
                    "(:backfill_id, 'process_media', :run_id, :at, :at, :ended_at, :outcome, 1, 1, 1) "
                    "returning shard_id"
                ),
                row,
            ).scalar_one()
        )
