"""The machine that a benchmark ran on."""

import os
import platform
from dataclasses import dataclass
from pathlib import Path

from operators.gpu.agent_client import ask_agent
from operators.gpu.configuration import GpuConfiguration
from operators.settings import ContainerLimits


@dataclass(frozen=True)
class Machine:
    """What decides how fast things are. `cores` are the host's, `stage_cpus` those of a container.

    `gpus` are names and memory of the devices that stages may use; `driver` is none without one.
    """

    cpu: str
    cores: int
    memory_mib: int
    kernel: str
    stage_cpus: float
    stage_memory_mib: int
    gpus: tuple[str, ...] = ()
    driver: str | None = None

    def __str__(self) -> str:
        gpu = f"; {', '.join(self.gpus)}, driver {self.driver or 'unknown'}" if self.gpus else "; no GPU"
        return f"{self.cpu}, {self.cores} cores, {self.stage_cpus:g} for a container{gpu}"

    @property
    def kind(self) -> tuple[object, ...]:
        """What must be the same for times to be compared."""
        return self.cpu, self.cores, self.stage_cpus, self.gpus


def read_machine(limits: ContainerLimits, gpus: GpuConfiguration) -> Machine:
    """This machine. Without configured GPUs their agent is not asked."""
    names: tuple[str, ...] = ()
    driver = None
    if gpus.devices:
        health = ask_agent(gpus.agent_url)
        known = {device.device_uuid: device.name for device in health.devices}
        names = tuple(f"{known.get(one.uuid, one.uuid)} ({one.vram_mib} MiB)" for one in gpus.devices)
        driver = health.driver_version
    return Machine(
        cpu=cpu_model(Path("/proc/cpuinfo").read_text()),
        cores=os.cpu_count() or 1,
        memory_mib=os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") >> 20,
        kernel=platform.release(),
        stage_cpus=limits.cpus,
        stage_memory_mib=limits.memory_mib,
        gpus=names,
        driver=driver,
    )


def cpu_model(cpuinfo: str) -> str:
    """The processor's name from `/proc/cpuinfo`; the architecture where it has none."""
    lines = (line.partition(":") for line in cpuinfo.splitlines())
    names = (value.strip() for name, _, value in lines if name.strip() == "model name")
    return next(names, platform.machine())
