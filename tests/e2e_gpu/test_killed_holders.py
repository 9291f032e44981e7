"""What a task that is killed held of a GPU: back within a minute, and never while its container still runs."""

import time
from datetime import UTC, datetime

import pytest

from operators.gpu.breaker_store import open_by_hand
from stage_contract.vocabulary import Stage
from tests.deployment import wait_until
from tests.e2e_gpu.holders import EVERYTHING, TAKES_MIB, Kill, forget_peaks, holder_of, kill, leases_of
from tests.simulation.host import DEFAULT_GPUS

AUDIO = Stage.TRANSCRIBE
ONLY = DEFAULT_GPUS[0].uuid
"""A small GPU, which one transcription fills: of another, the task can only wait for the end."""
BACK_WITHIN_S = 60.0
DEAD_AFTER_S = 20.0
OBSERVED_S = 30.0
LONG_S = 240
# From the start of the container; enough to be watched for OBSERVED_S after its task was killed.
OUTLIVES_S = 42
# Between what the engine and the database call the same instant.
CLOCKS_DIFFER_S = 0.5
WAITS_WITHIN_S = 120.0


@pytest.fixture
def deployment(gpu_deployment):
    forget_peaks(gpu_deployment)
    return gpu_deployment


@pytest.fixture
def one_gpu(deployment):
    """All GPUs but one are out of service."""
    for gpu in DEFAULT_GPUS:
        if gpu.uuid != ONLY:
            open_by_hand(deployment.media_database(), gpu.uuid, "test", "all are to want one GPU")
    return deployment


@pytest.fixture
def tell(capsys, request):
    """Say figures to whoever reads the tests' output."""

    def say(line):
        with capsys.disabled():
            print(f"\n{request.node.name}: {line}")

    return say


def begin(deployment, name, sleep_s, stage=AUDIO, **choices):
    """A run of one film that transcribes for so long on a GPU."""
    lines = [f"{stage} cuda: take {TAKES_MIB[stage]}", f"{stage} cuda: sleep {sleep_s}"]
    return deployment.start(deployment.film(f"killed/{name}.mp4", *lines), stages=[str(stage)], **choices)


def begin_to_wait(deployment, name):
    """A run that waits for the GPU that another holds. It insists: what the dead leave may pass for a fault."""
    run = begin(deployment, name, 1, device="gpu")
    wait_until(lambda: leases_of(deployment, run), bool, WAITS_WITHIN_S, 0.2)
    return run


def lease_of(deployment, run):
    """The run's first lease."""
    return leases_of(deployment, run)[0]


def await_end(deployment, run, limit_s):
    """The run's first lease, once it has ended."""
    return wait_until(lambda: lease_of(deployment, run), lambda lease: lease["ended_at"], limit_s, 0.2)


def await_grant(deployment, run, limit_s):
    return wait_until(lambda: lease_of(deployment, run), lambda lease: lease["granted_at"], limit_s, 0.2)


def give_up(deployment, *runs):
    """End runs that wait for Airflow to miss a supervisor, and take away what they left."""
    for run in runs:
        deployment.api.set_run_state(run.dag_id, run.run_id, "failed")
    assert deployment.run(dag_id="remove_orphans").state == "success"
    assert not [container for run in runs for container in deployment.containers(run)]


def seconds(begin_at, end_at):
    return (end_at - begin_at).total_seconds()


def test_a_killed_holders_gpu_goes_to_the_task_that_waits_for_it_within_a_minute(one_gpu, tell):
    dying = begin(one_gpu, "held", LONG_S)
    holder = holder_of(one_gpu, dying)
    waiting = begin_to_wait(one_gpu, "waits")
    assert lease_of(one_gpu, waiting)["granted_at"] is None
    killed_at = kill(one_gpu, holder, EVERYTHING)
    back = await_end(one_gpu, dying, BACK_WITHIN_S)
    granted = await_grant(one_gpu, waiting, BACK_WITHIN_S)
    assert (back["lease_id"], back["device_uuid"], back["ending"]) == (holder.lease_id, ONLY, "reclaimed")
    assert seconds(back["renewed_at"], back["ended_at"]) >= DEAD_AFTER_S
    assert granted["device_uuid"] == ONLY
    assert back["ended_at"] <= granted["granted_at"]
    assert seconds(killed_at, granted["granted_at"]) <= BACK_WITHIN_S
    tell(
        f"the lease was back after {seconds(killed_at, back['ended_at']):.1f} s, the waiting task had the GPU after "
        f"{seconds(killed_at, granted['granted_at']):.1f} s"
    )
    assert one_gpu.wait(waiting).state == "success"
    give_up(one_gpu, dying)


