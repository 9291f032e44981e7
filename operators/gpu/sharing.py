"""How the GPUs are shared out, and the settings that follow from them."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from operators.database import Database
from operators.errors import ChoiceInvalid, SettingMissing
from operators.gpu.batches import choose_batch
from operators.gpu.breaker import Breaker
from operators.gpu.breaker_store import breakers
from operators.gpu.choice import describe
from operators.gpu.configuration import GpuConfiguration, GpuDevice
from operators.gpu.lease import held_leases
from operators.gpu.needs import ModelKey, Need, measured_needs
from operators.gpu.routing_store import routing
from operators.gpu.standing import DeviceStanding, GpuState, HeldLease, Hindrance, device_standings
from operators.routing import GPU_STAGES, DevicePolicy, image_for
from stage_contract.gpu_health import HostHealth
from stage_contract.models import parse_models
from stage_contract.resources import DEFAULT_COMPUTE_TYPE
from stage_contract.vocabulary import Stage, Variant

# A GPU whose size nobody knows is waited for: the agent that was just started has read nothing yet.
SIZE_PATIENCE_S = 15.0
ASK_EVERY_S = 1.0
DEVICES = "NIGHTREEL_GPU_DEVICES"
VRAM = "NIGHTREEL_GPU_VRAM_MIB"
SLOTS = "NIGHTREEL_GPU_SLOTS"
NEEDS = "NIGHTREEL_GPU_NEEDS"


@dataclass(frozen=True)
class DeviceLine:
    """A GPU as it stands now, for work of any size."""

    device: GpuDevice
    standing: DeviceStanding
    breaker: Breaker
    leases: tuple[HeldLease, ...]


@dataclass(frozen=True)
class StageLine:
    """What a stage takes. `key` is none where the engine holds no image of it for GPUs.

    `fits_on` names the GPUs that are large enough; `in_force_mib` is what its pool slots were reckoned from, none
    when nothing was.
    """

    stage: Stage
    policy: DevicePolicy
    key: ModelKey | None
    need: Need
    pool_slots: int
    fits_on: tuple[str, ...]
    in_force_mib: int | None


@dataclass(frozen=True)
class Inventory:
    """All of it, at one moment."""

    configuration: GpuConfiguration
    health: HostHealth
    devices: tuple[DeviceLine, ...]
    stages: tuple[StageLine, ...]


def take_inventory(
    database: Database, configuration: GpuConfiguration, health: HostHealth, models: Mapping[str, str]
) -> Inventory:
    """Gather it. `models` is the models' label of each image for GPUs that the engine holds, by its name."""
    stored, held = breakers(database), held_leases(database)
    # A need of 0 MiB: what hinders any work there, whatever its size.
    standings = device_standings(GpuState(configuration, health, stored, held, datetime.now(UTC)), 0, 0.0)
    devices = tuple(
        DeviceLine(device, standing, stored.get(device.uuid, Breaker(device.uuid)), tuple(held.get(device.uuid, ())))
        for device, standing in zip(configuration.devices, standings, strict=True)
    )
    policies, measured = routing(database), measured_needs(database)
    stages = tuple(_stage_line(stage, policies[stage], configuration, measured, models) for stage in GPU_STAGES)
    return Inventory(configuration, health, devices, stages)


def vram_sizes(health: HostHealth, environ: Mapping[str, str]) -> str | None:
    """The value of `NIGHTREEL_GPU_VRAM_MIB`: as the agent tells, else as it was recorded; none when one is missing."""
    uuids = environ.get(DEVICES, "").split(",")
    recorded = environ.get(VRAM, "").split(",")
    told = {device.device_uuid: device.total_mib for device in health.devices}
    known = recorded if len(recorded) == len(uuids) else [""] * len(uuids)
    sizes = [str(told.get(uuid) or size) for uuid, size in zip(uuids, known, strict=True)]
    return ",".join(sizes) if all(sizes) else None


def find_sizes(environ: Mapping[str, str], ask: Callable[[], HostHealth], patience_s: float) -> tuple[str, HostHealth]:
    """The sizes, and the answer of the agent that was heard. Waits only while a size is missing.

    Raises:
        SettingMissing: a size is neither told nor recorded.
    """
    deadline_s = time.monotonic() + patience_s
    while True:
        health = ask()
        sizes = vram_sizes(health, environ)
        if sizes is not None:
            return sizes, health
        if time.monotonic() > deadline_s:
            why = "; ".join(reason.message for reason in health.reasons) or "the GPU agent does not find all of them"
            raise SettingMissing(
                f"{VRAM} must give the MiB of each GPU of {DEVICES}: {environ.get(VRAM) or 'nothing'} is recorded for "
                f"{environ[DEVICES]}, and {why}. Mend that, or set {VRAM} in .env by hand, such as 8192,24576 (what "
                "`nvidia-smi` shows, in the order of the GPUs), then run `make up`"
            )
        time.sleep(ASK_EVERY_S)


def settings_of(inventory: Inventory) -> dict[str, str]:
    """The settings that follow, as `.env` holds them."""
    configuration = inventory.configuration
    return {
        VRAM: ",".join(str(device.vram_mib) for device in configuration.devices),
        SLOTS: str(configuration.slots),
        NEEDS: ",".join(f"{line.stage}={line.need.mib}" for line in inventory.stages),
    }


def health_warning(inventory: Inventory) -> str | None:
    """What keeps work off the GPUs that patience will not mend; none when all are well."""
    sick = [
        line.standing for line in inventory.devices if line.standing.hindrance in (Hindrance.HEALTH, Hindrance.BREAKER)
    ]
    return describe(sick) if sick else None


def fit_warnings(inventory: Inventory) -> list[str]:
    """A line for each stage that no GPU is large enough for."""
    warnings = []
    for line in inventory.stages:
        try:
            inventory.configuration.require_fit(line.stage, line.need.mib)
        except ChoiceInvalid as error:
            warnings.append(f"{error}. Until then it runs on the CPU")
    return warnings


def _stage_line(
    stage: Stage,
    policy: DevicePolicy,
    configuration: GpuConfiguration,
    measured: Mapping[ModelKey, Need],
    models: Mapping[str, str],
) -> StageLine:
    label = models.get(image_for(stage, Variant.CUDA))
    compute_type = DEFAULT_COMPUTE_TYPE[stage, Variant.CUDA]
    names = [model.name for model in parse_models(label or "[]").values()]
    batch = choose_batch(stage, names, compute_type, measured, configuration)
    return StageLine(
        stage=stage,
        policy=policy,
        key=None if label is None else batch.key,
        need=batch.need,
        pool_slots=configuration.pool_slots(batch.need.mib),
        fits_on=tuple(device.uuid for device in configuration.devices if device.capacity_mib >= batch.need.mib),
        in_force_mib=configuration.needs.get(stage),
    )
