"""A stage computes as many pictures or windows at a time as the VRAM of its share holds."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from operators.gpu.batches import choose_batch, room_mib
from operators.gpu.configuration import GpuConfiguration
from operators.gpu.needs import ModelKey, Need, NeedSource, find_need
from stage_contract.resources import BATCH_SIZES
from stage_contract.vocabulary import Stage, Variant
from tests.operators.gpu.samples import configuration

MODELS = {Stage.TRANSCRIBE: ("whisper-large-v3",), Stage.ANALYZE: ("yolov8n", "clip-vit-b-32-laion2b")}
STAGES = st.sampled_from(sorted(MODELS))


@st.composite
def cards(draw: st.DrawFn) -> GpuConfiguration:
    """Some cards, whole or shared."""
    sizes = draw(st.lists(st.integers(1024, 90_000), min_size=1, max_size=3))
    return configuration(*sizes, budget_mib=draw(st.one_of(st.just(0), st.integers(256, min(sizes) - 512))))


def key(stage: Stage, batch_size: int) -> ModelKey:
    return ModelKey.of(stage, MODELS[stage], "float16", batch_size)


def size(stage: Stage, gpus: GpuConfiguration, **usable_mib: int) -> int:
    """What is chosen with nothing measured."""
    usable = {uuid.replace("_", "-"): mib for uuid, mib in usable_mib.items()}
    return choose_batch(stage, MODELS[stage], "float16", {}, gpus, usable).key.batch_size


@pytest.mark.parametrize(
    ("vram_mib", "windows", "pictures"), [(24576, 16, 64), (8192, 8, 64), (6144, 4, 64), (4096, 1, 32), (2048, 1, 8)]
)
def test_one_job_at_a_time_gets_a_batch_for_the_whole_card(vram_mib: int, windows: int, pictures: int) -> None:
    whole = configuration(vram_mib)
    assert (size(Stage.TRANSCRIBE, whole), size(Stage.ANALYZE, whole)) == (windows, pictures)


@pytest.mark.parametrize(
    ("budget_mib", "windows", "pictures"),
    # Where Whisper takes several slots anyway, their remainder is the batch's: 6 of 900 hold four windows.
    [(12000, 16, 64), (7000, 8, 64), (2304, 1, 16), (900, 4, 8)],
)
def test_a_smaller_share_of_a_card_gets_a_smaller_batch(budget_mib: int, windows: int, pictures: int) -> None:
    shared = configuration(24576, budget_mib=budget_mib)
    assert (size(Stage.TRANSCRIBE, shared), size(Stage.ANALYZE, shared)) == (windows, pictures)


def test_the_batch_fits_each_card_that_holds_the_models() -> None:
    assert size(Stage.TRANSCRIBE, configuration(24576, 8192)) == 8
    assert size(Stage.TRANSCRIBE, configuration(24576, 4096)) == 16, "no Whisper runs on 4 GB: it bounds nothing"


def test_what_other_programs_take_makes_the_batch_smaller_and_keeps_the_card() -> None:
    assert size(Stage.TRANSCRIBE, configuration(8192), GPU_1=6000) == 4
    assert size(Stage.TRANSCRIBE, configuration(8192), GPU_1=1000) == 1


def test_a_measured_batch_goes_before_the_table() -> None:
    tight = {key(Stage.TRANSCRIBE, 8): Need(8000, NeedSource.MEASURED, 3)}
    loose = {key(Stage.TRANSCRIBE, 16): Need(7104, NeedSource.MEASURED, 3)}
    chosen = [
        choose_batch(Stage.TRANSCRIBE, MODELS[Stage.TRANSCRIBE], "float16", measured, configuration(9000))
        for measured in (tight, loose)
    ]
    assert [batch.key.batch_size for batch in chosen] == [8, 16]


def test_a_batch_that_was_seen_to_take_more_than_the_card_is_not_chosen() -> None:
    measured = {key(Stage.TRANSCRIBE, 8): Need(9500, NeedSource.MEASURED, 3)}
    chosen = choose_batch(Stage.TRANSCRIBE, MODELS[Stage.TRANSCRIBE], "float16", measured, configuration(8192))
    assert chosen.key == key(Stage.TRANSCRIBE, 4)


def test_models_that_nobody_measured_get_the_smallest_batch() -> None:
    chosen = choose_batch(Stage.ANALYZE, ["another"], "float16", {}, configuration(81920))
    assert (chosen.key.batch_size, chosen.need) == (8, Need(81408, NeedSource.UNKNOWN))


def test_one_batch_size_that_was_measured_makes_it_known() -> None:
    measured = {ModelKey.of(Stage.ANALYZE, ["another"], "float16", 32): Need(9000, NeedSource.MEASURED, 3)}
    chosen = choose_batch(Stage.ANALYZE, ["another"], "float16", measured, configuration(81920))
    assert chosen.key.batch_size == 32


@given(STAGES, cards(), st.dictionaries(st.sampled_from([16, 8, 4, 1, 64, 32]), st.integers(64, 90_000)))
def test_the_need_fits_the_room_or_the_batch_is_the_smallest(
    stage: Stage, gpus: GpuConfiguration, peaks: dict[int, int]
) -> None:
    measured = {key(stage, batch): Need(mib, NeedSource.MEASURED, 3) for batch, mib in peaks.items()}
    chosen = choose_batch(stage, MODELS[stage], "float16", measured, gpus)
    smallest = key(stage, min(BATCH_SIZES[stage, Variant.CUDA]))
    room = room_mib(find_need(smallest, measured, gpus).mib, gpus, {})
    assert chosen.key == smallest or chosen.need.mib <= room


@given(STAGES, cards(), st.integers(0, 40_000))
def test_a_larger_batch_takes_no_more_slots_and_no_card_away(stage: Stage, gpus: GpuConfiguration, more: int) -> None:
    chosen = choose_batch(stage, MODELS[stage], "float16", {}, gpus)
    least = find_need(key(stage, min(BATCH_SIZES[stage, Variant.CUDA])), {}, gpus).mib
    hosts = {device.uuid for device in gpus.devices if device.capacity_mib >= least}
    assert hosts == {device.uuid for device in gpus.devices if device.capacity_mib >= chosen.need.mib}
    assert gpus.pool_slots(chosen.need.mib) <= gpus.pool_slots(least)
    larger = configuration(*(device.vram_mib + more for device in gpus.devices), budget_mib=gpus.budget_mib)
    if len(gpus.devices) == 1:
        assert choose_batch(stage, MODELS[stage], "float16", {}, larger).key.batch_size >= chosen.key.batch_size
