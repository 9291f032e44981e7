"""What the console does for GPUs: images, Compose's files, and an agent that is no reason to fail."""

import json
import os
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from console import gpu, images
from console.compose import try_compose
from console.engine import engine_socket, ensure_engine, stage_socket
from console.settings import Settings, complete, load_settings

AGENT = """
services:
  gpu-agent:
    image: {image}
    pull_policy: never
    command: [{command}]
    {more}
"""


@pytest.fixture
def with_gpu(tmp_path: Path) -> Settings:
    complete(tmp_path / ".env")
    return load_settings(
        tmp_path / ".env",
        {
            "NIGHTREEL_GPU_DEVICES": "GPU-1",
            "COMPOSE_PROJECT_NAME": f"nightreel-console-test-{tmp_path.name[-8:]}".lower(),
        },
    )


@pytest.fixture
def agent(with_gpu: Settings, tmp_path: Path) -> Iterator[Settings]:
    """A project whose GPU agent a test writes to `agent.yaml`."""
    ensure_engine()
    file = tmp_path / "agent.yaml"
    yield replace(with_gpu, values={**with_gpu.values, "COMPOSE_FILE": str(file)})
    if file.exists():
        try_compose(replace(with_gpu, values={**with_gpu.values, "COMPOSE_FILE": str(file)}), "down", "--timeout=0")


def write_agent(agent: Settings, command: str, more: str = "", image: str = "nightreel/base:cpu") -> None:
    Path(agent.values["COMPOSE_FILE"]).write_text(AGENT.format(image=image, command=command, more=more))


def test_compose_reads_the_agents_file_exactly_when_there_is_a_gpu(with_gpu: Settings) -> None:
    assert gpu.compose_file(with_gpu) == "docker-compose.yaml:compose.gpu.yaml"
    assert gpu.compose_file(replace(with_gpu, gpu_devices=())) == "docker-compose.yaml"


def test_what_a_person_lays_beside_the_compose_file_is_still_read(
    with_gpu: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gpu, "REPOSITORY", tmp_path)
    (tmp_path / "docker-compose.override.yaml").touch()
    assert gpu.compose_file(with_gpu) == "docker-compose.yaml:docker-compose.override.yaml:compose.gpu.yaml"


def test_an_agent_that_is_well_is_not_complained_of(agent: Settings) -> None:
    write_agent(agent, "sleep, infinity", "healthcheck: {test: ['CMD', 'true'], interval: 1s}")
    assert gpu.start_agent(agent) is None
    assert gpu.start_agent(agent) is None


def test_an_agent_that_dies_or_is_not_built_is_a_complaint_and_no_error(agent: Settings) -> None:
    write_agent(agent, "sh, -c, exit 3", "healthcheck: {test: ['CMD', 'true'], interval: 1s}")
    assert "gpu-agent must be healthy: gpu-agent exited" in (gpu.start_agent(agent) or "")
    write_agent(agent, "sleep, infinity", image="nightreel/none:cpu")
    assert "the GPU agent must start, and does not" in (gpu.start_agent(agent) or "")


HANGING_DOCKER = """#!/bin/sh
echo $$ >{pids}
sleep 600 &
echo $! >>{pids}
wait
"""


@pytest.fixture
def hanging_engine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A `docker` whose child hangs, as Compose does beside a driver that hangs; its process ids are in this file."""
    pids, client = tmp_path / "pids", tmp_path / "bin" / "docker"
    client.parent.mkdir()
    client.write_text(HANGING_DOCKER.format(pids=pids))
    client.chmod(0o755)
    monkeypatch.setenv("PATH", f"{client.parent}:{os.environ['PATH']}")
    monkeypatch.setattr(gpu, "AGENT_LIMIT_S", 0.5)
    return pids


def running(pid: str) -> bool:
    status = Path("/proc", pid, "stat")
    return status.exists() and status.read_text().rpartition(")")[2].split()[0] != "Z"


def test_a_driver_that_hangs_is_a_complaint_and_nothing_is_left_waiting(
    with_gpu: Settings, hanging_engine: Path
) -> None:
    complaint = gpu.start_agent(with_gpu) or ""
    assert "the GPU agent must start, and does not: docker compose up" in complaint
    assert "must end within 0.5 s, and hangs" in complaint
    left = hanging_engine.read_text().split()
    assert len(left) == 2
    until_s = time.monotonic() + 5
    while any(running(pid) for pid in left):
        assert time.monotonic() < until_s, "Compose is killed with its children"
        time.sleep(0.05)


def test_an_agent_that_cannot_be_asked_for_is_no_reason_to_wait(with_gpu: Settings, hanging_engine: Path) -> None:
    (state,) = gpu.agent_state(with_gpu)
    assert not state.is_well
    assert "must end within 0.5 s" in state.words


def test_images_for_gpus_are_needed_where_gpus_are_and_their_stages_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ensure_engine()
    monkeypatch.delenv("NIGHTREEL_DOCKER_SOCKET", raising=False)
    monkeypatch.setenv("NIGHTREEL_GPU_DEVICES", "")
    assert images.needed_variants() == ("cpu",)
    monkeypatch.setenv("NIGHTREEL_GPU_DEVICES", "GPU-1")
    assert images.needed_variants() == ("cpu", "cuda")
    monkeypatch.setenv("NIGHTREEL_DOCKER_SOCKET", str(engine_socket()))
    assert images.needed_variants() == ("cpu", "cuda")
    monkeypatch.setenv("NIGHTREEL_DOCKER_SOCKET", str(tmp_path / "another.sock"))
    assert images.needed_variants() == ("cpu",)


def test_the_engine_of_the_stages_is_this_one_unless_the_environment_names_another() -> None:
    assert stage_socket({}) == engine_socket()
    assert stage_socket({"NIGHTREEL_DOCKER_SOCKET": "/run/second.sock"}) == Path("/run/second.sock")


def test_each_image_with_a_build_for_gpus_is_looked_for() -> None:
    ensure_engine()
    models = gpu.stage_models()
    assert set(models) == {"nightreel/audio:cuda", "nightreel/vision:cuda"}
    assert all(isinstance(json.loads(label), list) for label in models.values() if label)
