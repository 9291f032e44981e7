"""What a night left in Postgres, and what must hold of it."""

from collections import Counter
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from console.airflow_api import RunState
from tests.e2e_backfill.conftest import ArchiveDeployment

ITEMS = """
select i.backfill_id, i.asset_id, i.outcome, i.message, i.returns, s.run_id as shard_run_id
from backfill_item as i
join backfill as b using (backfill_id)
left join backfill_shard as s using (shard_id)
where b.run_id = any(:run_ids)
"""
SHARDS = """
select s.shard_id, s.run_id, s.planned_at, s.launched_at, s.ended_at, s.outcome, s.expected_s, s.longest_s, b.closes_at
from backfill_shard as s join backfill as b using (backfill_id)
where b.run_id = any(:run_ids) order by s.shard_id
"""
REPORTS = "select run_id, report from backfill where run_id = any(:run_ids)"
# A stage of the simulated kind writes each output once: the time that it took is recorded once per work done.
WORK = """
select asset_id, stage, count(*) as n from phase_report
where asset_id is not null and phase = 'write' and outcome = 'done' and run_id = any(:run_ids)
group by asset_id, stage
"""
RUN_ITEMS = """
select asset_id, outcome, run_id from run_item where run_id = any(:run_ids)
"""


@dataclass(frozen=True)
class NightLog:
    """The rows of some backfills."""

    items: list[dict[str, Any]]
    shards: list[dict[str, Any]]
    reports: dict[str, dict[str, Any]]

    @property
    def ended(self) -> Counter[str]:
        """How many assets came to which end."""
        return Counter(row["outcome"] for row in self.items if row["outcome"])

    @property
    def done_more_than_once(self) -> list[str]:
        """Assets that came to an end more often than once."""
        ends = Counter(row["asset_id"] for row in self.items if row["outcome"])
        return [asset_id for asset_id, count in ends.items() if count > 1]

    @property
    def launched_late(self) -> list[str]:
        """Runs that were launched when the window had closed."""
        return [
            shard["run_id"]
            for shard in self.shards
            if shard["launched_at"] and shard["closes_at"] and shard["launched_at"] >= shard["closes_at"]
        ]

    def estimates(self) -> list[tuple[float, float, float]]:
        """Of each shard that was done: seconds expected, seconds at most, seconds taken."""
        return [
            (shard["expected_s"], shard["longest_s"], _seconds(shard["launched_at"], shard["ended_at"]))
            for shard in self.shards
            if shard["outcome"] == "done"
        ]


def read_nights(deployment: ArchiveDeployment, *runs: RunState) -> NightLog:
    """What these runs of `archive_backfill` left."""
    run_ids = [run.run_id for run in runs]
    return NightLog(
        items=deployment.rows(ITEMS, run_ids=run_ids),
        shards=deployment.rows(SHARDS, run_ids=run_ids),
        reports={row["run_id"]: row["report"] for row in deployment.rows(REPORTS, run_ids=run_ids)},
    )


def _seconds(begin: datetime, end: datetime) -> float:
    return (end - begin).total_seconds()
