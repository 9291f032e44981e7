"""A night in which everything dies, again and again, comes to the same end as any other."""

import random
import time
from collections import Counter

import pytest

from console.terminal import ConsoleError
from tests.e2e_backfill.kills import Killer
from tests.e2e_backfill.night_log import WORK, read_nights

FILMS = 60
ROUNDS = 2
PAUSE_S = (4.0, 14.0)
NIGHT_LIMIT_S = 1800
NIGHTS = 4


def has_ended(deployment, run):
    """Also asked while Airflow's database is away."""
    try:
        return deployment.api.run(run.dag_id, run.run_id).ended
    except ConsoleError:
        return False


def await_end(deployment, run):
    deadline_s = time.monotonic() + NIGHT_LIMIT_S
    while not has_ended(deployment, run):
        if time.monotonic() > deadline_s:
            pytest.fail(f"{run.run_id} must end within {NIGHT_LIMIT_S} s")
        time.sleep(2)


def test_whatever_dies_every_asset_is_done_once(archive_deployment, capsys):
    seed = time.time_ns() % 100_000
    killer = Killer(archive_deployment, random.Random(seed))
    locations = archive_deployment.films("killed", FILMS, "audio.transcribe: sleep 1.5", "vision.analyze: sleep 1.5")
    nights = [archive_deployment.begin_backfill(["archive/killed"])]
    killer.strike(ROUNDS, PAUSE_S, lambda: has_ended(archive_deployment, nights[0]))
    await_end(archive_deployment, nights[0])
    while read_nights(archive_deployment, *nights).ended["done"] < len(locations) and len(nights) < NIGHTS:
        nights.append(archive_deployment.begin_backfill(["archive/killed"], retry_parked=True))
        await_end(archive_deployment, nights[-1])

    log = read_nights(archive_deployment, *nights)
    work = archive_deployment.rows(WORK, run_ids=[shard["run_id"] for shard in log.shards])
    with capsys.disabled():
        told = ", ".join(f"{count} {kind}" for kind, count in sorted(killer.survived.items()))
        print(f"\nseed {seed}: survived {killer.survived.total()} kills ({told}) in {len(nights)} nights")
        print(f"shards {Counter(shard['outcome'] for shard in log.shards)}, items {log.ended}")
        print(f"work done again: {sum(row['n'] - 1 for row in work)} of {len(work)} results")
    assert killer.survived.total() >= len(killer.kinds)
    # What was under way when it died may have been all but finished.
    assert sum(row["n"] - 1 for row in work) <= killer.survived.total()
    ends = Counter(row["asset_id"] for row in log.items if row["outcome"] in ("done", "rejected"))
    assert len(ends) == FILMS
    assert set(ends.values()) == {1}
    assert archive_deployment.containers() == []
