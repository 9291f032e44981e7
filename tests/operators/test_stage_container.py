"""One container's life on a real engine."""

import secrets
import time

import docker
import pytest

from operators.container import DEVICE_LABEL, ContainerIdentity, gpu_request, is_refused_gpu
from operators.stage_container import (
    ContainerRemoved,
    ContainerStuck,
    FoundContainer,
    GpuRefused,
    StageContainer,
    is_running,
    remove_container,
)
from stage_contract.request import TaskKey

IMAGE = "nightreel/base:cpu"


@pytest.fixture
def client():
    with docker.APIClient() as engine:
        yield engine


@pytest.fixture
def identity():
    task = TaskKey(dag_id="process_media", run_id=secrets.token_hex(6), task_id="audio_transcribe_gpu", try_number=2)
    return ContainerIdentity("nightreel-test", task)


@pytest.fixture
def container(client, identity):
    made = StageContainer(client, identity)
    yield made
    if made.container_id:
        made.remove()


def create(container, client, identity, program, device="cpu"):
    container.create(
        image=IMAGE,
        command=["python3", "-c", program],
        labels=identity.labels | {DEVICE_LABEL: device},
        host_config=client.create_host_config(device_requests=gpu_request(device), init=True),
    )


def test_a_container_is_followed_to_its_end(client, container, identity):
    create(container, client, identity, "print('one'); print('two'); raise SystemExit(30)")
    container.start()
    lines: list[str] = []
    ended = container.follow(lines.append, lambda: False)
    assert (lines, ended.exit_code, ended.out_of_memory) == (["one", "two"], 30, False)


def test_a_later_try_finds_the_container_and_its_device(client, container, identity):
    create(container, client, identity, "import time; time.sleep(60)", device="cpu")
    container.start()
    found = StageContainer(client, identity).find()
    assert found == FoundContainer(started_by=2, is_running=True, device="cpu")
    assert is_running(client, identity.name)


def test_a_container_that_was_never_started_is_removed(client, container, identity):
    create(container, client, identity, "print('never')")
    assert StageContainer(client, identity).find() is None
    assert not client.containers(all=True, filters={"name": identity.name})


def test_a_container_that_does_not_end_is_left_behind(client, container, identity):
    create(container, client, identity, "import time; time.sleep(60)")
    container.start()
    began_s = time.monotonic()
    with pytest.raises(ContainerStuck):
        container.follow(lambda line: None, lambda: time.monotonic() - began_s > 1)
    assert is_running(client, identity.name)


def test_a_container_that_somebody_removes_is_told(client, container, identity):
    create(container, client, identity, "import time; time.sleep(60)")
    container.start()
    client.remove_container(identity.name, force=True)
    with pytest.raises(ContainerRemoved):
        container.follow(lambda line: None, lambda: False)


def test_the_cpu_removes_what_the_gpu_task_left(client, container, identity):
    create(container, client, identity, "import time; time.sleep(60)")
    container.start()
    assert remove_container(client, identity) == container.container_id
    assert remove_container(client, identity) is None
    assert not is_running(client, identity.name)


def test_a_gpu_that_the_engine_cannot_hand_over_is_a_fault_of_the_device(client, container, identity):
    create(container, client, identity, "print('never')", device="GPU-none")
    with pytest.raises(GpuRefused, match="container toolkit"):
        container.start()
    assert not client.containers(all=True, filters={"name": identity.name})


@pytest.mark.parametrize(
    ("explanation", "is_about_the_gpu"),
    [
        ("nvidia-container-cli: initialization error: nvml error: driver/library version mismatch", True),
        ('could not select device driver "" with capabilities: [[gpu]]', True),
        ("failed to inject CDI devices: unresolvable CDI devices", True),
        ("failed to create task for container: no space left on device", False),
        ("Conflict. The container name is already in use", False),
    ],
)
def test_only_words_about_the_gpu_blame_the_gpu(explanation, is_about_the_gpu):
    assert is_refused_gpu(explanation) is is_about_the_gpu
