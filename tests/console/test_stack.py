"""What Compose is told: who may do what, and how the services are watched."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import pytest

from console import compose, stack
from console.compose import ServiceState, docker_compose, parse_states
from console.engine import ensure_engine
from console.settings import Settings, complete, load_settings
from console.stack import prepare_folders
from console.terminal import ConsoleError

PS_LINE = '{"Service":"scheduler","State":"running","Health":"starting","ExitCode":0}'
LONG_RUNNING = {"postgres", "api-server", "scheduler", "dag-processor", "triggerer"}


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    folders = {"NIGHTREEL_ARCHIVE": str(tmp_path / "media"), "NIGHTREEL_DATA": str(tmp_path / "data")}
    complete(tmp_path / ".env")
    return load_settings(tmp_path / ".env", environment={"COMPOSE_PROJECT_NAME": "nightreel-test", **folders})


@pytest.fixture
def gpu_services(settings: Settings) -> dict[str, Any]:
    """With a GPU configured."""
    ensure_engine()
    values = {**settings.values, "COMPOSE_FILE": "docker-compose.yaml:compose.gpu.yaml"}
    with_gpu = replace(settings, values=values)
    found: dict[str, Any] = json.loads(docker_compose(with_gpu, "config", "--format", "json"))["services"]
    return found


@pytest.fixture
def services(settings: Settings) -> dict[str, Any]:
    ensure_engine()
    found: dict[str, Any] = json.loads(docker_compose(settings, "config", "--format", "json"))["services"]
    return found


def test_states_are_read_from_lines_and_from_a_list() -> None:
    starting = ServiceState("scheduler", "running", "starting", 0)
    assert parse_states(PS_LINE) == [starting]
    assert parse_states(f"[{PS_LINE}]") == [starting]
    assert parse_states("") == []
    assert starting.words == "scheduler starting"


@pytest.mark.parametrize(
    ("state", "is_well"),
    [
        (ServiceState("scheduler", "running", "healthy", 0), True),
        (ServiceState("scheduler", "running", "unhealthy", 0), False),
        (ServiceState("scheduler", "restarting", "", 1), False),
        (ServiceState("airflow-init", "exited", "", 0), True),
        (ServiceState("airflow-init", "exited", "", 1), False),
        (ServiceState("airflow-init", "running", "", 0), False),
    ],
)
def test_a_service_is_well_when_it_is_healthy_or_has_done_its_one_job(state: ServiceState, is_well: bool) -> None:
    assert state.is_well is is_well


def test_only_the_scheduler_may_start_containers(services: dict[str, Any]) -> None:
    holders = {
        name
        for name, service in services.items()
        if any(volume["target"] == "/var/run/docker.sock" for volume in service.get("volumes", []))
    }
    assert holders == {"scheduler"}


def test_ports_are_open_to_this_machine_only(services: dict[str, Any]) -> None:
    ports = [port for service in services.values() for port in service.get("ports", [])]
    assert len(ports) == 2
    assert {port["host_ip"] for port in ports} == {"127.0.0.1"}


def test_every_service_that_stays_is_watched_and_comes_back(services: dict[str, Any]) -> None:
    assert {name for name, service in services.items() if service["restart"] == "unless-stopped"} == LONG_RUNNING
    assert {name for name, service in services.items() if "healthcheck" in service} == LONG_RUNNING
    assert all(service["logging"]["options"]["max-size"] for service in services.values())


def test_the_gpu_agent_is_one_service_more_and_keeps_the_rules_of_the_others(
    services: dict[str, Any], gpu_services: dict[str, Any]
) -> None:
    assert set(gpu_services) == {*services, "gpu-agent"}
    agent = gpu_services["gpu-agent"]
    assert {port["host_ip"] for port in agent["ports"]} == {"127.0.0.1"}
    assert agent["cap_drop"] == ["ALL"]
    assert agent["read_only"]
    assert "healthcheck" in agent
    assert agent["restart"] == "unless-stopped"
    assert agent["logging"]["options"]["max-size"]
    assert not [volume for volume in agent.get("volumes", []) if "docker.sock" in volume["target"]]


def test_every_service_of_airflow_is_told_of_the_gpus(services: dict[str, Any]) -> None:
    names = {name for name in services["scheduler"]["environment"] if name.startswith("NIGHTREEL_GPU_")}
    assert names == {
        f"NIGHTREEL_GPU_{name}"
        for name in (
            *("DEVICES", "VRAM_MIB", "RESERVE_MIB", "BUDGET_MIB", "SLOTS", "NEEDS"),
            *("AGENT_URL", "PATIENCE_S", "BREAKER_WAIT_S"),
        )
    }
    airflow = [service for name, service in services.items() if name != "postgres"]
    assert all({*names, "NIGHTREEL_NOTES_PASSWORD", "NIGHTREEL_AIRFLOW_URL"} <= set(s["environment"]) for s in airflow)


def test_media_and_code_can_only_be_read(services: dict[str, Any]) -> None:
    mounts = [volume for service in services.values() for volume in service["volumes"]]
    written = {volume["target"] for volume in mounts if volume["type"] == "bind" and not volume.get("read_only")}
    assert written == {"/results", "/work", "/var/run/docker.sock"}


def test_airflow_runs_without_privileges(services: dict[str, Any]) -> None:
    airflow = [service for name, service in services.items() if name != "postgres"]
    assert all(service["cap_drop"] == ["ALL"] and service["read_only"] for service in airflow)
    assert all("no-new-privileges:true" in service["security_opt"] for service in services.values())


def test_a_database_whose_passwords_are_lost_stops_up_before_new_ones_are_made(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stack, "ensure_engine", lambda: None)
    monkeypatch.setattr(stack, "database_without_passwords", lambda: "mine")
    monkeypatch.setattr(stack, "docker", lambda *arguments: "other_postgres\nmine_postgres")
    monkeypatch.setattr(stack, "complete", lambda: pytest.fail("passwords were made"))
    with pytest.raises(ConsoleError, match="docker volume rm mine_postgres"):
        stack.up()


def test_an_archive_that_is_not_there_is_told_before_anything_starts(settings: Settings) -> None:
    with pytest.raises(ConsoleError, match="NIGHTREEL_ARCHIVE must be a folder"):
        prepare_folders(settings)
    assert not settings.data.exists()


@pytest.mark.parametrize(("failures", "is_told"), [(0, True), (1, True), (99, False)])
def test_a_container_that_is_replaced_while_states_are_asked_for_is_asked_for_again(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, failures: int, is_told: bool
) -> None:
    said = [CompletedProcess([], 1, "", "Error response from daemon: No such container: 72b1c8")] * failures
    asked = iter([*said, CompletedProcess([], 0, PS_LINE, "")])
    monkeypatch.setattr(compose, "try_compose", lambda settings, *arguments, limit_s: next(asked))
    if is_told:
        assert [state.service for state in compose.service_states(settings)] == ["scheduler"]
    else:
        with pytest.raises(ConsoleError, match="No such container"):
            compose.service_states(settings)


def answers(code: int, stdout: str, stderr: str) -> Callable[..., CompletedProcess[str]]:
    return lambda settings, *arguments, limit_s: CompletedProcess(arguments, code, stdout, stderr)


def test_the_state_of_the_nights_is_told_where_all_services_are_well(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(stack, "load_settings", lambda: settings)
    well = [ServiceState(name, "running", "healthy", 0) for name in LONG_RUNNING]
    initialized = ServiceState("airflow-init", "exited", "", 0)
    monkeypatch.setattr(stack, "service_states", lambda settings, *names: [*well, initialized])
    monkeypatch.setattr(stack, "try_compose", answers(0, "the next one opens 2026-11-20 22:00 (UTC)\n", ""))

    stack.status()

    assert capsys.readouterr().out.splitlines()[-1] == "nights: the next one opens 2026-11-20 22:00 (UTC)"


@pytest.mark.parametrize(
    ("stderr", "told"), [("Traceback\nValueError: no\n", "ValueError: no"), ("", "it ended with 1")]
)
def test_a_scheduler_that_does_not_tell_of_the_nights_stops_nothing(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, stderr: str, told: str
) -> None:
    monkeypatch.setattr(stack, "try_compose", answers(1, "", stderr))
    assert stack.nights(settings) == f"not known, as the scheduler does not tell: {told}"
