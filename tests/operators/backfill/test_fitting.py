"""Rates from timings made up with a known rate."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from operators.backfill.estimate import STARTING_RATES, Rate, Stretch
from operators.backfill.fitting import FEWEST, Sample, fit_rate, fit_stretch
from stage_contract.vocabulary import Stage, Variant

START = STARTING_RATES[Stage.TRANSCRIBE, Variant.CPU]
DURATIONS = st.floats(1, 20_000)
SAMPLES = st.lists(st.builds(Sample, DURATIONS, st.floats(0, 10_000)), max_size=40)


def samples(number: int, per_item_s: float, per_media_s: float, noise: float = 0.0) -> list[Sample]:
    draw = random.Random(number)
    durations = [10 * 1.2**index for index in range(number)]
    return [Sample(d, (per_item_s + per_media_s * d) * draw.uniform(1 - noise, 1 + noise)) for d in durations]


@given(st.floats(0, 50), st.floats(0.001, 5), st.integers(FEWEST, 30))
def test_a_known_rate_is_recovered(per_item_s: float, per_media_s: float, number: int) -> None:
    rate = fit_rate(START, samples(number, per_item_s, per_media_s), [7.0] * number)

    assert rate.per_item_s == pytest.approx(per_item_s, abs=0.01)
    assert rate.per_media_s == pytest.approx(per_media_s, abs=1e-4)
    assert rate.per_container_s == pytest.approx(7.0)
    assert rate.samples == number


@pytest.mark.parametrize("place", [0, 10, 19])
@pytest.mark.parametrize("factor", [0.0, 100.0])
def test_an_outlier_does_not_spoil_it(place: int, factor: float) -> None:
    found = samples(20, 2.0, 0.5)
    found[place] = Sample(found[place].duration_s, found[place].work_s * factor)
    rate = fit_rate(START, found, [])

    assert rate.item_s(600) == pytest.approx(302, rel=0.05)
    assert rate.high < 3


def test_noise_is_told_as_the_span_that_eight_of_ten_lie_in() -> None:
    calm, wild = (fit_rate(START, samples(40, 2.0, 0.5, noise), []) for noise in (0.05, 0.5))

    assert calm.item_s(600) == pytest.approx(302, rel=0.1)
    assert wild.low < calm.low < 1 < calm.high < wild.high


def test_few_samples_move_the_rate_part_of_the_way_and_it_stays_unsure() -> None:
    twice = [Sample(d, 2 * START.item_s(d)) for d in (30.0, 60.0, 90.0, 120.0)]
    expected = [fit_rate(START, twice[:number], []).item_s(600) / START.item_s(600) for number in range(5)]

    assert expected == pytest.approx([2 ** (number / 5) for number in range(5)])
    assert fit_rate(START, twice, []).high == START.high


def test_the_span_narrows_as_samples_come() -> None:
    spans = [fit_rate(START, samples(number, 2.0, 0.5), []).high for number in (5, 10, 20, 40)]

    assert spans == sorted(spans, reverse=True)
    assert spans[-1] > 1


def test_media_of_one_length_only_scales_the_rate() -> None:
    """A slope through durations that lie close together would be noise, and wrong by far for an hour."""
    clips = [Sample(8.0 + index / 10, 3 * START.item_s(8.0) + index % 3) for index in range(20)]
    rate = fit_rate(START, clips, [])

    assert rate.per_item_s / rate.per_media_s == pytest.approx(START.per_item_s / START.per_media_s)
    assert rate.item_s(8.0) == pytest.approx(3 * START.item_s(8.0) + 1, rel=0.3)


@given(SAMPLES, st.lists(st.floats(0, 1_000), max_size=10), st.sampled_from(list(STARTING_RATES.values())))
def test_whatever_was_recorded_gives_a_usable_rate(found: list[Sample], overheads_s: list[float], start: Rate) -> None:
    rate = fit_rate(start, found, overheads_s)

    assert rate.item_s(60) > 0
    assert rate.item_s(600) >= rate.item_s(60)
    assert rate.per_container_s > 0
    assert 0 < rate.low <= 1 <= rate.high


@given(st.lists(st.floats(0.1, 20), max_size=40))
def test_whatever_runs_took_gives_a_usable_stretch(ratios: list[float]) -> None:
    stretch = fit_stretch(ratios)

    assert 0 < stretch.median <= stretch.ninth
    assert stretch.samples == len(ratios)


def test_stretch_is_recovered_and_comes_from_the_start_by_and_by() -> None:
    assert fit_stretch([]) == Stretch()
    assert Stretch().median < fit_stretch([3.0]).median < fit_stretch([3.0] * 4).median < 3.0
    many = fit_stretch([3.0] * 40 + [6.0] * 10)
    assert many.median == pytest.approx(3.0)
    assert 5.0 < many.ninth < 6.0
