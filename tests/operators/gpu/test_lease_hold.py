"""A leased device while a real container computes on it, with an agent that answers over HTTP."""

import http.server
import secrets
import threading
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime

import docker
import pytest
from sqlalchemy import Engine

from operators.container import DEVICE_LABEL, ContainerIdentity
from operators.gpu.breaker import BreakerState
from operators.gpu.breaker_store import breakers, open_by_hand
from operators.gpu.configuration import GpuConfiguration
from operators.gpu.lease import Grant, LeaseRequest, ask, held_leases, release, try_grant
from operators.gpu.lease_hold import LeasedDevice, LeaseHold
from operators.stage_container import StageContainer
from operators.stage_plan import Action, AttemptOutcome, Verdict
from stage_contract.gpu_health import ContainerPeak, HostHealth
from stage_contract.vocabulary import DeviceFault
from tests.operators.gpu.samples import SMALL, configuration, healthy, host, request

SLEEP = "import time; time.sleep(60)"
FAULTY = Verdict(Action.FAIL, AttemptOutcome.DEVICE_FAILED, "the GPU computes wrong numbers")
WELL = Verdict(Action.SUCCEED, AttemptOutcome.DONE, "3 done")


class Agent:
    """Answers with `health`, which a test changes."""

    def __init__(self, health: HostHealth) -> None:
        self.health = health
        agent = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self.send_response(200)
                self.end_headers()
                seen_now = agent.health.model_copy(update={"observed_at": datetime.now(UTC)})
                self.wfile.write(seen_now.model_dump_json().encode())

            def log_message(self, *arguments: object) -> None:
                """Say nothing."""

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server.server_port}"


@pytest.fixture
def agent() -> Iterator[Agent]:
    made = Agent(healthy(configuration(8192)))
    yield made
    made.server.shutdown()
    made.server.server_close()


@pytest.fixture
def settings(agent: Agent) -> GpuConfiguration:
    return replace(configuration(8192), agent_url=agent.url)


@pytest.fixture
def container() -> Iterator[StageContainer]:
    with docker.APIClient() as client:
        made = StageContainer(client, ContainerIdentity("nightreel-test", request(secrets.token_hex(4)).task))
        made.create(
            image="nightreel/base:cpu",
            command=["python3", "-c", SLEEP],
            labels={DEVICE_LABEL: SMALL},
            host_config=client.create_host_config(init=True),
        )
        made.start()
        yield made
        made.remove()


def granted(database: Engine, settings: GpuConfiguration, agent: Agent, asked: LeaseRequest | None = None) -> Grant:
    answer = try_grant(database, ask(database, asked or request()), settings, agent.health)
    assert isinstance(answer, Grant)
    return answer


def stop(container: StageContainer) -> None:
    container.stop()


def test_a_breaker_that_opens_stops_the_container(
    media_database: Engine, settings: GpuConfiguration, agent: Agent, container: StageContainer
) -> None:
    grant = granted(media_database, settings, agent)
    with LeaseHold(media_database, settings, grant, request(), stop) as hold:
        hold.attend(container)
        open_by_hand(media_database, SMALL, "anna", "the fan is broken")
        hold.confirm()
        assert hold.lost
        assert (hold.lost.action, hold.lost.outcome) == (Action.FAIL, AttemptOutcome.DEVICE_FAILED)
        assert "the fan is broken" in hold.lost.message
        assert not container.is_running()
    assert held_leases(media_database) == {}


def test_a_lease_that_was_taken_away_stops_the_container_and_asks_for_another_try(
    media_database: Engine, settings: GpuConfiguration, agent: Agent, container: StageContainer
) -> None:
    grant = granted(media_database, settings, agent)
    with LeaseHold(media_database, settings, grant, request(), stop) as hold:
        hold.attend(container)
        release(media_database, grant.lease_id)
        hold.confirm()
        assert hold.lost
        assert hold.lost.action is Action.RETRY
        assert not container.is_running()


def test_a_container_that_still_runs_keeps_the_lease(
    media_database: Engine, settings: GpuConfiguration, agent: Agent, container: StageContainer
) -> None:
    grant = granted(media_database, settings, agent)
    with LeaseHold(media_database, settings, grant, request(), stop) as hold:
        hold.attend(container)
    assert [lease.lease_id for lease in held_leases(media_database)[SMALL]] == [grant.lease_id]


def test_what_a_container_took_at_last_is_kept(
    media_database: Engine, settings: GpuConfiguration, agent: Agent, container: StageContainer
) -> None:
    grant = granted(media_database, settings, agent)
    with LeaseHold(media_database, settings, grant, request(), stop) as hold:
        hold.attend(container)
        hold.confirm()
        container.stop()
        (device,) = agent.health.devices
        peak = ContainerPeak(container_id=str(container.container_id), peak_mib=7100)
        agent.health = host(device.model_copy(update={"peaks": (peak,)}))
    with media_database.connect() as connection:
        assert connection.exec_driver_sql("select peak_mib, ending from gpu_lease").all() == [(7100, "released")]


@pytest.mark.parametrize(
    ("verdict", "fault", "state"),
    [
        (FAULTY, DeviceFault.BROKEN, BreakerState.OPEN),
        (FAULTY, DeviceFault.UNSUITABLE, BreakerState.OPEN),
        (FAULTY, DeviceFault.OUT_OF_MEMORY, BreakerState.CLOSED),
        (WELL, None, BreakerState.CLOSED),
    ],
)
def test_the_end_of_the_work_tells_of_the_device_whoever_collects_it(
    media_database: Engine,
    settings: GpuConfiguration,
    agent: Agent,
    verdict: Verdict,
    fault: DeviceFault | None,
    state: BreakerState,
) -> None:
    grant = granted(media_database, settings, agent)
    LeasedDevice(media_database, settings, SMALL, grant.lease_id).conclude(verdict, fault)
    found = breakers(media_database).get(SMALL)
    assert (found.state if found else BreakerState.CLOSED) is state
