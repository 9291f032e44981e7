"""What is known before a stage begins decides its branch; the reason is on the task, on the run and in Postgres."""

import pytest

from stage_contract.gpu_health import HealthVerdict
from tests.e2e_gpu.conftest import PATIENCE_S
from tests.e2e_gpu.outcome import analyze, assert_done_on_a_gpu, assert_done_on_the_cpu
from tests.simulation.host import DEFAULT_GPUS

GPUS = [gpu.uuid for gpu in DEFAULT_GPUS]
SMALL, OTHER, LARGE = GPUS


def test_a_driver_that_does_not_match_its_libraries_sends_work_to_the_cpu_at_once(gpu_deployment):
    gpu_deployment.host.mismatch()
    gpu_deployment.await_verdict(HealthVerdict.UNHEALTHY)
    outcome = analyze(gpu_deployment, gpu_deployment.film("mismatch.mp4"))
    assert_done_on_the_cpu(outcome)
    assert "mismatch" in outcome.reason
    assert "restart the host" in outcome.reason
    assert outcome.choice["waited_s"] < PATIENCE_S


def test_a_driver_that_is_not_loaded_sends_work_to_the_cpu_at_once(gpu_deployment):
    gpu_deployment.host.unload()
    gpu_deployment.await_verdict(HealthVerdict.UNHEALTHY)
    outcome = analyze(gpu_deployment, gpu_deployment.film("unloaded.mp4"))
    assert_done_on_the_cpu(outcome)
    assert "modprobe nvidia" in outcome.reason
    assert outcome.choice["waited_s"] < PATIENCE_S


def test_a_lost_gpu_is_passed_by_and_another_does_the_work(gpu_deployment):
    gpu_deployment.host.lose(SMALL)
    gpu_deployment.await_verdict(HealthVerdict.UNHEALTHY)
    assert_done_on_a_gpu(analyze(gpu_deployment, gpu_deployment.film("one lost.mp4")), OTHER, LARGE)


def test_when_every_gpu_is_lost_the_cpu_does_the_work(gpu_deployment):
    for uuid in GPUS:
        gpu_deployment.host.lose(uuid)
    gpu_deployment.await_verdict(HealthVerdict.UNHEALTHY)
    outcome = analyze(gpu_deployment, gpu_deployment.film("all lost.mp4"))
    assert_done_on_the_cpu(outcome)
    assert "lost" in outcome.reason
    assert all(uuid in outcome.reason for uuid in GPUS)


def test_a_fatal_xid_keeps_work_off_its_gpu(gpu_deployment):
    for uuid in (SMALL, OTHER):
        gpu_deployment.host.raise_xid(uuid, 79)
    gpu_deployment.await_verdict(HealthVerdict.UNHEALTHY)
    assert_done_on_a_gpu(analyze(gpu_deployment, gpu_deployment.film("fatal.mp4")), LARGE)
    events = gpu_deployment.rows("select distinct device_uuid, severity from gpu_event where xid = 79 order by 1")
    assert events == [{"device_uuid": uuid, "severity": "device"} for uuid in (SMALL, OTHER)]
    opened = "select distinct device_uuid from gpu_breaker_change where state_after = 'open' and reason like '%Xid 79%'"
    assert {row["device_uuid"] for row in gpu_deployment.rows(opened)} >= {SMALL, OTHER}


def test_an_applications_xid_keeps_no_work_off(gpu_deployment):
    for uuid in GPUS:
        gpu_deployment.host.raise_xid(uuid, 31)
    outcome = analyze(gpu_deployment, gpu_deployment.film("application.mp4"))
    assert_done_on_a_gpu(outcome, *GPUS)
    assert gpu_deployment.rows("select 1 from gpu_event where xid = 31 and severity = 'application'")
    assert not gpu_deployment.rows("select 1 from gpu_breaker where state <> 'closed'")


def test_vram_that_other_processes_took_is_waited_for_then_the_cpu_does_the_work(gpu_deployment):
    for gpu in DEFAULT_GPUS:
        gpu_deployment.host.take(gpu.uuid, gpu.total_mib - 1024)
    outcome = analyze(gpu_deployment, gpu_deployment.film("taken.mp4"))
    assert_done_on_the_cpu(outcome)
    assert "other processes take" in outcome.reason
    assert outcome.choice["waited_s"] >= PATIENCE_S


def test_a_gpu_that_is_hot_goes_on_working_and_the_reason_says_so(gpu_deployment):
    for uuid in GPUS:
        gpu_deployment.host.heat(uuid)
    gpu_deployment.await_verdict(HealthVerdict.DEGRADED)
    outcome = analyze(gpu_deployment, gpu_deployment.film("hot.mp4"))
    assert_done_on_a_gpu(outcome, *GPUS)
    assert "degraded" in outcome.reason
    assert "because of heat" in outcome.reason


@pytest.mark.parametrize(
    ("trouble", "told"),
    [("stop", "cannot be reached"), ("freeze", "did not answer within"), ("talk_nonsense", "not understood")],
)
def test_an_agent_in_trouble_is_waited_for_then_the_cpu_does_the_work(gpu_deployment, trouble, told):
    getattr(gpu_deployment.agent, trouble)()
    outcome = analyze(gpu_deployment, gpu_deployment.film(f"{trouble}.mp4"))
    assert_done_on_the_cpu(outcome)
    assert told in outcome.reason
    assert outcome.choice["waited_s"] >= PATIENCE_S


def test_a_driver_that_hangs_is_unknown_and_the_cpu_does_the_work(gpu_deployment):
    gpu_deployment.host.hang()
    gpu_deployment.await_verdict(HealthVerdict.UNKNOWN)
    outcome = analyze(gpu_deployment, gpu_deployment.film("hangs.mp4"))
    assert_done_on_the_cpu(outcome)
    assert "NVML does not answer" in outcome.reason


def test_an_agent_that_comes_back_within_the_patience_gets_the_work(gpu_deployment):
    gpu_deployment.agent.freeze()
    run = gpu_deployment.start(gpu_deployment.film("back.mp4"), stages=["vision.analyze"], device="gpu")
    waiting = "select 1 from stage_attempt where run_id = :run_id and task_id = 'vision_gpu_health'"
    while not gpu_deployment.rows(waiting, run_id=run.run_id):
        pass
    gpu_deployment.agent.restore()
    states = gpu_deployment.task_states(gpu_deployment.wait(run))
    assert states["vision_analyze_gpu"] == "success"


def test_a_run_that_wants_the_cpu_gets_it_at_once(gpu_deployment):
    outcome = analyze(gpu_deployment, gpu_deployment.film("cpu.mp4"), device="cpu")
    assert_done_on_the_cpu(outcome)
    assert "asked for with device cpu" in outcome.reason


def test_results_of_either_device_are_not_made_again(gpu_deployment):
    film = gpu_deployment.film("twice.mp4")
    assert_done_on_a_gpu(analyze(gpu_deployment, film), *GPUS)
    for uuid in GPUS:
        gpu_deployment.host.lose(uuid)
    gpu_deployment.await_verdict(HealthVerdict.UNHEALTHY)
    again = analyze(gpu_deployment, film)
    assert_done_on_the_cpu_without_a_container(again)
    gpu_deployment.heal()
    insisting = analyze(gpu_deployment, film, device="cpu")
    assert insisting.on_cpu["outcome"] == "done"


def assert_done_on_the_cpu_without_a_container(outcome):
    assert outcome.branch == "cpu"
    assert (outcome.on_cpu["outcome"], outcome.on_cpu["items_reused"]) == ("reused", 1)
