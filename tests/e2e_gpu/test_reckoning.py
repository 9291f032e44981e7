"""Jobs whose best packing is known."""

import pytest

from tests.e2e_gpu.packing import (
    Bin,
    Job,
    idle_waits_s,
    lower_bound_s,
    pack_as_asked_s,
    pack_longest_first_s,
    span_s,
    utilisation,
)

SMALL, LARGE = Bin("small", 3000, 3), Bin("large", 10_000, 10)


def job(slots, duration_s, uuid="small", asked_s=0.0, granted_s=None):
    begin_s = asked_s if granted_s is None else granted_s
    return Job(uuid, slots * 1000, slots, asked_s, begin_s, begin_s + duration_s)


def test_jobs_that_fill_a_bin_exactly_take_what_the_bound_says():
    jobs = [job(2, 4.0), job(1, 4.0), job(1, 2.0), job(2, 2.0)]
    assert lower_bound_s(jobs, [SMALL]) == pack_longest_first_s(jobs, [SMALL]) == 6.0


def test_jobs_that_do_not_fit_together_take_longer_than_their_area():
    jobs = [job(2, 4.0), job(2, 4.0), job(2, 4.0)]
    assert lower_bound_s(jobs, [SMALL]) == 8.0
    assert pack_longest_first_s(jobs, [SMALL]) == 12.0
    assert pack_longest_first_s(jobs, [SMALL, LARGE]) == 4.0


def test_the_longest_job_bounds_all():
    assert lower_bound_s([job(1, 50.0), job(1, 1.0)], [SMALL, LARGE]) == 50.0


def test_jobs_that_come_late_are_packed_late():
    assert pack_as_asked_s([job(1, 2.0, asked_s=5.0), job(1, 2.0, asked_s=30.0)], [SMALL]) == 27.0


def test_utilisation_is_what_was_held_of_all_there_is():
    jobs = [job(3, 5.0), job(5, 10.0, "large")]
    assert span_s(jobs) == 10.0
    assert utilisation(jobs, [SMALL], 10.0) == pytest.approx(0.5)
    assert utilisation(jobs, [SMALL, LARGE], 10.0, in_slots=True) == pytest.approx(65 / 130)


def test_only_a_wait_beside_room_is_idle():
    filling = job(2, 10.0)
    waits = job(2, 5.0, asked_s=2.0, granted_s=13.0)
    assert idle_waits_s([filling, waits], [SMALL]) == [0, pytest.approx(3.0)]
