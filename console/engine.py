"""A Docker engine that answers, and Compose and Buildx beside it."""

import os
import shutil
import subprocess
import time
from collections.abc import Iterable, Mapping
from pathlib import Path

from console import apt
from console.terminal import BUILD, ConsoleError, progress, say, step, tail

DOCKER_CONFIG = BUILD / "docker"
PLUGINS = DOCKER_CONFIG / "cli-plugins"
ENGINE_LOG = Path("/var/log/dockerd.log")
ENGINE_START_S = 60.0
# Debian 13 has the client in a package of its own; elsewhere it is part of docker.io.
CLIENT_PACKAGE = "docker-cli"
ENGINE_PACKAGES = ("docker.io", "iptables", "tini", "ca-certificates")
COMPOSE_MAJOR = 2

# Debian 12 has no Compose 2; Debian 13's is a static binary that runs on it.
PLUGIN_RELEASE = "trixie"
PLUGIN_PACKAGES = ("docker-compose", "docker-buildx")
SYSTEM_COMPOSE_PACKAGES = ("docker-compose-plugin", "docker-compose-v2", "docker-compose")


def docker_environment() -> dict[str, str]:
    """The environment for every `docker` command: BuildKit on, and our own plugins where the machine has none."""
    environment = {**os.environ, "DOCKER_BUILDKIT": "1", "BUILDKIT_PROGRESS": "plain"}
    if PLUGINS.is_dir():
        environment["DOCKER_CONFIG"] = str(DOCKER_CONFIG)
    return environment


def docker(*arguments: str | Path) -> str:
    """Run a short `docker` command and return its stdout, stripped.

    Raises:
        ConsoleError: it failed; the message holds what it said.
    """
    told = _docker(arguments)
    if told.returncode != 0:
        shown = " ".join(str(part) for part in arguments)
        raise ConsoleError(f"docker {shown} failed: {told.stderr.strip() or told.stdout.strip()}")
    return told.stdout.strip()


def docker_succeeds(*arguments: str | Path) -> bool:
    """Whether a short `docker` command ends well, for questions such as `image inspect`."""
    return _docker(arguments).returncode == 0


def image_id(image: str) -> str | None:
    """The id of an image that the engine holds; none when it holds no such image."""
    told = _docker(("image", "inspect", "--format", "{{.Id}}", image))
    return told.stdout.strip() if told.returncode == 0 else None


def image_label(image: str, label: str) -> str:
    """A label of an image that the engine holds; empty when the image has no such label."""
    return docker("image", "inspect", "--format", f'{{{{index .Config.Labels "{label}"}}}}', image)


def ensure_engine() -> None:
    """Leave with an engine that answers, Compose 2 and Buildx; install or start what is missing, as root.

    Raises:
        ConsoleError: something is missing that cannot be had here; the message tells what to install.
    """
    if not engine_answers():
        _start_engine()
    if not (_compose_answers() and _buildx_answers()):
        _add_plugins()


def engine_answers() -> bool:
    """Whether a Docker engine answers the Docker client."""
    return shutil.which("docker") is not None and docker_succeeds("version", "--format", "{{.Server.Version}}")


def engine_socket() -> Path:
    """The engine's socket on this machine, which the scheduler's container is given.

    Raises:
        ConsoleError: the engine is reached over a network.
    """
    address = os.environ.get("DOCKER_HOST") or docker("context", "inspect", "--format", "{{.Endpoints.docker.Host}}")
    if not address.startswith("unix://"):
        raise ConsoleError(
            f"the Docker engine must be on this machine: it is reached at {address}; unset DOCKER_HOST or "
            "choose a local context with `docker context use default`"
        )
    return Path(address.removeprefix("unix://"))


def stage_socket(environment: Mapping[str, str] = os.environ) -> Path:
    """The socket of the engine that runs the stages: this one's, or the one that the environment names.

    Raises:
        ConsoleError: the engine is reached over a network.
    """
    given = environment.get("NIGHTREEL_DOCKER_SOCKET")
    return Path(given) if given else engine_socket()


def _docker(arguments: Iterable[str | Path]) -> subprocess.CompletedProcess[str]:
    command = ["docker", *(str(part) for part in arguments)]
    return subprocess.run(
        command, env=docker_environment(), capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL
    )


