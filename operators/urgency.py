"""Urgent work goes first: who may hold a slot, and who steps aside. Decides; does no I/O.

Every task asks for itself, and all reckon from the same facts by the same rule, so that they agree without
talking to each other.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum

from stage_contract.request import TaskKey

URGENT_DAG_ID = "process_media_urgent"
CPU_CONTAINERS_PER_RUN = 2
"""So many stages of one run may compute on the CPU at a time: sound and pictures."""


class Pool(StrEnum):
    """The Airflow pools that stage containers run in."""

    CPU = "cpu"
    GPU = "gpu"


@dataclass(frozen=True)
class Holder:
    """A stage task with slots of a pool. `started_at` is when its attempt first began (UTC)."""

    task: TaskKey
    pool: Pool
    slots: int
    started_at: datetime
    is_backfill: bool

    @property
    def is_urgent(self) -> bool:
        """Whether others make room for it."""
        return self.task.dag_id == URGENT_DAG_ID

    @property
    def place(self) -> tuple[datetime, str, str, str, int]:
        """The order of holders: the earlier began the first, a tie is broken by key. No two are alike."""
        task = self.task
        return self.started_at, task.dag_id, task.run_id, task.task_id, task.map_index


@dataclass(frozen=True)
class PoolRoom:
    """A pool's slots, and those that one urgent run may need at once."""

    slots: int
    per_urgent_run: int


@dataclass(frozen=True)
class Pause:
    """Backfills are paused, by whom and why."""

    paused_by: str
    reason: str


@dataclass(frozen=True)
class Standing:
    """How things stand: all that decides. `holders` are the tasks that run, in both pools."""

    rooms: Mapping[Pool, PoolRoom]
    urgent_runs: int
    pause: Pause | None
    holders: tuple[Holder, ...]

    def left_for_others(self, pool: Pool) -> int:
        """Slots that urgent runs leave to the rest, 0 or more."""
        room = self.rooms[pool]
        return max(0, room.slots - self.urgent_runs * room.per_urgent_run)


def staying(standing: Standing, pool: Pool) -> frozenset[Holder]:
    """The holders of a pool that may go on.

    Urgent ones always do. No part of a backfill does while backfills are paused. While an urgent run is active, the
    earliest of the others stay, up to the first that does not fit into what urgent runs leave: none is passed by
    a smaller one that began later, so more room never sends anybody away.
    """
    others = [holder for holder in standing.holders if holder.pool is pool and not holder.is_urgent]
    urgent = frozenset(holder for holder in standing.holders if holder.pool is pool and holder.is_urgent)
    if standing.pause:
        others = [holder for holder in others if not holder.is_backfill]
    if not standing.urgent_runs:
        # A pool's size is the scheduler's business; it is ours only where somebody needs room.
        return urgent | frozenset(others)
    left = standing.left_for_others(pool)
    kept: set[Holder] = set()
    for holder in sorted(others, key=lambda holder: holder.place):
        left -= holder.slots
        if left < 0:
            break
        kept.add(holder)
    return urgent | kept


def why_aside(standing: Standing, holder: Holder) -> str | None:
    """Why this holder must step aside, for a person; none while it may go on."""
    if holder in staying(standing, holder.pool):
        return None
    if standing.pause and holder.is_backfill:
        return f"backfills are paused by {standing.pause.paused_by}: {standing.pause.reason}"
    room = standing.rooms[holder.pool]
    runs = "an urgent run is" if standing.urgent_runs == 1 else f"{standing.urgent_runs} urgent runs are"
    return (
        f"{runs} active, which leaves {standing.left_for_others(holder.pool)} of {room.slots} slots in pool "
        f"{holder.pool} to other work"
    )


def why_wait(standing: Standing, newcomer: Holder) -> str | None:
    """Why a task that does not run must not begin now, for a person; none when it may. It comes after all who run."""
    others = tuple(holder for holder in standing.holders if holder.task != newcomer.task)
    latest = max((holder.started_at for holder in others), default=newcomer.started_at)
    last = replace(newcomer, started_at=max(latest, newcomer.started_at))
    return why_aside(replace(standing, holders=(*others, last)), last)
