"""A device's breaker over several runs, and the stages' routing: what people change is in force at the next task."""

import subprocess
import time

import pytest

from console.terminal import REPOSITORY
from operators.gpu.breaker_store import open_by_hand
from tests.deployment import wait_until
from tests.e2e_gpu.conftest import BREAKER_WAIT_S
from tests.e2e_gpu.outcome import VISION, analyze, assert_done_on_a_gpu, assert_done_on_the_cpu, outcome_of
from tests.simulation.host import DEFAULT_GPUS

SMALL, OTHER, LARGE = (gpu.uuid for gpu in DEFAULT_GPUS)
BROKEN = "vision.analyze cuda: broken"
STATE = "select state, wait_s from gpu_breaker where device_uuid = :uuid"
CHANGES = (
    "select state_before, state_after, changed_by from gpu_breaker_change where device_uuid = :uuid order by changed_at"
)


@pytest.fixture
def one_gpu(gpu_deployment):
    """The deployment with the large device alone in service."""
    database = gpu_deployment.media_database()
    for uuid in (SMALL, OTHER):
        open_by_hand(database, uuid, "test", "only one device is looked at")
    return gpu_deployment


def breaker(deployment):
    (row,) = deployment.rows(STATE, uuid=LARGE)
    return row


def await_half_open(deployment):
    """Time makes it so; it is written down when somebody looks."""
    opens = "select half_opens_at <= now() as is_over from gpu_breaker where device_uuid = :uuid"
    wait_until(lambda: deployment.rows(opens, uuid=LARGE)[0]["is_over"], bool, 4 * BREAKER_WAIT_S)


def test_a_breaker_opens_half_opens_and_closes_again(one_gpu):
    before = len(one_gpu.rows(CHANGES, uuid=LARGE))
    failed = analyze(one_gpu, one_gpu.film("fails.mp4", BROKEN))
    assert failed.states["vision_analyze_gpu"] == "failed"
    assert breaker(one_gpu) == {"state": "open", "wait_s": BREAKER_WAIT_S}

    await_half_open(one_gpu)
    again = analyze(one_gpu, one_gpu.film("fails again.mp4", BROKEN))
    assert "half-open" in again.reason
    assert again.states["vision_analyze_gpu"] == "failed"
    assert breaker(one_gpu) == {"state": "open", "wait_s": 2 * BREAKER_WAIT_S}

    meanwhile = analyze(one_gpu, one_gpu.film("meanwhile.mp4"))
    assert_done_on_the_cpu(meanwhile)
    assert "out of service until" in meanwhile.reason

    await_half_open(one_gpu)
    assert_done_on_a_gpu(analyze(one_gpu, one_gpu.film("well again.mp4")), LARGE)
    assert breaker(one_gpu)["state"] == "closed"
    changes = [(row["state_before"], row["state_after"]) for row in one_gpu.rows(CHANGES, uuid=LARGE)[before:]]
    states = [after for was, after in changes if was != after]
    assert states == ["open", "half_open", "open", "half_open", "closed"]


def test_a_person_takes_a_gpu_out_and_puts_it_back_with_the_form(one_gpu):
    switch = {"device": LARGE, "reason": "a new fan"}
    opened = one_gpu.wait(one_gpu.api.trigger("switch_gpu", {**switch, "action": "open"}))
    assert opened.state == "success"
    assert_done_on_the_cpu(analyze(one_gpu, one_gpu.film("out.mp4")))
    assert one_gpu.wait(one_gpu.api.trigger("switch_gpu", {**switch, "action": "close"})).state == "success"
    assert_done_on_a_gpu(analyze(one_gpu, one_gpu.film("back.mp4")), LARGE)
    signed = one_gpu.rows(
        "select changed_by, reason from gpu_breaker_change where device_uuid = :uuid and reason = 'a new fan'",
        uuid=LARGE,
    )
    assert signed == [{"changed_by": "admin", "reason": "a new fan"}] * 2


def test_make_gpu_shows_the_devices_and_closes_a_breaker(one_gpu):
    open_by_hand(one_gpu.media_database(), LARGE, "ops", "to be seen")
    shown = make_gpu()
    assert all(gpu.uuid in shown for gpu in DEFAULT_GPUS)
    assert "to be seen" in shown
    assert "vision.analyze" in shown
    make_gpu(f"CLOSE={LARGE}", "WHY=it was seen")
    assert breaker(one_gpu)["state"] == "closed"


def make_gpu(*arguments):
    command = ["make", "--no-print-directory", "gpu", *arguments]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_routing_that_changes_while_tasks_run_is_in_force_at_the_next_task(gpu_deployment):
    running = gpu_deployment.start(gpu_deployment.film("runs.mp4", "vision.analyze: sleep 15"), stages=VISION)
    held = "select 1 from gpu_lease where run_id = :run_id and container_id is not null and ended_at is null"
    wait_until(lambda: gpu_deployment.rows(held, run_id=running.run_id), bool, 60)
    began_s = time.monotonic()
    form = {"stage": "vision.analyze", "policy": "cpu", "reason": "results are being compared"}
    assert gpu_deployment.wait(gpu_deployment.api.trigger("route_stages", form)).state == "success"
    routed = analyze(gpu_deployment, gpu_deployment.film("routed.mp4"))
    assert time.monotonic() - began_s < 60
    assert_done_on_the_cpu(routed)
    assert "routed" in routed.reason
    assert_done_on_a_gpu(outcome_of(gpu_deployment, gpu_deployment.wait(running)), SMALL, OTHER, LARGE)
    (change,) = gpu_deployment.rows(
        "select policy_before, policy_after, changed_by, reason from stage_routing_change where policy_after = 'cpu'"
    )
    assert change == {
        "policy_before": "auto",
        "policy_after": "cpu",
        "changed_by": "admin",
        "reason": "results are being compared",
    }
    insisting = analyze(gpu_deployment, gpu_deployment.film("insists.mp4"), device="gpu")
    assert_done_on_a_gpu(insisting, SMALL, OTHER, LARGE)
