"""Which assets go into the next shard. Decides; does no I/O."""

import math
from collections.abc import Iterable
from dataclasses import dataclass

from operators.backfill.estimate import Estimate, MediaFacts

MOST_ITEMS = 200
"""Assets in a shard at most. Each is a mount of the stage's container."""

LOOK_AHEAD = 1_000
"""How many assets that do not fit the time left are passed over before the search ends."""

OVERHEAD_SHARE = 0.05
LEAST_TARGET_S = 60.0


@dataclass(frozen=True)
class Waiting:
    """An asset that waits, and what its stages will take of it."""

    asset_id: str
    facts: MediaFacts
    work: Estimate


def next_shard(
    waiting: Iterable[Waiting], overhead_s: float, target_s: float, room_s: float, most: int = MOST_ITEMS
) -> tuple[Waiting, ...]:
    """The next assets, in the order given, until their expected work is nearest to `target_s`; empty when none fits.

    What cannot end in `room_s` together with `overhead_s` and what was taken before it, at its longest, is passed
    over; the search ends when `LOOK_AHEAD` were. An asset that is longer than the target makes a shard by itself.

    Args:
        waiting: In the order in which they are to be processed.
        overhead_s: What the shard's containers cost whatever is in them.
        target_s: Expected work of a full shard.
        room_s: Time left, in seconds of work (what a clock shows, divided by `Stretch.ninth`); infinite without an end.
        most: How many assets a shard may have.
    """
    chosen: list[Waiting] = []
    expected_s, longest_s, passed_over = 0.0, overhead_s, 0
    for item in waiting:
        if longest_s + item.work.longest_s > room_s:
            passed_over += 1
            if passed_over >= LOOK_AHEAD:
                break
            continue
        # Were it never more, shares of all that waits would leave a few assets over for a run of their own.
        if chosen and expected_s + item.work.expected_s / 2 > target_s:
            break
        chosen.append(item)
        expected_s += item.work.expected_s
        longest_s += item.work.longest_s
        if len(chosen) >= most or expected_s >= target_s:
            break
    return tuple(chosen)


def target_s(overhead_s: float, minutes: float, share_s: float = math.inf) -> float:
    """Expected work of a full shard: so much that overhead is a twentieth of it, but `minutes` at most.

    No more than that, since what is urgent, a pause and the end of the night wait for shards. At least a minute.

    Args:
        overhead_s: What the shard's containers cost whatever is in them.
        minutes: Of work in a shard at most.
        share_s: What waits, divided among the runs that are to be under way: a larger shard would leave slots empty
            while it goes through its stages.
    """
    return min(max(min(overhead_s / OVERHEAD_SHARE, share_s), LEAST_TARGET_S), minutes * 60)
