"""How much VRAM work takes: as measured, as the table says, or a whole device."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import Engine

from operators.gpu.lease import ask, release, renew, try_grant
from operators.gpu.needs import (
    NEEDS,
    ModelKey,
    Need,
    NeedSource,
    find_need,
    measured_needs,
    table_need,
    with_margin,
)
from stage_contract.resources import BATCH_SIZES, DEFAULT_COMPUTE_TYPE
from stage_contract.vocabulary import Stage, Variant
from tests.operators.gpu.samples import configuration, healthy, request

ONE = configuration(24576, 8192)
WHISPER = ModelKey.of(Stage.TRANSCRIBE, ["whisper-large-v3"], "float16", 1)


def run_lease(database: Engine, run_id: str, peak_mib: int | None, models: tuple[str, ...] = ()) -> None:
    lease_id = ask(database, request(run_id, models=models))
    try_grant(database, lease_id, ONE, healthy(ONE))
    renew(database, lease_id, "c1", peak_mib)
    release(database, lease_id)


def test_what_the_gpu_builds_run_is_in_the_table_at_every_batch_size() -> None:
    for stage, models in (
        (Stage.TRANSCRIBE, ["whisper-large-v3"]),
        (Stage.TRANSCRIBE, ["whisper-base.en"]),
        (Stage.ANALYZE, ["yolov8n", "clip-vit-b-32-laion2b"]),
        (Stage.ANALYZE, ["yolov8n", "clip-vit-b-32-untrained"]),
    ):
        compute_type = DEFAULT_COMPUTE_TYPE[stage, Variant.CUDA]
        for batch_size in BATCH_SIZES[stage, Variant.CUDA]:
            assert table_need(ModelKey.of(stage, models, compute_type, batch_size))


def test_the_table_lets_both_stages_share_an_8_gb_card() -> None:
    vision = ModelKey.of(Stage.ANALYZE, ["clip-vit-b-32-laion2b", "yolov8n"], "float16", 16)

    assert NEEDS[WHISPER] + NEEDS[vision] <= 8192 - 512


def test_a_model_that_nobody_measured_takes_the_whole_smallest_device() -> None:
    unknown = ModelKey.of(Stage.ANALYZE, ["another"], "float16", 16)

    assert find_need(unknown, {}, ONE) == Need(7680, NeedSource.UNKNOWN)
    assert find_need(unknown, {}, configuration()) == Need(0, NeedSource.UNKNOWN)


def test_what_was_measured_goes_before_the_table() -> None:
    measured = {WHISPER: Need(5056, NeedSource.MEASURED, 3)}

    assert find_need(WHISPER, measured, ONE).mib == 5056
    assert find_need(WHISPER, {}, ONE).mib == 4608


@pytest.mark.parametrize(("peak_mib", "need"), [(6900, 7616), (7200, 7680), (7680, 7680), (8000, 7680)])
def test_a_peak_that_the_largest_card_held_fits_it_with_less_margin(peak_mib: int, need: int) -> None:
    one = configuration(8192)
    found = find_need(WHISPER, {WHISPER: Need(with_margin(peak_mib), NeedSource.MEASURED, 3)}, one)

    assert found == Need(need, NeedSource.MEASURED, 3)
    assert one.fits(found.mib)


def test_a_peak_of_a_larger_card_that_is_gone_fits_no_smaller_one() -> None:
    measured = {WHISPER: Need(with_margin(20_000), NeedSource.MEASURED, 3)}

    assert find_need(WHISPER, measured, configuration(8192)).mib == 22016
    assert find_need(WHISPER, measured, configuration()).mib == 22016


def test_two_measurements_are_not_enough_and_the_highest_of_three_counts(media_database: Engine) -> None:
    for number, peak_mib in enumerate((4000, 4400)):
        run_lease(media_database, f"run {number}", peak_mib)
    run_lease(media_database, "unseen", None)
    assert measured_needs(media_database) == {}
    run_lease(media_database, "third", 4100)

    assert measured_needs(media_database) == {WHISPER: Need(4864, NeedSource.MEASURED, 3)}


def test_only_the_last_twenty_count(media_database: Engine) -> None:
    run_lease(media_database, "long ago", 9000)
    for number in range(20):
        run_lease(media_database, f"run {number}", 1000)

    assert measured_needs(media_database)[WHISPER] == Need(1152, NeedSource.MEASURED, 20)


def test_kinds_of_work_are_measured_apart_whatever_the_order_of_their_models(media_database: Engine) -> None:
    for number in range(3):
        run_lease(media_database, f"run {number}", 1000, models=("a", "b") if number else ("b", "a"))
        run_lease(media_database, f"another {number}", 2000, models=("a",))

    found = {key.models: need.mib for key, need in measured_needs(media_database).items()}
    assert found == {("a", "b"): 1152, ("a",): 2240}


@pytest.mark.parametrize(("peak_mib", "need"), [(1, 64), (58, 64), (59, 128), (4189, 4608), (640, 704), (5760, 6336)])
def test_a_peak_gets_a_tenth_more_and_is_rounded_up(peak_mib: int, need: int) -> None:
    assert with_margin(peak_mib) == need


@given(st.integers(1, 10**6), st.integers(1, 10**6))
def test_the_margin_holds_and_keeps_the_order(peak_mib: int, other_mib: int) -> None:
    need = with_margin(peak_mib)

    assert need % 64 == 0
    assert 1.1 * peak_mib <= need + 1e-6
    assert need < 1.1 * peak_mib + 64
    assert (peak_mib <= other_mib) <= (need <= with_margin(other_mib))
