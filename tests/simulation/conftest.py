"""One simulated host for the tests of this folder. It is kept apart from the one that a person plays with."""

import os
from collections.abc import Iterator

import pytest

from tests.simulation.host import SimulatedHost, spare_host


@pytest.fixture(scope="package")
def package_host() -> Iterator[SimulatedHost]:
    if os.geteuid() != 0:
        pytest.skip("a simulated GPU host needs an engine of its own, which only root may start")
    with spare_host() as host:
        yield host


@pytest.fixture
def host(package_host: SimulatedHost) -> SimulatedHost:
    """The host, all well."""
    package_host.heal()
    return package_host
