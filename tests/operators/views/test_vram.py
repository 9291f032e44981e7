"""VRAM that was leased over time."""

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from operators.views.vram import LeasedSpan, leased_over_time, outline

BEGIN = datetime(2026, 11, 21, 2, 0, tzinfo=UTC)
STEPS = 6
END = BEGIN + timedelta(minutes=STEPS)


def minute(number: float) -> datetime:
    return BEGIN + timedelta(minutes=number)


SPANS = st.builds(
    lambda mib, begin, length: LeasedSpan(mib, minute(begin), minute(begin + length) if length < 9 else None),
    st.integers(1, 9000),
    st.integers(-3, 8),
    st.integers(0, 9),
)


def test_leases_that_overlap_add_up_and_those_that_follow_do_not() -> None:
    spans = [
        LeasedSpan(1000, minute(1), minute(3)),
        LeasedSpan(500, minute(2), minute(3)),
        LeasedSpan(700, minute(3), minute(4)),
    ]
    leased = leased_over_time(spans, BEGIN, END, STEPS)
    assert leased.highest_mib == (0, 1000, 1500, 700, 0, 0)
    assert leased.peak_mib == 1500
    assert leased.busy == 0.5


def test_what_was_held_before_and_is_held_still_counts_from_end_to_end() -> None:
    leased = leased_over_time([LeasedSpan(4608, minute(-60), None)], BEGIN, END, STEPS)
    assert leased.highest_mib == (4608,) * STEPS
    assert leased.busy == 1.0


def test_a_lease_of_a_moment_is_seen() -> None:
    leased = leased_over_time([LeasedSpan(2304, minute(2.5), minute(2.501))], BEGIN, END, STEPS)
    assert leased.highest_mib == (0, 0, 2304, 0, 0, 0)


@given(st.lists(SPANS, max_size=8))
def test_each_step_has_the_most_of_any_moment_in_it(spans: list[LeasedSpan]) -> None:
    leased = leased_over_time(spans, BEGIN, END, STEPS)
    at = [
        sum(span.leased_mib for span in spans if span.begins_at <= minute(m) < (span.ends_at or END))
        for m in range(STEPS)
    ]
    assert list(leased.highest_mib) == at
    assert abs(leased.busy - sum(map(bool, at)) / STEPS) < 1e-9


def test_the_outline_reaches_the_top_at_the_capacity() -> None:
    assert outline((0, 50, 100), 100) == "M0 100V100.0H1 V50.0H2 V0.0H3V100Z"
