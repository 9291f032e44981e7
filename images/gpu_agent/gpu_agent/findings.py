"""What a reading means: each fault is a finding, with the verdict that it leads to and words for a person.

Findings are only ever added, and a verdict is the worst of its findings: so no fault can improve one.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from gpu_agent.reading import DeviceReading, Fault, FaultKind, SystemReading
from gpu_agent.xids import XidRecord, meaning_of
from stage_contract.gpu_health import HealthCode, HealthReason, HealthVerdict, XidSeverity

# Best to worst. `unknown` is treated as `unhealthy`, but `unhealthy` says more.
RANK = {
    verdict: rank
    for rank, verdict in enumerate(
        (HealthVerdict.HEALTHY, HealthVerdict.DEGRADED, HealthVerdict.UNKNOWN, HealthVerdict.UNHEALTHY)
    )
}
VERSION = re.compile(r"\d{1,4}(\.\d{1,4}){1,3}")

THERMAL = {"hardware_thermal": "the hardware", "software_thermal": "the driver"}


@dataclass(frozen=True)
class Meaning:
    """What a return code of NVML means, and what to do."""

    verdict: HealthVerdict
    code: HealthCode
    remedy: str


OFF_THE_BUS = Meaning(
    HealthVerdict.UNHEALTHY,
    HealthCode.GPU_LOST,
    "it fell off the bus: restart the host; if it comes back, check power, cooling and seating",
)
OTHER_MEANING = Meaning(HealthVerdict.UNKNOWN, HealthCode.NVML_ERROR, "see the kernel's log")
# By NVML's return codes (nvml.h, nvmlReturn_t).
MEANINGS = {
    4: Meaning(HealthVerdict.UNKNOWN, HealthCode.NVML_ERROR, "the agent's user must be allowed to open /dev/nvidia*"),
    9: Meaning(
        HealthVerdict.UNHEALTHY,
        HealthCode.DRIVER_NOT_LOADED,
        "load the driver with `modprobe nvidia`; `dmesg` tells if it will not load",
    ),
    12: Meaning(
        HealthVerdict.UNHEALTHY,
        HealthCode.NVML_MISSING,
        "give the container GPUs (NVIDIA's container toolkit brings libnvidia-ml.so.1), or install the driver",
    ),
    15: OFF_THE_BUS,
    16: Meaning(
        HealthVerdict.UNHEALTHY,
        HealthCode.RECOVERY_NEEDED,
        "reset it with `nvidia-smi --gpu-reset` while nothing runs on it, or restart the host",
    ),
    18: Meaning(
        HealthVerdict.UNHEALTHY,
        HealthCode.DRIVER_MISMATCH,
        "the driver was updated and not loaded: restart the host, or unload and load the nvidia modules",
    ),
    28: OFF_THE_BUS,
    999: Meaning(
        HealthVerdict.UNKNOWN,
        HealthCode.NVML_ERROR,
        "recreate the agent's container; if it stays so, restart the host",
    ),
}


@dataclass(frozen=True)
class Finding:
    """Something that is not as it should be."""

    verdict: HealthVerdict
    code: HealthCode
    message: str

    @property
    def reason(self) -> HealthReason:
        """The finding as /health tells it."""
        return HealthReason(code=self.code, message=self.message)


@dataclass(frozen=True)
class Versions:
    """Versions in their usual form; null where they are not told, or not understood."""

    driver: str | None
    library: str | None
    cuda: str | None


def worst(verdicts: Iterable[HealthVerdict]) -> HealthVerdict:
    """The worst verdict; healthy when there is none."""
    return max(verdicts, key=lambda verdict: RANK[verdict], default=HealthVerdict.HEALTHY)


def by_weight(findings: Iterable[Finding]) -> list[Finding]:
    """The worst first."""
    return sorted(findings, key=lambda finding: -RANK[finding.verdict])


def fault_finding(fault: Fault) -> Finding:
    """What a read that failed means."""
    if fault.kind is FaultKind.HANG:
        message = f"NVML does not answer when asked for {fault.what}: {fault.text}; if it stays so, restart the host"
        return Finding(HealthVerdict.UNKNOWN, HealthCode.NVML_HANGS, message)
    if fault.kind is FaultKind.DEATH:
        message = f"the process that asked NVML for {fault.what} broke: {fault.text}; see the agent's log"
        return Finding(HealthVerdict.UNKNOWN, HealthCode.NVML_ERROR, message)
    meaning = MEANINGS.get(fault.code or 0, OTHER_MEANING)
    said = f"NVML says {fault.text!r} ({fault.code}) when asked for {fault.what}"
    return Finding(meaning.verdict, meaning.code, f"{said}; {meaning.remedy}")


def read_versions(system: SystemReading) -> Versions:
    """Versions as people know them: NVML puts CUDA's major version before its own."""
    driver = system.driver_version
    library = (system.nvml_version or "").partition(".")[2]
    cuda = system.cuda_version
    return Versions(
        driver=driver if driver is not None and VERSION.fullmatch(driver) else None,
        library=library if VERSION.fullmatch(library) else None,
        cuda=f"{cuda // 1000}.{cuda % 1000 // 10}" if cuda is not None and 1000 <= cuda < 100_000 else None,
    )


