"""The agent as a process, while the GPUs it looks at get sick and well again."""

from pathlib import Path

import httpx
import pytest

from operators.gpu.configuration import GpuConfiguration, share_out
from operators.gpu.standing import GpuState, device_standings
from stage_contract.cuda_device import read_memory
from stage_contract.gpu_health import HealthCode, HealthVerdict, XidSeverity
from tests.images.gpu_agent.running_agent import RunningAgent, codes, device
from tests.simulation.nvml_state import (
    DRIVER_MISMATCH,
    DRIVER_NOT_LOADED,
    FUNCTION_NOT_FOUND,
    HW_THERMAL_SLOWDOWN,
    NOT_SUPPORTED,
    RESET_REQUIRED,
    STATE_VARIABLE,
    UNKNOWN_ERROR,
    NvmlState,
    RemappedRows,
    SimulatedGpu,
    SimulatedSlice,
)


def test_healthy_gpus_are_told_with_what_they_are(agent: RunningAgent) -> None:
    health = agent.health()
    assert health.verdict is HealthVerdict.HEALTHY
    assert not health.reasons
    assert (health.driver_version, health.library_version, health.cuda_version) == ("570.86.15", "570.86.15", "12.8")
    first = device(health, "GPU-1")
    assert (first.name, first.compute_capability) == ("NVIDIA L4", "8.9")
    assert (first.total_mib, first.used_mib) == (7892, 100), "the driver's reserve is neither room nor use"
    assert (first.temperature_c, first.power_w, first.utilization) == (45, 30.0, 0.0)
    assert first.recovery_action == "none"


@pytest.mark.parametrize(
    ("init_code", "code", "verdict", "remedy"),
    [
        (DRIVER_MISMATCH, HealthCode.DRIVER_MISMATCH, HealthVerdict.UNHEALTHY, "restart the host, or unload and load"),
        (DRIVER_NOT_LOADED, HealthCode.DRIVER_NOT_LOADED, HealthVerdict.UNHEALTHY, "modprobe nvidia"),
        (UNKNOWN_ERROR, HealthCode.NVML_ERROR, HealthVerdict.UNKNOWN, "recreate the agent's container"),
    ],
)
def test_a_driver_that_does_not_start_makes_all_devices_unusable_until_it_does(
    agent: RunningAgent, init_code: int, code: HealthCode, verdict: HealthVerdict, remedy: str
) -> None:
    agent.nvml.change(init_code=init_code)
    health = agent.until_reason(code)
    assert health.verdict is verdict
    assert remedy in health.reasons[0].message
    assert [found.device_uuid for found in health.devices] == ["GPU-1", "GPU-2"], "they are known from before"
    assert all(found.verdict is verdict and codes(health, found.device_uuid) == {code} for found in health.devices)
    agent.nvml.change(init_code=0)
    agent.until(lambda health: health.verdict is HealthVerdict.HEALTHY)


def test_the_versions_of_wsl_differ_and_its_gpu_is_used(agent: RunningAgent) -> None:
    agent.nvml.change(driver_version="581.42", library_version="13.580.95")
    health = agent.until_reason(HealthCode.DRIVER_MISMATCH)
    assert health.verdict is HealthVerdict.DEGRADED
    assert "the driver is 581.42 and NVML's library 580.95" in health.reasons[0].message
    configuration = GpuConfiguration((share_out("GPU-1", 8192, reserve_mib=512, budget_mib=0),))
    (standing,) = device_standings(GpuState(configuration, health, {}, {}, health.observed_at), 4608, 0.0)
    assert standing.is_usable, standing.message


