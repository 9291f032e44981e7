"""What waits to be processed: assets in a backfill's scope without current results."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import PurePosixPath
from typing import Any

from sqlalchemy import Row

from operators.backfill.estimate import MediaFacts, Rates, item_work, media_seconds
from operators.backfill.scope import BackfillScope, Order
from operators.database import Database, transaction
from operators.queries import query
from operators.routing import with_prerequisites
from operators.scan.rules import ScanRules
from stage_contract.vocabulary import Stage

BATCH = 5_000

# One after the last character that a path can hold, and after "/": paths are compared byte by byte.
AFTER_ALL = "\U0010ffff"
AFTER_SLASH = chr(ord("/") + 1)


@dataclass(frozen=True)
class BacklogTotals:
    """What waits in a backfill. `guessed` assets were not probed: their media and work are reckoned from their size."""

    assets: int
    guessed: int
    media_s: float
    guessed_media_s: float
    expected_s: float


@dataclass(frozen=True)
class Reckoning:
    """What turns a row of the catalog into one of the plan."""

    backfill_id: int
    order: Order
    rates: Rates
    densities: Mapping[str, float]
    gpu: bool


@dataclass(frozen=True)
class PathRange:
    """Half-open, `[first, end)`: paths of a root, compared byte by byte."""

    root: str
    first: str
    end: str


def extend_plan(
    database: Database,
    backfill_id: int,
    scope: BackfillScope,
    wanted: Mapping[Stage, Sequence[str] | None],
    rates: Rates,
    densities: Mapping[str, float],
    gpu: bool,
    now: datetime,
    rules: ScanRules,
) -> int:
    """Add to a backfill's plan every asset of the scope that lacks a current result and is not in it.

    A stage's result is current when its fingerprint is one of `wanted`'s, or any where that is none; a rejection is a
    result, and excuses the stages that read it. Left out: what is in a shard that has not ended, of whatever backfill,
    and what waits or is parked after a failure, unless the scope retries that.

    Args:
        database: Where the catalog and the plan are.
        backfill_id: The backfill.
        scope: What it is about.
        wanted: By stage, those that are asked for and all that they read; see `current_results.wanted`.
        rates: How fast stages work.
        densities: How dense media is that was not probed.
        gpu: Whether a GPU does the stages that have a build for it.
        now: UTC.
        rules: What a scan takes; what its patterns leave out by now is not planned, unless it was named itself.

    Returns:
        How many assets were added.
    """
    reckoning = Reckoning(backfill_id, scope.order, rates, densities, gpu)
    added = 0
    with transaction(database) as connection:
        connection.execute(query("reckon_in_bulk"))
        # Rows arrive as they are taken, so that memory does not grow with the archive.
        found = connection.execute(
            query("find_backlog"),
            _asked(backfill_id, scope, wanted, now),
            execution_options={"stream_results": True, "max_row_buffer": BATCH},
        )
        for rows in found.partitions(BATCH):
            if taken := [row for row in rows if _is_taken(row, scope, rules)]:
                added += connection.execute(query("add_backfill_items"), _columns(taken, reckoning)).rowcount
    return added


def backlog_totals(database: Database, backfill_id: int) -> BacklogTotals:
    """What of the plan is in no shard."""
    with transaction(database) as connection:
        row = connection.execute(query("backlog_totals"), {"backfill_id": backfill_id}).one()
    return BacklogTotals(row.assets, row.guessed, row.media_s, row.guessed_media_s, row.expected_s)


def path_ranges(folders: Iterable[str]) -> list[PathRange]:
    """The paths at and below these files or folders, such as `archive/2024`."""
    ranges = []
    for folder in folders:
        root, _, path = folder.strip("/").partition("/")
        if path:
            ranges.append(PathRange(root, path, path + "\x01"))
            ranges.append(PathRange(root, path + "/", path + AFTER_SLASH))
        else:
            ranges.append(PathRange(root, "", AFTER_ALL))
    return ranges


def _asked(
    backfill_id: int, scope: BackfillScope, wanted: Mapping[Stage, Sequence[str] | None], now: datetime
) -> dict[str, Any]:
    inside = [] if scope.asset_ids else path_ranges(scope.folders)
    first = path_ranges([scope.first_folder]) if scope.first_folder else []
    reads = [(stage, read) for stage in wanted for read in with_prerequisites([stage]) if read is not stage]
    return {
        "backfill_id": backfill_id,
        "asset_ids": list(scope.asset_ids),
        **_range_columns("", inside),
        **_range_columns("first_", first),
        "stages": list(wanted),
        "any_stages": [stage for stage, names in wanted.items() if names is None],
        "fingerprints": [name for names in wanted.values() for name in names or ()],
        "readers": [reader for reader, _ in reads],
        "read_stages": [read for _, read in reads],
        "retry_parked": scope.retry_parked,
        "now": now,
    }


def _range_columns(prefix: str, ranges: Sequence[PathRange]) -> dict[str, list[str]]:
    return {
        f"{prefix}roots": [one.root for one in ranges],
        f"{prefix}paths": [one.first for one in ranges],
        f"{prefix}path_ends": [one.end for one in ranges],
    }


def _is_taken(row: Row[Any], scope: BackfillScope, rules: ScanRules) -> bool:
    return bool(scope.asset_ids) or any(name in scope.folders or rules.takes(name) for name in row.names)


def _columns(rows: Sequence[Row[Any]], reckoning: Reckoning) -> dict[str, Any]:
    items = [_plan_row(row, reckoning) for row in rows]
    return {"backfill_id": reckoning.backfill_id} | {name: [item[name] for item in items] for name in items[0]}


def _plan_row(row: Row[Any], reckoning: Reckoning) -> dict[str, Any]:
    is_known = row.duration_s is not None
    facts = MediaFacts(
        duration_s=row.duration_s
        if is_known
        else media_seconds(row.size_bytes, PurePosixPath(row.path).suffix, reckoning.densities),
        is_known=is_known,
        has_audio=not is_known or bool(row.has_audio),
        has_video=not is_known or bool(row.has_video),
    )
    expected_s = item_work(facts, map(Stage, row.stages), reckoning.gpu, reckoning.rates).expected_s
    mtime_s = float(row.mtime_ns) / 1e9
    order_key = {Order.NEWEST: -mtime_s, Order.OLDEST: mtime_s, Order.SHORTEST: expected_s}[reckoning.order]
    return {
        "asset_ids": row.asset_id,
        "first": row.goes_first,
        "order_keys": order_key,
        "media_s": facts.duration_s,
        "known": is_known,
        "with_audio": facts.has_audio,
        "with_video": facts.has_video,
        "stages": ",".join(row.stages),
        "expected_s": expected_s,
    }
