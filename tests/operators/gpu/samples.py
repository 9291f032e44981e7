"""GPUs, their health and leases, as tests need them."""

from datetime import UTC, datetime

from operators.gpu.configuration import GpuConfiguration, share_out
from operators.gpu.lease import LeaseRequest
from operators.gpu.standing import HeldLease
from stage_contract.gpu_health import (
    DeviceHealth,
    GpuProcess,
    HealthCode,
    HealthReason,
    HealthVerdict,
    HostHealth,
    XidEvent,
)
from stage_contract.request import TaskKey
from stage_contract.vocabulary import Stage

NOW = datetime(2026, 11, 21, 2, 0, tzinfo=UTC)
SMALL, OTHER, LARGE = "GPU-1", "GPU-2", "GPU-3"
RESERVE_MIB = 512


def configuration(*vram_mib: int, budget_mib: int = 0, patience_s: float = 60.0) -> GpuConfiguration:
    """Devices GPU-1, GPU-2, … of these sizes."""
    devices = tuple(
        share_out(f"GPU-{number}", vram, RESERVE_MIB, budget_mib) for number, vram in enumerate(vram_mib, start=1)
    )
    return GpuConfiguration(devices, RESERVE_MIB, budget_mib, patience_s=patience_s)


def device(
    uuid: str = SMALL,
    *codes: HealthCode,
    verdict: HealthVerdict = HealthVerdict.HEALTHY,
    total_mib: int | None = 8192,
    used_mib: int | None = 300,
    processes: tuple[GpuProcess, ...] = (),
    xids: tuple[XidEvent, ...] = (),
) -> DeviceHealth:
    return DeviceHealth(
        device_uuid=uuid,
        name="RTX 4060",
        verdict=verdict,
        reasons=tuple(HealthReason(code=code, message=f"{code} was found; mend it") for code in codes),
        total_mib=total_mib,
        used_mib=used_mib,
        processes=processes,
        xids=xids,
    )


def host(*devices: DeviceHealth) -> HostHealth:
    return HostHealth(observed_at=NOW, verdict=HealthVerdict.HEALTHY, devices=devices)


def healthy(settings: GpuConfiguration) -> HostHealth:
    """Every configured device, idle and well."""
    return host(*(device(found.uuid, total_mib=found.vram_mib) for found in settings.devices))


def sick_host(code: HealthCode, verdict: HealthVerdict = HealthVerdict.UNKNOWN) -> HostHealth:
    return HostHealth(
        observed_at=NOW, verdict=verdict, reasons=(HealthReason(code=code, message=f"{code} was found; mend it"),)
    )


def task(run_id: str = "night", task_id: str = "audio_transcribe_gpu", try_number: int = 1) -> TaskKey:
    return TaskKey(dag_id="process_media", run_id=run_id, task_id=task_id, try_number=try_number)


def request(
    run_id: str = "night", need_mib: int = 4608, priority: int = 1, try_number: int = 1, models: tuple[str, ...] = ()
) -> LeaseRequest:
    return LeaseRequest(
        task=task(run_id, try_number=try_number),
        stage=Stage.TRANSCRIBE,
        models=models or ("whisper-large-v3",),
        compute_type="float16",
        batch_size=1,
        need_mib=need_mib,
        priority=priority,
        container_name=f"container-of-{run_id}",
    )


def lease(uuid: str = SMALL, leased_mib: int = 4608, container_id: str | None = "c1", lease_id: int = 1) -> HeldLease:
    return HeldLease(
        lease_id=lease_id,
        dag_id="process_media",
        run_id="night",
        task_id="audio_transcribe_gpu",
        map_index=-1,
        stage=Stage.TRANSCRIBE,
        device_uuid=uuid,
        leased_mib=leased_mib,
        container_name="container-of-night",
        container_id=container_id,
        is_trial=False,
        granted_at=NOW,
    )
