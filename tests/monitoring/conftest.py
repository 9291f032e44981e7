"""Prometheus and its tool, as they run in a deployment: from the image that is built of the distribution's packages."""

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from console.engine import ensure_engine
from console.monitoring import ensure_prometheus_image
from console.terminal import REPOSITORY

MONITORING = REPOSITORY / "monitoring"
Promtool = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="session")
def prometheus_image() -> str:
    ensure_engine()
    return ensure_prometheus_image()


@pytest.fixture(scope="session")
def promtool(prometheus_image: str) -> Promtool:
    """Runs promtool with the folder `monitoring` at /monitoring, its parts where Compose mounts them, and more."""

    def run(*arguments: str, folder: Path = MONITORING) -> subprocess.CompletedProcess[str]:
        mounts = {
            folder: "/monitoring",
            MONITORING / "prometheus": "/etc/prometheus",
            MONITORING / "prometheus_gpu": "/etc/prometheus_gpu",
        }
        volumes = (part for source, target in mounts.items() for part in ("--volume", f"{source}:{target}:ro"))
        command = ["docker", "run", "--rm", "--network", "none", *volumes, "--entrypoint", "promtool"]
        return subprocess.run([*command, prometheus_image, *arguments], capture_output=True, text=True)

    return run
