from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from operators.backfill.estimate import (
    AIRFLOW_S,
    OVER_ALL,
    SAMPLED_S,
    STARTING_RATES,
    Estimate,
    MediaFacts,
    Rate,
    Rates,
    Stretch,
    container_overhead,
    counted_s,
    item_work,
    media_seconds,
    stretched,
)
from operators.routing import has_gpu_build
from stage_contract.vocabulary import Stage, Variant

ALL = tuple(Stage)
KINDS = list(STARTING_RATES)
SECONDS = st.floats(0, 100)
RATES = st.tuples(
    *(
        st.builds(
            Rate,
            st.just(stage),
            st.just(variant),
            per_item_s=SECONDS,
            per_media_s=st.floats(0, 2),
            per_container_s=SECONDS,
            low=st.floats(0.1, 1),
            high=st.floats(1, 5),
        )
        for stage, variant in KINDS
    )
).map(lambda rates: dict(zip(KINDS, rates, strict=True)))
FACTS = st.builds(MediaFacts, st.floats(0, 40_000), st.booleans(), st.booleans(), st.booleans())
STRETCHES = st.tuples(st.floats(0.2, 5), st.floats(1, 4)).map(lambda s: Stretch(s[0], s[0] * s[1], 10))
ESTIMATES = st.tuples(SECONDS, SECONDS, SECONDS).map(sorted).map(lambda s: Estimate(s[1], s[0], s[2]))


def is_ordered(estimate: Estimate) -> bool:
    return 0 <= estimate.shortest_s <= estimate.expected_s <= estimate.longest_s


def close(one: Estimate, other: Estimate) -> bool:
    return (one.expected_s, one.shortest_s, one.longest_s) == pytest.approx(
        (other.expected_s, other.shortest_s, other.longest_s)
    )


def test_every_stage_and_build_has_a_rate_to_start_with() -> None:
    assert set(KINDS) == {
        (stage, variant) for stage in Stage for variant in Variant if variant is Variant.CPU or has_gpu_build(stage)
    }


@given(st.lists(ESTIMATES, max_size=10))
def test_a_sum_is_ordered_and_never_surer_than_its_parts(parts: list[Estimate]) -> None:
    total = sum(parts, Estimate())

    assert is_ordered(total)
    assert total.longest_s - total.expected_s == pytest.approx(sum(e.longest_s - e.expected_s for e in parts))
    assert close(total, sum(parts[::-1], Estimate()))


@given(FACTS, st.floats(0, 40_000), st.booleans(), RATES)
def test_longer_media_is_no_less_work(facts: MediaFacts, more_s: float, gpu: bool, rates: Rates) -> None:
    longer = replace(facts, duration_s=facts.duration_s + more_s)
    work, more = item_work(facts, ALL, gpu, rates), item_work(longer, ALL, gpu, rates)

    assert is_ordered(work)
    assert more.shortest_s >= work.shortest_s
    assert more.expected_s >= work.expected_s
    assert more.longest_s >= work.longest_s


@given(FACTS, st.booleans(), RATES, st.sets(st.sampled_from(Stage)))
def test_work_on_stages_adds_up(facts: MediaFacts, gpu: bool, rates: Rates, some: set[Stage]) -> None:
    others = set(Stage) - some

    parts = item_work(facts, some, gpu, rates) + item_work(facts, others, gpu, rates)
    assert close(parts, item_work(facts, ALL, gpu, rates))


@given(FACTS, st.booleans(), RATES)
def test_what_was_not_probed_counts_as_everything_and_is_less_sure(facts: MediaFacts, gpu: bool, rates: Rates) -> None:
    known = item_work(replace(facts, is_known=True, has_audio=True, has_video=True), ALL, gpu, rates)
    unknown = item_work(replace(facts, is_known=False), ALL, gpu, rates)

    assert unknown.expected_s == pytest.approx(known.expected_s)
    assert unknown.shortest_s <= known.shortest_s
    assert unknown.longest_s >= known.longest_s


@pytest.mark.parametrize(
    ("has_audio", "has_video", "working"),
    [
        (True, False, {Stage.PROBE, Stage.EXTRACT, Stage.TRANSCRIBE, Stage.ENRICH}),
        (False, True, {Stage.PROBE, Stage.ANALYZE}),
        (False, False, {Stage.PROBE}),
    ],
)
def test_stages_that_the_media_has_nothing_for_cost_nothing(
    has_audio: bool, has_video: bool, working: set[Stage]
) -> None:
    facts = MediaFacts(60.0, True, has_audio, has_video)

    assert {stage for stage in Stage if item_work(facts, [stage], False, STARTING_RATES).expected_s} == working


def test_a_gpu_takes_the_stages_that_have_a_build_for_it() -> None:
    facts = MediaFacts(1_000.0, True, True, True)
    on_gpu = {
        stage for stage in Stage
        if item_work(facts, [stage], True, STARTING_RATES) != item_work(facts, [stage], False, STARTING_RATES)
    }  # fmt: skip

    assert on_gpu == {stage for stage in Stage if has_gpu_build(stage)}


@given(st.booleans(), RATES)
def test_an_empty_run_costs_its_containers_and_airflow(gpu: bool, rates: Rates) -> None:
    containers = [rates[stage, Variant.CUDA if gpu and has_gpu_build(stage) else Variant.CPU] for stage in Stage]
    overhead_s = container_overhead(ALL, gpu, rates)

    assert overhead_s == pytest.approx(AIRFLOW_S + sum(rate.per_container_s for rate in containers))


@pytest.mark.parametrize(
    ("stretch", "longest_s"),
    [(Stretch(2.0, 5.0), 550.0), (Stretch(2.0, 2.5), 420.0)],
    ids=["runs often took far longer", "this work may"],
)
def test_the_longest_is_a_bad_run_or_bad_work_whichever_is_more(stretch: Stretch, longest_s: float) -> None:
    assert stretched(Estimate(100, 50, 200), 10, stretch) == Estimate(220, 120, longest_s)


def test_of_more_than_an_hour_vision_looks_at_a_sample() -> None:
    assert counted_s(Stage.ANALYZE, SAMPLED_S) == SAMPLED_S
    assert counted_s(Stage.ANALYZE, SAMPLED_S + 1_000) == SAMPLED_S + 100
    assert counted_s(Stage.TRANSCRIBE, SAMPLED_S + 1_000) == SAMPLED_S + 1_000


@pytest.mark.parametrize(
    ("suffix", "densities", "expected_s"),
    [
        (".MP4", {".mp4": 500.0, OVER_ALL: 100.0}, 2_000.0),
        (".mkv", {".mp4": 500.0, OVER_ALL: 100.0}, 10_000.0),
        ("", {OVER_ALL: 100.0}, 10_000.0),
        (".mkv", {}, 1.0),
        (".mp3", {OVER_ALL: 2_000_000.0}, 62.5),
    ],
    ids=["as recorded", "over all", "no ending", "nothing recorded", "sound is not taken for video"],
)
def test_length_follows_from_size_by_the_ending(suffix: str, densities: dict[str, float], expected_s: float) -> None:
    assert media_seconds(1_000_000, suffix, densities) == expected_s
