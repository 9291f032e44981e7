"""The engine and its plugins, as they answer on this machine."""

import json
from pathlib import Path

import pytest

from console.base_image import DISTRIBUTION_IMAGE, ensure_distribution_image
from console.engine import docker, docker_succeeds, engine_socket, ensure_engine, image_id, image_label
from console.terminal import ConsoleError


@pytest.fixture(autouse=True)
def engine() -> None:
    ensure_engine()


def test_compose_2_and_buildx_answer_once_the_engine_is_ensured() -> None:
    assert int(docker("compose", "version", "--short").removeprefix("v").split(".")[0]) >= 2
    assert docker_succeeds("buildx", "version")


def test_the_socket_given_to_the_scheduler_is_the_engines() -> None:
    assert engine_socket().is_socket()


def test_an_engine_on_another_machine_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_HOST", "tcp://engine.example:2376")
    with pytest.raises(ConsoleError, match="must be on this machine"):
        engine_socket()


def test_an_engine_that_does_not_answer_is_told_with_the_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_HOST", "unix:///nonexistent/docker.sock")
    with pytest.raises(ConsoleError, match="start that engine or unset DOCKER_HOST"):
        ensure_engine()


def test_a_failed_command_tells_what_docker_said() -> None:
    with pytest.raises(ConsoleError, match=r"docker image inspect no-such-image failed: .*[Nn]o such image"):
        docker("image", "inspect", "no-such-image")
    assert image_id("no-such-image") is None


def test_the_distribution_image_is_made_once_and_holds_python_3_11(tmp_path: Path) -> None:
    assert ensure_distribution_image() == DISTRIBUTION_IMAGE
    held = image_id(DISTRIBUTION_IMAGE)
    ensure_distribution_image()
    assert image_id(DISTRIBUTION_IMAGE) == held
    program = "import json, ssl, sys, venv, ensurepip; print(json.dumps(sys.version_info[:2]))"
    version = docker("run", "--rm", "--network", "none", DISTRIBUTION_IMAGE, "python3", "-c", program)
    assert json.loads(version) == [3, 11]
    assert image_label(DISTRIBUTION_IMAGE, "no-such-label") == ""
