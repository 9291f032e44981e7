"""Breakers on a real Postgres: what opens them, what closes them, and what is written down."""

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import Engine, func, select, text

from operators.errors import ChoiceInvalid
from operators.gpu.breaker import Breaker, BreakerState
from operators.gpu.breaker_store import (
    breaker_changes,
    breakers,
    close_by_hand,
    fail,
    observe,
    open_by_hand,
    succeed,
)
from operators.gpu.lock import exclusive
from stage_contract.gpu_health import HealthCode, HealthVerdict, HostHealth, XidEvent, XidSeverity
from tests.operators.gpu.samples import OTHER, SMALL, device, host, sick_host

FIRST_S = 120.0


def pass_wait(database: Engine, uuid: str = SMALL) -> None:
    """As if the breaker's wait had gone by."""
    with database.begin() as connection:
        connection.execute(
            text("update gpu_breaker set half_opens_at = now() - interval '1 s' where device_uuid = :uuid"),
            {"uuid": uuid},
        )


def states(database: Engine) -> list[tuple[str, str]]:
    return [(str(c.state_before), str(c.state_after)) for c in reversed(breaker_changes(database))]


def xid(number: int, severity: XidSeverity, ago_s: float = 0.0) -> XidEvent:
    return XidEvent(occurred_at=datetime.now(UTC) - timedelta(seconds=ago_s), xid=number, severity=severity)


def kept_xids(database: Engine) -> list[tuple[str, int, str]]:
    with database.begin() as connection:
        rows = connection.execute(text("select device_uuid, xid, severity from gpu_event order by occurred_at, xid"))
        return [(row.device_uuid, row.xid, row.severity) for row in rows]


def with_xids(*events: XidEvent, uuid: str = SMALL) -> HostHealth:
    return host(device(uuid, xids=events))


def test_a_device_that_never_failed_has_no_breaker(media_database: Engine) -> None:
    assert breakers(media_database) == {}
    succeed(media_database, SMALL, 1)
    assert breaker_changes(media_database) == []


def test_a_fault_opens_the_breaker_and_says_why(media_database: Engine) -> None:
    fail(media_database, SMALL, "computed wrong numbers\0", 12, FIRST_S)

    (found,) = breakers(media_database).values()
    assert (found.state, found.wait_s, found.changed_by) == (BreakerState.OPEN, FIRST_S, "nightreel")
    assert found.reason == "lease 12: computed wrong numbers\ufffd"
    assert found.opened_at
    assert found.half_opens_at == found.opened_at + timedelta(seconds=FIRST_S)
    assert [(c.device_uuid, c.reason) for c in breaker_changes(media_database)] == [(SMALL, found.reason)]


def test_the_passing_of_time_is_stored_once(media_database: Engine) -> None:
    fail(media_database, SMALL, "x", None, FIRST_S)
    pass_wait(media_database)

    assert breakers(media_database)[SMALL].state is BreakerState.HALF_OPEN
    assert breakers(media_database)[SMALL].state is BreakerState.HALF_OPEN
    assert states(media_database) == [("closed", "open"), ("open", "half_open")]


def test_faults_at_once_open_it_once(media_database: Engine) -> None:
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda number: fail(media_database, SMALL, "x", number, FIRST_S), range(8)))

    assert states(media_database) == [("closed", "open")]
    assert breakers(media_database)[SMALL].wait_s == FIRST_S


def test_a_fault_after_the_wait_doubles_it(media_database: Engine) -> None:
    fail(media_database, SMALL, "x", None, FIRST_S)
    pass_wait(media_database)
    fail(media_database, SMALL, "y", None, FIRST_S)

    assert breakers(media_database)[SMALL].wait_s == 2 * FIRST_S


def test_hands_are_recorded_with_name_and_reason(media_database: Engine) -> None:
    open_by_hand(media_database, SMALL, "anna", "the fan is broken")
    assert breakers(media_database)[SMALL].is_by_hand
    close_by_hand(media_database, SMALL, "ben", "new fan")

    assert breakers(media_database)[SMALL].state is BreakerState.CLOSED
    assert [(c.changed_by, c.reason) for c in breaker_changes(media_database, SMALL)] == [
        ("ben", "new fan"),
        ("anna", "the fan is broken"),
    ]
    assert breaker_changes(media_database, OTHER) == []


def test_a_hand_must_give_its_name_and_a_reason(media_database: Engine) -> None:
    with pytest.raises(ChoiceInvalid, match="must say who and why"):
        open_by_hand(media_database, SMALL, "anna", " ")
    with pytest.raises(ChoiceInvalid, match="must say who and why"):
        close_by_hand(media_database, SMALL, "", "well again")
    assert breakers(media_database) == {}


def test_a_fatal_xid_opens_the_breaker_once(media_database: Engine) -> None:
    seen = with_xids(xid(79, XidSeverity.DEVICE))
    for _ in range(3):
        observe(media_database, seen, FIRST_S)
    (event,) = seen.devices[0].xids
    told = f"the driver reported Xid 79 at {event.occurred_at:%Y-%m-%d %H:%M:%S} UTC"
    assert breakers(media_database)[SMALL].reason == told
    close_by_hand(media_database, SMALL, "anna", "reset")
    observe(media_database, seen, FIRST_S)

    assert breakers(media_database)[SMALL].state is BreakerState.CLOSED
    observe(media_database, with_xids(xid(79, XidSeverity.DEVICE)), FIRST_S)
    assert breakers(media_database)[SMALL].is_open


