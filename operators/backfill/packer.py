"""Packs shards of what waits, with what recorded runs teach about how long work takes."""

import math
from collections.abc import Iterable
from dataclasses import dataclass

from operators.backfill.estimate import Estimate, Rates, Stretch, container_overhead, item_work, stretched
from operators.backfill.learning import learn_densities, learn_rates, learn_stretch
from operators.backfill.packing import Waiting, next_shard, target_s
from operators.backfill.scope import BackfillScope
from operators.backfill.store import PackedShard, WaitingItem
from operators.database import Database
from operators.routing import with_prerequisites


@dataclass(frozen=True)
class Learned:
    """What recorded runs teach about how long work takes."""

    rates: Rates
    stretch: Stretch
    densities: dict[str, float]

    @classmethod
    def read(cls, database: Database) -> "Learned":
        """As Postgres has it now."""
        return cls(learn_rates(database), learn_stretch(database), learn_densities(database))


class Packer:
    """Chooses the next shard's assets with what was learned."""

    def __init__(self, learned: Learned, scope: BackfillScope, gpu: bool, shard_minutes: float) -> None:
        self.learned = learned
        self.stages = with_prerequisites(scope.stages)
        self.gpu = gpu
        self.overhead_s = container_overhead(self.stages, gpu, learned.rates)
        self.shard_minutes = shard_minutes

    def pack(self, items: Iterable[WaitingItem], room_s: float, share_s: float = math.inf) -> PackedShard | None:
        """The next shard of those that wait; none when nothing fits into `room_s` on the clock.

        `share_s` of work is one run's share of all that waits.
        """
        stretch = self.learned.stretch
        waiting = (Waiting(item.asset_id, item.facts, self.work(item)) for item in items)
        target = target_s(self.overhead_s, self.shard_minutes, share_s)
        chosen = next_shard(waiting, self.overhead_s, target, room_s / stretch.ninth)
        if not chosen:
            return None
        work = sum((item.work for item in chosen), Estimate())
        return PackedShard(
            asset_ids=tuple(item.asset_id for item in chosen),
            time=stretched(work, self.overhead_s, stretch),
            media_s=sum(item.facts.duration_s for item in chosen),
        )

    def work(self, item: WaitingItem) -> Estimate:
        """What the stages that it lacks take of one asset."""
        return item_work(item.facts, item.stages, self.gpu, self.learned.rates)

    def time_alone(self, item: WaitingItem) -> Estimate:
        """How long a run over this asset alone takes."""
        return stretched(self.work(item), self.overhead_s, self.learned.stretch)

    def fits_alone(self, item: WaitingItem, room_s: float) -> bool:
        """Whether a run over this asset alone may be launched with `room_s` left on the clock."""
        return self.pack([item], room_s) is not None
