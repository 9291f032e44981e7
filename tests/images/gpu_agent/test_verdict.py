"""How readings are judged, over all readings: a fault never helps, and what is not supported never hurts."""

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpu_agent.findings import RANK
from gpu_agent.reading import DeviceReading, Fault, FaultKind, GpuReading, HostReading, SystemReading
from gpu_agent.verdict import History, expected_devices, judge, missing_devices
from gpu_agent.xids import XidRecord, severity_of
from stage_contract.gpu_health import HealthCode, HealthVerdict, HostHealth, XidEvent, XidSeverity

NOW = datetime(2026, 1, 31, 2, 0, tzinfo=UTC)
MEMORY_S = 60.0
FATAL = 79

faults = st.builds(
    Fault,
    kind=st.sampled_from(FaultKind),
    what=st.sampled_from(["memory", "power", "ECC errors"]),
    code=st.sampled_from([1, 4, 9, 12, 15, 16, 17, 18, 28, 999]),
)
# Each value that a device may not support, and what it may be where it does.
VALUES = {
    "ecc_uncorrected": st.integers(0, 3),
    "rows_remapped": st.integers(0, 3),
    "remap_pending": st.booleans(),
    "remap_failed": st.booleans(),
    "pages_pending": st.booleans(),
    "recovery_action": st.sampled_from(["none", "gpu_reset", "action_9"]),
    "temperature_c": st.integers(0, 120),
    "utilization": st.floats(0, 1),
    "power_w": st.floats(0, 700),
    "total_mib": st.integers(1, 90_000),
    "used_mib": st.integers(0, 90_000),
    "compute_capability": st.just("8.9"),
}
WORSE = {
    "ecc_uncorrected": 1,
    "remap_pending": True,
    "remap_failed": True,
    "pages_pending": True,
    "recovery_action": "node_reboot",
    "slowdowns": ("software_thermal", "hardware_thermal", "power_brake"),
}
devices = st.builds(
    DeviceReading,
    device_uuid=st.just("GPU-1"),
    gpu_uuid=st.just("GPU-1"),
    gpu_index=st.just(0),
    name=st.just("NVIDIA L4"),
    slowdowns=st.sets(st.sampled_from(["power_cap", "hardware_thermal", "power_brake"])).map(tuple),
    faults=st.lists(faults, max_size=2).map(tuple),
    **{name: st.none() | values for name, values in VALUES.items()},
)
xid_numbers = st.sampled_from([13, 31, 43, 45, 48, 63, 64, 74, 79, 92, 94, 95, 109, 119, 120, 140, 143, 999])


def xid(number: int, age_s: float = 0.0, gpu: str = "GPU-1", instance: int | None = None) -> XidRecord:
    event = XidEvent(occurred_at=NOW, xid=number, severity=severity_of(number))
    return XidRecord(gpu, instance, event, age_s)


xids = st.lists(st.builds(xid, xid_numbers, st.floats(0, 200)), max_size=3).map(tuple)


def host(device: DeviceReading, **system: object) -> HostReading:
    versions = {"driver_version": "570.86.15", "nvml_version": "12.570.86.15", "cuda_version": 12080, "gpu_count": 1}
    return HostReading(
        system=SystemReading.model_validate({**versions, **system}),
        gpus=(GpuReading(gpu_uuid=device.gpu_uuid, devices=(device,)),),
    )


def judged(reading: HostReading, history: History | None = None) -> HostHealth:
    return judge(reading, history or History(), NOW, MEMORY_S)


def rank(health: HostHealth) -> tuple[int, int]:
    return RANK[health.verdict], max((RANK[device.verdict] for device in health.devices), default=0)


@given(devices, xids, st.sampled_from(sorted(WORSE)))
def test_a_worse_value_never_improves_a_verdict(
    device: DeviceReading, recent: tuple[XidRecord, ...], name: str
) -> None:
    worse = device.model_copy(update={name: WORSE[name]})
    before, after = (rank(judged(host(reading), History(xids=recent))) for reading in (device, worse))
    assert after[0] >= before[0]
    assert after[1] >= before[1]


@given(devices, faults)
def test_another_fault_never_improves_a_verdict(device: DeviceReading, fault: Fault) -> None:
    worse = device.model_copy(update={"faults": (*device.faults, fault)})
    assert rank(judged(host(worse))) >= rank(judged(host(device)))


@given(devices, xids, xid_numbers)
def test_another_xid_never_improves_a_verdict(device: DeviceReading, recent: tuple[XidRecord, ...], new: int) -> None:
    before = judged(host(device), History(xids=recent))
    after = judged(host(device), History(xids=(*recent, xid(new))))
    assert rank(after) >= rank(before)
    assert severity_of(new) is not XidSeverity.APPLICATION or rank(after) == rank(before)


@given(devices, xids, st.sampled_from(sorted(VALUES)))
def test_what_is_not_supported_never_worsens_a_verdict(
    device: DeviceReading, recent: tuple[XidRecord, ...], name: str
) -> None:
    lacking = device.model_copy(update={name: None})
    history = History(xids=recent)
    assert rank(judged(host(lacking), history)) <= rank(judged(host(device), history))


