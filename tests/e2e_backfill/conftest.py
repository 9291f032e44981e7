"""A deployment without GPUs whose stages keep the contract and compute nothing, so that a night takes minutes.

Its stages run on a second engine, which a test may kill without the machine's own. The services are the real ones.
"""

import os
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import pytest

from console.airflow_api import RunState
from console.images import build_images
from tests.deployment import Deployment, deployed, open_to_all, own_settings
from tests.simulation.deployment import LIMITS, write_film
from tests.simulation.host import SimulatedHost, spare_host

BACKFILL = "archive_backfill"
SETTLE_S = 2


@dataclass(frozen=True)
class ArchiveDeployment(Deployment):
    """The running stack, and the host that runs its stages."""

    host: SimulatedHost

    def film(self, name: str, *lines: str) -> str:
        """A new film in the archive that says `lines` to the stages; returns its location."""
        return write_film(self.settings.archive, name, *lines)

    def films(self, folder: str, count: int, *lines: str) -> list[str]:
        """So many distinct films in a new folder of the archive, written long enough ago to be looked at."""
        made = [self.film(f"{folder}/{number:04}.mp4", *lines) for number in range(count)]
        time.sleep(SETTLE_S + 1)
        return made

    def begin_backfill(self, folders: Sequence[str], **choices: object) -> RunState:
        """Ask for a backfill of these folders, as the form does."""
        return self.api.trigger(BACKFILL, {"folders": list(folders), **choices})


@pytest.fixture(scope="package")
def archive_deployment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ArchiveDeployment]:
    """The deployment, once for all tests of the folder."""
    if os.geteuid() != 0:
        pytest.skip("a second engine, which tests may kill, can only be started by root")
    folder = tmp_path_factory.mktemp("archive-deployment")
    open_to_all(folder)
    (folder / "archive").mkdir()
    build_images(["airflow"])
    with spare_host() as host:
        environment = {
            **own_settings(folder, f"nightreel-night-test-{os.getpid()}"),
            **LIMITS,
            # As a machine of two cores has: one run with sound and pictures fills the pool.
            "NIGHTREEL_CPU_SLOTS": "2",
            "NIGHTREEL_DOCKER_SOCKET": str(host.engine.socket),
            "NIGHTREEL_DOCKER_GID": "0",
            "NIGHTREEL_SETTLE_S": str(SETTLE_S),
            "NIGHTREEL_SHARD_MINUTES": "1",
            "NIGHTREEL_TIME_ZONE": "UTC",
        }
        with deployed(environment) as running:
            yield ArchiveDeployment(running.settings, running.api, running.environment, host)
