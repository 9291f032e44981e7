import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from operators.backfill.estimate import Estimate, MediaFacts
from operators.backfill.packing import LOOK_AHEAD, Waiting, next_shard, target_s

FACTS = MediaFacts(60.0, True, True, True)
SECONDS = st.floats(0, 10_000)


def waiting(number: int, expected_s: float, longest_s: float | None = None) -> Waiting:
    return Waiting(f"{number:064x}", FACTS, Estimate(expected_s, 0.0, longest_s or expected_s))


QUEUES = st.lists(st.tuples(st.floats(0.1, 5_000), st.floats(1, 4)), max_size=40).map(
    lambda works: [waiting(n, expected_s, expected_s * high) for n, (expected_s, high) in enumerate(works)]
)


@given(QUEUES, SECONDS, SECONDS, SECONDS | st.just(math.inf), st.integers(1, 50))
def test_a_shard_keeps_its_bounds_and_its_order(
    queue: list[Waiting], overhead_s: float, target: float, room_s: float, most: int
) -> None:
    shard = next_shard(queue, overhead_s, target, room_s, most)

    places = [queue.index(item) for item in shard]
    assert places == sorted(set(places))
    assert len(shard) <= most
    over_s = sum(item.work.expected_s for item in shard) - target
    assert len(shard) <= 1 or over_s <= shard[-1].work.expected_s / 2 + target * 1e-9
    assert not shard or overhead_s + sum(item.work.longest_s for item in shard) <= room_s * (1 + 1e-9)


@given(QUEUES, SECONDS, SECONDS, SECONDS)
def test_a_shard_is_empty_only_when_nothing_fits(
    queue: list[Waiting], overhead_s: float, target: float, room_s: float
) -> None:
    fits = [item for item in queue if overhead_s + item.work.longest_s <= room_s]

    assert next_shard(queue, overhead_s, target, room_s, 200)[:1] == tuple(fits[:1])


@given(QUEUES.filter(bool), st.floats(1, 5_000))
def test_shards_one_after_another_take_everything_in_its_order(queue: list[Waiting], target: float) -> None:
    left, taken = list(queue), list[Waiting]()
    while left:
        shard = next_shard(left, 10.0, target, math.inf, 200)
        taken += shard
        left = left[len(shard) :]

    assert taken == queue


@given(st.lists(st.floats(1, 100), min_size=1, max_size=200), st.integers(1, 8))
def test_shares_of_what_is_left_leave_nothing_over(works: list[float], shares: int) -> None:
    left = [waiting(number, expected_s) for number, expected_s in enumerate(works)]
    for launched in range(shares):
        share_s = sum(item.work.expected_s for item in left) / (shares - launched)
        left = left[len(next_shard(left, 10.0, share_s, math.inf, len(works))) :]

    assert not left


def test_what_is_too_long_for_the_time_left_is_passed_over() -> None:
    queue = [waiting(1, 50), waiting(2, 500), waiting(3, 30)]

    assert next_shard(queue, 10, 1_000, 100, 200) == (queue[0], queue[2])


def test_an_asset_longer_than_the_target_makes_a_shard_by_itself() -> None:
    queue = [waiting(1, 5_000), waiting(2, 1)]

    assert next_shard(queue, 10, 1_200, math.inf, 200) == (queue[0],)
    assert next_shard(queue[::-1], 10, 1_200, math.inf, 200) == (queue[1],)


def test_the_search_for_what_fits_ends() -> None:
    def endless():
        for number in range(LOOK_AHEAD + 1):
            yield waiting(number, 500)
            assert number < LOOK_AHEAD

    assert next_shard(endless(), 10, 1_200, 100, 200) == ()


@given(st.floats(0, 1_000), st.floats(1, 600))
def test_overhead_is_a_twentieth_of_a_full_shard_unless_that_is_too_long(overhead_s: float, minutes: float) -> None:
    target = target_s(overhead_s, minutes)

    assert target <= minutes * 60
    assert overhead_s <= target * 0.05 * (1 + 1e-9) or target == minutes * 60


@pytest.mark.parametrize(("overhead_s", "expected"), [(0, 60), (30, 600), (500, 1_200)])
def test_a_full_shard_is_no_larger_than_overhead_asks_for(overhead_s: float, expected: float) -> None:
    assert target_s(overhead_s, minutes=20) == pytest.approx(expected)


@given(st.floats(0, 1_000), st.floats(1, 600), st.floats(0, 10_000))
def test_no_run_takes_more_than_its_share_unless_that_is_less_than_a_minute(
    overhead_s: float, minutes: float, share_s: float
) -> None:
    target = target_s(overhead_s, minutes, share_s)

    assert target <= max(share_s, 60)
    assert target <= target_s(overhead_s, minutes)