def _start_engine() -> None:
    if os.environ.get("DOCKER_HOST"):
        raise ConsoleError(
            f"a Docker engine must answer: DOCKER_HOST is {os.environ['DOCKER_HOST']} and nothing answers there; "
            "start that engine or unset DOCKER_HOST"
        )
    installed = shutil.which("dockerd") is not None and shutil.which("docker") is not None
    if not installed and not apt.can_install():
        raise ConsoleError(
            "a Docker engine must answer: none is installed; run this once as root on Debian or Ubuntu, "
            "or install Docker Engine 20.10 or newer with Compose 2"
        )
    if not installed:
        apt.refresh()
        apt.install(*ENGINE_PACKAGES, *([CLIENT_PACKAGE] if apt.candidate(CLIENT_PACKAGE) else []))
    if engine_answers():
        return
    if os.geteuid() != 0:
        said = _docker(("version",)).stderr.strip()
        raise ConsoleError(
            f"a Docker engine must answer: {said}; start it as root (`systemctl start docker`), "
            "and let your user in with `usermod -aG docker $USER` and a new login"
        )
    with step("start the Docker engine"):
        _launch_engine()
        _await_engine()


def _launch_engine() -> None:
    if Path("/run/systemd/system").is_dir():
        told = subprocess.run(["systemctl", "start", "docker"], capture_output=True, text=True, check=False)
        if told.returncode != 0:
            raise ConsoleError(f"the Docker engine did not start: {told.stderr.strip()}; see `journalctl -u docker`")
        return
    with ENGINE_LOG.open("ab") as log:
        subprocess.Popen(["dockerd"], stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True)


def _await_engine() -> None:
    deadline_s = time.monotonic() + ENGINE_START_S
    with progress("wait for the engine", lambda: "the engine is starting"):
        while time.monotonic() < deadline_s:
            if engine_answers():
                return
            time.sleep(0.5)
    said = "\n".join(tail(ENGINE_LOG, 10)) if ENGINE_LOG.exists() else "see `journalctl -u docker`"
    raise ConsoleError(f"the Docker engine must answer within {ENGINE_START_S:.0f} s of its start: it does not\n{said}")


def _compose_answers() -> bool:
    told = _docker(("compose", "version", "--short"))
    version = told.stdout.strip().removeprefix("v")
    return told.returncode == 0 and int(version.split(".")[0]) >= COMPOSE_MAJOR


def _buildx_answers() -> bool:
    return docker_succeeds("buildx", "version")


def _add_plugins() -> None:
    if shutil.which("apt-get") is None:
        raise ConsoleError(
            "Docker Compose 2 and Buildx are needed: install the docker-compose and docker-buildx plugins"
        )
    package = None
    if apt.can_install():
        apt.refresh()
        package = next((p for p in SYSTEM_COMPOSE_PACKAGES if _is_compose_2(apt.candidate(p))), None)
    if package is not None:
        buildx = "docker-buildx-plugin" if package == "docker-compose-plugin" else "docker-buildx"
        apt.install(package, buildx)
    else:
        _add_private_plugins()
    if not (_compose_answers() and _buildx_answers()):
        raise ConsoleError(
            f"Docker Compose 2 and Buildx must answer: they were installed and do not; see `docker compose version` "
            f"and `docker buildx version`, with DOCKER_CONFIG={DOCKER_CONFIG} if that folder exists"
        )


def _is_compose_2(version: str | None) -> bool:
    return version is not None and version.split(".")[0].isdigit() and int(version.split(".")[0]) >= COMPOSE_MAJOR


def _add_private_plugins() -> None:
    sources = apt.debian_sources(PLUGIN_RELEASE)
    if not sources:
        raise ConsoleError(
            "Docker Compose 2 and Buildx are needed, and this distribution's packages have none that "
            "can be had without root; install docker-compose-v2 and docker-buildx"
        )
    say(f"Compose 2 comes from Debian {PLUGIN_RELEASE}'s packages, unpacked in {DOCKER_CONFIG}; nothing is installed")
    files = apt.unpack(PLUGIN_PACKAGES, sources, BUILD / "docker-packages")
    DOCKER_CONFIG.mkdir(parents=True, exist_ok=True)
    _keep_own_configuration()
    shutil.rmtree(PLUGINS, ignore_errors=True)
    shutil.copytree(files / "usr/libexec/docker/cli-plugins", PLUGINS)
    shutil.rmtree(BUILD / "docker-packages")


def _keep_own_configuration() -> None:
    # DOCKER_CONFIG replaces the whole folder, and with it the logins and contexts kept there.
    own = Path(os.environ.get("DOCKER_CONFIG", Path.home() / ".docker"))
    for name in ("config.json", "contexts"):
        link = DOCKER_CONFIG / name
        if (own / name).exists() and own != DOCKER_CONFIG and not link.exists():
            link.symlink_to(own / name)


if __name__ == "__main__":
    import sys

    from console.terminal import guard

    sys.exit(guard(ensure_engine))
