"""Leases on a real Postgres: granted within capacity, taken over, lost, reclaimed."""

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import Engine, text

from operators.gpu.breaker import BreakerState
from operators.gpu.breaker_store import breakers, close_by_hand, fail, open_by_hand, succeed
from operators.gpu.configuration import GpuConfiguration
from operators.gpu.lease import (
    Grant,
    LeaseLost,
    Refusal,
    ask,
    held_leases,
    reclaim,
    release,
    renew,
    try_grant,
)
from operators.gpu.lock import exclusive
from operators.gpu.standing import Hindrance
from stage_contract.gpu_health import GpuProcess, HealthCode, HealthVerdict, HostHealth
from tests.operators.gpu.samples import OTHER, SMALL, configuration, device, healthy, host, request, sick_host

ONE = configuration(8192)
SHARED = configuration(8192, budget_mib=512)
MIXED = configuration(8192, 8192, 24576, budget_mib=1024)


def grant(database: Engine, run_id: str, need_mib: int, settings: GpuConfiguration = SHARED, **more: Any) -> Grant:
    answer = answer_to(database, run_id, need_mib, settings, **more)
    assert isinstance(answer, Grant), answer
    return answer


def refuse(database: Engine, run_id: str, need_mib: int, settings: GpuConfiguration = SHARED, **more: Any) -> Refusal:
    answer = answer_to(database, run_id, need_mib, settings, **more)
    assert isinstance(answer, Refusal), answer
    return answer


def answer_to(
    database: Engine,
    run_id: str,
    need_mib: int,
    settings: GpuConfiguration,
    health: HostHealth | None = None,
    priority: int = 1,
) -> Grant | Refusal:
    lease_id = ask(database, request(run_id, need_mib, priority))
    return try_grant(database, lease_id, settings, health or healthy(settings))


def fall_silent(database: Engine, seconds: float = 21) -> None:
    """As if every holder had last spoken so long ago."""
    with database.begin() as connection:
        connection.execute(
            text("update gpu_lease set renewed_at = renewed_at - :ago where ended_at is null"),
            {"ago": timedelta(seconds=seconds)},
        )


def column(database: Engine, name: str, lease_id: int) -> object:
    with database.begin() as connection:
        found = connection.execute(text(f"select {name} from gpu_lease where lease_id = :id"), {"id": lease_id})  # noqa: S608
        return found.scalar_one()


def half_open(database: Engine, uuid: str = SMALL) -> None:
    fail(database, uuid, "Xid 79", None, 120.0)
    with database.begin() as connection:
        connection.execute(text("update gpu_breaker set half_opens_at = now() - interval '1 s'"))


def test_a_lease_covers_the_need_and_no_more(media_database: Engine) -> None:
    found = grant(media_database, "a", 3000)

    assert (found.device_uuid, found.leased_mib, found.is_trial) == (SMALL, 3000, False)
    (held,) = held_leases(media_database)[SMALL]
    assert (held.lease_id, held.run_id, held.leased_mib, held.container_id) == (found.lease_id, "a", 3000, None)


def test_with_one_budget_per_card_a_lease_takes_all_that_is_free(media_database: Engine) -> None:
    drawn = host(device(used_mib=1000))

    assert grant(media_database, "a", 100, ONE, health=drawn).leased_mib == 8192 - 1000
    assert refuse(media_database, "b", 100, ONE, health=drawn).blocked_by == "own_work"


def test_who_does_not_fit_waits_until_own_work_ends(media_database: Engine) -> None:
    first = grant(media_database, "a", 5000)
    refused = refuse(media_database, "b", 4000)

    assert (refused.blocked_by, refused.is_hopeless) == (Hindrance.OWN_WORK, False)
    assert refused.reason == (
        "audio.transcribe needs 4000 MiB on one GPU: GPU-1 (RTX 4060) has 2680 of 7680 MiB free, the rest is leased; "
        "its turn comes"
    )
    release(media_database, first.lease_id)
    assert grant(media_database, "b", 4000).device_uuid == SMALL


def test_the_younger_leaves_the_device_to_who_waits_for_it(media_database: Engine) -> None:
    first = grant(media_database, "a", 5000)
    refuse(media_database, "large", 7000)

    assert refuse(media_database, "small", 1000).blocked_by == "own_work"
    release(media_database, first.lease_id)
    assert refuse(media_database, "small", 1000).blocked_by == "own_work"
    assert grant(media_database, "large", 7000)


def test_urgent_work_goes_first(media_database: Engine) -> None:
    first = grant(media_database, "a", 7000)
    refuse(media_database, "patient", 7000)
    refuse(media_database, "urgent", 7000, priority=10)
    release(media_database, first.lease_id)

    assert refuse(media_database, "patient", 7000).blocked_by == "own_work"
    assert grant(media_database, "urgent", 7000, priority=10)


def test_who_waits_and_falls_silent_keeps_no_one_away(media_database: Engine) -> None:
    grant(media_database, "a", 5000)
    refuse(media_database, "dead", 7000)
    fall_silent(media_database)

    assert grant(media_database, "b", 1000)


