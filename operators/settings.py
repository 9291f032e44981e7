"""What the deployment says about this machine, from the environment that Compose sets."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from operators.errors import SettingMissing

MEDIA_MOUNT = Path("/media")
RESULTS_MOUNT = Path("/results")
WORK_MOUNT = Path("/work")


@dataclass(frozen=True)
class Folders:
    """The same folders as this process sees them and as the Docker engine's host does.

    Stage containers are started by the host's engine, so their bind mounts need the host's paths.
    """

    media_roots: dict[str, Path]
    results: Path
    work: Path
    host_media_roots: dict[str, Path]
    host_results: Path
    host_work: Path


@dataclass(frozen=True)
class ContainerLimits:
    """What one stage container may take. `cpus` may be a fraction."""

    cpus: float
    memory_mib: int
    pids: int


def folders() -> Folders:
    """The folders that Compose mounts.

    Raises:
        SettingMissing: a host path is not set.
    """
    host_roots = {
        **{root: Path(required(f"NIGHTREEL_HOST_{root.upper()}")) for root in ("archive", "inbox")},
        **more_archives(),
    }
    return Folders(
        media_roots=media_roots(),
        results=RESULTS_MOUNT,
        work=WORK_MOUNT,
        host_media_roots=host_roots,
        host_results=Path(required("NIGHTREEL_HOST_RESULTS")),
        host_work=Path(required("NIGHTREEL_HOST_WORK")),
    )


def media_roots() -> dict[str, Path]:
    """Where this process sees each root, if the service that it belongs to has the archives mounted."""
    return {root: MEDIA_MOUNT / root for root in ("archive", "inbox", *more_archives())}


def more_archives(environ: Mapping[str, str] = os.environ) -> dict[str, Path]:
    """Archives beside the first, by their root's name: where they lie on the host. `make up` has checked them."""
    given = environ.get("NIGHTREEL_MORE_ARCHIVES", "")
    named = (part.partition("=") for part in given.split(",") if part)
    return {root: Path(path) for root, _, path in named}


def container_limits() -> ContainerLimits:
    """Limits of a stage container.

    Raises:
        SettingMissing: one is not set.
    """
    return ContainerLimits(
        cpus=float(required("NIGHTREEL_STAGE_CPUS")),
        memory_mib=int(required("NIGHTREEL_STAGE_MEMORY_MIB")),
        pids=int(required("NIGHTREEL_STAGE_PIDS")),
    )


def cpu_slots() -> int:
    """Slots of pool `cpu`: stage containers on the CPU at a time.

    Raises:
        SettingMissing: it is not set.
    """
    return int(required("NIGHTREEL_CPU_SLOTS"))


def stack_name() -> str:
    """Tells this deployment's containers from another's on the same engine.

    Raises:
        SettingMissing: it is not set.
    """
    return required("NIGHTREEL_STACK")


def whole_seconds(name: str) -> int:
    """A setting that is a number of seconds, 0 or more.

    Raises:
        SettingMissing: it is not set, or is none.
    """
    value = required(name)
    if not value.isdecimal():
        raise SettingMissing(f"{name} must be a whole number of seconds: it is {value!r}; change it in .env")
    return int(value)


def required(name: str) -> str:
    """A setting that must be there.

    Raises:
        SettingMissing: it is not.
    """
    value = os.environ.get(name)
    if not value:
        raise SettingMissing(f"{name} must be set, and is not; start Nightreel with `make up`, which sets it")
    return value
