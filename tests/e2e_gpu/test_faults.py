"""What happens to a GPU while a stage computes there: its task is red, the CPU takes the rest, the run is green."""

from contextlib import contextmanager
from pathlib import Path

import pytest

from operators.gpu.breaker_store import open_by_hand
from tests.deployment import wait_until
from tests.e2e_gpu.outcome import (
    VISION,
    assert_done_on_a_gpu,
    assert_done_on_the_cpu,
    assert_the_cpu_took_the_rest,
    outcome_of,
)
from tests.e2e_gpu.outcome import analyze as analyze_films
from tests.simulation.gpu_hook import break_driver
from tests.simulation.host import DEFAULT_GPUS

GPUS = [gpu.uuid for gpu in DEFAULT_GPUS]
QUICK, SLOW = "vision.analyze cuda: sleep 0.2", "vision.analyze cuda: sleep 120"
FREEZER = Path("/sys/fs/cgroup/freezer")
LEASE_ENDED = "select ending from gpu_lease where dag_id = :dag_id and run_id = :run_id"
HELD = """
select l.device_uuid from gpu_lease as l
where l.dag_id = :dag_id and l.run_id = :run_id and l.ended_at is null and l.container_id is not null
"""
STEPS_DOWN = "select message from stage_attempt where run_id = :run_id and task_id = 'vision_analyze_gpu'"


def shard(deployment, name, *instructions):
    """One film per instruction, in the order in which they are processed."""
    return [
        deployment.film(f"{name}/{number} {name}.mp4", instruction)
        for number, instruction in enumerate(instructions, start=1)
    ]


def begin(deployment, *films):
    """A run that computes on a GPU, inside its second film, and where it does."""
    run = deployment.start(*films, stages=VISION)
    held = wait_until(lambda: deployment.run_rows(HELD, run), bool, 60)
    results = deployment.settings.results
    wait_until(lambda: len(list(results.glob("assets/*/vision.analyze/*/device.json"))), lambda n: n >= 1, 30)
    return run, held[0]["device_uuid"]


@contextmanager
def held_in_the_kernel(container):
    """No signal reaches the container's processes, as when they hang in a driver.

    The freezer is one below the container's own, which the runtime thaws before it kills.
    """
    (own,) = FREEZER.rglob(f"*{container}*")
    frozen = own / "held"
    frozen.mkdir()
    for process in (own / "cgroup.procs").read_text().split():
        (frozen / "cgroup.procs").write_text(process)
    (frozen / "freezer.state").write_text("FROZEN")
    try:
        yield
    finally:
        # They die at once, and the engine takes both groups away.
        (frozen / "freezer.state").write_text("THAWED")


@pytest.fixture(autouse=True)
def no_earlier_results(gpu_deployment):
    for file in gpu_deployment.settings.results.glob("assets/*/vision.analyze/*/device.json"):
        file.unlink()


@pytest.mark.parametrize("what", ["lost", "xid"])
def test_a_gpu_that_fails_during_a_task_leaves_the_rest_to_the_cpu(gpu_deployment, what):
    run, uuid = begin(gpu_deployment, *shard(gpu_deployment, what, QUICK, SLOW, QUICK))
    if what == "lost":
        gpu_deployment.host.lose(uuid)
    else:
        gpu_deployment.host.raise_xid(uuid, 79)
    outcome = outcome_of(gpu_deployment, gpu_deployment.wait(run))
    assert_the_cpu_took_the_rest(outcome, done_on_gpu=1, left=2)
    (breaker,) = gpu_deployment.rows("select state, reason from gpu_breaker where device_uuid = :uuid", uuid=uuid)
    assert breaker["state"] in ("open", "half_open")
    assert ("lost" if what == "lost" else "Xid 79") in breaker["reason"]


def test_an_applications_xid_during_a_task_does_not_stop_it(gpu_deployment):
    run, uuid = begin(gpu_deployment, *shard(gpu_deployment, "xid31", QUICK, "vision.analyze cuda: sleep 12"))
    gpu_deployment.host.raise_xid(uuid, 31)
    assert_done_on_a_gpu(outcome_of(gpu_deployment, gpu_deployment.wait(run)), uuid)


def test_a_gpu_that_computes_wrong_numbers_is_taken_out_of_service(gpu_deployment):
    films = shard(gpu_deployment, "broken", QUICK, "vision.analyze cuda: broken", QUICK)
    outcome = analyze_films(gpu_deployment, *films)
    assert_the_cpu_took_the_rest(outcome, done_on_gpu=1, left=2)
    assert outcome.on_gpu["exit_code"] == 40
    uuid = outcome.on_gpu["device"]
    assert gpu_deployment.rows("select 1 from gpu_breaker where device_uuid = :uuid and state <> 'closed'", uuid=uuid)


