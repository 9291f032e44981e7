"""A person looks at a plan before it is carried out, stops a backfill and lets it go on."""

import pytest

from tests.deployment import wait_until
from tests.e2e_backfill.night_log import read_nights

FILMS = 8
RUNNING = "select count(*) as n from stage_attempt where dag_id = 'process_media' and outcome = 'running'"
WAITING = "select count(*) as n from stage_attempt where dag_id = 'process_media' and outcome = 'stepped_aside'"
LAUNCHED = (
    "select count(*) as n from backfill_shard as s join backfill as b using (backfill_id) where b.run_id = :run_id"
)


@pytest.fixture(scope="module")
def folder(archive_deployment):
    archive_deployment.films("by hand", FILMS, "audio.transcribe: sleep 3", "vision.analyze: sleep 3")
    return "archive/by hand"


def test_a_dry_run_prints_the_plan_and_launches_nothing(archive_deployment, folder):
    run = archive_deployment.wait(archive_deployment.begin_backfill([folder], dry_run=True))
    assert run.state == "success"
    assert archive_deployment.rows(LAUNCHED, run_id=run.run_id) == [{"n": 0}]
    note = archive_deployment.note(run)
    assert f"{FILMS} assets" in note
    for word in ("CPU", "GPU", "shard"):
        assert word in note


def test_a_pause_lets_shards_step_aside_and_a_resume_lets_them_go_on(archive_deployment, folder):
    run = archive_deployment.begin_backfill([folder])
    wait_until(lambda: archive_deployment.rows(RUNNING)[0]["n"], bool, 120)
    paused = archive_deployment.api.trigger("pause_backfill", {"action": "pause", "reason": "the disks are needed"})
    assert archive_deployment.wait(paused).state == "success"
    wait_until(lambda: archive_deployment.rows(WAITING)[0]["n"], bool, 60)
    wait_until(lambda: archive_deployment.containers(), lambda containers: not containers, 60)
    resumed = archive_deployment.api.trigger("pause_backfill", {"action": "resume", "reason": "they are free"})
    assert archive_deployment.wait(resumed).state == "success"
    assert archive_deployment.wait(run).state == "success"
    assert read_nights(archive_deployment, run).ended == {"done": FILMS}
