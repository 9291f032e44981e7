"""What becomes of a shard's assets when its run has ended, or never began."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from sqlalchemy import Connection

from operators.backfill.hours import NightHours
from operators.backfill.waits import MOST_RETURNS, after_failure
from operators.database import Database, transaction
from operators.queries import query
from operators.timings import RunItemOutcome


class ShardOutcome(StrEnum):
    """How a shard ended. `withdrawn`: its run never began. `left`: some of it was not come to."""

    DONE = "done"
    FAILED = "failed"
    LEFT = "left"
    WITHDRAWN = "withdrawn"


@dataclass(frozen=True)
class ItemEnd:
    """What a run that has ended means for one asset. `outcome` none: it is returned, to wait again."""

    outcome: RunItemOutcome | None
    returns: int
    message: str


@dataclass(frozen=True)
class ShardEnd:
    """A settled shard: how many of its assets ended how, and how many wait again."""

    outcome: ShardOutcome
    done: int
    rejected: int
    failed: int
    returned: int


def end_item(found: RunItemOutcome | None, returns: int, message: str) -> ItemEnd:
    """What becomes of an asset.

    Args:
        found: What its run made of it; none when the run has no word on it.
        returns: How often it came back before.
        message: The run's word on it.
    """
    if found in (RunItemOutcome.DONE, RunItemOutcome.REJECTED, RunItemOutcome.FAILED):
        return ItemEnd(found, returns, message)
    if returns + 1 < MOST_RETURNS:
        return ItemEnd(None, returns + 1, message)
    why = f": {message}" if message else ""
    return ItemEnd(
        RunItemOutcome.FAILED, returns + 1, f"{returns + 1} runs ended without coming to it; read their logs{why}"
    )


def shard_outcome(ends: Sequence[ItemEnd]) -> ShardOutcome:
    """What a shard's assets make of it."""
    outcomes = {end.outcome for end in ends}
    if RunItemOutcome.FAILED in outcomes:
        return ShardOutcome.FAILED
    return ShardOutcome.LEFT if None in outcomes else ShardOutcome.DONE


def settle_shard(
    database: Database, shard_id: int, launched_at: datetime, ended_at: datetime, hours: NightHours | None
) -> ShardEnd | None:
    """Take over what a shard's run made of its assets, all at once; none when another has done so.

    What failed waits for a later night or is parked; what the run did not come to waits again, in its backfill or,
    when that one is over, in those that go on.

    Args:
        database: An engine, or a connection in a transaction.
        shard_id: The shard.
        launched_at: When its run was asked for, should that not be recorded.
        ended_at: When its run ended.
        hours: The nights that failed assets wait for.
    """
    with transaction(database) as connection:
        key = {"shard_id": shard_id}
        shard = connection.execute(query("lock_shard"), key).first()
        if shard is None:
            return None
        ends: dict[str, ItemEnd] = {}
        for row in connection.execute(query("read_shard_outcomes"), key):
            found = RunItemOutcome(row.outcome) if row.outcome else None
            ends[row.asset_id] = end = end_item(found, row.returns, row.message)
            told = {**key, "asset_id": row.asset_id, "returns": end.returns, "message": end.message}
            name = "return_item" if end.outcome is None else "end_item"
            connection.execute(query(name), told | ({"outcome": end.outcome} if end.outcome else {}))
        _remember_failures(connection, ends, ended_at, hours)
        outcome = shard_outcome(list(ends.values()))
        connection.execute(
            query("end_shard"), {**key, "launched_at": launched_at, "ended_at": ended_at, "outcome": outcome}
        )
        if any(end.outcome is None for end in ends.values()):
            _offer(connection, shard.backfill_id, ended_at)
    return _count(outcome, ends)


def withdraw_shard(database: Database, shard_id: int, now: datetime) -> bool:
    """Give back the assets of a shard whose run never began; false when it has ended already."""
    with transaction(database) as connection:
        key = {"shard_id": shard_id}
        shard = connection.execute(query("lock_shard"), key).first()
        if shard is None:
            return False
        connection.execute(query("release_shard_items"), key)
        ended = {**key, "launched_at": None, "ended_at": now, "outcome": ShardOutcome.WITHDRAWN}
        connection.execute(query("end_shard"), ended)
        _offer(connection, shard.backfill_id, now)
    return True


def _offer(connection: Connection, backfill_id: int, ended_at: datetime) -> None:
    """Have other backfills look for what came back to this one; in one that is over it does not wait."""
    row = {"backfill_id": backfill_id, "ended_at": ended_at}
    connection.execute(query("plan_once_more"), row)
    connection.execute(query("forget_waiting_items"), row)


def _remember_failures(
    connection: Connection, ends: Mapping[str, ItemEnd], failed_at: datetime, hours: NightHours | None
) -> None:
    failed = [asset_id for asset_id, end in ends.items() if end.outcome is RunItemOutcome.FAILED]
    before = {row.asset_id: row.failures for row in connection.execute(query("find_failures"), {"asset_ids": failed})}
    for asset_id in failed:
        failures = before.get(asset_id, 0) + 1
        row = {
            "asset_id": asset_id,
            "failures": failures,
            "failed_at": failed_at,
            "not_before": after_failure(failures, failed_at, hours),
            "reason": ends[asset_id].message,
        }
        connection.execute(query("save_failure"), row)


def _count(outcome: ShardOutcome, ends: Mapping[str, ItemEnd]) -> ShardEnd:
    outcomes = [end.outcome for end in ends.values()]
    return ShardEnd(
        outcome,
        done=outcomes.count(RunItemOutcome.DONE),
        rejected=outcomes.count(RunItemOutcome.REJECTED),
        failed=outcomes.count(RunItemOutcome.FAILED),
        returned=outcomes.count(None),
    )
