"""Downloads the wheels that an image's lock names, once, so that images are built without a network.

pip does the downloading, so the host's settings hold (`PIP_INDEX_URL`, `PIP_EXTRA_INDEX_URL`,
`PIP_FIND_LINKS`, pip.conf). Only wheels are taken: every line of a lock must have one for Python 3.11.

Wheels that several locks share are downloaded once and hard-linked from `build/wheels/pool/`.
"""

import hashlib
import json
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from console import apt
from console.content import link_file, write_text
from console.terminal import BUILD, LOGS, REPOSITORY, ConsoleError, run, step
from console.torchvision_cpu import REQUIREMENTS as REPACK_REQUIREMENTS

WHEELS = BUILD / "wheels"
POOL = WHEELS / "pool"
REPACK_TOOLS = BUILD / "tools" / "torchvision-cpu"
COMPILER_PACKAGES = ("gcc", "binutils", "libc6-dev")
C_HEADER = Path("/usr/include/stdio.h")
COMPLETE_FILE = ".complete"
IMAGES_PYTHON = (3, 11)
LOCK_LINE = re.compile(r"(?P<name>[A-Za-z0-9][A-Za-z0-9._-]*)==(?P<version>[A-Za-z0-9][A-Za-z0-9._+!]*)")


@dataclass(frozen=True)
class Requirement:
    """One line of a lock. `name` is normalized: lower case, with dashes."""

    name: str
    version: str

    def __str__(self) -> str:
        return f"{self.name}=={self.version}"


@dataclass(frozen=True)
class DeviceBuild:
    """A package that has CPU and CUDA builds under one version number, told apart by `+cpu`.

    `repackable`: the CUDA build can be turned into a CPU build here; the other one is too large to be
    downloaded in vain.
    """

    name: str
    repackable: bool


# The packages that need more than a download, and all that the console knows of them.
DEVICE_BUILDS = {
    build.name: build for build in (DeviceBuild("torch", repackable=False), DeviceBuild("torchvision", repackable=True))
}


def fetch(lock: Path, name: str | None = None) -> Path:
    """Leave every wheel of a lock in one folder and return it; a folder that is complete is used again.

    The folder is `build/wheels/<name>-<hash of the lock>`; `name` is image and variant by default.

    Raises:
        ConsoleError: the lock has a line that is no exact pin, this is not Python 3.11, pip failed, or
            a package of a CPU lock can only be had as a CUDA build.
    """
    requirements = read_lock(lock)
    name = name or lock_name(lock)
    directory = WHEELS / f"{name}-{hashlib.sha256(lock.read_bytes()).hexdigest()[:12]}"
    if (directory / COMPLETE_FILE).exists():
        return directory
    _check_python()
    pools = {requirement: _pool(lock, requirement) for requirement in requirements}
    missing = [r for r in requirements if pooled_wheel(r, pools[r]) is None]
    if missing:
        _download(lock, missing, name)
    wheels = [_pooled(r, pools[r]) for r in requirements]
    directory.mkdir(parents=True, exist_ok=True)
    for wheel in wheels:
        link_file(wheel, directory / wheel.name)
    write_text(directory / COMPLETE_FILE, json.dumps(sorted(wheel.name for wheel in wheels), indent=1))
    return directory


def refuse_cuda_builds(locks: Iterable[Path]) -> None:
    """Ask pip, before anything is built, whether it finds the CPU builds that these locks need.

    Raises:
        ConsoleError: it would take a CUDA build of a package that cannot be made into one for the CPU here.
    """
    needed = {
        requirement: _pool(lock, requirement) for lock in locks if _is_cpu(lock) for requirement in read_lock(lock)
    }
    _refuse_cuda_builds(
        [requirement for requirement, pool in needed.items() if pooled_wheel(requirement, pool) is None]
    )


