"""Backfills, their shards and items, as Postgres has them. Every function is one transaction."""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Row

from operators.backfill.estimate import Estimate, MediaFacts
from operators.backfill.scope import BackfillScope
from operators.backfill.waits import MOST_RETURNS
from operators.database import Database, transaction
from operators.errors import NightreelError
from operators.queries import query
from stage_contract.vocabulary import Stage

SHARD_DAG = "process_media"
"""The DAG whose runs take shards."""

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
class Shard:
    """A shard that has not ended. `launched_at` none: Airflow may not have its run."""

    shard_id: int
    backfill_id: int
    dag_id: str
    run_id: str
    planned_at: datetime
    launched_at: datetime | None
    expected_s: float
    longest_s: float
    media_s: float
    scope: BackfillScope


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
class FruitlessEnds:
    """Runs in a row, the latest, that came to none of their assets; `ended_at` is the last one's, none without any."""

    ends: int
    ended_at: datetime | None


@dataclass(frozen=True)
class ScanCounts:
    """How far the scan is."""

    files_found: int
    files_hashed: int
    has_ended: bool
    is_complete: bool
    message: str


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


def latest_backfill(database: Database) -> int | None:
    """The last one that was opened; none when there was none."""
    with transaction(database) as connection:
        found: int | None = connection.execute(query("latest_backfill")).scalar_one_or_none()
    return found


def set_scan(database: Database, backfill_id: int, scan_id: int) -> None:
    """Record which scan a backfill's plan comes from."""
    with transaction(database) as connection:
        connection.execute(query("set_backfill_scan"), {"backfill_id": backfill_id, "scan_id": scan_id})


def set_planned(database: Database, backfill_id: int) -> None:
    """Record that all that the scan found is in the plan."""
    with transaction(database) as connection:
        connection.execute(query("set_backfill_planned"), {"backfill_id": backfill_id})


def finish_backfill(database: Database, backfill_id: int, finished_at: datetime, report: str) -> None:
    """Keep the report, as JSON. From now on other backfills settle what this one left under way."""
    row = {"backfill_id": backfill_id, "finished_at": finished_at, "report": report}
    with transaction(database) as connection:
        connection.execute(query("finish_backfill"), row)


@contextmanager
def hold_backfill(database: Database, backfill_id: int) -> Iterator[bool]:
    """Whether the block is the only one that goes on with a backfill now. It ends with the block, or the process."""
    with transaction(database) as connection:
        yield connection.execute(query("try_lock_backfill"), {"backfill_id": backfill_id}).scalar_one()


def claim_shard(
    database: Database,
    backfill: Backfill,
    planned_at: datetime,
    pack: Callable[[Iterable[WaitingItem]], PackedShard | None],
) -> Shard | None:
    """Give a shard the assets that `pack` chooses of those that wait; none when it chooses none.

    All or nothing: an asset in a shard is in no other, of whichever backfill.

    Args:
        database: An engine, for a transaction of its own.
        backfill: Whose assets.
        planned_at: Now.
        pack: Gets the first of what waits, in its order.
    """
    with transaction(database) as connection:
        connection.execute(query("lock_claims"))
        asked = {"backfill_id": backfill.backfill_id, "most": MOST_LOOKED_AT}
        packed = pack([waiting_item(row) for row in connection.execute(query("list_waiting_items"), asked)])
        if packed is None:
            return None
        row = {
            "backfill_id": backfill.backfill_id,
            "dag_id": SHARD_DAG,
            "planned_at": planned_at,
            "expected_s": packed.time.expected_s,
            "longest_s": packed.time.longest_s,
            "media_s": packed.media_s,
        }
        shard_id, run_id = connection.execute(query("add_shard"), row).one()
        claim = {"shard_id": shard_id, "backfill_id": backfill.backfill_id, "asset_ids": list(packed.asset_ids)}
        connection.execute(query("claim_items"), claim)
    return Shard(
        shard_id=shard_id,
        backfill_id=backfill.backfill_id,
        dag_id=SHARD_DAG,
        run_id=run_id,
        planned_at=planned_at,
        launched_at=None,
        expected_s=packed.time.expected_s,
        longest_s=packed.time.longest_s,
        media_s=packed.media_s,
        scope=backfill.scope,
    )


def shards_under_way(database: Database, backfill_id: int) -> list[Shard]:
    """Shards of a backfill that have not ended, and those that backfills which are over left behind."""
    with transaction(database) as connection:
        rows = connection.execute(query("list_shards_under_way"), {"backfill_id": backfill_id}).mappings().all()
    return [Shard(**{**row, "scope": BackfillScope.model_validate(row["scope"])}) for row in rows]


def list_shards(database: Database, backfill_id: int) -> list[ShardRecord]:
    """The shards of a backfill, the first launched first."""
    with transaction(database) as connection:
        rows = connection.execute(query("list_backfill_shards"), {"backfill_id": backfill_id})
        return [ShardRecord(*row) for row in rows]


def count_shards_under_way(database: Database) -> int:
    """Shards of all backfills that have not ended."""
    with transaction(database) as connection:
        count: int = connection.execute(query("count_shards_under_way")).scalar_one()
    return count


def fruitless_ends(database: Database, backfill_id: int) -> FruitlessEnds:
    """The latest runs in a row that came to none of their assets."""
    with transaction(database) as connection:
        asked = {"backfill_id": backfill_id, "most_returns": MOST_RETURNS}
        row = connection.execute(query("fruitless_ends"), asked).one()
    return FruitlessEnds(row.ends, row.ended_at)


def shard_assets(database: Database, shard_id: int) -> list[str]:
    """What a shard has."""
    with transaction(database) as connection:
        return list(connection.execute(query("list_shard_assets"), {"shard_id": shard_id}).scalars())


def touch_shard(database: Database, shard_id: int, asked_at: datetime) -> None:
    """Record that a shard's run is asked for now."""
    with transaction(database) as connection:
        connection.execute(query("touch_shard"), {"shard_id": shard_id, "asked_at": asked_at})


def mark_launched(database: Database, shard_id: int, launched_at: datetime) -> None:
    """Record that Airflow has a shard's run."""
    with transaction(database) as connection:
        connection.execute(query("mark_shard_launched"), {"shard_id": shard_id, "launched_at": launched_at})


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
    """All that waits in its order, a batch at a time in memory."""
    asked = {"backfill_id": backfill_id, "most": None}
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
