"""Shards from the claim of their assets to the launch of their runs, as Postgres has them.

Every function is one transaction.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime

from operators.backfill.scope import BackfillScope
from operators.backfill.store import MOST_LOOKED_AT, Backfill, PackedShard, WaitingItem, waiting_item
from operators.backfill.waits import MOST_RETURNS
from operators.database import Database, transaction
from operators.queries import query

SHARD_DAG = "process_media"
"""The DAG whose runs take shards."""


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
class FruitlessEnds:
    """Runs in a row, the latest, that came to none of their assets; `ended_at` is the last one's, none without any."""

    ends: int
    ended_at: datetime | None


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
        connection.execute(query("end_claim_when_idle"))
        connection.execute(query("lock_claims"))
        asked = {
            "backfill_id": backfill.backfill_id,
            "most": MOST_LOOKED_AT,
            "retry_parked": backfill.scope.retry_parked,
            "now": planned_at,
        }
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


def forget_launch(database: Database, shard_id: int) -> None:
    """Record that Airflow may not have a shard's run any more."""
    with transaction(database) as connection:
        connection.execute(query("forget_shard_launch"), {"shard_id": shard_id})