def test_a_killed_holders_gpu_is_free_for_the_next_that_comes_within_a_minute(deployment, tell):
    """Nobody waits; then any stage on any GPU comes, and gives back what it finds abandoned."""
    dying = begin(deployment, "alone", LONG_S)
    holder = holder_of(deployment, dying)
    killed_at = kill(deployment, holder, EVERYTHING)
    time.sleep(DEAD_AFTER_S)
    assert lease_of(deployment, dying)["ended_at"] is None
    came_at = datetime.now(UTC)
    coming = begin(deployment, "comes", 1, Stage.ANALYZE)
    back = await_end(deployment, dying, BACK_WITHIN_S)
    assert back["ending"] == "reclaimed"
    assert seconds(killed_at, back["ended_at"]) <= BACK_WITHIN_S
    tell(
        f"with nobody waiting the lease was back after {seconds(killed_at, back['ended_at']):.1f} s, "
        f"{seconds(came_at, back['ended_at']):.1f} s after another run was asked for, whose first task on a GPU took "
        "it back"
    )
    assert deployment.wait(coming).state == "success"
    give_up(deployment, dying)


def test_a_killed_holders_own_retry_gives_its_gpu_back_within_a_minute(deployment, tell):
    """Nobody else is there. Airflow sees the death of a task whose supervisor lives at once."""
    dying = begin(deployment, "retried", LONG_S)
    holder = holder_of(deployment, dying)
    killed_at = kill(deployment, holder, Kill(container=True))
    back = await_end(deployment, dying, BACK_WITHIN_S)
    assert seconds(killed_at, back["ended_at"]) <= BACK_WITHIN_S
    tell(f"the task's own next try gave the lease back after {seconds(killed_at, back['ended_at']):.1f} s")
    give_up(deployment, dying)


def test_a_killed_holders_gpu_is_nobody_elses_while_its_container_runs(one_gpu, tell):
    dying = begin(one_gpu, "outlived", OUTLIVES_S)
    holder = holder_of(one_gpu, dying)
    killed_at = kill(one_gpu, holder, Kill(supervisor=True))
    waiting = begin_to_wait(one_gpu, "waits long")
    observed = 0
    while one_gpu.stage_docker("inspect", "--format", "{{.State.Running}}", holder.container_id) == "true":
        theirs, ours = lease_of(one_gpu, waiting), lease_of(one_gpu, dying)
        if one_gpu.stage_docker("inspect", "--format", "{{.State.Running}}", holder.container_id) == "true":
            assert theirs["granted_at"] is None
            assert (ours["lease_id"], ours["ended_at"]) == (holder.lease_id, None)
            observed += 1
        time.sleep(0.5)
    told = one_gpu.stage_docker("inspect", "--format", "{{.State.FinishedAt}}", holder.container_id)
    container_ended_at = datetime.fromisoformat(told)
    ran_on_s = seconds(killed_at, container_ended_at)
    assert ran_on_s > OBSERVED_S
    assert observed > OBSERVED_S / 2
    back = await_end(one_gpu, dying, BACK_WITHIN_S)
    granted = await_grant(one_gpu, waiting, BACK_WITHIN_S)
    assert back["ending"] == "reclaimed"
    assert granted["device_uuid"] == ONLY
    assert -CLOCKS_DIFFER_S <= seconds(container_ended_at, back["ended_at"]) <= BACK_WITHIN_S
    assert back["ended_at"] <= granted["granted_at"]
    assert seconds(container_ended_at, granted["granted_at"]) <= BACK_WITHIN_S
    tell(
        f"the container outlived its task by {ran_on_s:.1f} s and kept the lease; it was back "
        f"{seconds(container_ended_at, back['ended_at']):.1f} s after the container's end, and the waiting task's "
        f"{seconds(container_ended_at, granted['granted_at']):.1f} s after it"
    )
    assert one_gpu.wait(waiting).state == "success"
    give_up(one_gpu, dying)
