"""What the lease log says of every instant."""

from collections import defaultdict
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Engine, text

LOG = text(
    "select lease_id, device_uuid, leased_mib, capacity_mib, foreign_mib, granted_at, ended_at from gpu_lease "
    "where granted_at is not null"
)


@dataclass(frozen=True)
class Most:
    """The most that a device's leases held at any instant, and how many they were."""

    leased_mib: int
    leases: int


def most_held(database: Engine) -> dict[str, Most]:
    """By device: the highest that the sum of the leases ever was, checked against its capacity at every change."""
    with database.begin() as connection:
        rows = connection.execute(LOG).all()
    most: dict[str, Most] = {}
    for device in {row.device_uuid for row in rows}:
        capacity_mib = {row.capacity_mib for row in rows if row.device_uuid == device}
        assert len(capacity_mib) == 1
        changes: dict[datetime, list[tuple[int, int]]] = defaultdict(list)
        for row in (row for row in rows if row.device_uuid == device):
            changes[row.granted_at].append((row.leased_mib, 1))
            if row.ended_at:
                assert row.ended_at >= row.granted_at
                changes[row.ended_at].append((-row.leased_mib, -1))
        held = leases = highest = count = 0
        for instant in sorted(changes):
            held += sum(mib for mib, _ in changes[instant])
            leases += sum(number for _, number in changes[instant])
            highest, count = max(highest, held), max(count, leases)
            assert held <= min(capacity_mib), f"{device} was over its capacity at {instant}"
        most[device] = Most(highest, count)
    return most
