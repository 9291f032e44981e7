"""Whoever wants a GPU asks for as large a batch as there is VRAM for."""

from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest
from sqlalchemy import Engine

from operators.gpu.asking import batch_now, lease_request
from operators.gpu.configuration import GpuConfiguration
from operators.gpu.lease import ask, renew, try_grant
from stage_contract.gpu_health import GpuProcess
from stage_contract.models import ModelRef
from stage_contract.vocabulary import Stage
from tests.operators.gpu.samples import SMALL, configuration, device, healthy, host, request, task
from tests.operators.gpu.test_lease_hold import Agent

VRAM_MIB = 24576
WHISPER = (ModelRef(role="whisper", name="whisper-large-v3", revision="r", sha256="", licence="MIT"),)
DESKTOP = GpuProcess(pid=7, used_mib=16_000)
OURS = GpuProcess(pid=8, used_mib=16_000, container_id="c1")

GpuWith = Callable[..., GpuConfiguration]


@pytest.fixture
def gpu_with() -> Iterator[GpuWith]:
    """A 24 GB card on which these processes run, as its agent tells."""
    agent = Agent(healthy(configuration(VRAM_MIB)))

    def made(*processes: GpuProcess) -> GpuConfiguration:
        used = sum(one.used_mib or 0 for one in processes)
        agent.health = host(device(SMALL, total_mib=VRAM_MIB, used_mib=used, processes=processes))
        return replace(configuration(VRAM_MIB), agent_url=agent.url)

    yield made
    agent.server.shutdown()
    agent.server.server_close()


def windows(database: Engine, gpus: GpuConfiguration) -> int:
    return batch_now(database, gpus, Stage.TRANSCRIBE, WHISPER, "float16").key.batch_size


def test_the_batch_fits_what_other_programs_leave(media_database: Engine, gpu_with: GpuWith) -> None:
    assert windows(media_database, gpu_with()) == 16
    assert windows(media_database, gpu_with(DESKTOP)) == 8


def test_our_own_work_makes_no_batch_smaller(media_database: Engine, gpu_with: GpuWith) -> None:
    gpus = gpu_with(OURS)
    lease_id = ask(media_database, request())
    try_grant(media_database, lease_id, gpus, healthy(gpus))
    renew(media_database, lease_id, "c1", 16_000)
    assert windows(media_database, gpus) == 16


def test_without_an_answer_of_the_agent_the_settings_decide(media_database: Engine) -> None:
    mute = replace(configuration(8192), agent_url="http://127.0.0.1:9")
    assert windows(media_database, mute) == 8


def test_the_lease_is_for_the_batch_that_was_chosen(media_database: Engine, gpu_with: GpuWith) -> None:
    batch = batch_now(media_database, gpu_with(), Stage.TRANSCRIBE, WHISPER, "float16")
    asked = lease_request(task(), batch, 1, "c")
    assert (asked.batch_size, asked.need_mib, asked.models) == (16, 9216, ("whisper-large-v3",))
