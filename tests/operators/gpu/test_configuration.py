"""What the environment says of GPUs, and the slots and needs that follow from it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from operators.errors import ChoiceInvalid, SettingMissing
from operators.gpu.configuration import GpuConfiguration, share_out
from stage_contract.vocabulary import Stage
from tests.operators.gpu.samples import configuration

SIZES = st.lists(st.integers(1024, 200_000), min_size=1, max_size=6)
NEEDS = st.integers(1, 220_000)
TWO = {"NIGHTREEL_GPU_DEVICES": "GPU-1a2b,MIG-3c4d", "NIGHTREEL_GPU_VRAM_MIB": "8192, 24576"}


def budgets(sizes: list[int]) -> st.SearchStrategy[int]:
    return st.one_of(st.just(0), st.integers(1, min(sizes) - 512))


SHARED = SIZES.flatmap(lambda sizes: st.tuples(st.just(sizes), budgets(sizes)))


def test_without_devices_there_is_no_gpu_and_nothing_else_is_asked_for() -> None:
    found = GpuConfiguration.from_environment({"NIGHTREEL_GPU_DEVICES": "", "NIGHTREEL_GPU_BUDGET_MIB": "9999"})

    assert (found.devices, found.slots, found.largest_mib, found.smallest_mib) == ((), 0, 0, 0)
    assert not found.fits(1)
    assert found.pool_slots(4608) == 1
    found.require_fit(Stage.TRANSCRIBE, 10**6)


def test_the_whole_environment_is_read() -> None:
    found = GpuConfiguration.from_environment(
        TWO
        | {
            "NIGHTREEL_GPU_RESERVE_MIB": "192",
            "NIGHTREEL_GPU_BUDGET_MIB": "2000",
            "NIGHTREEL_GPU_NEEDS": "audio.transcribe=4608, vision.analyze=2304",
            "NIGHTREEL_GPU_AGENT_URL": "http://elsewhere:1",
            "NIGHTREEL_GPU_PATIENCE_S": "4.5",
            "NIGHTREEL_GPU_BREAKER_WAIT_S": "8",
        }
    )

    assert [(device.uuid, device.capacity_mib, device.slots) for device in found.devices] == [
        ("GPU-1a2b", 8000, 4),
        ("MIG-3c4d", 24384, 12),
    ]
    assert found.needs == {Stage.TRANSCRIBE: 4608, Stage.ANALYZE: 2304}
    assert (found.agent_url, found.patience_s, found.breaker_wait_s) == ("http://elsewhere:1", 4.5, 8.0)
    assert [found.pool_slots_of(stage) for stage in found.needs] == [3, 2]


def test_one_budget_per_card_is_one_slot_per_card_whatever_a_stage_needs() -> None:
    found = GpuConfiguration.from_environment(TWO)

    assert found.whole_device
    assert [device.slots for device in found.devices] == [1, 1]
    assert found.pool_slots(100) == found.pool_slots(24_000) == 1


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"NIGHTREEL_GPU_DEVICES": "0,1"}, r"must be UUIDs.*'0'.*nvidia-smi -L"),
        ({"NIGHTREEL_GPU_DEVICES": "GPU-1,GPU-1"}, "GPU-1 is there twice; remove one"),
        ({"NIGHTREEL_GPU_VRAM_MIB": "8192"}, "2 devices and 1 numbers"),
        ({"NIGHTREEL_GPU_VRAM_MIB": "8192,8 GB"}, r"whole numbers.*'8 GB'"),
        ({"NIGHTREEL_GPU_RESERVE_MIB": "8192"}, "must leave VRAM to use: GPU-1a2b has 8192 MiB, the reserve is 8192"),
        ({"NIGHTREEL_GPU_RESERVE_MIB": "-1"}, "whole numbers"),
        ({"NIGHTREEL_GPU_BUDGET_MIB": "8000"}, "a slot is 8000 MiB, GPU-1a2b has 7680 .*lower the budget"),
        ({"NIGHTREEL_GPU_NEEDS": "audio=1"}, "found 'audio=1'"),
        ({"NIGHTREEL_GPU_NEEDS": "audio.transcribe"}, "found 'audio.transcribe'"),
        ({"NIGHTREEL_GPU_PATIENCE_S": "soon"}, "must be seconds, more than 0: found 'soon'"),
        ({"NIGHTREEL_GPU_PATIENCE_S": "nan"}, "must be seconds"),
        ({"NIGHTREEL_GPU_BREAKER_WAIT_S": "0"}, "must be seconds"),
    ],
)
def test_what_does_not_fit_is_refused_with_the_values_and_the_remedy(changed: dict[str, str], message: str) -> None:
    with pytest.raises(ChoiceInvalid, match=message):
        GpuConfiguration.from_environment(TWO | changed)


def test_devices_without_their_sizes_are_refused() -> None:
    with pytest.raises(SettingMissing, match=r"NIGHTREEL_GPU_VRAM_MIB .* is not set; `make up` asks"):
        GpuConfiguration.from_environment({"NIGHTREEL_GPU_DEVICES": "GPU-1"})


def test_a_stage_that_no_device_can_hold_is_refused_with_the_remedy() -> None:
    with pytest.raises(ChoiceInvalid, match=r"needs 9216 MiB, the largest has 7680 MiB.*route vision.analyze"):
        configuration(8192).require_fit(Stage.ANALYZE, 9216)


@given(SHARED)
def test_slots_never_stand_for_more_than_a_device_has(shared: tuple[list[int], int]) -> None:
    sizes, budget_mib = shared
    found = configuration(*sizes, budget_mib=budget_mib)

    for device in found.devices:
        assert device.slots >= 1
        assert device.slots * budget_mib <= device.capacity_mib
        assert not budget_mib or (device.slots + 1) * budget_mib > device.capacity_mib


@given(SHARED, NEEDS)
def test_a_task_never_asks_for_more_slots_than_there_are(shared: tuple[list[int], int], need_mib: int) -> None:
    sizes, budget_mib = shared
    found = configuration(*sizes, budget_mib=budget_mib)

    assert 1 <= found.pool_slots(need_mib) <= found.slots


@given(SHARED, NEEDS, st.integers(0, 10_000))
def test_a_larger_need_never_takes_fewer_slots(shared: tuple[list[int], int], need_mib: int, more_mib: int) -> None:
    sizes, budget_mib = shared
    found = configuration(*sizes, budget_mib=budget_mib)
    if found.fits(need_mib + more_mib):
        assert found.pool_slots(need_mib) <= found.pool_slots(need_mib + more_mib)


@given(st.integers(0, 300_000), st.integers(0, 300_000), st.integers(0, 300_000))
def test_a_device_is_refused_exactly_when_a_slot_would_not_fit(
    vram_mib: int, reserve_mib: int, budget_mib: int
) -> None:
    if vram_mib > reserve_mib and budget_mib <= vram_mib - reserve_mib:
        assert share_out("GPU-1", vram_mib, reserve_mib, budget_mib).capacity_mib == vram_mib - reserve_mib
    else:
        with pytest.raises(ChoiceInvalid, match="lower the"):
            share_out("GPU-1", vram_mib, reserve_mib, budget_mib)


@pytest.mark.parametrize("old", ["MIG-GPU-6f0a1f3e-1b2c/1/0", "MIG-GPU-6f0a1f3e-1b2c"])
def test_the_old_name_of_a_slice_is_refused_with_the_remedy(old: str) -> None:
    with pytest.raises(ChoiceInvalid, match=rf"{old} is what drivers before 470 call a slice; .* MIG-<uuid>: install"):
        GpuConfiguration.from_environment({"NIGHTREEL_GPU_DEVICES": old, "NIGHTREEL_GPU_VRAM_MIB": "4864"})