def read_lock(lock: Path) -> tuple[Requirement, ...]:
    """The pins of a lock: one `name==version` a line; blank lines and `#` comments are skipped.

    Raises:
        ConsoleError: there is no such file, or a line is anything else.
    """
    if not lock.exists():
        raise ConsoleError(f"an image must have its lock: {lock} is missing")
    requirements = []
    for number, line in enumerate(lock.read_text().splitlines(), start=1):
        text = line.partition("#")[0].strip()
        if not text:
            continue
        pin = LOCK_LINE.fullmatch(text)
        if pin is None:
            raise ConsoleError(f"every line of a lock must be name==version: {lock}:{number} is {text!r}")
        requirements.append(Requirement(normalized(pin["name"]), pin["version"]))
    return tuple(requirements)


def lock_name(lock: Path) -> str:
    """Image and variant: `audio-cpu` for `images/audio/requirements.cpu.lock`, `base` for `…/requirements.lock`."""
    variant = lock.name.removeprefix("requirements").removesuffix("lock").strip(".")
    return f"{lock.parent.name}-{variant}" if variant else lock.parent.name


def normalized(name: str) -> str:
    """A package's name as the Python registry compares it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def pooled_wheel(requirement: Requirement, pool: Path) -> Path | None:
    """The wheel of a pin in a pool; none when there is none. A pin without `+…` accepts any local version.

    A pool holds only what pip chose for this machine, so names need not be matched with the platform.
    """
    if not pool.is_dir():
        return None
    for wheel in sorted(pool.glob("*.whl")):
        name, version = wheel.name.split("-")[:2]
        public = version if "+" in requirement.version else version.partition("+")[0]
        if normalized(name) == requirement.name and public == requirement.version:
            return wheel
    return None


def _pooled(requirement: Requirement, pool: Path) -> Path:
    wheel = pooled_wheel(requirement, pool)
    if wheel is None:
        raise ConsoleError(f"pip must have downloaded a wheel for {requirement}, and did not; see {LOGS}")
    return wheel


def _pool(lock: Path, requirement: Requirement) -> Path:
    if requirement.name not in DEVICE_BUILDS:
        return POOL / "any"
    return POOL / ("cpu" if _is_cpu(lock) else "cuda")


def _is_cpu(lock: Path) -> bool:
    return lock.name.endswith(".cpu.lock")


def _check_python() -> None:
    if sys.version_info[:2] != IMAGES_PYTHON:
        raise ConsoleError(
            f"wheels must be downloaded with the images' Python {'.'.join(map(str, IMAGES_PYTHON))}: this is "
            f"{platform.python_version()}; make the virtual environment anew with python3.11"
        )


def _download(lock: Path, missing: list[Requirement], name: str) -> None:
    if _is_cpu(lock):
        _refuse_cuda_builds(missing)
    POOL.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=POOL, prefix=".download-") as scratch:
        pins = Path(scratch, "missing.lock")
        pins.write_text("".join(f"{requirement}\n" for requirement in missing))
        wheels = Path(scratch, "wheels")
        try:
            run(
                [*_pip("download"), "--no-deps", "--only-binary", ":all:", "--dest", wheels, "--requirement", pins],
                log=LOGS / f"wheels-{name}.log",
                title=f"fetch {len(missing)} wheels of {name}",
            )
        except ConsoleError as error:
            raise ConsoleError(
                f"{error}\nevery line of {lock} must have a wheel for Python 3.11 that pip "
                "can reach: a package that comes as source only cannot be used; an index or a folder of wheels "
                "is named with PIP_INDEX_URL, PIP_EXTRA_INDEX_URL or PIP_FIND_LINKS"
            ) from error
        for requirement in missing:
            wheel = _for_device(lock, requirement, _pooled(requirement, wheels), Path(scratch, "repacked"))
            pool = _pool(lock, requirement)
            pool.mkdir(exist_ok=True)
            wheel.replace(pool / wheel.name)


def _for_device(lock: Path, requirement: Requirement, wheel: Path, scratch: Path) -> Path:
    if requirement.name not in DEVICE_BUILDS or _is_cpu(lock) == _is_cpu_wheel(wheel):
        return wheel
    if _is_cpu(lock):
        return _repacked(wheel, scratch)
    raise ConsoleError(
        f"a CUDA image must have a CUDA build of {requirement}: pip took {wheel.name}; "
        "take folders and indexes of CPU wheels out of pip's settings"
    )


def _is_cpu_wheel(wheel: Path) -> bool:
    return "+cpu" in wheel.name.split("-")[1]


def _refuse_cuda_builds(missing: list[Requirement]) -> None:
    """Ask pip which build of a large package it would take, before it does.

    Raises:
        ConsoleError: it would be a CUDA build.
    """
    for requirement in missing:
        build = DEVICE_BUILDS.get(requirement.name)
        if build is None or build.repackable or platform.machine() != "x86_64":
            continue
        chosen = _pips_choice(requirement)
        if not chosen.endswith("+cpu"):
            raise ConsoleError(
                f"a CPU image must have the CPU build of {requirement.name}: pip would take {requirement.name} "
                f"{chosen}, built for CUDA. Set PIP_EXTRA_INDEX_URL to PyTorch's index of CPU wheels (see the "
                "installation page of PyTorch), or PIP_FIND_LINKS to a folder that has the wheel"
            )


def _pips_choice(requirement: Requirement) -> str:
    # A trial installation reads the wheel's metadata alone where the index offers it apart.
    options = ["--dry-run", "--ignore-installed", "--no-deps", "--only-binary", ":all:", "--quiet", "--report", "-"]
    told = subprocess.run(
        [*_pip("install"), *options, str(requirement)], capture_output=True, text=True, check=False, env=os.environ
    )
    if told.returncode != 0:
        raise ConsoleError(f"pip must find {requirement}, and does not: {told.stderr.strip().splitlines()[-1]}")
    report = json.loads(told.stdout)
    return str(report["install"][0]["metadata"]["version"])


def _repacked(wheel: Path, directory: Path) -> Path:
    """A CPU build made from a CUDA build, by `console.torchvision_cpu` in an environment of its own."""
    with step(f"repack {wheel.name} for the CPU"):
        _ensure_compiler()
        python = _repack_python()
        told = subprocess.run(
            [python, "-m", "console.torchvision_cpu", wheel, directory],
            capture_output=True,
            text=True,
            check=False,
            cwd=REPOSITORY,
        )
        if told.returncode != 0:
            raise ConsoleError(
                f"{wheel.name} must be repacked for the CPU: {told.stderr.strip()}. Or set PIP_EXTRA_INDEX_URL to "
                "PyTorch's index of CPU wheels, which has it ready"
            )
        return Path(told.stdout.strip().splitlines()[-1])


def _ensure_compiler() -> None:
    # Where packages cannot be installed, the repacking itself tells which tool it misses.
    complete = all(map(shutil.which, ("gcc", "readelf", "nm", "strip"))) and C_HEADER.exists()
    if not complete and apt.can_install():
        apt.refresh()
        apt.install(*COMPILER_PACKAGES)


def _repack_python() -> Path:
    python = REPACK_TOOLS / "bin" / "python"
    if not (REPACK_TOOLS / COMPLETE_FILE).exists():
        shutil.rmtree(REPACK_TOOLS, ignore_errors=True)
        log = LOGS / "torchvision-tools.log"
        run([sys.executable, "-m", "venv", REPACK_TOOLS], log=log, title="make an environment for repacking")
        install = ["-m", "pip", "install", "--disable-pip-version-check", "--only-binary", ":all:"]
        run([python, *install, *REPACK_REQUIREMENTS], log=log, title="install what repacking needs")
        (REPACK_TOOLS / COMPLETE_FILE).touch()
    return python


def _pip(command: str) -> list[str]:
    return [sys.executable, "-m", "pip", command, "--disable-pip-version-check"]
