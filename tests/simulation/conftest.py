"""One simulated host for the session. It is kept apart from the one that a person plays with."""

import os
from collections.abc import Iterator

import pytest

from console.terminal import BUILD
from tests.simulation.host import SimulatedHost


@pytest.fixture(scope="session")
def host_of_session() -> Iterator[SimulatedHost]:
    if os.geteuid() != 0:
        pytest.skip("a simulated GPU host needs an engine of its own, which only root may start")
    with SimulatedHost(BUILD / "simulation-tests" / "host") as host:
        yield host


@pytest.fixture
def host(host_of_session: SimulatedHost) -> SimulatedHost:
    """The host, all well."""
    host_of_session.heal()
    return host_of_session
