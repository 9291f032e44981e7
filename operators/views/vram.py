"""How much VRAM of a device was leased over time. Decides; does no I/O."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise


@dataclass(frozen=True)
class LeasedSpan:
    """VRAM held in `[begins_at, ends_at)`; no end: it is held still."""

    leased_mib: int
    begins_at: datetime
    ends_at: datetime | None


@dataclass(frozen=True)
class LeasedVram:
    """What was leased of one device in `[begins_at, ends_at)`.

    `highest_mib` has the most that was leased at any time in each of equal steps, the first one first. `busy` is the
    share of the time, 0 to 1, in which anything was leased.
    """

    begins_at: datetime
    ends_at: datetime
    highest_mib: tuple[int, ...]
    busy: float

    @property
    def peak_mib(self) -> int:
        """The most that was leased at any time."""
        return max(self.highest_mib)


def leased_over_time(spans: Iterable[LeasedSpan], begins_at: datetime, ends_at: datetime, steps: int) -> LeasedVram:
    """Add up the spans of one device, in so many steps."""
    length_s = (ends_at - begins_at).total_seconds()
    highest, busy_s, level = [0] * steps, 0.0, 0
    for (from_s, change_mib), (until_s, _) in pairwise([*_changes(spans, begins_at, length_s), (length_s, 0)]):
        level += change_mib
        if level and until_s > from_s:
            busy_s += until_s - from_s
            _raise(highest, from_s * steps / length_s, until_s * steps / length_s, level)
    return LeasedVram(begins_at, ends_at, tuple(highest), busy_s / length_s)


def _changes(spans: Iterable[LeasedSpan], begins_at: datetime, length_s: float) -> list[tuple[float, int]]:
    """By how much the level changes when, in seconds from the beginning. What ends goes before what begins then."""
    changes = []
    for span in spans:
        from_s = max(0.0, (span.begins_at - begins_at).total_seconds())
        until_s = min(length_s, (span.ends_at - begins_at).total_seconds()) if span.ends_at else length_s
        if from_s < until_s:
            changes += [(from_s, span.leased_mib), (until_s, -span.leased_mib)]
    return sorted(changes)


def _raise(highest: list[int], first: float, last: float, level: int) -> None:
    for step in range(int(first), min(len(highest), _ceiling(last))):
        highest[step] = max(highest[step], level)


def _ceiling(value: float) -> int:
    return -int(-value // 1)


def outline(highest_mib: Sequence[int], top_mib: int) -> str:
    """The path of an SVG: an area of 1 unit per step, and 100 units high where `top_mib` is reached."""
    drawn = " ".join(
        f"V{100 - 100 * level / top_mib:.1f}H{number}" for number, level in enumerate(highest_mib, start=1)
    )
    return f"M0 100{drawn}V100Z"