def host_findings(system: SystemReading, stuck_pids: Sequence[int]) -> list[Finding]:
    """What is wrong with the host as a whole."""
    if system.fault is not None:
        found = [fault_finding(system.fault)]
    else:
        found = [*_version_findings(system), *_count_findings(system)]
    if stuck_pids:
        pids = ", ".join(map(str, stuck_pids))
        message = (
            f"processes that read NVML were killed and do not end: {pids}; the driver holds them: restart the host"
        )
        found.append(Finding(HealthVerdict.DEGRADED, HealthCode.NVML_HANGS, message))
    return found


def _count_findings(system: SystemReading) -> list[Finding]:
    if system.gpu_count:
        return []
    message = "NVML works and sees no GPU; give the agent's container all of them (NVIDIA_VISIBLE_DEVICES=all)"
    return [Finding(HealthVerdict.UNHEALTHY, HealthCode.NOT_FOUND, message)]


def _version_findings(system: SystemReading) -> list[Finding]:
    versions = read_versions(system)
    told = {
        "driver version": (system.driver_version, versions.driver),
        "library version": (system.nvml_version, versions.library),
        "CUDA version": (system.cuda_version, versions.cuda),
    }
    odd = [f"{what} {raw!r}" for what, (raw, understood) in told.items() if raw is not None and understood is None]
    if odd:
        message = f"NVML must tell versions such as 570.86.15: it tells {', '.join(odd)}; check which library is loaded"
        return [Finding(HealthVerdict.UNKNOWN, HealthCode.NONSENSE, message)]
    if versions.driver is None or versions.library is None or versions.driver == versions.library:
        return []
    # Under WSL they belong to different systems, 581.42 and 580.95 for instance, and work together. Where they do not,
    # NVML does not start (return code 18).
    message = (
        f"the driver is {versions.driver} and NVML's library {versions.library}; they work together, as under WSL they "
        "should: elsewhere the driver was updated, and the host should be restarted when it suits"
    )
    return [Finding(HealthVerdict.DEGRADED, HealthCode.DRIVER_MISMATCH, message)]


def device_findings(device: DeviceReading, xids: Sequence[XidRecord], xid_memory_s: float) -> list[Finding]:
    """What is wrong with one device that could be read. Null values are no findings."""
    recent = [record for record in xids if record.age_s < xid_memory_s and record.concerns(device)]
    return [
        *(_value_finding(fault) for fault in device.faults),
        *_recovery_findings(device),
        *_memory_findings(device),
        *_slowdown_findings(device),
        *_xid_findings(recent, xid_memory_s),
    ]


def _value_finding(fault: Fault) -> Finding:
    finding = fault_finding(fault)
    if finding.verdict is HealthVerdict.UNKNOWN and fault.what != "memory":
        # One value that cannot be read leaves the device usable; without its memory nothing can be placed on it.
        return Finding(HealthVerdict.DEGRADED, finding.code, finding.message)
    return finding


def _recovery_findings(device: DeviceReading) -> list[Finding]:
    if device.recovery_action in (None, "none"):
        return []
    message = f"the driver asks for {device.recovery_action} before this device is used again"
    return [Finding(HealthVerdict.UNHEALTHY, HealthCode.RECOVERY_NEEDED, message)]


def _memory_findings(device: DeviceReading) -> list[Finding]:
    found = []
    if device.ecc_uncorrected:
        message = (
            f"{device.ecc_uncorrected} memory errors since the driver was loaded could not be corrected: reset the "
            "device, and replace it if they return"
        )
        found.append(Finding(HealthVerdict.UNHEALTHY, HealthCode.ECC_UNCORRECTED, message))
    if device.remap_failed:
        message = "a bad memory row could not be remapped: replace the device"
        found.append(Finding(HealthVerdict.UNHEALTHY, HealthCode.ROW_REMAP_FAILED, message))
    if device.remap_pending:
        message = "a bad memory row is remapped at the next reset: reset the device when nothing runs on it"
        found.append(Finding(HealthVerdict.DEGRADED, HealthCode.ROW_REMAP_PENDING, message))
    if device.pages_pending:
        message = "a bad memory page is retired at the next reset: reset the device when nothing runs on it"
        found.append(Finding(HealthVerdict.DEGRADED, HealthCode.ROW_REMAP_PENDING, message))
    return found


def _slowdown_findings(device: DeviceReading) -> list[Finding]:
    found = []
    by_whom = [whose for name, whose in THERMAL.items() if name in device.slowdowns]
    if by_whom:
        heat = "" if device.temperature_c is None else f" at {device.temperature_c} °C"
        message = f"slowed down by {' and '.join(by_whom)} because of heat{heat}: check fans, airflow and dust"
        found.append(Finding(HealthVerdict.DEGRADED, HealthCode.THERMAL_SLOWDOWN, message))
    if "power_brake" in device.slowdowns:
        message = "slowed down by the power supply: check it, its cables and the chassis's power limit"
        found.append(Finding(HealthVerdict.DEGRADED, HealthCode.POWER_BRAKE, message))
    return found


def _xid_findings(recent: Sequence[XidRecord], xid_memory_s: float) -> list[Finding]:
    kinds = (
        (XidSeverity.DEVICE, HealthVerdict.UNHEALTHY, HealthCode.FATAL_XID),
        (XidSeverity.WATCH, HealthVerdict.DEGRADED, HealthCode.WATCHED_XID),
    )
    found = []
    for severity, verdict, code in kinds:
        numbers = sorted({record.event.xid for record in recent if record.event.severity is severity})
        for number in numbers:
            message = f"Xid {number} in the last {xid_memory_s:g} s: {meaning_of(number)}"
            found.append(Finding(verdict, code, message))
    return found
