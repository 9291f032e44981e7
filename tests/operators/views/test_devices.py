"""What the page of the GPUs reads."""

from datetime import UTC, datetime, timedelta

from sqlalchemy import Engine, text

from operators.gpu.breaker import BreakerState
from operators.gpu.breaker_store import breaker_changes, fail
from operators.gpu.lease import ask, release, renew, try_grant
from operators.gpu.routing_store import routing_changes
from operators.gpu.switch import DeviceAction, route_stage, switch_device
from operators.routing import DevicePolicy
from operators.views.devices import read_devices
from stage_contract.gpu_health import HealthCode
from stage_contract.vocabulary import Stage
from tests.operators.gpu.samples import OTHER, SMALL, configuration, healthy, request, sick_host

GPUS = configuration(8192, 8192)


def now() -> datetime:
    return datetime.now(UTC)


def grant(database: Engine, run_id: str, need_mib: int = 4608) -> int:
    lease_id = ask(database, request(run_id, need_mib))
    try_grant(database, lease_id, GPUS, healthy(GPUS))
    return lease_id


def test_leases_held_and_waited_for_are_told_with_their_device(media_database: Engine) -> None:
    held = [grant(media_database, run_id) for run_id in ("first", "second")]
    waiting = ask(media_database, request("third"))
    renew(media_database, held[0], "c1", 4000)
    view = read_devices(media_database, GPUS, healthy(GPUS), now(), 6)
    assert {lease.run_id: lease.device_uuid is None for lease in view.leases} == {
        "first": False,
        "second": False,
        "third": True,
    }
    assert view.leases[0].peak_mib == 4000
    assert view.leases[-1].lease_id == waiting
    assert {shown.device.uuid: shown.standing.leased_mib for shown in view.devices} == {SMALL: 7680, OTHER: 7680}


def test_vram_over_time_has_leases_that_ended_and_those_that_go_on(media_database: Engine) -> None:
    release(media_database, grant(media_database, "ended"))
    grant(media_database, "held")
    with media_database.begin() as connection:
        connection.execute(
            text(
                "update gpu_lease set "
                "granted_at = now() - case when ended_at is null then interval '2 h' else interval '5 h' end, "
                "ended_at = case when ended_at is not null then now() - interval '4 h' end"
            )
        )
    shown = {
        found.device.uuid: found.leased for found in read_devices(media_database, GPUS, healthy(GPUS), now(), 6).devices
    }
    assert abs(shown[SMALL].busy - 3 / 6) < 0.01
    assert shown[SMALL].peak_mib == 7680
    assert shown[OTHER].peak_mib == 0
    # Only what reaches into the span counts.
    short = read_devices(media_database, GPUS, healthy(GPUS), now() + timedelta(hours=20), 6).devices[0].leased
    assert short.busy == 1.0


def test_a_device_out_of_service_is_told_apart_from_its_health(media_database: Engine) -> None:
    switch_device(media_database, GPUS, SMALL, DeviceAction.OPEN, "ann", "the fan is broken")
    first, second = read_devices(media_database, GPUS, healthy(GPUS), now(), 6).devices
    assert first.standing.message.startswith("is healthy")
    assert (first.breaker.state, first.breaker.changed_by) == (BreakerState.OPEN, "ann")
    assert second.breaker.state is BreakerState.CLOSED


def test_a_wait_that_is_over_is_seen_and_not_written_down(media_database: Engine) -> None:
    fail(media_database, SMALL, "Xid 79", None, first_wait_s=120)
    later = now() + timedelta(minutes=3)
    (first, _) = read_devices(media_database, GPUS, healthy(GPUS), later, 6).devices
    assert first.breaker.state is BreakerState.HALF_OPEN
    assert [change.state_after for change in breaker_changes(media_database, limit=9)] == [BreakerState.OPEN]


def test_an_agent_that_is_away_is_a_state(media_database: Engine) -> None:
    (first, _) = read_devices(media_database, GPUS, sick_host(HealthCode.UNREACHABLE), now(), 6).devices
    assert first.seen is None
    assert "unreachable was found" in first.standing.message


def test_a_device_that_was_taken_out_of_the_configuration_is_told_while_its_breaker_is_open(
    media_database: Engine,
) -> None:
    switch_device(media_database, GPUS, OTHER, DeviceAction.OPEN, "ann", "sold")
    one = configuration(8192)
    assert [found.device_uuid for found in read_devices(media_database, one, healthy(one), now(), 6).retired] == [OTHER]
    switch_device(media_database, GPUS, OTHER, DeviceAction.CLOSE, "ann", "gone")
    assert read_devices(media_database, one, healthy(one), now(), 6).retired == ()


def test_routing_says_who_chose_and_where_nobody_did(media_database: Engine) -> None:
    route_stage(media_database, GPUS, Stage.ANALYZE, DevicePolicy.CPU, "ann", "checking results")
    routing = {found.stage: found for found in read_devices(media_database, GPUS, healthy(GPUS), now(), 6).routing}
    assert (routing[Stage.ANALYZE].policy, routing[Stage.ANALYZE].changed_by) == (DevicePolicy.CPU, "ann")
    assert (routing[Stage.TRANSCRIBE].policy, routing[Stage.TRANSCRIBE].changed_by) == (DevicePolicy.AUTO, None)


def test_histories_come_in_pages_the_last_first(media_database: Engine) -> None:
    for number in range(5):
        action = DeviceAction.CLOSE if number % 2 else DeviceAction.OPEN
        switch_device(media_database, GPUS, SMALL, action, "ann", f"change {number}")
        route_stage(media_database, GPUS, Stage.ANALYZE, DevicePolicy.CPU, "bob", f"change {number}")
    assert [change.reason for change in breaker_changes(media_database, limit=2, offset=2)] == ["change 2", "change 1"]
    assert [change.reason for change in routing_changes(media_database, limit=2, offset=2)] == ["change 2", "change 1"]
