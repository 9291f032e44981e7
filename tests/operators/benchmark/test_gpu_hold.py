"""A container of a benchmark waits for a GPU, holds it, and gives it back."""

from collections.abc import Iterator

import docker
import pytest
from sqlalchemy import Engine, text

from operators.benchmark.gpu_hold import NoGpu, hold_gpu
from operators.gpu.asking import batch_of, lease_request
from operators.gpu.configuration import GpuConfiguration
from operators.gpu.lease import ask, held_leases, try_grant
from operators.gpu.needs import ModelKey
from operators.right_of_way import MustStandAside
from operators.stage_container import StageContainer
from stage_contract.models import ModelRef
from stage_contract.vocabulary import Stage
from tests.operators.gpu.samples import SMALL, configuration, healthy, request, task
from tests.operators.gpu.test_lease_hold import Agent

WHISPER = ModelRef(role="whisper", name="whisper-large-v3", revision="r", sha256="", licence="MIT")


@pytest.fixture
def engine(monkeypatch: pytest.MonkeyPatch) -> Iterator[docker.APIClient]:
    agent = Agent(healthy(configuration(8192)))
    settings = {
        "NIGHTREEL_GPU_DEVICES": SMALL,
        "NIGHTREEL_GPU_VRAM_MIB": "8192",
        "NIGHTREEL_GPU_AGENT_URL": agent.url,
        "NIGHTREEL_GPU_PATIENCE_S": "0.2",
    }
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    with docker.APIClient() as client:
        yield client
    agent.server.shutdown()
    agent.server.server_close()


def nothing(_container: StageContainer | None = None) -> None:
    """Nobody is stopped, and nothing is looked at."""


def endings(database: Engine) -> list[str | None]:
    with database.connect() as connection:
        return list(connection.execute(text("select ending from gpu_lease order by lease_id")).scalars())


def test_the_device_is_leased_for_the_block_alone(media_database: Engine, engine: docker.APIClient) -> None:
    with hold_gpu(media_database, engine, request(), nothing, nothing) as hold:
        assert hold.device == SMALL
        assert set(held_leases(media_database)) == {SMALL}
    assert endings(media_database) == ["released"]


def test_what_no_device_can_hold_is_said_at_once(media_database: Engine, engine: docker.APIClient) -> None:
    too_much = request(need_mib=80_000)
    with pytest.raises(NoGpu, match="80000 MiB"), hold_gpu(media_database, engine, too_much, nothing, nothing):
        pytest.fail("there is no such device")
    assert endings(media_database) == ["withdrawn"]


def test_while_it_waits_it_makes_room_for_urgent_work(media_database: Engine, engine: docker.APIClient) -> None:
    settings = configuration(8192)
    other = ask(media_database, request("another run"))
    try_grant(media_database, other, settings, healthy(settings))

    def look() -> None:
        raise MustStandAside("an urgent run is active")

    with pytest.raises(MustStandAside), hold_gpu(media_database, engine, request(), nothing, look):
        pytest.fail("it is leased to another")
    assert endings(media_database) == [None, "withdrawn"]


def test_it_asks_for_what_its_own_compute_type_and_batch_take(media_database: Engine, engine: docker.APIClient) -> None:
    gpus = GpuConfiguration.from_environment()
    keys = [ModelKey.of(Stage.TRANSCRIBE, [WHISPER.name], kind, 1) for kind in ("float16", "int8_float16")]
    needs = [lease_request(task(), batch_of(media_database, gpus, key), 1, "c").need_mib for key in keys]
    assert needs == [4608, 3072]
