"""The breaker's rules, walked at random."""

from datetime import datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from operators.gpu.breaker import (
    LONGEST_WAIT_FACTOR,
    Breaker,
    BreakerState,
    abandon_trial,
    begin_trial,
    close_by_hand,
    fail,
    open_by_hand,
    pass_time,
    succeed,
)
from tests.operators.gpu.samples import NOW, SMALL

FIRST_S = 120.0
LEASES = st.integers(1, 5)


def after(seconds: float) -> datetime:
    return NOW + timedelta(seconds=seconds)


def half_open(wait_s: float = FIRST_S) -> Breaker:
    opened = fail(Breaker(SMALL), NOW, "no answer", wait_s)
    return pass_time(opened, after(wait_s))


def test_a_fault_opens_and_the_wait_half_opens_and_a_trial_closes() -> None:
    opened = fail(Breaker(SMALL), NOW, "Xid 79", FIRST_S)
    assert (opened.state, opened.wait_s, opened.half_opens_at) == (BreakerState.OPEN, FIRST_S, after(FIRST_S))
    assert pass_time(opened, after(FIRST_S - 1)) is opened

    tried = begin_trial(pass_time(opened, after(FIRST_S)), after(200), 7)
    assert not tried.takes_work
    assert tried.allows(7)
    assert not tried.allows(6)

    closed = succeed(tried, after(300), 7)
    assert (closed.state, closed.wait_s, closed.opened_at) == (BreakerState.CLOSED, 0.0, None)


def test_each_trial_that_fails_doubles_the_wait_up_to_its_bound() -> None:
    breaker, now, waits = Breaker(SMALL), NOW, []
    for number in range(10):
        breaker = fail(begin_trial(breaker, now, number), now, "again", FIRST_S)
        waits.append(breaker.wait_s / FIRST_S)
        now += timedelta(seconds=breaker.wait_s)
        breaker = pass_time(breaker, now)

    assert waits == [1, 2, 4, 8, 16, 32, 32, 32, 32, 32]


def test_a_second_fault_while_open_changes_nothing() -> None:
    opened = fail(Breaker(SMALL), NOW, "first", FIRST_S)

    assert fail(opened, after(5), "second", FIRST_S) is opened


def test_a_trial_that_ended_without_telling_leaves_room_for_another() -> None:
    left = abandon_trial(begin_trial(half_open(), after(200), 7), after(210), 7)

    assert left.takes_work
    assert left.state is BreakerState.HALF_OPEN


def test_only_the_trial_closes_it() -> None:
    tried = begin_trial(half_open(), after(200), 7)

    assert succeed(tried, after(210), 6) is tried
    assert abandon_trial(tried, after(210), 6) is tried
    assert begin_trial(tried, after(210), 8) is tried


@pytest.mark.parametrize("before", [Breaker(SMALL), half_open(), fail(Breaker(SMALL), NOW, "x", FIRST_S)])
def test_opened_by_hand_it_waits_for_a_hand(before: Breaker) -> None:
    opened = open_by_hand(before, after(500), "anna", "the fan is broken")

    assert opened.is_by_hand
    assert opened.changed_by == "anna"
    assert pass_time(opened, after(10**7)) is opened
    assert fail(opened, after(600), "Xid 79", FIRST_S) is opened
    assert succeed(opened, after(600), 7) is opened
    assert close_by_hand(opened, after(700), "ben", "new fan").allows(1)


@given(st.floats(0.1, 10_000), st.integers(1, 40))
def test_waits_never_shrink_under_faults_and_stay_bounded(first_s: float, faults: int) -> None:
    breaker, now, last_s = Breaker(SMALL), NOW, 0.0
    for _ in range(faults):
        breaker = fail(breaker, now, "again", first_s)
        assert last_s <= breaker.wait_s <= first_s * LONGEST_WAIT_FACTOR
        last_s = breaker.wait_s
        now += timedelta(seconds=breaker.wait_s + 1)
        breaker = pass_time(breaker, now)


class BreakerWalk(RuleBasedStateMachine):
    """Anything may happen in any order; beside it stands a small account of what must hold."""

    def __init__(self) -> None:
        super().__init__()
        self.breaker = Breaker(SMALL)
        self.now = NOW
        self.trying: set[int] = set()
        self.by_hand = False

    def become(self, breaker: Breaker, *, may_close: bool = False) -> None:
        was_closed = self.breaker.state is BreakerState.CLOSED
        if breaker.state is BreakerState.CLOSED and not was_closed:
            assert may_close, "closed by neither success nor hand"
        if self.by_hand:
            assert breaker.is_by_hand or may_close
        self.breaker = breaker
        if breaker.state is not BreakerState.HALF_OPEN:
            self.trying.clear()

    @rule(seconds=st.floats(0, 5000))
    def time_passes(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)
        self.become(pass_time(self.breaker, self.now))

    @rule()
    def device_fails(self) -> None:
        half_open_before, before_s = self.breaker.state is BreakerState.HALF_OPEN, self.breaker.wait_s
        self.become(fail(self.breaker, self.now, "fault", FIRST_S))
        assert self.breaker.is_open
        if half_open_before:
            assert self.breaker.wait_s >= before_s

    @rule(lease_id=LEASES)
    def trial_begins(self, lease_id: int) -> None:
        takes = self.breaker.takes_work and self.breaker.state is BreakerState.HALF_OPEN
        self.become(begin_trial(self.breaker, self.now, lease_id))
        if takes:
            self.trying.add(lease_id)

    @rule(lease_id=LEASES)
    def work_succeeds(self, lease_id: int) -> None:
        is_trial = lease_id in self.trying
        self.become(succeed(self.breaker, self.now, lease_id), may_close=is_trial and not self.by_hand)
        assert not is_trial or self.breaker.state is BreakerState.CLOSED

    @rule(lease_id=LEASES)
    def work_ends_without_telling(self, lease_id: int) -> None:
        self.become(abandon_trial(self.breaker, self.now, lease_id))
        self.trying.discard(lease_id)

    @rule()
    def somebody_opens(self) -> None:
        self.become(open_by_hand(self.breaker, self.now, "anna", "why"))
        self.by_hand = True

    @rule()
    def somebody_closes(self) -> None:
        self.become(close_by_hand(self.breaker, self.now, "anna", "why"), may_close=True)
        self.by_hand = False
        assert self.breaker.state is BreakerState.CLOSED

    @invariant()
    def there_is_one_trial_at_most(self) -> None:
        assert len(self.trying) <= 1
        assert self.trying == ({self.breaker.trial_lease_id} if self.breaker.trial_lease_id else set())

    @invariant()
    def the_wait_is_bounded(self) -> None:
        assert 0 <= self.breaker.wait_s <= FIRST_S * LONGEST_WAIT_FACTOR
        assert self.breaker.state is not BreakerState.CLOSED or self.breaker.wait_s == 0

    @invariant()
    def a_hand_wins(self) -> None:
        assert not self.by_hand or self.breaker.is_by_hand


TestBreakerWalk = BreakerWalk.TestCase
TestBreakerWalk.settings = settings(max_examples=100, stateful_step_count=40, deadline=None)
