"""Who gets which device, and that everybody's turn comes."""

from datetime import timedelta

from hypothesis import given, settings
from hypothesis import strategies as st

from operators.gpu.placement import Room, Sharing, Waiter, place
from tests.operators.gpu.samples import NOW

SHARED, WHOLE = Sharing(whole_device=False), Sharing(whole_device=True)
BOTH = st.sampled_from([SHARED, WHOLE])


def waiter(number: int, need_mib: int, priority: int = 1) -> Waiter:
    return Waiter(number, need_mib, priority, NOW + timedelta(seconds=number))


def chosen(request: Waiter, waiting: list[Waiter], rooms: list[Room], sharing: Sharing = SHARED) -> str | None:
    found = place(request, waiting, rooms, sharing)
    return found.device_uuid if found else None


def test_the_device_where_least_is_left_over_is_taken() -> None:
    rooms = [Room("large", 24_000), Room("small", 7_000), Room("tiny", 3_000)]

    assert chosen(waiter(1, 5_000), [], rooms) == "small"
    assert chosen(waiter(1, 2_000), [], rooms) == "tiny"
    assert chosen(waiter(1, 9_000), [], rooms) == "large"
    assert chosen(waiter(1, 25_000), [], rooms) is None


def test_a_device_that_is_well_goes_before_one_that_is_degraded_or_on_trial() -> None:
    rooms = [Room("trial", 5_000, rank=2, is_trial=True), Room("hot", 6_000, rank=1), Room("well", 24_000)]

    assert chosen(waiter(1, 5_000), [], rooms) == "well"
    assert chosen(waiter(1, 5_000), [], rooms[:2]) == "hot"
    assert chosen(waiter(1, 5_000), [], rooms[:1]) == "trial"


def test_a_trial_is_for_one() -> None:
    rooms = [Room("trial", 24_000, is_trial=True)]

    assert chosen(waiter(2, 1_000), [waiter(1, 1_000)], rooms) is None


def test_a_whole_device_is_not_shared_however_little_is_needed() -> None:
    rooms = [Room("a", 8_000, leased_mib=8_000, leases=1), Room("b", 24_000)]

    assert chosen(waiter(1, 100), [], rooms, WHOLE) == "b"
    assert chosen(waiter(1, 100), [], rooms[:1], WHOLE) is None


def test_who_came_first_reserves_the_device_that_it_lacks_least_of() -> None:
    rooms = [Room("a", 8_000, leased_mib=5_000, leases=1), Room("b", 8_000, leased_mib=3_000, leases=1)]
    first = waiter(1, 6_000)

    assert chosen(first, [], rooms) is None
    assert chosen(waiter(2, 4_000), [first], rooms) is None
    assert chosen(waiter(2, 2_000), [first], rooms) == "a"


def test_what_other_processes_take_is_not_waited_for_by_keeping_others_away() -> None:
    rooms = [Room("a", 2_000)]

    assert chosen(waiter(2, 1_500), [waiter(1, 6_000)], rooms) == "a"


def test_urgent_work_overtakes_who_waits() -> None:
    rooms = [Room("a", 8_000)]

    assert chosen(waiter(2, 8_000, priority=9), [waiter(1, 8_000)], rooms) == "a"
    assert chosen(waiter(1, 8_000), [waiter(2, 8_000, priority=9)], rooms) is None


NEED = st.integers(1, 24_000)


def room(uuid: str, usable_mib: int, leased: list[int], rank: int, is_trial: bool) -> Room:
    return Room(uuid, usable_mib, sum(leased), len(leased), rank, is_trial)


ROOMS = st.lists(
    st.builds(
        room,
        st.sampled_from([f"GPU-{number}" for number in range(6)]),
        st.integers(0, 24_000),
        st.lists(st.integers(1, 9_000), max_size=3),
        st.integers(0, 2),
        st.booleans(),
    ),
    max_size=5,
    unique_by=lambda room: room.device_uuid,
)
OTHERS = st.lists(
    st.builds(waiter, st.integers(1, 100), NEED, st.integers(1, 3)), max_size=8, unique_by=lambda w: w.turn
)


@given(st.builds(waiter, st.integers(101, 200), NEED, st.integers(1, 3)), OTHERS, ROOMS, BOTH)
def test_nothing_is_placed_where_it_does_not_fit(
    request: Waiter, others: list[Waiter], rooms: list[Room], sharing: Sharing
) -> None:
    found = chosen(request, others, rooms, sharing)

    if found:
        taken = next(room for room in rooms if room.device_uuid == found)
        assert taken.leased_mib + sharing.leased_mib(taken, request.need_mib) <= taken.usable_mib
        assert sharing.leased_mib(taken, request.need_mib) >= request.need_mib
        assert sharing is SHARED or taken.leases == 0


@given(st.builds(waiter, st.just(500), NEED), OTHERS, ROOMS, BOTH)
def test_who_waits_alone_gets_any_device_that_fits(
    request: Waiter, others: list[Waiter], rooms: list[Room], sharing: Sharing
) -> None:
    fitting = [found for found in rooms if sharing.fits(found, request.need_mib)]

    assert (place(request, [], rooms, sharing) is not None) == bool(fitting)
    younger = [Waiter(w.lease_id + 1000, w.need_mib, 1, w.asked_at + timedelta(days=1)) for w in others]
    assert place(request, younger, rooms, sharing) == place(request, [], rooms, sharing)


CAPACITIES = st.lists(st.integers(1_000, 24_000), min_size=1, max_size=3)


@settings(max_examples=150, deadline=None)
@given(CAPACITIES, BOTH, st.data())
def test_the_oldest_is_granted_in_the_end_however_many_small_ones_keep_coming(
    capacities: list[int], sharing: Sharing, data: st.DataObject
) -> None:
    """Small work arrives without end and is granted whenever that is allowed; work ends at random, but ends."""
    devices = {f"GPU-{number}": capacity for number, capacity in enumerate(capacities)}
    running: list[tuple[str, int, int]] = []
    old = waiter(0, data.draw(st.integers(1, max(capacities))))

    def rooms() -> list[Room]:
        return [
            Room(
                uuid, capacity, sum(mib for at, mib, _ in running if at == uuid), sum(at == uuid for at, *_ in running)
            )
            for uuid, capacity in devices.items()
        ]

    def grant(request: Waiter, waiting: list[Waiter], ends: int) -> bool:
        found = chosen(request, waiting, rooms(), sharing)
        if found:
            taken = next(room for room in rooms() if room.device_uuid == found)
            running.append((found, sharing.leased_mib(taken, request.need_mib), ends))
        for uuid, capacity in devices.items():
            assert sum(mib for at, mib, _ in running if at == uuid) <= capacity
        return found is not None

    for uuid, capacity in devices.items():
        running.append((uuid, capacity, data.draw(st.integers(1, 5))))
    for step in range(1, 60):
        running = [entry for entry in running if entry[2] > step]
        newcomer = waiter(step, data.draw(st.integers(1, 2_000)))
        # The newcomer is always quicker to ask.
        grant(newcomer, [old], step + data.draw(st.integers(1, 8)))
        if grant(old, [newcomer], step + 1):
            return
    raise AssertionError("the oldest was never granted")
