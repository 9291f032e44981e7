"""Medians, spreads, and what counts as slower than before."""

from datetime import timedelta

import pytest

from operators.benchmark.figures import TOTAL, Figure, Timing, covered_s, find_regressions, speed_up, summarize
from stage_contract.vocabulary import Stage
from tests.operators.benchmark.made import BEGIN

NAMES = {0: "float32", 1: "int8"}
ASSET = "a" * 64


def timing(number: int, phase: str, seconds: float, asset_id: str | None = ASSET, variant: int = 0) -> Timing:
    return Timing(variant, number, Stage.TRANSCRIBE, phase, asset_id, seconds)


def figure(median_s: float, spread_s: float = 0.1, phase: str = TOTAL, n: int = 5, variant: int = 0) -> Figure:
    quartiles = median_s - spread_s / 2, median_s + spread_s / 2
    return Figure(variant, Stage.TRANSCRIBE, phase, n, median_s, *quartiles)


def test_a_round_is_the_sum_over_its_assets_and_the_first_only_warms_up() -> None:
    timings = [timing(0, "transcription", 99.0), timing(0, TOTAL, 99.0, None)]
    for number, seconds in enumerate((1.0, 2.0, 4.0), start=1):
        timings += [timing(number, "transcription", seconds), timing(number, "transcription", 1.0, "b" * 64)]
        timings += [timing(number, TOTAL, seconds, None), timing(number, "write", 0.5, None)]
    found = {one.phase: one for one in summarize(timings)}
    assert (found["transcription"].n, found["transcription"].median_s) == (3, 3.0)
    assert (found["transcription"].q1_s, found["transcription"].q3_s) == (2.5, 4.0)
    assert found[TOTAL].median_s == 2.0
    assert list(found)[-1] == TOTAL


@pytest.mark.parametrize(
    ("spans", "seconds"),
    [
        ([], 0.0),
        ([(0, 2), (2, 3)], 5.0),  # one after another
        ([(4, 1), (0, 2)], 3.0),  # apart, in any order
        ([(0, 5), (1, 2), (4, 3)], 7.0),  # one within another, one beyond it
    ],
)
def test_what_spans_cover_together_counts_once(spans: list[tuple[float, float]], seconds: float) -> None:
    assert covered_s((BEGIN + timedelta(seconds=at_s), length_s) for at_s, length_s in spans) == seconds


@pytest.mark.parametrize(
    ("before", "now", "is_found"),
    [
        (figure(10), figure(10.6), True),
        (figure(10), figure(10.4), False),  # less than 5 %
        (figure(10, spread_s=2), figure(11.5), False),  # within the spread that was
        (figure(10), figure(11.5, spread_s=2), False),  # within the spread that is
        (figure(10), figure(9), False),
        (figure(10, n=2), figure(20), False),  # no spread to speak of
        (figure(10, variant=1), figure(20), False),  # another variant
    ],
)
def test_slower_is_beyond_the_spread_and_by_five_percent(before: Figure, now: Figure, is_found: bool) -> None:
    assert bool(find_regressions(NAMES, [now], NAMES, [before])) is is_found


def test_phases_that_hardly_count_are_passed_over() -> None:
    before = [figure(100), figure(0.01, 0.0001, "write"), figure(50, 0.1, "transcription")]
    now = [figure(100), figure(0.02, 0.0001, "write"), figure(60, 0.1, "transcription")]
    (found,) = find_regressions(NAMES, now, NAMES, before)
    assert str(found) == "float32, audio.transcribe, transcription: 60 s, was 50 s (+20%; spread 0.1 s)"


def test_variants_are_known_by_name_not_by_place() -> None:
    moved = [figure(10, variant=1)]
    assert find_regressions({0: "int8"}, [figure(20)], NAMES, moved)


def test_speed_up_says_how_many_times_as_fast() -> None:
    assert speed_up(figure(10), figure(4)) == 2.5
    assert speed_up(figure(10), None) is None
    assert speed_up(figure(10), figure(0, 0)) is None
