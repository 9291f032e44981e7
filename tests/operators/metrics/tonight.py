"""A night under way in Postgres, in which each metric has something to tell."""

from datetime import UTC, datetime, timedelta

from sqlalchemy import Engine, text

from operators.gpu.choice import BranchQuestion, choose_branch
from operators.gpu.choice_store import save_choice
from operators.gpu.lease import ask, try_grant
from operators.routing import DevicePolicy
from operators.stage_plan import AttemptOutcome
from operators.timings import (
    AttemptDetails,
    AttemptEnd,
    RunStart,
    begin_attempt,
    begin_run,
    describe_attempt,
    finish_attempt,
    record_phases,
)
from stage_contract.gpu_health import HealthCode, HealthVerdict
from stage_contract.phases import PhaseRecord
from stage_contract.vocabulary import Phase, PhaseOutcome, Stage, Variant
from tests.operators.backfill.records import add_media
from tests.operators.gpu.samples import configuration, device, healthy, host, request, task

GPUS = configuration(8192, 24576)
"""GPU-1 and GPU-2."""


def now() -> datetime:
    return datetime.now(UTC)


def fill(database: Engine) -> None:
    """A run with phases, a fallback of each kind, a lease that is held and one that waits, a night half done."""
    add_attempt(database, "run1", durations_s=[float(second) for second in range(1, 101)])
    add_attempt(database, "run2", AttemptOutcome.DEVICE_FAILED, Variant.CUDA, "GPU-2")
    add_attempt(database, "run3", AttemptOutcome.MOVED, Variant.CUDA, "GPU-2")
    choose_cpu(database, "run4")
    held, waiting = ask(database, request("run5", need_mib=4096)), ask(database, request("run6", need_mib=4096))
    try_grant(database, held, GPUS, healthy(GPUS))
    with database.begin() as connection:
        late = text("update gpu_lease set asked_at = now() - interval '90 s' where lease_id = :id")
        connection.execute(late, {"id": waiting})
    add_night(database)


def add_attempt(
    database: Engine,
    run_id: str,
    outcome: AttemptOutcome = AttemptOutcome.DONE,
    variant: Variant = Variant.CPU,
    where: str = "cpu",
    durations_s: list[float] | None = None,
    ended_at: datetime | None = None,
) -> None:
    """An attempt at transcription with one phase of each duration, in a run that goes on."""
    at = ended_at or now()
    begin_run(database, RunStart("process_media", run_id, {}, at, at))
    key = task(run_id, f"audio_transcribe_{variant}")
    begin_attempt(database, key, Stage.TRANSCRIBE, at)
    describe_attempt(database, key, AttemptDetails(variant=variant, device=where))
    record_phases(
        database,
        key,
        [
            PhaseRecord(
                phase=Phase.TRANSCRIPTION,
                started_at=at + timedelta(microseconds=number),
                duration_s=duration_s,
                span_s=duration_s,
                outcome=PhaseOutcome.DONE,
            )
            for number, duration_s in enumerate(durations_s or [])
        ],
    )
    finish_attempt(database, key, AttemptEnd(at, outcome))


def choose_cpu(database: Engine, run_id: str, policy: DevicePolicy = DevicePolicy.AUTO) -> None:
    """A stage that went to the CPU, whatever the policy was, since no GPU was usable."""
    asked = BranchQuestion(
        Stage.TRANSCRIBE,
        4608,
        DevicePolicy.AUTO,
        policy,
        GPUS,
        host(*(device(gpu.uuid, HealthCode.GPU_LOST, verdict=HealthVerdict.UNHEALTHY) for gpu in GPUS.devices)),
        {},
        {},
        waited_s=1e6,
        now=now(),
    )
    save_choice(database, task(run_id, "audio_transcribe_gpu_health"), asked, choose_branch(asked))


def add_night(database: Engine) -> int:
    """A night that began two hours ago and closes in one. Of five assets with as much work each, one is done, one
    failed, one is under way and two wait: at this pace, what is left takes six hours."""
    opens_at = now() - timedelta(hours=2)
    with database.begin() as connection:
        backfill_id = int(
            connection.execute(
                text(
                    "insert into backfill (dag_id, run_id, scope, wanted, opens_at, closes_at, is_planned) values "
                    "('archive_backfill', 'night', '{}', '{}', :opens_at, :closes_at, true) returning backfill_id"
                ),
                {"opens_at": opens_at, "closes_at": now() + timedelta(hours=1)},
            ).scalar_one()
        )
    shards = {outcome: _add_shard(database, backfill_id, opens_at, outcome) for outcome in ("done", None)}
    fates = (("done", shards["done"]), ("failed", shards["done"]), (None, shards[None]), (None, None), (None, None))
    for number, (outcome, shard_id) in enumerate(fates):
        asset = add_media(database, number)
        with database.begin() as connection:
            connection.execute(
                text(
                    "insert into backfill_item (backfill_id, asset_id, goes_first, order_key, media_s, "
                    "is_media_s_known, has_audio, has_video, stages, expected_s, shard_id, outcome) "
                    "values (:backfill_id, :asset, false, 0, 3600, true, true, true, '{audio.transcribe}', 600, "
                    ":shard_id, :outcome)"
                ),
                {"backfill_id": backfill_id, "asset": asset, "shard_id": shard_id, "outcome": outcome},
            )
    with database.begin() as connection:
        connection.execute(
            text(
                "insert into asset_failure (asset_id, failures, failed_at, reason) values (:id, 4, now(), 'it broke')"
            ),
            {"id": asset},
        )
    return backfill_id


def _add_shard(database: Engine, backfill_id: int, launched_at: datetime, outcome: str | None) -> int:
    row = {
        "backfill_id": backfill_id,
        "run_id": f"shard_{outcome}",
        "at": launched_at,
        "ended_at": now() if outcome else None,
        "outcome": outcome,
    }
    with database.begin() as connection:
        return int(
            connection.execute(
                text(
                    "insert into backfill_shard (backfill_id, dag_id, run_id, planned_at, launched_at, ended_at, "
                    "outcome, expected_s, longest_s, media_s) values (:backfill_id, 'process_media', :run_id, :at, "
                    ":at, :ended_at, :outcome, 1, 1, 1) returning shard_id"
                ),
                row,
            ).scalar_one()
        )
