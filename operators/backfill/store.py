"""Backfills, their shards and items, as Postgres has them. Every function is one transaction."""

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row

from operators.backfill.estimate import Estimate, MediaFacts
from operators.backfill.scope import BackfillScope
from operators.database import Database, transaction
from operators.errors import NightreelError
from operators.queries import query
from stage_contract.vocabulary import Stage

# A shard's first assets are found among so many: `packing.LOOK_AHEAD` that do not fit, and a shard of those that do.
MOST_LOOKED_AT = 1_200


class BackfillMissing(NightreelError):
    """A backfill that the database has not heard of."""


@dataclass(frozen=True)
class Backfill:
    """A night's work, or one that a person asked for. `closes_at` none: until all is done."""

    backfill_id: int
    dag_id: str
    run_id: str
    scope: BackfillScope
    wanted: Mapping[Stage, Sequence[str] | None]
    opens_at: datetime
    closes_at: datetime | None
    scan_id: int | None
    is_planned: bool
    finished_at: datetime | None
    report: dict[str, Any] | None

    def is_open(self, now: datetime) -> bool:
        """Whether anything may be launched."""
        return self.opens_at <= now and (self.closes_at is None or now < self.closes_at)

    def room_s(self, now: datetime) -> float:
        """Seconds until it closes; infinite without an end."""
        return (self.closes_at - now).total_seconds() if self.closes_at else float("inf")


@dataclass(frozen=True)
class NewBackfill:
    """A backfill to begin."""

    dag_id: str
    run_id: str
    scope: BackfillScope
    wanted: Mapping[Stage, Sequence[str] | None]
    opens_at: datetime
    closes_at: datetime | None


@dataclass(frozen=True)
class WaitingItem:
    """An asset that no shard has yet. `stages` lack a current result of it."""

    asset_id: str
    facts: MediaFacts
    stages: tuple[Stage, ...]


@dataclass(frozen=True)
class PackedShard:
    """Assets for one run, and how long that is expected to take."""

    asset_ids: tuple[str, ...]
    time: Estimate
    media_s: float


@dataclass(frozen=True)
class ShardRecord:
    """A shard that was not withdrawn, as recorded: when it was to take how long, and when it was launched and ended."""

    shard_id: int
    run_id: str
    planned_at: datetime
    launched_at: datetime | None
    ended_at: datetime | None
    outcome: str | None
    expected_s: float
    longest_s: float
    media_s: float

    @property
    def took_s(self) -> float | None:
        """From being asked for to its end; none while it is under way."""
        return (self.ended_at - self.launched_at).total_seconds() if self.ended_at and self.launched_at else None


@dataclass(frozen=True)
class ScanCounts:
    """How far the scan is."""

    files_found: int
    files_hashed: int
    has_ended: bool
    is_complete: bool
    message: str


@dataclass(frozen=True)
class Remainder:
    """Whether a backfill has shards that have not ended, and assets that wait."""

    is_under_way: bool
    is_waiting: bool


@dataclass(frozen=True)
class Counts:
    """How a backfill's assets stand. `under_way` are in a shard; `left` is what has not ended."""

    done: int
    rejected: int
    failed: int
    under_way: int
    waiting: int
    media_done_s: float
    media_left_s: float
    expected_done_s: float
    expected_left_s: float

    @property
    def ended(self) -> int:
        """Assets that no run of this backfill will take again."""
        return self.done + self.rejected + self.failed

    @property
    def left(self) -> int:
        """Assets that have not ended."""
        return self.under_way + self.waiting


def open_backfill(database: Database, new: NewBackfill) -> int:
    """Begin a backfill, or the one of this run again; returns its number."""
    row = {
        "dag_id": new.dag_id,
        "run_id": new.run_id,
        "scope": new.scope.model_dump_json(),
        "wanted": json.dumps(dict(new.wanted)),
        "opens_at": new.opens_at,
        "closes_at": new.closes_at,
    }
    with transaction(database) as connection:
        backfill_id: int = connection.execute(query("open_backfill"), row).scalar_one()
    return backfill_id


def find_backfill(database: Database, backfill_id: int) -> Backfill:
    """A backfill by its number.

    Raises:
        BackfillMissing: there is none.
    """
    with transaction(database) as connection:
        row = connection.execute(query("find_backfill"), {"backfill_id": backfill_id}).mappings().first()
    if row is None:
        raise BackfillMissing(f"a backfill must have been opened: the database has no {backfill_id}; trigger it anew")
    return Backfill(
        **{
            **row,
            "scope": BackfillScope.model_validate(row["scope"]),
            "wanted": {Stage(stage): names for stage, names in row["wanted"].items()},
        }
    )


def backfill_of_run(database: Database, dag_id: str, run_id: str) -> int | None:
    """The backfill of a DAG run; none where it opened none."""
    with transaction(database) as connection:
        row = {"dag_id": dag_id, "run_id": run_id}
        found: int | None = connection.execute(query("find_backfill_of_run"), row).scalar_one_or_none()
    return found


