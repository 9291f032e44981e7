"""Which GPUs the deployment has and how they are shared out, from the environment that Compose sets."""

import math
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from operators.errors import ChoiceInvalid, SettingMissing
from stage_contract.vocabulary import Stage

DEFAULT_RESERVE_MIB = 512
DEFAULT_AGENT_URL = "http://gpu-agent:9410"
DEFAULT_PATIENCE_S = 60.0
DEFAULT_BREAKER_WAIT_S = 120.0
UUID_FORM = re.compile(r"(GPU|MIG)-[0-9A-Za-z-]+")
# What drivers before 470 called a slice: MIG-GPU-<uuid>/1/0.
OLD_SLICE = "MIG-GPU-"


@dataclass(frozen=True)
class GpuDevice:
    """A GPU or MIG slice. `capacity_mib` is what stages may take: its VRAM less the reserve."""

    uuid: str
    vram_mib: int
    capacity_mib: int
    slots: int


@dataclass(frozen=True)
class GpuConfiguration:
    """The devices, in the order of the setting, and the rules for sharing them.

    `budget_mib` is the VRAM that one slot of pool `gpu` stands for; 0: one slot per device, and a lease
    takes the whole of it. `needs` is the VRAM in MiB that each stage was reckoned to take. `patience_s` is
    how long a stage waits for a usable GPU, `breaker_wait_s` the first wait of a breaker that opened.
    """

    devices: tuple[GpuDevice, ...] = ()
    reserve_mib: int = DEFAULT_RESERVE_MIB
    budget_mib: int = 0
    needs: Mapping[Stage, int] = field(default_factory=dict)
    agent_url: str = DEFAULT_AGENT_URL
    patience_s: float = DEFAULT_PATIENCE_S
    breaker_wait_s: float = DEFAULT_BREAKER_WAIT_S

    @classmethod
    def from_environment(cls, environ: Mapping[str, str] = os.environ) -> "GpuConfiguration":
        """What the `NIGHTREEL_GPU_…` variables say. Without `NIGHTREEL_GPU_DEVICES` there is no GPU.

        Raises:
            SettingMissing: devices are named, but not how much VRAM they have.
            ChoiceInvalid: a value is malformed, or the values do not fit each other.
        """
        uuids = _uuids(environ)
        reserve_mib = _whole_number(environ, "NIGHTREEL_GPU_RESERVE_MIB", DEFAULT_RESERVE_MIB)
        budget_mib = _whole_number(environ, "NIGHTREEL_GPU_BUDGET_MIB", 0)
        sizes = _vram_sizes(environ, uuids)
        return cls(
            devices=tuple(
                share_out(uuid, vram, reserve_mib, budget_mib) for uuid, vram in zip(uuids, sizes, strict=True)
            ),
            reserve_mib=reserve_mib,
            budget_mib=budget_mib,
            needs=_needs(environ),
            agent_url=environ.get("NIGHTREEL_GPU_AGENT_URL") or DEFAULT_AGENT_URL,
            patience_s=_seconds(environ, "NIGHTREEL_GPU_PATIENCE_S", DEFAULT_PATIENCE_S),
            breaker_wait_s=_seconds(environ, "NIGHTREEL_GPU_BREAKER_WAIT_S", DEFAULT_BREAKER_WAIT_S),
        )

    @property
    def whole_device(self) -> bool:
        """Whether a lease takes a whole device."""
        return self.budget_mib == 0

    @property
    def slots(self) -> int:
        """Slots of pool `gpu`, over all devices."""
        return sum(device.slots for device in self.devices)

    @property
    def largest_mib(self) -> int:
        """The most VRAM that one lease can cover; 0 without devices."""
        return max((device.capacity_mib for device in self.devices), default=0)

    @property
    def smallest_mib(self) -> int:
        """The capacity of the smallest device; 0 without devices."""
        return min((device.capacity_mib for device in self.devices), default=0)

    def fits(self, need_mib: int) -> bool:
        """Whether one device could cover the need if nothing else were on it."""
        return bool(self.devices) and need_mib <= self.largest_mib

    def pool_slots(self, need_mib: int) -> int:
        """Slots of pool `gpu` that a task with this need takes: at least 1, and never more than a device that
        fits has, since Airflow would leave a task that asks for more than there are waiting for ever.
        """
        if self.whole_device:
            return 1
        most = max((device.slots for device in self.devices if device.capacity_mib >= need_mib), default=self.slots)
        return max(1, min(math.ceil(need_mib / self.budget_mib), most))

    def pool_slots_of(self, stage: Stage) -> int:
        """Slots that a task of this stage takes. A stage whose need was not reckoned takes the smallest device."""
        return self.pool_slots(self.needs.get(stage, self.smallest_mib))

    def require_fit(self, stage: Stage, need_mib: int) -> None:
        """Refuse a need that no device can ever cover.

        Raises:
            ChoiceInvalid: there are devices, and none is large enough.
        """
        if self.devices and not self.fits(need_mib):
            raise ChoiceInvalid(
                f"{stage} must fit a device: it needs {need_mib} MiB, the largest has {self.largest_mib} MiB "
                f"({self.reserve_mib} MiB are kept in reserve); build the image with a smaller model, use a larger "
                f"device, or route {stage} to the CPU"
            )


