"""How well jobs were packed onto devices, against how well they could have been. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise


@dataclass(frozen=True)
class Bin:
    """A device: what its leases may take."""

    uuid: str
    capacity_mib: int
    slots: int


@dataclass(frozen=True)
class Job:
    """A lease that was granted. Instants are seconds from a common start; it held `[granted_s, ended_s)`."""

    uuid: str
    mib: int
    slots: int
    asked_s: float
    granted_s: float
    ended_s: float

    @property
    def duration_s(self) -> float:
        return self.ended_s - self.granted_s


def span_s(jobs: Sequence[Job]) -> float:
    """From the first grant to the last end."""
    return max(job.ended_s for job in jobs) - min(job.granted_s for job in jobs)


def utilisation(jobs: Sequence[Job], bins: Sequence[Bin], over_s: float, in_slots: bool = False) -> float:
    """The share of the bins that the jobs on them held over a span of time."""
    names = {found.uuid for found in bins}
    held = sum((job.slots if in_slots else job.mib) * job.duration_s for job in jobs if job.uuid in names)
    return held / (sum(found.slots if in_slots else found.capacity_mib for found in bins) * over_s)


def lower_bound_s(jobs: Sequence[Job], bins: Sequence[Bin]) -> float:
    """No packing ends sooner: the jobs' area over all that there is, in slots and in MiB, and the longest job."""
    in_mib = sum(job.mib * job.duration_s for job in jobs) / sum(found.capacity_mib for found in bins)
    in_slots = sum(job.slots * job.duration_s for job in jobs) / sum(found.slots for found in bins)
    return max(in_mib, in_slots, max(job.duration_s for job in jobs))


def pack_longest_first_s(jobs: Sequence[Job], bins: Sequence[Bin]) -> float:
    """How long all take when all are there from the start and the longest go first, each to its best fit."""
    order = sorted(jobs, key=lambda job: -job.duration_s)
    return _pack([(0.0, job) for job in order], bins)


def pack_as_asked_s(jobs: Sequence[Job], bins: Sequence[Bin]) -> float:
    """How long all take when each is placed, at once and without waiting in vain, from when it was asked for."""
    begin_s = min(job.asked_s for job in jobs)
    order = sorted(jobs, key=lambda job: job.asked_s)
    return _pack([(job.asked_s - begin_s, job) for job in order], bins)


def idle_waits_s(jobs: Sequence[Job], bins: Sequence[Bin]) -> list[float]:
    """By job: how long it waited for its grant while some bin had room enough for it."""
    instants = sorted({instant for job in jobs for instant in (job.asked_s, job.granted_s, job.ended_s)})
    waits = []
    for waiting in jobs:
        within = [instant for instant in instants if waiting.asked_s <= instant <= waiting.granted_s]
        waits.append(sum(end - begin for begin, end in pairwise(within) if _has_room(waiting, jobs, bins, begin)))
    return waits


def _has_room(waiting: Job, jobs: Sequence[Job], bins: Sequence[Bin], at_s: float) -> bool:
    held = dict.fromkeys((found.uuid for found in bins), 0)
    for job in jobs:
        if job.granted_s <= at_s < job.ended_s:
            held[job.uuid] += job.mib
    return any(found.capacity_mib - held[found.uuid] >= waiting.mib for found in bins)


def _pack(arrivals: Sequence[tuple[float, Job]], bins: Sequence[Bin]) -> float:
    """List scheduling: whenever something arrives or ends, whoever fits begins, in this order."""
    free = {found.uuid: found.capacity_mib for found in bins}
    waiting, running, now_s = list(arrivals), list[tuple[float, str, int]](), 0.0
    while waiting or running:
        for arrived_s, job in list(waiting):
            fitting = [uuid for uuid, mib in free.items() if mib >= job.mib]
            if arrived_s <= now_s and fitting:
                uuid = min(fitting, key=lambda name: free[name])
                free[uuid] -= job.mib
                running.append((now_s + job.duration_s, uuid, job.mib))
                waiting.remove((arrived_s, job))
        coming = [end_s for end_s, _, _ in running] + [arrived_s for arrived_s, _ in waiting if arrived_s > now_s]
        now_s = min(coming)
        for ended in [job for job in running if job[0] <= now_s]:
            running.remove(ended)
            free[ended[1]] += ended[2]
    return now_s