def open_backfills(database: Database) -> list[int]:
    """Backfills without a report, the first one first."""
    with transaction(database) as connection:
        return [row.backfill_id for row in connection.execute(query("list_open_backfills"))]


def latest_backfills(database: Database, most: int) -> list[int]:
    """The last ones that have a report, the first one first."""
    with transaction(database) as connection:
        found = connection.execute(query("list_latest_backfills"), {"most": most})
        return [row.backfill_id for row in found][::-1]


def set_scan(database: Database, backfill_id: int, scan_id: int) -> None:
    """Record which scan a backfill's plan comes from."""
    with transaction(database) as connection:
        connection.execute(query("set_backfill_scan"), {"backfill_id": backfill_id, "scan_id": scan_id})


def begin_extension(connection: Connection, backfill_id: int, is_planned: bool) -> bool:
    """Begin to plan, in the caller's transaction: until it ends, the backfill does not, and no asset comes back unseen.

    Args:
        connection: In a transaction.
        backfill_id: The backfill.
        is_planned: Whether all that the scan found will be in the plan then.

    Returns:
        False when the backfill is over.
    """
    row = {"backfill_id": backfill_id, "is_planned": is_planned}
    return connection.execute(query("begin_extension"), row).first() is not None


def finish_backfill(database: Database, backfill_id: int, finished_at: datetime, report: str) -> None:
    """Keep the report, as JSON, unless there is one; forget what waits, which the next backfill finds.

    From now on other backfills settle what this one left under way.
    """
    row = {"backfill_id": backfill_id, "finished_at": finished_at, "report": report}
    with transaction(database) as connection:
        connection.execute(query("finish_backfill"), row)
        connection.execute(query("forget_waiting_items"), row)


@contextmanager
def hold_backfill(database: Database, backfill_id: int) -> Iterator[bool]:
    """Whether the block is the only one that goes on with a backfill now. It ends with the block, or the process."""
    with transaction(database) as connection:
        yield connection.execute(query("try_lock_backfill"), {"backfill_id": backfill_id}).scalar_one()


def list_shards(database: Database, backfill_id: int) -> list[ShardRecord]:
    """The shards of a backfill, the first launched first."""
    with transaction(database) as connection:
        rows = connection.execute(query("list_backfill_shards"), {"backfill_id": backfill_id})
        return [ShardRecord(*row) for row in rows]


def read_remainder(database: Database, backfill_id: int) -> Remainder:
    """Whether a backfill has anything left; does not count it."""
    with transaction(database) as connection:
        return Remainder(*connection.execute(query("backfill_remainder"), {"backfill_id": backfill_id}).one())


def next_work_s(database: Database, backfill_id: int, most: int) -> float:
    """The expected work of what waits, of the first `most` assets in its order."""
    with transaction(database) as connection:
        asked = {"backfill_id": backfill_id, "most": most}
        work_s: float = connection.execute(query("next_work"), asked).scalar_one()
    return work_s


def read_counts(database: Database, backfill_id: int) -> Counts:
    """How a backfill's assets stand."""
    with transaction(database) as connection:
        return Counts(*connection.execute(query("backfill_counts"), {"backfill_id": backfill_id}).one())


def read_scan(database: Database, scan_id: int | None) -> ScanCounts | None:
    """How far a scan is; none where there is none."""
    if scan_id is None:
        return None
    with transaction(database) as connection:
        row = connection.execute(query("find_scan"), {"scan_id": scan_id}).one()
    has_ended = row.finished_at is not None
    return ScanCounts(row.files_found, row.files_hashed, has_ended, row.is_complete, row.message)


def waiting_items(database: Database, backfill_id: int) -> Iterator[WaitingItem]:
    """All that waits in its order, a batch at a time in memory; what failed since it was planned, too."""
    asked = {"backfill_id": backfill_id, "most": None, "retry_parked": True, "now": None}
    with transaction(database) as connection:
        rows = connection.execute(query("list_waiting_items"), asked, execution_options={"yield_per": 2_000})
        yield from map(waiting_item, rows)


def named_items(database: Database, backfill_id: int, name: str, most: int) -> list[tuple[str, WaitingItem]]:
    """The first rows of the query `name` over what waits: where each asset lies, and the asset."""
    with transaction(database) as connection:
        rows = connection.execute(query(name), {"backfill_id": backfill_id, "most": most})
        return [(row.name, waiting_item(row)) for row in rows]


def waiting_item(row: Row[Any]) -> WaitingItem:
    """A row of `backfill_item`."""
    facts = MediaFacts(row.media_s, row.is_media_s_known, row.has_audio, row.has_video)
    return WaitingItem(row.asset_id, facts, tuple(map(Stage, row.stages)))


def begun_shards(database: Database, backfill_id: int) -> frozenset[int]:
    """Shards under way whose runs have begun: Airflow had them and has started them."""
    with transaction(database) as connection:
        found = connection.execute(query("list_begun_shards"), {"backfill_id": backfill_id})
        return frozenset(row.shard_id for row in found)
