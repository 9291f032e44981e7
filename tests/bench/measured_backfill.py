"""A backfill through a whole deployment, and where its time went."""

from collections import Counter
from dataclasses import dataclass
from functools import partial
from typing import Any

from console.airflow_api import RunState
from operators.errors import NightreelError
from stage_contract.vocabulary import Stage
from tests.bench.slot_time import Interval, PhaseRow, Span, intervals_of, share_slots
from tests.deployment import Deployment, wait_until

BACKFILL = "archive_backfill"
SCAN_AND_PLAN = "scan and plan"
LIMIT_S = 4 * 3600
# Each look costs the machine that is measured.
LOOK_EVERY_S = 5.0

OUTCOMES = """
select coalesce(i.outcome, 'left') as outcome
from backfill_item as i join backfill as b using (backfill_id)
where b.dag_id = :dag_id and b.run_id = :run_id
"""
SHARDS = """
select s.run_id, s.launched_at, s.ended_at, s.expected_s, s.longest_s,
    (select count(*) from backfill_item as i where i.shard_id = s.shard_id) as assets
from backfill_shard as s join backfill as b using (backfill_id)
where b.dag_id = :dag_id and b.run_id = :run_id and s.outcome <> 'withdrawn'
order by s.launched_at
"""
PHASES = """
select run_id, task_id, try_number, stage, phase, asset_id is not null as is_of_item, kind = 'wait' as waits,
    started_at, ended_at
from phase_report
where dag_id = 'process_media' and run_id = any(:run_ids)
"""


class BackfillFailed(NightreelError):
    """The backfill did not do all of the clips."""


@dataclass(frozen=True)
class ShardTruth:
    """A shard as it was expected, and the time from its launch to its run's end."""

    run_id: str
    assets: int
    expected_s: float
    longest_s: float
    taken_s: float


@dataclass(frozen=True)
class MeasuredBackfill:
    """`wall_s` is from the trigger to the end of the last shard's run; `parts` add up to it."""

    wall_s: float
    parts: dict[str, float]
    shards: tuple[ShardTruth, ...]


def run_backfill(deployment: Deployment, folder: str, count: int, slots: int) -> MeasuredBackfill:
    """Bring a folder of the archive, with `count` new assets, through a backfill.

    Raises:
        BackfillFailed: not all assets were done.
    """
    begun = deployment.api.trigger(BACKFILL, {"folders": [folder]})
    look = partial(deployment.api.run, begun.dag_id, begun.run_id)
    run: RunState = wait_until(look, lambda state: state.ended, LIMIT_S, LOOK_EVERY_S)
    outcomes = Counter(row["outcome"] for row in deployment.run_rows(OUTCOMES, run))
    if run.state != "success" or outcomes != {"done": count}:
        raise BackfillFailed(f"all {count} assets must be done: the run ended {run.state}, with {dict(outcomes)}")
    return measure_backfill(deployment, run, slots)


def measure_backfill(deployment: Deployment, run: RunState, slots: int) -> MeasuredBackfill:
    """Read what a backfill that has ended took.

    Raises:
        BackfillFailed: Airflow does not say when it was asked for, or it launched nothing.
    """
    shards = deployment.run_rows(SHARDS, run)
    if run.queued_at is None or not shards:
        raise BackfillFailed(f"{run.run_id} must have been asked for, and have launched shards: {run}, {shards}")
    phases = deployment.rows(PHASES, run_ids=[shard["run_id"] for shard in shards])
    whole = Span(run.queued_at, max(shard["ended_at"] for shard in shards))
    before = Interval(SCAN_AND_PLAN, Span(run.queued_at, shards[0]["launched_at"]), waits=True)
    intervals = [before, *intervals_of(map(_phase_row, phases))]
    return MeasuredBackfill(whole.duration_s, share_slots(intervals, whole, slots), tuple(map(_truth, shards)))


def _phase_row(row: dict[str, Any]) -> PhaseRow:
    return PhaseRow(
        attempt=(row["run_id"], row["task_id"], row["try_number"]),
        stage=Stage(row["stage"]) if row["stage"] else None,
        phase=row["phase"],
        is_of_item=row["is_of_item"],
        waits=row["waits"],
        span=Span(row["started_at"], row["ended_at"]),
    )


def _truth(row: dict[str, Any]) -> ShardTruth:
    taken_s = Span(row["launched_at"], row["ended_at"]).duration_s
    return ShardTruth(row["run_id"], row["assets"], row["expected_s"], row["longest_s"], taken_s)
