from hypothesis import given
from hypothesis import strategies as st

from operators.backfill.pace import LONGEST_REST_S, most_runs, rest_s, runs_to_launch, runs_wanted

SLOTS = st.integers(0, 64)
RUNS = st.integers(0, 200)


@given(SLOTS, SLOTS)
def test_every_slot_has_a_run_and_people_have_room_beside_them(cpu_slots: int, gpu_slots: int) -> None:
    wanted = runs_wanted(cpu_slots, gpu_slots)

    assert cpu_slots + gpu_slots < wanted <= cpu_slots + gpu_slots + 2
    assert most_runs(cpu_slots, gpu_slots) >= 2 * wanted


@given(RUNS, RUNS)
def test_launching_fills_up_to_what_is_wanted_and_no_further(active: int, wanted: int) -> None:
    launched = runs_to_launch(active, wanted, is_open=True, is_paused=False)

    assert launched >= 0
    assert active + launched == max(active, wanted)


@given(RUNS, RUNS, st.sampled_from([(False, False), (True, True), (False, True)]))
def test_nothing_is_launched_while_closed_or_paused(active: int, wanted: int, state: tuple[bool, bool]) -> None:
    assert runs_to_launch(active, wanted, *state) == 0


@given(st.integers(0, 500), st.integers(1, 50))
def test_the_more_runs_come_to_nothing_the_longer_is_the_rest(fruitless: int, wanted: int) -> None:
    rest = rest_s(fruitless, wanted)

    assert (rest == 0) == (fruitless == 0)
    assert rest <= rest_s(fruitless + 1, wanted) <= LONGEST_REST_S
    # One round of runs that fails together is one failure.
    assert rest_s(1, wanted) == rest_s(wanted, wanted)
