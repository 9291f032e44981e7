"""The devices' breakers in Postgres. Every change leaves a row in `gpu_breaker_change`."""

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta

from sqlalchemy import Connection, RowMapping

from operators.clean_text import storable
from operators.database import Database, transaction
from operators.errors import ChoiceInvalid
from operators.gpu import breaker as decide
from operators.gpu.breaker import Breaker, BreakerState
from operators.gpu.lock import exclusive, take_lock
from operators.queries import query
from stage_contract.gpu_health import DeviceHealth, HealthCode, HealthVerdict, HostHealth, XidSeverity

LASTING_FAULTS = frozenset(
    {
        HealthCode.GPU_LOST,
        HealthCode.NOT_FOUND,
        HealthCode.RECOVERY_NEEDED,
        HealthCode.ECC_UNCORRECTED,
        HealthCode.ROW_REMAP_FAILED,
    }
)
"""What a device itself reports and no waiting mends. A fatal Xid opens the breaker once, as an event."""

XID_OF_OLD = timedelta(minutes=10)
"""An Xid that is first heard of after this is kept, and opens no breaker."""

Change = Callable[[Breaker], Breaker]


@dataclass(frozen=True)
class BreakerChange:
    """A row of the audit. `changed_by` is `nightreel` or a user."""

    device_uuid: str
    changed_at: datetime
    state_before: BreakerState
    state_after: BreakerState
    reason: str
    changed_by: str


def breakers(database: Database) -> dict[str, Breaker]:
    """The breakers of all devices that ever failed, by UUID. One whose wait is over is half-opened."""
    with transaction(database) as connection:
        now = connection.execute(query("database_clock")).scalar_one()
        found = _stored(connection)
    if all(decide.pass_time(breaker, now) == breaker for breaker in found.values()):
        return found
    with exclusive(database) as (connection, now):
        return age_breakers(connection, now)


def breakers_at(connection: Connection, now: datetime) -> dict[str, Breaker]:
    """How the breakers of all devices that ever failed stand at `now`, for one who only looks. Nothing is written."""
    return {uuid: decide.pass_time(breaker, now) for uuid, breaker in _stored(connection).items()}


def age_breakers(connection: Connection, now: datetime) -> dict[str, Breaker]:
    """The same for one who holds the lock."""
    return {uuid: _age(connection, now, breaker) for uuid, breaker in _stored(connection).items()}


def succeed(database: Database, device_uuid: str, lease_id: int) -> Breaker:
    """Work under the lease ended well: closes the breaker when it was the trial."""
    return _change(database, device_uuid, lambda breaker, now: decide.succeed(breaker, now, lease_id))


def fail(database: Database, device_uuid: str, reason: str, lease_id: int | None, first_wait_s: float) -> Breaker:
    """The device failed, under a lease or as its own report says: opens the breaker."""
    told = f"lease {lease_id}: {reason}" if lease_id is not None else reason
    return _change(database, device_uuid, lambda breaker, now: decide.fail(breaker, now, told, first_wait_s))


def open_by_hand(database: Database, device_uuid: str, who: str, why: str) -> Breaker:
    """Take a device out of service until `close_by_hand`. Work on it goes to the CPU.

    Raises:
        ChoiceInvalid: who or why is not said.
    """
    _require_signed(device_uuid, who, why)
    return _change(database, device_uuid, lambda breaker, now: decide.open_by_hand(breaker, now, who, why))


def close_by_hand(database: Database, device_uuid: str, who: str, why: str) -> Breaker:
    """Put a device back into service, whatever opened its breaker.

    Raises:
        ChoiceInvalid: who or why is not said.
    """
    _require_signed(device_uuid, who, why)
    return _change(database, device_uuid, lambda breaker, now: decide.close_by_hand(breaker, now, who, why))


def observe(database: Database, health: HostHealth, first_wait_s: float) -> None:
    """Remember what the agent saw, and open the breakers of devices that failed.

    A breaker opens for an Xid of the device that was not known and is news, and for a device that reports a lasting
    fault. Saying it again changes nothing, nor keeps anyone waiting: the lock is taken only to open a breaker. What is
    unknown, or concerns the whole host, opens none.
    """
    if not any(device.xids or _lasting_fault(device) for device in health.devices):
        return
    with transaction(database) as connection:
        now, stored = connection.execute(query("database_clock")).scalar_one(), _stored(connection)
        faults = _new_fatal_xids(connection, health, stored, now)
        faults |= {device.device_uuid: fault for device in health.devices if (fault := _lasting_fault(device))}
        if all(_stays_open(stored.get(uuid), now) for uuid in faults):
            return
        now = take_lock(connection)
        for uuid, reason in faults.items():
            change(connection, now, uuid, _failing(reason, now, first_wait_s))


