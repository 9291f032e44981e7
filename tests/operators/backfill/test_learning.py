"""Rates, stretch and densities from a real Postgres."""

from datetime import timedelta

import pytest
from sqlalchemy import Engine

from operators.backfill.estimate import OVER_ALL, STARTING_RATES, Rates, Stretch
from operators.backfill.learning import learn_densities, learn_rates, learn_stretch
from operators.stage_plan import AttemptOutcome
from stage_contract.vocabulary import PhaseOutcome, Stage, Variant
from tests.operators.backfill.records import (
    NIGHT,
    add_attempt,
    add_backfill,
    add_media,
    add_result,
    add_run,
    add_shard,
    asset_id,
)

KIND = (Stage.TRANSCRIBE, Variant.CPU)
DURATIONS = [30.0 * number for number in range(1, 21)]


@pytest.fixture
def media(media_database: Engine) -> Engine:
    """Twenty assets of half a minute to ten, transcribed."""
    for number, duration_s in enumerate(DURATIONS):
        add_result(media_database, add_media(media_database, number, duration_s=duration_s), Stage.TRANSCRIBE)
    return media_database


def work(per_item_s: float, per_media_s: float, numbers: range = range(20)) -> dict[str, float]:
    return {asset_id(number): per_item_s + per_media_s * DURATIONS[number] for number in numbers}


def unlearned(rates: Rates) -> set[tuple[Stage, Variant]]:
    return {kind for kind, rate in rates.items() if rate == STARTING_RATES[kind]}


def test_a_known_rate_is_recovered_for_its_stage_and_variant_alone(media: Engine) -> None:
    add_attempt(media, "r1", Stage.TRANSCRIBE, work(3.0, 0.25, range(12)), overhead_s=8.0)
    add_attempt(media, "r2", Stage.TRANSCRIBE, work(3.0, 0.25, range(12, 20)), overhead_s=8.0)
    add_attempt(media, "r3", Stage.TRANSCRIBE, work(3.0, 0.05), overhead_s=16.0, variant=Variant.CUDA)
    rates = learn_rates(media)

    for variant, per_media_s in ((Variant.CPU, 0.25), (Variant.CUDA, 0.05)):
        rate = rates[Stage.TRANSCRIBE, variant]
        assert (rate.per_item_s, rate.per_media_s) == pytest.approx((3.0, per_media_s))
        assert rate.samples == 20
    assert rates[KIND].per_container_s == pytest.approx(5 * (8 / 5) ** (2 / 5))
    assert unlearned(rates) == set(rates) - {KIND, (Stage.TRANSCRIBE, Variant.CUDA)}


def test_phases_that_overlap_count_once(media: Engine) -> None:
    add_attempt(media, "r1", Stage.TRANSCRIBE, work(5.0, 0.25), beside_s=4.0)

    rate = learn_rates(media)[KIND]
    assert (rate.per_item_s, rate.per_media_s) == pytest.approx((5.0, 0.25))


@pytest.mark.parametrize("seconds", [0.0, 100_000.0])
def test_an_outlier_does_not_spoil_it(media: Engine, seconds: float) -> None:
    add_attempt(media, "r1", Stage.TRANSCRIBE, work(3.0, 0.25) | {asset_id(17): seconds})

    assert learn_rates(media)[KIND].item_s(600) == pytest.approx(153, rel=0.02)


def test_what_was_not_done_teaches_nothing(media: Engine) -> None:
    add_attempt(media, "failed", Stage.TRANSCRIBE, work(3.0, 9.0), outcome=AttemptOutcome.FAILED)
    add_attempt(media, "broken off", Stage.TRANSCRIBE, work(3.0, 9.0), phase_outcome=PhaseOutcome.FAILED)
    no_good_result = {add_media(media, number): 500.0 for number in range(20, 30)}
    add_attempt(media, "rejected", Stage.TRANSCRIBE, no_good_result)

    rates = learn_rates(media)
    assert rates[KIND].samples == 0
    assert rates[KIND].item_s(60) == STARTING_RATES[KIND].item_s(60)


def test_the_latest_attempts_count(media: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("operators.backfill.learning.LATEST_ATTEMPTS", 1)
    add_attempt(media, "new", Stage.TRANSCRIBE, work(3.0, 0.25), started_at=NIGHT + timedelta(days=1))
    add_attempt(media, "old", Stage.TRANSCRIBE, work(3.0, 5.0))

    assert learn_rates(media)[KIND].per_media_s == pytest.approx(0.25)


def test_what_stepped_aside_counts_with_what_it_finished(media: Engine) -> None:
    add_attempt(media, "r1", Stage.TRANSCRIBE, work(3.0, 0.25), outcome=AttemptOutcome.STEPPED_ASIDE)

    assert learn_rates(media)[KIND].samples == 20


def record_shard(database: Engine, number: int, wall_s: float, aside_s: float = 0.0) -> None:
    """A shard whose run's timings come to 100 s."""
    run_id = f"shard {number}"
    asked_at = NIGHT + timedelta(hours=number)
    add_run(database, run_id, asked_at, wall_s)
    work_s = {asset_id(0): 90.0}
    add_attempt(
        database,
        run_id,
        Stage.TRANSCRIBE,
        work_s,
        overhead_s=10.0,
        started_at=asked_at,
        aside_s=aside_s,
        beside_s=45.0,
    )
    add_shard(database, add_backfill(database, run_id), run_id, asked_at)


def test_stretch_is_what_runs_took_against_their_own_timings(media: Engine) -> None:
    for number, wall_s in enumerate([150.0, 200.0, 200.0, 200.0, 400.0]):
        record_shard(media, number, wall_s)
    stretch = learn_stretch(media)

    assert stretch.median == pytest.approx(2.0)
    assert stretch.samples == 5
    assert 2.0 < stretch.ninth < 4.0


def test_runs_that_stepped_aside_or_failed_or_were_asked_for_by_hand_do_not_stretch(media: Engine) -> None:
    record_shard(media, 1, 5_000.0, aside_s=4_000.0)
    add_run(media, "failed", NIGHT, 5_000.0)
    add_attempt(media, "failed", Stage.TRANSCRIBE, {asset_id(0): 1.0})
    add_shard(media, add_backfill(media), "failed", outcome="failed")
    add_run(media, "by hand", NIGHT, 5_000.0)
    add_attempt(media, "by hand", Stage.TRANSCRIBE, {asset_id(0): 1.0})

    assert learn_stretch(media) == Stretch()


def test_densities_are_medians_by_ending_whatever_its_case(media_database: Engine) -> None:
    for number in range(6):
        add_media(media_database, number, f"a/{number}.MP4", size_bytes=6_000, duration_s=6.0)
        add_media(media_database, 10 + number, f"b.d/{number}.wav", size_bytes=60_000, duration_s=6.0)
    add_media(media_database, 30, "odd.mp4", size_bytes=10_000_000, duration_s=1.0)
    add_media(media_database, 31, "few.avi", size_bytes=600, duration_s=6.0)
    add_media(media_database, 32, "c.mp4/.hidden", size_bytes=10_000, duration_s=1.0)
    add_media(media_database, 33, "not probed.mp4", size_bytes=9, duration_s=None)

    assert learn_densities(media_database) == {".mp4": 1_000.0, ".wav": 10_000.0, OVER_ALL: 10_000.0}


def test_without_records_there_are_no_densities(media_database: Engine) -> None:
    assert learn_densities(media_database) == {}
