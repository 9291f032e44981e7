"""Many tasks, each a process of its own, ask for devices at once; some die."""

import multiprocessing
import random
import time

import pytest
from sqlalchemy import Engine, text

from operators.database import open_engine
from operators.gpu.configuration import GpuConfiguration
from operators.gpu.lease import Refusal, ask, held_leases, reclaim, release, try_grant
from tests.operators.gpu.lease_log import most_held
from tests.operators.gpu.samples import LARGE, OTHER, SMALL, configuration, healthy, request

MIXED = configuration(8192, 8192, 24576, budget_mib=1024)


def worker(url: str, number: int, settings: GpuConfiguration, seed: int, shards: int) -> None:
    """A task's life, again and again: ask, wait, work, and at times die without a word."""
    chance, database = random.Random(seed), open_engine(url)
    for shard in range(shards):
        need_mib = chance.choice([1000, 2304, 4608, 7000, 9000, 20_000])
        lease_id = ask(database, request(f"run {number} {shard}", need_mib, chance.choice([1, 1, 5])))
        while isinstance(try_grant(database, lease_id, settings, healthy(settings)), Refusal):
            reclaim(database, lambda name: False)
            time.sleep(0.01)
        time.sleep(chance.random() * 0.04)
        if chance.random() < 0.2:
            with database.begin() as connection:
                connection.execute(
                    text("update gpu_lease set renewed_at = renewed_at - interval '1 h' where lease_id = :id"),
                    {"id": lease_id},
                )
        else:
            release(database, lease_id)
    database.dispose()


@pytest.mark.parametrize("settings", [MIXED, configuration(8192, 8192, 24576)], ids=["shared", "whole devices"])
def test_processes_that_ask_at_once_never_exceed_a_device_and_all_are_served(
    media_database: Engine, settings: GpuConfiguration
) -> None:
    url = media_database.url.render_as_string(hide_password=False)
    context = multiprocessing.get_context("spawn")
    workers = [context.Process(target=worker, args=(url, number, settings, 100 + number, 10)) for number in range(6)]
    for process in workers:
        process.start()
    for process in workers:
        process.join(120)
    assert [process.exitcode for process in workers] == [0] * 6
    reclaim(media_database, lambda name: False)

    most = most_held(media_database)
    assert set(most) <= {SMALL, OTHER, LARGE}
    assert LARGE in most
    assert all(found.leases == 1 for found in most.values()) == settings.whole_device
    assert held_leases(media_database) == {}
    with media_database.begin() as connection:
        granted = connection.execute(text("select count(*) from gpu_lease where granted_at is not null")).scalar_one()
    assert granted == 60