def breaker_changes(
    database: Database, device_uuid: str | None = None, limit: int = 50, offset: int = 0
) -> list[BreakerChange]:
    """What happened to one device's breaker, or to all, the last first."""
    row = {"device_uuid": device_uuid, "limit": limit, "offset": offset}
    with transaction(database) as connection:
        return [
            BreakerChange(
                found.device_uuid,
                found.changed_at,
                BreakerState(found.state_before),
                BreakerState(found.state_after),
                found.reason,
                found.changed_by,
            )
            for found in connection.execute(query("list_breaker_changes"), row)
        ]


def find_breaker(connection: Connection, device_uuid: str) -> Breaker:
    """The breaker as it is stored; a device that never failed has a closed one."""
    row = connection.execute(query("find_breaker"), {"device_uuid": device_uuid}).mappings().first()
    return _breaker(row) if row else Breaker(device_uuid)


def change(connection: Connection, now: datetime, device_uuid: str, decided: Change) -> Breaker:
    """Change a breaker, for one who holds the lock. Time passes first."""
    before = _age(connection, now, find_breaker(connection, device_uuid))
    return _store(connection, before, decided(before))


def _change(database: Database, device_uuid: str, decided: Callable[[Breaker, datetime], Breaker]) -> Breaker:
    with exclusive(database) as (connection, now):
        return change(connection, now, device_uuid, lambda breaker: decided(breaker, now))


def _age(connection: Connection, now: datetime, breaker: Breaker) -> Breaker:
    return _store(connection, breaker, decide.pass_time(breaker, now))


def _store(connection: Connection, before: Breaker, after: Breaker) -> Breaker:
    if after == before:
        return after
    row = {**asdict(after), "reason": storable(after.reason), "changed_by": storable(after.changed_by)}
    connection.execute(query("save_breaker"), row)
    states = {"state_before": before.state, "state_after": after.state}
    connection.execute(query("log_breaker_change"), row | states)
    return after


def _stored(connection: Connection) -> dict[str, Breaker]:
    rows = connection.execute(query("list_breakers")).mappings()
    return {row["device_uuid"]: _breaker(row) for row in rows}


def _breaker(row: RowMapping) -> Breaker:
    return Breaker(**{**row, "state": BreakerState(row["state"])})


def _failing(reason: str, now: datetime, first_wait_s: float) -> Change:
    return lambda breaker: decide.fail(breaker, now, reason, first_wait_s)


def _stays_open(breaker: Breaker | None, now: datetime) -> bool:
    return breaker is not None and decide.pass_time(breaker, now).is_open


def _new_fatal_xids(
    connection: Connection, health: HostHealth, stored: Mapping[str, Breaker], now: datetime
) -> dict[str, str]:
    events = [
        {"device_uuid": device.device_uuid, **event.model_dump(mode="json")}
        for device in health.devices
        for event in device.xids
    ]
    new = connection.execute(query("save_gpu_events"), {"events": json.dumps(events)}).all()
    fatal = sorted((event for event in new if event.severity == XidSeverity.DEVICE), key=lambda e: e.occurred_at)
    return {
        event.device_uuid: f"the driver reported Xid {event.xid} at {event.occurred_at:%Y-%m-%d %H:%M:%S} UTC"
        for event in fatal
        if _is_news(event.occurred_at, stored.get(event.device_uuid), now)
    }


def _is_news(occurred_at: datetime, breaker: Breaker | None, now: datetime) -> bool:
    """Whether an Xid says something of the device as it is now.

    The agent tells Xids for as long as it runs; nobody may have asked it meanwhile, or the device was mended since.
    """
    if now - occurred_at > XID_OF_OLD:
        return False
    if breaker is None:
        return True
    # A wait that is over, and not noted yet, ended when it was to end.
    is_noted = decide.pass_time(breaker, now) == breaker
    changed_at = breaker.changed_at if is_noted else breaker.half_opens_at
    return changed_at is None or occurred_at > changed_at


def _lasting_fault(device: DeviceHealth) -> str | None:
    if device.verdict is not HealthVerdict.UNHEALTHY:
        return None
    told = [reason.message for reason in device.reasons if reason.code in LASTING_FAULTS]
    return "; ".join(told) or None


def _require_signed(device_uuid: str, who: str, why: str) -> None:
    if not who.strip() or not why.strip():
        raise ChoiceInvalid(
            f"a breaker changed by hand must say who and why: {device_uuid} was to be changed by {who!r} because "
            f"{why!r}; give a reason"
        )