def test_out_of_memory_halfway_the_stage_goes_on_smaller(gpu_deployment):
    films = shard(gpu_deployment, "smaller", QUICK, "vision.analyze cuda: oom", QUICK)
    outcome = analyze_films(gpu_deployment, *films)
    assert_done_on_a_gpu(outcome, *GPUS)
    assert outcome.on_gpu["items_done"] == 3
    assert "batch" in outcome.on_gpu["message"]


def test_out_of_memory_for_good_leaves_the_rest_to_the_cpu_and_the_gpu_in_service(gpu_deployment):
    films = shard(gpu_deployment, "memory", QUICK, "vision.analyze cuda: oom-always", QUICK)
    outcome = analyze_films(gpu_deployment, *films)
    assert_the_cpu_took_the_rest(outcome, done_on_gpu=1, left=2)
    assert outcome.on_gpu["exit_code"] == 40
    assert not gpu_deployment.rows("select 1 from gpu_breaker where state <> 'closed'")


def test_a_driver_that_breaks_before_the_container_starts_is_the_devices_fault(gpu_deployment):
    # The agent sees nothing yet: it holds the library that it was started with.
    break_driver(gpu_deployment.host.gpus, "nvidia-container-cli: initialization error: driver/library mismatch")
    outcome = analyze_films(gpu_deployment, gpu_deployment.film("start.mp4"))
    assert_the_cpu_took_the_rest(outcome, done_on_gpu=0, left=1)
    assert "driver/library mismatch" in outcome.on_gpu["message"]


def test_a_breaker_opened_by_hand_moves_running_work_to_the_cpu(gpu_deployment):
    run, uuid = begin(gpu_deployment, *shard(gpu_deployment, "by hand", QUICK, SLOW))
    open_by_hand(gpu_deployment.media_database(), uuid, "ops", "the fan is broken")
    outcome = outcome_of(gpu_deployment, gpu_deployment.wait(run))
    assert_the_cpu_took_the_rest(outcome, done_on_gpu=1, left=1)
    assert "the fan is broken" in outcome.on_gpu["message"]
    assert not gpu_deployment.containers(run)


def test_work_that_waits_for_a_gpu_moves_to_the_cpu_when_all_go_out_of_service(gpu_deployment):
    need_all = [gpu_deployment.start(gpu_deployment.film(f"holder {n}.mp4", SLOW), stages=VISION) for n in range(8)]
    waiting = "select 1 from gpu_lease where ended_at is null and device_uuid is not null"
    wait_until(lambda: len(gpu_deployment.rows(waiting)), lambda held: held >= 6, 120)
    database = gpu_deployment.media_database()
    for uuid in GPUS:
        open_by_hand(database, uuid, "ops", "power work")
    ended = [outcome_of(gpu_deployment, gpu_deployment.wait(run)) for run in need_all]
    assert {outcome.state for outcome in ended} == {"success"}
    assert all(outcome.states["vision_analyze_cpu"] == "success" for outcome in ended)
    assert not gpu_deployment.rows("select 1 from gpu_lease where ended_at is null")
    late = analyze_films(gpu_deployment, gpu_deployment.film("late.mp4"))
    assert_done_on_the_cpu(late)
    assert "out of service by ops (power work)" in late.reason


@pytest.mark.skipif(not FREEZER.is_dir(), reason="only the freezer of cgroup v1 holds a process against SIGKILL")
def test_a_container_that_hangs_in_the_kernel_is_left_behind_and_keeps_its_lease(gpu_deployment):
    run, uuid = begin(gpu_deployment, *shard(gpu_deployment, "hangs", QUICK, SLOW))
    (container,) = gpu_deployment.containers(run)
    with held_in_the_kernel(container):
        open_by_hand(gpu_deployment.media_database(), uuid, "ops", "it hangs")
        outcome = outcome_of(gpu_deployment, gpu_deployment.wait(run))
        assert_the_cpu_took_the_rest(outcome, done_on_gpu=1, left=1)
        assert outcome.on_gpu["ending"] is None
        assert gpu_deployment.containers(run) == [container]
    running = ("ps", "--quiet", "--no-trunc", "--filter", f"id={container}")
    wait_until(lambda: gpu_deployment.stage_docker(*running), lambda left: not left, 30)
    # Whoever wants a GPU next takes the lease back.
    assert_done_on_a_gpu(analyze_films(gpu_deployment, gpu_deployment.film("after.mp4")), *GPUS)
    after = gpu_deployment.run_rows(LEASE_ENDED, run)
    assert [row["ending"] for row in after] == ["reclaimed"]
