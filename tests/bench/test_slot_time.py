"""`tests.bench.slot_time`: every second of the wall goes to a part, once."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stage_contract.vocabulary import Stage
from tests.bench.slot_time import IDLE, Interval, PhaseRow, Span, intervals_of, share_slots, work_span

ZERO = datetime(2026, 1, 1, tzinfo=UTC)
WHOLE_S = 100

SECONDS = st.floats(-20, WHOLE_S + 20)
INTERVALS = st.builds(
    lambda part, a, b, waits: Interval(part, span(min(a, b), max(a, b)), waits),
    st.sampled_from(["work", "import", "queue"]),
    SECONDS,
    SECONDS,
    st.booleans(),
)


def span(begin_s: float, end_s: float) -> Span:
    return Span(ZERO + timedelta(seconds=begin_s), ZERO + timedelta(seconds=end_s))


def row(phase: str, begin_s: float, end_s: float, *, task: str = "audio", item: bool = False, waits: bool = False):
    return PhaseRow(("run", task, 1), Stage.TRANSCRIBE, phase, item, waits, span(begin_s, end_s))


@given(st.lists(INTERVALS, max_size=12), st.integers(1, 4))
def test_the_parts_add_up_to_the_wall_time(intervals, slots):
    parts = share_slots(intervals, span(0, WHOLE_S), slots)
    assert sum(parts.values()) == pytest.approx(WHOLE_S)
    assert all(seconds >= 0 for seconds in parts.values())


def test_a_slot_that_nobody_holds_is_idle():
    parts = share_slots([Interval("work", span(0, 40))], span(0, WHOLE_S), slots=2)
    assert parts == pytest.approx({"work": 20, IDLE: 80})


def test_a_wait_counts_only_while_a_slot_is_free():
    held = Interval("work", span(0, 50))
    waiting = Interval("queue", span(30, 60), waits=True)
    assert share_slots([held, waiting], span(0, WHOLE_S), slots=1) == pytest.approx({"work": 50, "queue": 10, IDLE: 40})


def test_tasks_beside_the_slots_take_an_equal_share():
    intervals = [Interval(part, span(0, WHOLE_S)) for part in ("a", "b", "publish")]
    parts = share_slots(intervals, span(0, WHOLE_S), slots=2)
    assert parts == pytest.approx(dict.fromkeys(("a", "b", "publish"), WHOLE_S / 3))


def test_what_lies_between_two_items_is_work():
    shared = [span(0, 1), span(1, 3)]
    assert work_span(shared, [span(3.5, 5), span(6, 9)]) == span(3, 9)


def test_what_is_collected_after_the_items_does_not_move_their_beginning():
    assert work_span([span(0, 3), span(9, 10)], [span(4, 9)]) == span(3, 9)


def test_the_phases_of_a_containers_items_are_one_interval_of_its_stage():
    rows = [row("model_load", 0, 2), row("decode", 2, 3, item=True), row("transcription", 2.5, 6, item=True)]
    other = row("queue", 0, 1, task="vision", waits=True)
    assert intervals_of([*rows, other]) == [
        Interval("model_load", span(0, 2)),
        Interval(Stage.TRANSCRIBE, span(2, 6)),
        Interval("queue", span(0, 1), waits=True),
    ]
