"""On which device a lease goes. Decides; does no I/O.

Best fit: of the devices with room, the one where least is left over. Who waits goes by priority, then by age.
One who waits and fits nowhere now reserves the device that lacks least for it: younger ones go elsewhere, so
that what is freed there is not taken away from it again and again. Since only the end of leases changes a
reserved device, what the first in the queue lacks never grows, and it gets its turn.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime


@dataclass(frozen=True)
class Waiter:
    """A lease that is asked for. The higher priority goes first."""

    lease_id: int
    need_mib: int
    priority: int
    asked_at: datetime

    @property
    def turn(self) -> tuple[int, datetime, int]:
        """The place in the queue: the smaller goes first."""
        return -self.priority, self.asked_at, self.lease_id


@dataclass(frozen=True)
class Room:
    """A device that takes work now.

    `usable_mib` is its capacity, or less where other processes take some of that; `leased_mib` is what its
    leases hold. `rank`: of two with room, the lower is taken first. `is_trial`: it takes one lease, no more.
    """

    device_uuid: str
    usable_mib: int
    leased_mib: int = 0
    leases: int = 0
    rank: int = 0
    is_trial: bool = False


@dataclass(frozen=True)
class Sharing:
    """How leases share a device: `whole_device`, one lease takes all of it; else each takes its need."""

    whole_device: bool

    def fits(self, room: Room, need_mib: int) -> bool:
        """Whether a lease can be granted there now."""
        return self.lacking_mib(room, need_mib) <= 0 and not (self.whole_device and room.leases)

    def lacking_mib(self, room: Room, need_mib: int) -> int:
        """How much of the leases there must end before this one fits; 0 or less: nothing."""
        if self.whole_device and room.leases:
            return max(1, room.leased_mib)
        return need_mib - (room.usable_mib - room.leased_mib)

    def leased_mib(self, room: Room, need_mib: int) -> int:
        """What a lease granted there now would hold."""
        return room.usable_mib if self.whole_device else need_mib


def place(request: Waiter, waiting: Sequence[Waiter], rooms: Sequence[Room], sharing: Sharing) -> Room | None:
    """The device on which `request` may be granted now, if any, given the others that wait."""
    open_rooms = {room.device_uuid: room for room in rooms}
    earlier = sorted((waiter for waiter in waiting if waiter.turn < request.turn), key=lambda waiter: waiter.turn)
    for waiter in earlier:
        room = _best_fit(waiter.need_mib, list(open_rooms.values()), sharing)
        if room is None:
            reserved = _soonest(waiter.need_mib, list(open_rooms.values()), sharing)
            if reserved:
                del open_rooms[reserved.device_uuid]
        elif room.is_trial:
            del open_rooms[room.device_uuid]
        else:
            open_rooms[room.device_uuid] = _taken(room, waiter.need_mib, sharing)
    return _best_fit(request.need_mib, list(open_rooms.values()), sharing)


def _best_fit(need_mib: int, rooms: Sequence[Room], sharing: Sharing) -> Room | None:
    fitting = [room for room in rooms if sharing.fits(room, need_mib)]
    return min(
        fitting,
        key=lambda room: (room.rank, -sharing.lacking_mib(room, need_mib), room.device_uuid),
        default=None,
    )


def _soonest(need_mib: int, rooms: Sequence[Room], sharing: Sharing) -> Room | None:
    # Where other processes leave too little, no end of a lease helps.
    possible = [room for room in rooms if room.usable_mib >= need_mib]
    return min(possible, key=lambda room: (sharing.lacking_mib(room, need_mib), room.device_uuid), default=None)


def _taken(room: Room, need_mib: int, sharing: Sharing) -> Room:
    return replace(room, leased_mib=room.leased_mib + sharing.leased_mib(room, need_mib), leases=room.leases + 1)
