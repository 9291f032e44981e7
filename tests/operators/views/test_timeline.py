"""How a run's timeline is laid out."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from operators.views.timeline import WIDTH, Bar, Lane, draw, lay_axis

START = datetime(2026, 11, 21, 1, 0, tzinfo=UTC)


def at(seconds: float) -> datetime:
    return START + timedelta(seconds=seconds)


def lane(begins_s: float, ends_s: float, task_id: str = "probe", variant: str = "cpu") -> Lane:
    return Lane(task_id, -1, 1, "media.probe", variant, variant, "done", "", None, at(begins_s), at(ends_s), False)


def bar(number: int, begins_s: float, ends_s: float, kind: str = "work", failed: int = 0, phases: int = 1) -> Bar:
    length_s = ends_s - begins_s
    return Bar(
        *("probe", -1, 1),
        number=number,
        phases=phases,
        phase="decode",
        begins_at=at(begins_s),
        ends_at=at(ends_s),
        duration_s=length_s,
        wait_s=length_s if kind == "wait" else 0,
        overhead_s=length_s if kind == "overhead" else 0,
        work_s=length_s if kind == "work" else 0,
        failed=failed,
        interrupted=0,
    )


def test_bars_lie_where_their_phases_were() -> None:
    lanes = [lane(0, 100)]
    drawn = draw(lay_axis(lanes), lanes, [bar(1, 0, 25, "wait"), bar(2, 25, 100)])

    assert [(one.look, one.x, one.width) for one in drawn.lanes[0].bars] == [("wait", 0, 250), ("work", 250, 750)]


def test_phases_that_come_in_turns_lie_below_each_other() -> None:
    lanes = [lane(0, 100)]
    first, second, third = draw(lay_axis(lanes), lanes, [bar(1, 0, 60), bar(2, 10, 90), bar(3, 60, 100)]).lanes[0].bars

    assert first.y < second.y
    assert third.y == first.y


def test_a_thousand_short_phases_become_one_bar_that_says_how_many() -> None:
    lanes = [lane(0, 1000)]
    short = [bar(number, number - 1, number) for number in range(1, 1001)]
    (one,) = draw(lay_axis(lanes), lanes, short).lanes[0].bars

    assert (one.bar.phases, one.bar.number, one.bar.work_s) == (1000, 1, 1000)
    assert one.width == pytest.approx(WIDTH)


def test_a_short_phase_that_failed_is_seen_between_others() -> None:
    lanes = [lane(0, 1000)]
    bars = [bar(number, number - 1, number, failed=number == 500) for number in range(1, 1001)]

    drawn = draw(lay_axis(lanes), lanes, bars).lanes[0].bars

    assert [(one.look, one.bar.phases) for one in drawn] == [("work", 499), ("failed", 1), ("work", 500)]


def test_long_phases_stay_by_themselves() -> None:
    lanes = [lane(0, 100)]
    drawn = draw(lay_axis(lanes), lanes, [bar(1, 0, 50), bar(2, 50, 100)]).lanes[0].bars

    assert [one.bar.number for one in drawn] == [1, 2]


def test_work_on_a_gpu_looks_different() -> None:
    lanes = [lane(0, 10, variant="cuda")]
    drawn = draw(lay_axis(lanes), lanes, [bar(1, 0, 5), bar(2, 5, 10, "overhead")]).lanes[0].bars

    assert [one.look for one in drawn] == ["cuda", "overhead"]


def test_the_hours_until_a_task_was_cleared_are_cut_out() -> None:
    lanes = [lane(0, 600), lane(36_000, 36_600, "enrich")]
    axis = lay_axis(lanes)

    (cut,) = axis.cuts
    assert cut.length_s == 35_400
    assert axis.x(at(600)) == cut.x
    assert axis.x(at(36_600)) == pytest.approx(WIDTH)
    assert axis.x(at(20_000)) == cut.x


def test_a_short_pause_is_not_cut_out() -> None:
    assert not lay_axis([lane(0, 600), lane(650, 900, "enrich")]).cuts


def test_an_attempt_of_no_length_can_be_drawn() -> None:
    lanes = [lane(0, 0)]
    drawn = draw(lay_axis(lanes), lanes, [])

    assert drawn.lanes[0].width > 0


def test_ticks_are_few_and_round() -> None:
    lanes = [lane(3, 3 + 5 * 3600)]
    ticks = draw(lay_axis(lanes), lanes, []).ticks

    assert [tick.at.isoformat()[11:16] for tick in ticks] == ["02:00", "03:00", "04:00", "05:00", "06:00"]


@given(
    st.lists(
        st.tuples(st.floats(0, 90_000), st.floats(0, 5_000)).map(lambda pair: (pair[0], pair[0] + pair[1])),
        min_size=1,
        max_size=12,
    )
)
def test_time_never_runs_backwards_or_off_the_page(spans: list[tuple[float, float]]) -> None:
    lanes = [lane(*span, task_id=f"t{number}") for number, span in enumerate(spans)]
    axis = lay_axis(lanes)
    drawn = draw(axis, lanes, [])

    instants = sorted(point for span in spans for point in span)
    places = [axis.x(at(point)) for point in instants]
    assert places == sorted(places)
    assert places[0] >= 0
    assert places[-1] <= WIDTH + 1e-6
    assert len(drawn.ticks) < 40