def share_out(uuid: str, vram_mib: int, reserve_mib: int, budget_mib: int) -> GpuDevice:
    """A device's capacity and slots.

    Raises:
        ChoiceInvalid: the reserve leaves nothing, or a slot's budget is larger than the device.
    """
    capacity_mib = vram_mib - reserve_mib
    if capacity_mib <= 0:
        raise ChoiceInvalid(
            f"NIGHTREEL_GPU_RESERVE_MIB must leave VRAM to use: {uuid} has {vram_mib} MiB, the reserve is "
            f"{reserve_mib}; lower the reserve"
        )
    if budget_mib > capacity_mib:
        raise ChoiceInvalid(
            f"NIGHTREEL_GPU_BUDGET_MIB must fit every device: a slot is {budget_mib} MiB, {uuid} has {capacity_mib} "
            f"after the reserve of {reserve_mib}; lower the budget, or take the device out of NIGHTREEL_GPU_DEVICES"
        )
    slots = capacity_mib // budget_mib if budget_mib else 1
    return GpuDevice(uuid, vram_mib, capacity_mib, slots)


def _uuids(environ: Mapping[str, str]) -> list[str]:
    uuids = _listed(environ, "NIGHTREEL_GPU_DEVICES")
    for uuid in uuids:
        if uuid.startswith(OLD_SLICE):
            raise ChoiceInvalid(
                f"NIGHTREEL_GPU_DEVICES must be UUIDs such as GPU-1a2b… or MIG-1a2b…: {uuid} is what drivers before "
                "470 call a slice; a newer driver names slices MIG-<uuid>: install one and take the name from "
                "`nvidia-smi -L`"
            )
        if not UUID_FORM.fullmatch(uuid):
            raise ChoiceInvalid(
                f"NIGHTREEL_GPU_DEVICES must be UUIDs with commas, such as GPU-1a2b… or MIG-1a2b…: found {uuid!r}; "
                "`nvidia-smi -L` lists them"
            )
        if uuids.count(uuid) > 1:
            raise ChoiceInvalid(f"NIGHTREEL_GPU_DEVICES must name each device once: {uuid} is there twice; remove one")
    return uuids


def _vram_sizes(environ: Mapping[str, str], uuids: list[str]) -> list[int]:
    name = "NIGHTREEL_GPU_VRAM_MIB"
    given = _listed(environ, name)
    if not uuids:
        return []
    if not given:
        raise SettingMissing(
            f"{name} must give the VRAM of each device in MiB, and is not set; `make up` asks the GPU agent for it, "
            f"or set it in .env: {len(uuids)} numbers with commas, as `nvidia-smi` shows them"
        )
    sizes = [_number(name, size) for size in given]
    if len(sizes) != len(uuids):
        raise ChoiceInvalid(
            f"{name} must have one number per device of NIGHTREEL_GPU_DEVICES: there are {len(uuids)} devices and "
            f"{len(sizes)} numbers; remove it from .env and run `make up` again"
        )
    return sizes


def _needs(environ: Mapping[str, str]) -> dict[Stage, int]:
    name = "NIGHTREEL_GPU_NEEDS"
    needs: dict[Stage, int] = {}
    for entry in _listed(environ, name):
        stage, is_pair, need = entry.partition("=")
        if not is_pair or stage.strip() not in set(Stage):
            raise ChoiceInvalid(
                f"{name} must be stages and MiB, such as audio.transcribe=4608,vision.analyze=2304: found {entry!r}; "
                "remove it from .env and run `make up` again"
            )
        needs[Stage(stage.strip())] = _number(name, need)
    return needs


def _listed(environ: Mapping[str, str], name: str) -> list[str]:
    return [entry.strip() for entry in environ.get(name, "").split(",") if entry.strip()]


def _whole_number(environ: Mapping[str, str], name: str, default: int) -> int:
    given = environ.get(name, "").strip()
    return _number(name, given) if given else default


def _number(name: str, given: str) -> int:
    text = given.strip()
    if not (text.isascii() and text.isdigit()):
        raise ChoiceInvalid(f"{name} must be made of whole numbers, 0 or more: found {text!r}; correct it in .env")
    return int(text)


def _seconds(environ: Mapping[str, str], name: str, default: float) -> float:
    given = environ.get(name, "").strip()
    if not given:
        return default
    try:
        seconds = float(given)
    except ValueError:
        seconds = math.nan
    if not (math.isfinite(seconds) and seconds > 0):
        raise ChoiceInvalid(f"{name} must be seconds, more than 0: found {given!r}; correct it in .env")
    return seconds