@pytest.mark.parametrize(("ago_s", "is_open"), [(595, True), (605, False)])
def test_an_xid_of_long_ago_is_kept_and_opens_nothing(media_database: Engine, ago_s: float, is_open: bool) -> None:
    observe(media_database, with_xids(xid(79, XidSeverity.DEVICE, ago_s)), FIRST_S)

    assert (SMALL in breakers(media_database)) is is_open
    assert kept_xids(media_database) == [(SMALL, 79, "device")]


def test_an_xid_from_before_the_device_was_put_back_opens_nothing(media_database: Engine) -> None:
    open_by_hand(media_database, SMALL, "anna", "Xid 79")
    early = xid(79, XidSeverity.DEVICE)
    close_by_hand(media_database, SMALL, "anna", "reset")
    observe(media_database, with_xids(early), FIRST_S)

    assert breakers(media_database)[SMALL].state is BreakerState.CLOSED
    assert kept_xids(media_database) == [(SMALL, 79, "device")]


def test_an_xid_after_a_wait_whose_end_nobody_noted_opens_again(media_database: Engine) -> None:
    fail(media_database, SMALL, "x", None, FIRST_S)
    pass_wait(media_database)
    observe(media_database, with_xids(xid(79, XidSeverity.DEVICE)), FIRST_S)

    (found,) = breakers(media_database).values()
    assert (found.is_open, found.wait_s) == (True, 2 * FIRST_S)


def test_what_is_known_is_observed_while_another_holds_the_lock(media_database: Engine) -> None:
    lost = device(OTHER, HealthCode.GPU_LOST, verdict=HealthVerdict.UNHEALTHY)
    seen = host(device(SMALL, xids=(xid(79, XidSeverity.DEVICE), xid(31, XidSeverity.APPLICATION))), lost)
    observe(media_database, seen, FIRST_S)
    with exclusive(media_database), media_database.connect() as other:
        other.execute(select(func.set_config("lock_timeout", "500ms", False)))
        other.commit()
        observe(other, seen, FIRST_S)

    assert states(media_database) == [("closed", "open")] * 2


def test_xids_of_applications_and_watched_ones_are_kept_and_open_nothing(media_database: Engine) -> None:
    observe(media_database, with_xids(xid(31, XidSeverity.APPLICATION), xid(63, XidSeverity.WATCH)), FIRST_S)

    assert breakers(media_database) == {}
    assert kept_xids(media_database) == [(SMALL, 31, "application"), (SMALL, 63, "watch")]


@pytest.mark.parametrize(
    "code",
    [
        HealthCode.GPU_LOST,
        HealthCode.NOT_FOUND,
        HealthCode.RECOVERY_NEEDED,
        HealthCode.ECC_UNCORRECTED,
        HealthCode.ROW_REMAP_FAILED,
    ],
)
def test_a_device_that_reports_a_lasting_fault_is_opened_and_again_after_its_wait(
    media_database: Engine, code: HealthCode
) -> None:
    seen = host(device(SMALL, code, verdict=HealthVerdict.UNHEALTHY), device(OTHER))
    observe(media_database, seen, FIRST_S)
    observe(media_database, seen, FIRST_S)
    assert states(media_database) == [("closed", "open")]
    pass_wait(media_database)
    observe(media_database, seen, FIRST_S)

    (found,) = breakers(media_database).values()
    assert (found.device_uuid, found.wait_s, found.reason) == (SMALL, 2 * FIRST_S, f"{code} was found; mend it")


@pytest.mark.parametrize(
    "health",
    [
        sick_host(HealthCode.DRIVER_MISMATCH, HealthVerdict.UNHEALTHY),
        sick_host(HealthCode.UNREACHABLE),
        host(device(SMALL, HealthCode.NVML_HANGS, verdict=HealthVerdict.UNKNOWN)),
        host(device(SMALL, HealthCode.FATAL_XID, verdict=HealthVerdict.UNHEALTHY)),
        host(device(SMALL, HealthCode.ROW_REMAP_PENDING, verdict=HealthVerdict.DEGRADED)),
    ],
)
def test_what_concerns_the_host_or_is_not_known_opens_nothing(media_database: Engine, health: HostHealth) -> None:
    observe(media_database, health, FIRST_S)

    assert breakers(media_database) == {}


def test_a_hand_that_opened_is_not_overruled(media_database: Engine) -> None:
    open_by_hand(media_database, SMALL, "anna", "the fan is broken")
    observe(media_database, with_xids(xid(79, XidSeverity.DEVICE)), FIRST_S)
    fail(media_database, SMALL, "x", 3, FIRST_S)

    found: Breaker = breakers(media_database)[SMALL]
    assert found.is_by_hand
    assert found.changed_by == "anna"