@given(devices, faults, xids)
def test_a_device_that_cannot_be_read_is_never_usable(
    device: DeviceReading, fault: Fault, recent: tuple[XidRecord, ...]
) -> None:
    history = History(known={"GPU-1": device}, xids=recent)
    unreadable = HostReading(system=host(device).system, gpus=(GpuReading(fault=fault),))
    unstarted = HostReading(system=SystemReading(fault=fault))
    for reading in (unreadable, unstarted):
        (told,) = judged(reading, history).devices
        assert told.verdict in (HealthVerdict.UNKNOWN, HealthVerdict.UNHEALTHY)
        assert told.reasons


@given(devices, xids)
def test_every_verdict_but_healthy_has_a_reason_and_the_worst_comes_first(
    device: DeviceReading, recent: tuple[XidRecord, ...]
) -> None:
    health = judged(host(device), History(xids=recent))
    assert HostHealth.model_validate_json(health.model_dump_json()) == health
    (told,) = health.devices
    assert bool(told.reasons) == (told.verdict is not HealthVerdict.HEALTHY)
    assert health.verdict is told.verdict


def plain(uuid: str = "GPU-1", index: int = 0) -> DeviceReading:
    return DeviceReading(device_uuid=uuid, gpu_uuid=uuid, gpu_index=index, name="NVIDIA L4", total_mib=8192, used_mib=1)


def test_an_xid_counts_while_it_is_recent() -> None:
    told = [judged(host(plain()), History(xids=(xid(FATAL, age),))).verdict for age in (0.0, 59.9, 60.0)]
    assert told == [HealthVerdict.UNHEALTHY, HealthVerdict.UNHEALTHY, HealthVerdict.HEALTHY]


def test_an_xid_of_another_gpu_or_slice_does_not_count() -> None:
    sliced = plain().model_copy(update={"gpu_instance": 1})
    others = (xid(FATAL, gpu="GPU-2"), xid(FATAL, instance=2))
    assert judged(host(sliced), History(xids=others)).verdict is HealthVerdict.HEALTHY
    assert judged(host(sliced), History(xids=(xid(FATAL, instance=1),))).verdict is HealthVerdict.UNHEALTHY
    assert judged(host(sliced), History(xids=(xid(FATAL),))).verdict is HealthVerdict.UNHEALTHY


@pytest.mark.parametrize(
    ("driver", "library"), [("570.94", "12.570.35.02"), ("581.42", "13.580.95"), ("552.55", "12.550.90.07")]
)
def test_versions_that_differ_while_nvml_works_degrade_for_such_is_wsl(driver: str, library: str) -> None:
    health = judged(host(plain(), driver_version=driver, nvml_version=library))
    assert health.verdict is HealthVerdict.DEGRADED
    assert [reason.code for reason in health.reasons] == [HealthCode.DRIVER_MISMATCH]


def test_each_missing_gpu_has_the_fault_of_its_own_place() -> None:
    known = {"GPU-1": plain("GPU-1", 0), "GPU-2": plain("GPU-2", 1)}
    lost, hung = (Fault(kind=FaultKind.ERROR, what="GPU 0", code=15), Fault(kind=FaultKind.HANG, what="GPU 1"))
    reading = HostReading(system=host(plain()).system, gpus=(GpuReading(fault=lost), GpuReading(fault=hung)))
    health = judged(reading, History(known=known))
    told = {device.device_uuid: device.verdict for device in health.devices}
    assert told == {"GPU-1": HealthVerdict.UNHEALTHY, "GPU-2": HealthVerdict.UNKNOWN}
    assert not health.reasons


def test_a_fault_of_a_gpu_that_was_never_read_is_the_hosts() -> None:
    reading = HostReading(
        system=host(plain()).system, gpus=(GpuReading(fault=Fault(kind=FaultKind.ERROR, what="GPU 0", code=15)),)
    )
    health = judged(reading)
    assert health.verdict is HealthVerdict.UNHEALTHY
    assert [reason.code for reason in health.reasons] == [HealthCode.GPU_LOST]


def test_a_missed_gpu_is_expected_until_it_is_back_and_an_old_slice_is_not() -> None:
    slices = tuple(plain(f"MIG-{n}", 1).model_copy(update={"gpu_uuid": "GPU-2", "gpu_instance": n}) for n in (1, 2))
    known = {device.device_uuid: device for device in (plain(), *slices)}
    anew = plain("MIG-3", 0).model_copy(update={"gpu_uuid": "GPU-2", "gpu_instance": 1})
    reading = HostReading(system=host(plain()).system, gpus=(GpuReading(gpu_uuid="GPU-2", devices=(anew,)),))
    assert [device.device_uuid for device in missing_devices(reading, known)] == ["GPU-1"]
    assert set(expected_devices(reading, known)) == {"GPU-1", "MIG-3"}


def test_readers_that_do_not_end_are_told_while_another_reads() -> None:
    reading = host(plain()).model_copy(update={"stuck_pids": (41, 42)})
    health = judged(reading)
    assert health.verdict is HealthVerdict.DEGRADED
    assert "41, 42" in health.reasons[0].message