def test_work_that_takes_all_of_an_idle_card_fits_a_card_with_a_large_reserve(
    agent: RunningAgent, nvml_library: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    agent.nvml.change_gpu("GPU-2", total_mib=81920, reserved_mib=800)
    health = agent.until(lambda health: device(health, "GPU-2").total_mib == 81120)
    idle = share_out("GPU-2", 81120, reserve_mib=512, budget_mib=0)
    state = GpuState(GpuConfiguration((idle,)), health, {}, {}, health.observed_at)
    (standing,) = device_standings(state, idle.capacity_mib, 0.0)
    assert (standing.is_usable, standing.foreign_mib) == (True, 0), standing.message
    # As the stage sees it in its container.
    monkeypatch.setenv(STATE_VARIABLE, str(agent.nvml.path))
    assert idle.capacity_mib <= read_memory("GPU-2", str(nvml_library)).free_mib <= 81120


@pytest.mark.parametrize(
    "nonsense", [{"driver_version": "x" * 70}, {"library_version": "12.none"}, {"cuda_version": -5}]
)
def test_versions_that_are_none_are_not_believed(agent: RunningAgent, nonsense: dict[str, object]) -> None:
    agent.nvml.change(**nonsense)
    health = agent.until_reason(HealthCode.NONSENSE)
    assert health.verdict is HealthVerdict.UNKNOWN
    assert None in (health.driver_version, health.library_version, health.cuda_version)


def test_a_gpu_that_is_lost_is_told_by_its_uuid_and_the_other_stays_well(agent: RunningAgent) -> None:
    agent.nvml.change_gpu("GPU-1", lost=True)
    health = agent.until_reason(HealthCode.GPU_LOST, "GPU-1")
    assert device(health, "GPU-1").verdict is HealthVerdict.UNHEALTHY
    assert device(health, "GPU-1").total_mib == 7892
    assert device(health, "GPU-1").used_mib is None
    assert device(health, "GPU-2").verdict is HealthVerdict.HEALTHY
    assert health.verdict is HealthVerdict.UNHEALTHY
    agent.nvml.change_gpu("GPU-1", lost=False)
    agent.until(lambda health: health.verdict is HealthVerdict.HEALTHY)


def test_a_gpu_that_is_listed_no_more_is_told_as_missing(agent: RunningAgent) -> None:
    agent.nvml.write(NvmlState(gpus=agent.nvml.read().gpus[1:]))
    health = agent.until_reason(HealthCode.NOT_FOUND, "GPU-1")
    assert device(health, "GPU-1").verdict is HealthVerdict.UNHEALTHY
    assert device(health, "GPU-2").verdict is HealthVerdict.HEALTHY


def test_a_host_without_any_gpu_says_so(agent: RunningAgent) -> None:
    agent.nvml.write(NvmlState())
    assert agent.until_reason(HealthCode.NOT_FOUND).verdict is HealthVerdict.UNHEALTHY


def test_a_fatal_xid_makes_its_gpu_unusable_for_a_while(agent: RunningAgent) -> None:
    agent.until_watching("GPU-1", "GPU-2")
    agent.nvml.raise_xid("GPU-1", 79)
    health = agent.until_reason(HealthCode.FATAL_XID, "GPU-1")
    assert device(health, "GPU-1").verdict is HealthVerdict.UNHEALTHY
    assert "fell off the bus" in device(health, "GPU-1").reasons[0].message
    assert device(health, "GPU-2").verdict is HealthVerdict.HEALTHY
    health = agent.until(lambda health: health.verdict is HealthVerdict.HEALTHY)
    (event,) = device(health, "GPU-1").xids
    assert (event.xid, event.severity) == (79, XidSeverity.DEVICE), "it is forgiven and not forgotten"


def test_an_application_xid_is_kept_and_no_fault_of_the_gpu(agent: RunningAgent) -> None:
    agent.until_watching("GPU-1")
    agent.nvml.raise_xid("GPU-1", 31)
    health = agent.until(lambda health: bool(device(health, "GPU-1").xids))
    assert health.verdict is HealthVerdict.HEALTHY
    assert device(health, "GPU-1").xids[0].severity is XidSeverity.APPLICATION


def test_xids_that_come_at_once_are_all_seen(agent: RunningAgent) -> None:
    agent.until_watching("GPU-1", "GPU-2")
    for xid in (31, 63, 79):
        agent.nvml.raise_xid("GPU-2", xid)
    health = agent.until(lambda health: len(device(health, "GPU-2").xids) == 3)
    assert [event.xid for event in device(health, "GPU-2").xids] == [31, 63, 79]
    assert {HealthCode.FATAL_XID, HealthCode.WATCHED_XID} <= codes(health, "GPU-2")


def test_xids_are_watched_again_when_a_gpu_came_back(agent: RunningAgent) -> None:
    agent.until_watching("GPU-1", "GPU-2")
    agent.nvml.change_gpu("GPU-1", lost=True)
    agent.until_reason(HealthCode.GPU_LOST, "GPU-1")
    agent.nvml.change_gpu("GPU-1", lost=False)
    agent.until(lambda health: health.verdict is HealthVerdict.HEALTHY)
    agent.until_watching("GPU-1", "GPU-2")
    agent.nvml.raise_xid("GPU-1", 31)
    agent.until(lambda health: bool(device(health, "GPU-1").xids))


def test_what_a_geforce_does_not_support_is_null_and_no_fault(agent: RunningAgent) -> None:
    geforce = SimulatedGpu(
        uuid="GPU-9",
        total_mib=8192,
        name="NVIDIA GeForce RTX 4060",
        ecc_uncorrected=None,
        remapped=None,
        recovery_action=None,
        utilization=None,
        slowdowns=None,
        failures={"nvmlDeviceGetMemoryInfo_v2": FUNCTION_NOT_FOUND, "nvmlDeviceGetTemperatureV": NOT_SUPPORTED},
    )
    agent.nvml.write(NvmlState(gpus=(*agent.nvml.read().gpus, geforce)))
    health = agent.until(lambda health: len(health.devices) == 3)
    found = device(health, "GPU-9")
    assert found.verdict is HealthVerdict.HEALTHY
    assert (found.ecc_uncorrected, found.rows_remapped, found.recovery_action, found.utilization) == (None,) * 4
    assert (found.total_mib, found.temperature_c) == (8192, 45), "older functions tell them"


POWER, MEMORY = "nvmlDeviceGetPowerUsage", "nvmlDeviceGetMemoryInfo_v2"


@pytest.mark.parametrize(
    ("change", "code", "verdict"),
    [
        ({"slowdowns": HW_THERMAL_SLOWDOWN}, HealthCode.THERMAL_SLOWDOWN, HealthVerdict.DEGRADED),
        ({"slowdowns": 0x80}, HealthCode.POWER_BRAKE, HealthVerdict.DEGRADED),
        ({"ecc_uncorrected": 2}, HealthCode.ECC_UNCORRECTED, HealthVerdict.UNHEALTHY),
        ({"remapped": RemappedRows(pending=True)}, HealthCode.ROW_REMAP_PENDING, HealthVerdict.DEGRADED),
        ({"remapped": RemappedRows(failed=True)}, HealthCode.ROW_REMAP_FAILED, HealthVerdict.UNHEALTHY),
        ({"pages_pending": True}, HealthCode.ROW_REMAP_PENDING, HealthVerdict.DEGRADED),
        ({"recovery_action": 1}, HealthCode.RECOVERY_NEEDED, HealthVerdict.UNHEALTHY),
        (
            {"failures": {POWER: RESET_REQUIRED}},
            HealthCode.RECOVERY_NEEDED,
            HealthVerdict.UNHEALTHY,
        ),
        ({"failures": {POWER: UNKNOWN_ERROR}}, HealthCode.NVML_ERROR, HealthVerdict.DEGRADED),
        ({"failures": {MEMORY: UNKNOWN_ERROR}}, HealthCode.NVML_ERROR, HealthVerdict.UNKNOWN),
    ],
)
def test_a_fault_of_one_gpu_is_told_with_its_weight(
    agent: RunningAgent, change: dict[str, object], code: HealthCode, verdict: HealthVerdict
) -> None:
    agent.nvml.change_gpu("GPU-2", **change)
    health = agent.until_reason(code, "GPU-2")
    assert device(health, "GPU-2").verdict is verdict
    assert device(health, "GPU-1").verdict is HealthVerdict.HEALTHY


def test_slices_are_devices_and_their_gpu_is_none(agent: RunningAgent) -> None:
    slices = tuple(SimulatedSlice(uuid=f"MIG-{letter}", total_mib=4864, other_mib=100) for letter in "ab")
    agent.nvml.change_gpu("GPU-2", slices=slices, ecc_uncorrected=None)
    health = agent.until(lambda health: len(health.devices) == 3)
    assert [found.device_uuid for found in health.devices] == ["GPU-1", "MIG-a", "MIG-b"]
    assert health.verdict is HealthVerdict.HEALTHY, "GPU-2 is not missing: it is in slices"
    assert (device(health, "MIG-a").total_mib, device(health, "MIG-a").used_mib) == (4864, 100)
    assert device(health, "MIG-a").temperature_c == 45

    agent.until_watching("GPU-2")
    agent.nvml.raise_xid("GPU-2", 31, gpu_instance=2)
    health = agent.until(lambda health: bool(device(health, "MIG-b").xids))
    assert not device(health, "MIG-a").xids

    agent.nvml.change_gpu("GPU-2", lost=True)
    health = agent.until_reason(HealthCode.GPU_LOST, "MIG-a")
    assert codes(health, "MIG-b") == {HealthCode.GPU_LOST}


def test_what_else_is_asked_for_is_answered_with_a_hint(agent: RunningAgent) -> None:
    assert "/health" in httpx.get(agent.url).text
    assert httpx.get(f"{agent.url}/nonesuch").status_code == 404
