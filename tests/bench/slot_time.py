"""Where the time of a pool's slots went. Decides; does no I/O."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise

from stage_contract.vocabulary import Stage

IDLE = "idle or between tasks"


@dataclass(frozen=True)
class Span:
    """[started_at, ended_at)."""

    started_at: datetime
    ended_at: datetime

    @property
    def duration_s(self) -> float:
        """By the clock of the machine on which both instants were taken."""
        return (self.ended_at - self.started_at).total_seconds()


@dataclass(frozen=True)
class Interval:
    """A part of the work under way. One that waits holds no slot: it says why a slot is free."""

    part: str
    span: Span
    waits: bool = False


@dataclass(frozen=True)
class PhaseRow:
    """A row of `phase_report`. `attempt` tells attempts at tasks apart."""

    attempt: tuple[str, str, int]
    stage: Stage | None
    phase: str
    is_of_item: bool
    waits: bool
    span: Span


def work_span(shared: Iterable[Span], of_items: Sequence[Span]) -> Span:
    """From a container's first item to the end of its last one; of both sides of the comparison alike.

    The first item begins where the last phase that the items share had ended, so that what lies between two items
    counts. `of_items` is not empty.
    """
    first = min(span.started_at for span in of_items)
    ready = max((span.ended_at for span in shared if span.ended_at <= first), default=first)
    return Span(ready, max(span.ended_at for span in of_items))


def intervals_of(rows: Iterable[PhaseRow]) -> list[Interval]:
    """Phases as intervals; a container's work on its items is one, named after the stage."""
    by_attempt: defaultdict[tuple[str, str, int], list[PhaseRow]] = defaultdict(list)
    for row in rows:
        by_attempt[row.attempt].append(row)
    intervals = []
    for own in by_attempt.values():
        shared = [row for row in own if not row.is_of_item]
        intervals += [Interval(row.phase, row.span, row.waits) for row in shared]
        of_items = [row for row in own if row.is_of_item]
        if of_items:
            span = work_span((row.span for row in shared), [row.span for row in of_items])
            intervals.append(Interval(str(of_items[0].stage), span))
    return intervals


def share_slots(intervals: Iterable[Interval], whole: Span, slots: int) -> dict[str, float]:
    """Seconds of `whole` by part; they add up to it.

    An instant is divided by the slots. What holds one has its share, and tasks that run beside the slots have an equal
    one. A slot that is free goes to what waits then, else to `IDLE`: a wait while all slots are held costs nothing.
    """
    edges = [(whole.started_at, "", False, 0), (whole.ended_at, "", False, 0)]
    for interval in intervals:
        begin = max(interval.span.started_at, whole.started_at)
        end = min(interval.span.ended_at, whole.ended_at)
        if begin < end:
            edges += [(begin, interval.part, interval.waits, 1), (end, interval.part, interval.waits, -1)]
    holding: Counter[str] = Counter()
    waiting: Counter[str] = Counter()
    seconds: defaultdict[str, float] = defaultdict(float)
    for (at, part, waits, change), (until, *_) in pairwise(sorted(edges)):
        (waiting if waits else holding)[part] += change
        if until > at:
            for name, share in _shares(holding, waiting, slots).items():
                seconds[name] += share * (until - at).total_seconds()
    return dict(seconds)


def _shares(holding: Counter[str], waiting: Counter[str], slots: int) -> dict[str, float]:
    """The parts' shares of one instant, which add up to 1."""
    held, waits = holding.total(), waiting.total()
    places = max(slots, held)
    shares = {part: count / places for part, count in holding.items() if count}
    free = (places - held) / places
    if not free:
        return shares
    reasons = {part: count / waits for part, count in waiting.items() if count} if waits else {IDLE: 1.0}
    for part, weight in reasons.items():
        shares[part] = shares.get(part, 0.0) + free * weight
    return shares