def test_other_processes_memory_is_not_leased_but_our_own_containers_is(media_database: Engine) -> None:
    first = grant(media_database, "a", 3000)
    renew(media_database, first.lease_id, "c1", 2900)
    ours = GpuProcess(pid=1, used_mib=2900, container_id="c1")
    theirs = GpuProcess(pid=2, used_mib=3000)

    assert refuse(
        media_database, "b", 4000, health=host(device(used_mib=6200, processes=(ours, theirs)))
    ).blocked_by == ("own_work")
    crowded = host(device(used_mib=7900, processes=(ours, theirs)))
    blocked = refuse(media_database, "b", 4000, health=crowded)
    assert (blocked.blocked_by, blocked.is_hopeless) == (Hindrance.FOREIGN_USE, False)
    assert grant(media_database, "b", 4000, health=host(device(used_mib=3200, processes=(ours,))))


@pytest.mark.parametrize(
    ("health", "blocked_by", "is_hopeless"),
    [
        (sick_host(HealthCode.UNREACHABLE), "health", False),
        (sick_host(HealthCode.DRIVER_NOT_LOADED, HealthVerdict.UNHEALTHY), "health", True),
        (host(device(SMALL, HealthCode.GPU_LOST, verdict=HealthVerdict.UNHEALTHY)), "health", True),
        (host(device(used_mib=7000)), "foreign_use", False),
    ],
)
def test_the_refusal_tells_whether_waiting_helps(
    media_database: Engine, health: HostHealth, blocked_by: str, is_hopeless: bool
) -> None:
    refused = refuse(media_database, "a", 4000, health=health)

    assert (refused.blocked_by, refused.is_hopeless) == (blocked_by, is_hopeless)


def test_what_no_device_can_hold_is_hopeless_even_while_others_work(media_database: Engine) -> None:
    grant(media_database, "a", 1000)
    refused = refuse(media_database, "b", 9000)

    assert (refused.blocked_by, refused.is_hopeless) == (Hindrance.SIZE, True)


def test_an_open_breaker_refuses_and_a_half_open_one_lets_one_try(media_database: Engine) -> None:
    fail(media_database, SMALL, "Xid 79", None, 120.0)
    opened = refuse(media_database, "a", 1000)
    assert (opened.blocked_by, opened.is_hopeless) == (Hindrance.BREAKER, True)

    half_open(media_database)
    trial = grant(media_database, "a", 1000)
    assert trial.is_trial
    second = refuse(media_database, "b", 1000)
    assert (second.blocked_by, second.is_hopeless) == (Hindrance.BREAKER, False)
    succeed(media_database, SMALL, trial.lease_id)
    release(media_database, trial.lease_id)
    assert not grant(media_database, "b", 1000).is_trial


def test_a_trial_that_ends_without_telling_lets_another_try(media_database: Engine) -> None:
    half_open(media_database)
    trial = grant(media_database, "a", 1000)
    release(media_database, trial.lease_id)

    assert breakers(media_database)[SMALL].state is BreakerState.HALF_OPEN
    assert grant(media_database, "b", 1000).is_trial


def test_a_trial_whose_task_died_lets_another_try(media_database: Engine) -> None:
    half_open(media_database)
    grant(media_database, "a", 1000)
    fall_silent(media_database)
    reclaim(media_database, lambda name: False)

    assert grant(media_database, "b", 1000).is_trial


def test_never_two_trials_however_many_ask_at_once(media_database: Engine) -> None:
    half_open(media_database)
    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(lambda n: answer_to(media_database, f"run {n}", 500, SHARED), range(12)))

    assert sum(isinstance(answer, Grant) for answer in answers) == 1


def test_a_healthy_device_goes_before_a_trial(media_database: Engine) -> None:
    half_open(media_database)

    assert grant(media_database, "a", 1000, MIXED).device_uuid == OTHER


def test_renewing_tells_of_the_breaker_and_keeps_the_highest_peak(media_database: Engine) -> None:
    held = grant(media_database, "a", 3000)
    assert renew(media_database, held.lease_id, "c1", 2000).allows(held.lease_id)
    renew(media_database, held.lease_id, None, 1500)
    open_by_hand(media_database, SMALL, "anna", "the fan is broken")
    seen = renew(media_database, held.lease_id)

    assert not seen.allows(held.lease_id)
    assert (seen.changed_by, seen.reason) == ("anna", "the fan is broken")
    assert column(media_database, "peak_mib", held.lease_id) == 2000
    assert column(media_database, "container_id", held.lease_id) == "c1"


def test_a_holder_that_missed_the_opening_still_learns_of_it(media_database: Engine) -> None:
    held = grant(media_database, "a", 3000)
    half_open(media_database)
    breakers(media_database)

    assert not renew(media_database, held.lease_id).allows(held.lease_id)


