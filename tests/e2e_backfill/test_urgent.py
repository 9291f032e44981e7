"""A tape is needed now, while a backfill fills the pools."""

from datetime import UTC, datetime

import pytest

from tests.deployment import wait_until

ITEM_S = 6
FILMS = 8
FIRST_WORK = """
select min(started_at) as started_at from phase_report
where dag_id = 'process_media_urgent' and run_id = :run_id and phase in ('transcription', 'detection')
"""
BUSY = """
select count(*) as n from stage_attempt where outcome = 'running' and container_id is not null
    and stage in ('audio.transcribe', 'vision.analyze') and dag_id = 'process_media'
"""
ASIDE = """
select a.run_id, a.task_id, a.try_number, a.outcome, count(*) filter (where p.phase = 'aside') as waits
from stage_attempt as a join phase_timing as p using (dag_id, run_id, task_id, map_index, try_number)
where a.dag_id = 'process_media' and a.run_id = any(:run_ids)
group by a.run_id, a.task_id, a.try_number, a.outcome having count(*) filter (where p.phase = 'aside') > 0
"""
WORK = """
select asset_id, stage, count(*) as n from phase_report
where run_id = any(:run_ids) and asset_id is not null and phase = 'write' group by asset_id, stage
"""
RUNS = "select s.run_id from backfill_shard as s join backfill as b using (backfill_id) where b.run_id = :run_id"


@pytest.fixture(scope="module")
def saturated(archive_deployment):
    """A backfill whose shards hold every slot of the pool `cpu`."""
    archive_deployment.films("busy", FILMS, f"audio.transcribe: sleep {ITEM_S}", f"vision.analyze: sleep {ITEM_S}")
    run = archive_deployment.begin_backfill(["archive/busy"])
    slots = int(archive_deployment.settings.values["NIGHTREEL_CPU_SLOTS"])
    wait_until(lambda: archive_deployment.rows(BUSY)[0]["n"], lambda busy: busy >= slots, 180)
    return run


@pytest.fixture(scope="module")
def urgent(archive_deployment, saturated):
    tape = archive_deployment.film("news/tape.mp4")
    asked_at = datetime.now(UTC)
    run = archive_deployment.start(tape, dag_id="process_media_urgent")
    return asked_at, archive_deployment.wait(run)


@pytest.fixture(scope="module")
def night_over(archive_deployment, saturated, urgent):
    return archive_deployment.wait(saturated, 900)


def test_an_urgent_tape_waits_no_longer_than_for_the_item_under_way(archive_deployment, urgent, capsys):
    asked_at, run = urgent
    assert run.state == "success"
    began_at = archive_deployment.rows(FIRST_WORK, run_id=run.run_id)[0]["started_at"]
    waited_s = (began_at - asked_at).total_seconds()
    with capsys.disabled():
        print(f"\nfrom trigger to first inference {waited_s:.1f} s; the longest item takes {ITEM_S} s")
    # The chain before it: find, probe, extract, choose, each a task and some a container.
    assert waited_s <= ITEM_S + 45


def test_shards_that_stepped_aside_lose_nothing_and_spend_no_retry(archive_deployment, saturated, night_over):
    assert night_over.state == "success"
    run_ids = [row["run_id"] for row in archive_deployment.rows(RUNS, run_id=saturated.run_id)]
    aside = archive_deployment.rows(ASIDE, run_ids=run_ids)
    assert aside
    assert {(row["try_number"], row["outcome"]) for row in aside} <= {(1, "done"), (1, "reused")}
    work = archive_deployment.rows(WORK, run_ids=run_ids)
    assert len({row["asset_id"] for row in work}) == FILMS
    assert {row["n"] for row in work} == {1}
