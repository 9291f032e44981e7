"""Judges a reading: what is each device's verdict, and the host's, and why. Pure; it reads no clock and no NVML."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from gpu_agent.findings import Finding, by_weight, device_findings, fault_finding, host_findings, read_versions, worst
from gpu_agent.reading import DeviceReading, HostReading
from gpu_agent.xids import XidRecord
from stage_contract.gpu_health import (
    ContainerPeak,
    DeviceHealth,
    GpuProcess,
    HealthCode,
    HealthReason,
    HealthVerdict,
    HostHealth,
    XidEvent,
)


@dataclass(frozen=True)
class History:
    """What earlier readings and the Xid watch leave to a judgement.

    `known` are the devices that were read before and are still expected, as they were then, by UUID;
    `containers` are those of processes, `peaks` those of devices.
    """

    known: Mapping[str, DeviceReading] = field(default_factory=dict)
    xids: Sequence[XidRecord] = ()
    peaks: Mapping[str, tuple[ContainerPeak, ...]] = field(default_factory=dict)
    containers: Mapping[int, str] = field(default_factory=dict)


def judge(reading: HostReading, history: History, observed_at: datetime, xid_memory_s: float) -> HostHealth:
    """The health of the host. Fatal and watched Xids count for `xid_memory_s`."""
    host = host_findings(reading.system, reading.stuck_pids)
    devices = [
        _read_device(device, device_findings(device, history.xids, xid_memory_s), history) for device in reading.devices
    ]
    missing = missing_devices(reading, history.known)
    for device in missing:
        # Its Xids say why, where its absence does not.
        xid_findings = device_findings(_bare(device), history.xids, xid_memory_s)
        devices.append(_missing_device(device, [*_why_missing(device, reading, missing), *xid_findings], history))
    if not missing:
        # A GPU that was never read has no UUID to be told under.
        host += [fault_finding(fault) for fault in reading.gpu_faults.values()]
    versions = read_versions(reading.system)
    host = by_weight(host)
    return HostHealth(
        observed_at=observed_at,
        verdict=worst([*(finding.verdict for finding in host), *(device.verdict for device in devices)]),
        reasons=tuple(finding.reason for finding in host),
        driver_version=versions.driver,
        library_version=versions.library,
        cuda_version=versions.cuda,
        devices=tuple(sorted(devices, key=lambda device: device.device_uuid)),
    )


def unread_health(observed_at: datetime) -> HostHealth:
    """The health before the first look at the host is over."""
    reason = HealthReason(code=HealthCode.NVML_ERROR, message="the first look at the host is not over yet")
    return HostHealth(observed_at=observed_at, verdict=HealthVerdict.UNKNOWN, reasons=(reason,))


def missing_devices(reading: HostReading, known: Mapping[str, DeviceReading]) -> list[DeviceReading]:
    """Known devices that this reading could not read; slices that were made anew are not missed."""
    read = {device.device_uuid for device in reading.devices}
    there = reading.gpu_uuids
    return [device for uuid, device in sorted(known.items()) if uuid not in read and device.gpu_uuid not in there]


def expected_devices(reading: HostReading, known: Mapping[str, DeviceReading]) -> dict[str, DeviceReading]:
    """What to expect next time: what was read now, and what was missed."""
    return {device.device_uuid: device for device in (*missing_devices(reading, known), *reading.devices)}


def _why_missing(device: DeviceReading, reading: HostReading, missing: Sequence[DeviceReading]) -> list[Finding]:
    if reading.system.fault is not None:
        return [fault_finding(reading.system.fault)]
    faults = reading.gpu_faults
    if device.gpu_index in faults:
        return [fault_finding(faults[device.gpu_index])]
    # NVML counts its GPUs anew: this one is one of those that no other missing one stands for.
    others = {other.gpu_index for other in missing}
    unclaimed = [fault_finding(fault) for index, fault in faults.items() if index not in others]
    message = "it was there and NVML lists it no more: see the kernel's log, and restart the host"
    return unclaimed or [Finding(HealthVerdict.UNHEALTHY, HealthCode.NOT_FOUND, message)]


def _bare(device: DeviceReading) -> DeviceReading:
    return DeviceReading(
        device_uuid=device.device_uuid,
        gpu_uuid=device.gpu_uuid,
        gpu_index=device.gpu_index,
        gpu_instance=device.gpu_instance,
        name=device.name,
    )


def _read_device(device: DeviceReading, findings: Sequence[Finding], history: History) -> DeviceHealth:
    return DeviceHealth(
        device_uuid=device.device_uuid,
        name=device.name,
        verdict=worst(finding.verdict for finding in findings),
        reasons=tuple(finding.reason for finding in by_weight(findings)),
        compute_capability=device.compute_capability,
        total_mib=device.total_mib,
        used_mib=device.used_mib,
        utilization=device.utilization,
        temperature_c=device.temperature_c,
        power_w=device.power_w,
        slowdowns=device.slowdowns,
        ecc_uncorrected=device.ecc_uncorrected,
        rows_remapped=device.rows_remapped,
        recovery_action=device.recovery_action,
        processes=tuple(
            GpuProcess(pid=process.pid, used_mib=process.used_mib, container_id=history.containers.get(process.pid))
            for process in device.processes
        ),
        peaks=history.peaks.get(device.device_uuid, ()),
        xids=_xids(device, history),
    )


def _missing_device(device: DeviceReading, findings: Sequence[Finding], history: History) -> DeviceHealth:
    return DeviceHealth(
        device_uuid=device.device_uuid,
        name=device.name,
        verdict=worst(finding.verdict for finding in findings),
        reasons=tuple(finding.reason for finding in by_weight(findings)),
        compute_capability=device.compute_capability,
        total_mib=device.total_mib,
        peaks=history.peaks.get(device.device_uuid, ()),
        xids=_xids(device, history),
    )


def _xids(device: DeviceReading, history: History) -> tuple[XidEvent, ...]:
    return tuple(record.event for record in history.xids if record.concerns(device))