def test_a_lease_that_ended_or_was_not_granted_cannot_be_renewed(media_database: Engine) -> None:
    held = grant(media_database, "a", 7000)
    waiting = ask(media_database, request("b", 7000))
    release(media_database, held.lease_id)

    for lease_id in (held.lease_id, waiting, 10**9):
        with pytest.raises(LeaseLost, match="stop the work"):
            renew(media_database, lease_id)
    with pytest.raises(LeaseLost):
        try_grant(media_database, held.lease_id, SHARED, healthy(SHARED))


def test_releasing_twice_changes_nothing(media_database: Engine) -> None:
    held = grant(media_database, "a", 3000)
    release(media_database, held.lease_id, "withdrawn")
    before = column(media_database, "ended_at", held.lease_id)
    release(media_database, held.lease_id)

    assert column(media_database, "ended_at", held.lease_id) == before
    assert column(media_database, "ending", held.lease_id) == "withdrawn"


def test_a_retry_takes_over_what_was_granted(media_database: Engine) -> None:
    first = grant(media_database, "a", 3000)
    fall_silent(media_database)
    again = ask(media_database, request("a", 5000, try_number=2))

    assert again == first.lease_id
    assert try_grant(media_database, again, SHARED, sick_host(HealthCode.UNREACHABLE)) == first
    assert reclaim(media_database, lambda name: False) == []


def test_a_retry_takes_over_the_place_in_the_queue_with_its_new_need(media_database: Engine) -> None:
    first = grant(media_database, "a", 7000)
    refuse(media_database, "early", 7000)
    refuse(media_database, "late", 7000)
    ask(media_database, request("early", 6000, try_number=2))
    release(media_database, first.lease_id)

    assert refuse(media_database, "late", 7000)
    assert grant(media_database, "early", 6000).leased_mib == 6000


def test_a_retry_does_not_go_back_to_a_device_that_failed_meanwhile(media_database: Engine) -> None:
    first = grant(media_database, "a", 3000)
    fail(media_database, SMALL, "Xid 79", first.lease_id, 120.0)
    refused = refuse(media_database, "a", 3000)

    assert (refused.blocked_by, refused.is_hopeless) == (Hindrance.BREAKER, True)
    assert "Xid 79" in refused.reason
    close_by_hand(media_database, SMALL, "anna", "reset")
    assert grant(media_database, "a", 3000) == first


def test_a_finished_task_that_asks_again_gets_a_lease_of_its_own(media_database: Engine) -> None:
    first = grant(media_database, "a", 3000)
    release(media_database, first.lease_id)

    assert grant(media_database, "a", 3000).lease_id != first.lease_id


def test_a_dead_holders_lease_comes_back_only_when_its_container_is_gone(media_database: Engine) -> None:
    held = grant(media_database, "a", 7000)
    asked: list[str] = []

    def is_there(name: str) -> bool:
        asked.append(name)
        return len(asked) < 2

    assert reclaim(media_database, is_there) == []
    assert asked == []
    fall_silent(media_database)
    assert reclaim(media_database, is_there) == []
    # Nobody knows how long it goes on: it is not waited for as own work is.
    refused = refuse(media_database, "b", 7000)
    assert (refused.blocked_by, refused.is_hopeless) == ("foreign_use", False)
    assert "containers of dead tasks hold" in refused.reason
    (back,) = reclaim(media_database, is_there)

    assert (back.lease_id, back.run_id, back.device_uuid) == (held.lease_id, "a", SMALL)
    assert asked == ["container-of-a"] * 2
    assert column(media_database, "ending", held.lease_id) == "reclaimed"
    assert grant(media_database, "b", 7000)
    assert reclaim(media_database, is_there) == []


def test_a_place_in_the_queue_is_taken_back_without_asking_for_a_container(media_database: Engine) -> None:
    waiting = ask(media_database, request("a"))
    fall_silent(media_database)
    (back,) = reclaim(media_database, lambda name: pytest.fail("it has no container"))

    assert (back.lease_id, back.device_uuid) == (waiting, None)


def test_a_holder_that_speaks_up_while_its_container_is_looked_for_keeps_its_lease(media_database: Engine) -> None:
    held = grant(media_database, "a", 3000)
    fall_silent(media_database)

    def speaks_up(name: str) -> bool:
        renew(media_database, held.lease_id)
        return False

    assert reclaim(media_database, speaks_up) == []
    renew(media_database, held.lease_id)


def test_two_who_reclaim_at_once_take_a_lease_back_once(media_database: Engine) -> None:
    for number in range(5):
        grant(media_database, f"run {number}", 1000)
    fall_silent(media_database)
    with ThreadPoolExecutor(4) as pool:
        found = [
            lease.lease_id
            for back in pool.map(lambda _: reclaim(media_database, lambda _: False), range(4))
            for lease in back
        ]

    assert len(found) == len(set(found)) == 5


def test_who_stalls_while_it_holds_the_lock_is_cut_off(media_database: Engine) -> None:
    with exclusive(media_database) as (connection, _):
        assert connection.execute(text("show idle_in_transaction_session_timeout")).scalar_one() == "15s"
    with media_database.connect() as connection:
        assert connection.execute(text("show idle_in_transaction_session_timeout")).scalar_one() == "0"
