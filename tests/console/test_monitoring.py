"""Prometheus and Grafana beside the services: when they run, what they may do, and what is told without a registry."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from console import monitoring
from console.compose import docker_compose
from console.engine import ensure_engine
from console.monitoring import GRAFANA_IMAGE, OFFICIAL_GRAFANA_IMAGE, PROMETHEUS_IMAGE, profiles, services, urls
from console.settings import Settings, complete, load_settings, parse
from console.terminal import ConsoleError
from operators.metrics.otlp import SERVICES

WITH_GRAFANA = {"NIGHTREEL_MONITORING": "1", "COMPOSE_PROFILES": "monitoring,grafana"}


def settings_of(folder: Path, **values: str) -> Settings:
    complete(folder / ".env")
    return load_settings(folder / ".env", environment={"COMPOSE_PROJECT_NAME": "nightreel-test", **values})


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return settings_of(tmp_path, **WITH_GRAFANA)


@pytest.fixture
def composed(settings: Settings) -> dict[str, Any]:
    """All services, as Compose understands them."""
    ensure_engine()
    found: dict[str, Any] = json.loads(docker_compose(settings, "config", "--format", "json"))["services"]
    return found


@pytest.fixture
def images(monkeypatch: pytest.MonkeyPatch) -> set[str]:
    """The images that the engine holds."""
    held: set[str] = set()
    monkeypatch.setattr(monitoring, "image_id", lambda name: name if name in held else None)
    return held


def test_nothing_of_it_runs_unless_it_is_asked_for(tmp_path: Path, images: set[str]) -> None:
    images.update((PROMETHEUS_IMAGE, GRAFANA_IMAGE))
    off = settings_of(tmp_path)

    assert profiles(off) == ""
    assert services(off) == ()
    assert urls(off) == []
    assert "NIGHTREEL_PROMETHEUS_PORT" not in off.ports


def test_without_a_services_profile_compose_has_none_of_it(tmp_path: Path) -> None:
    ensure_engine()
    named = docker_compose(settings_of(tmp_path), "config", "--services").split()
    assert not {"metrics", "prometheus", "grafana"} & set(named)


def test_asked_for_all_of_it_runs_where_grafana_is_there(settings: Settings, images: set[str]) -> None:
    images.update((PROMETHEUS_IMAGE, GRAFANA_IMAGE))

    assert profiles(settings) == "monitoring,grafana"
    assert services(settings) == ("metrics", "prometheus", "grafana")
    assert urls(settings) == [("Prometheus", "http://127.0.0.1:9090"), ("Grafana", "http://127.0.0.1:3000")]
    assert {"NIGHTREEL_PROMETHEUS_PORT", "NIGHTREEL_GRAFANA_PORT"} <= set(settings.ports)


def test_without_a_registry_one_line_says_so_and_the_rest_runs(
    settings: Settings, images: set[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[str, str, str]] = []
    monkeypatch.setattr(monitoring, "ensure_prometheus_image", lambda: images.add(PROMETHEUS_IMAGE))
    monkeypatch.setattr(monitoring, "pull", lambda image, name, otherwise: asked.append((image, name, otherwise)))

    monitoring.ensure_monitoring_images(settings)

    assert asked == [(OFFICIAL_GRAFANA_IMAGE, GRAFANA_IMAGE, monitoring.NO_GRAFANA)]
    assert "\n" not in monitoring.NO_GRAFANA
    assert profiles(settings) == "monitoring"
    left = replace(settings, values={**settings.values, "COMPOSE_PROFILES": profiles(settings)})
    assert services(left) == ("metrics", "prometheus")
    assert [name for name, _ in urls(left)] == ["Prometheus"]


def test_its_services_keep_the_rules_of_the_others(composed: dict[str, Any]) -> None:
    for name in ("metrics", "prometheus", "grafana"):
        service = composed[name]
        assert service["cap_drop"] == ["ALL"]
        assert service["security_opt"] == ["no-new-privileges:true"]
        assert service["restart"] == "unless-stopped"
        assert "healthcheck" in service
        assert service["logging"]["options"]["max-size"]
        assert {port["host_ip"] for port in service.get("ports", [])} <= {"127.0.0.1"}
        assert all(volume["type"] == "volume" or volume["read_only"] for volume in service["volumes"])
        assert not [volume for volume in service["volumes"] if "docker.sock" in volume["target"]]
    assert composed["metrics"]["read_only"]
    assert composed["prometheus"]["read_only"]
    assert not composed["metrics"].get("ports")
    assert composed["grafana"]["environment"]["GF_SECURITY_ADMIN_PASSWORD"]


def test_airflows_services_send_under_the_names_that_are_taken(composed: dict[str, Any]) -> None:
    sent = {name: composed[name]["environment"]["OTEL_RESOURCE_ATTRIBUTES"] for name in SERVICES}
    assert sent == {name: f"service.instance.id={name}" for name in SERVICES}
    environment = composed["scheduler"]["environment"]
    assert environment["AIRFLOW__METRICS__OTEL_ON"] == "1"
    assert environment["OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE"] == "delta"
    assert environment["TINI_KILL_PROCESS_GROUP"] == "1"


def test_with_gpus_prometheus_is_told_of_their_agent(settings: Settings) -> None:
    ensure_engine()
    values = {**settings.values, "COMPOSE_FILE": "docker-compose.yaml:compose.gpu.yaml"}
    found = json.loads(docker_compose(replace(settings, values=values), "config", "--format", "json"))["services"]
    mounted = {volume["target"] for volume in found["prometheus"]["volumes"]}
    assert mounted == {"/prometheus", "/etc/prometheus", "/etc/prometheus_gpu"}


def test_grafanas_password_is_random_and_kept(tmp_path: Path) -> None:
    first, again = complete(tmp_path / ".env"), complete(tmp_path / ".env")
    assert len(first["GRAFANA_ADMIN_PASSWORD"]) >= 24
    assert again["GRAFANA_ADMIN_PASSWORD"] == first["GRAFANA_ADMIN_PASSWORD"]
    assert parse((tmp_path / ".env").read_text())["NIGHTREEL_MONITORING"] == "0"


def test_anything_but_0_and_1_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConsoleError, match="NIGHTREEL_MONITORING must be 0 or 1: it is 'yes'"):
        settings_of(tmp_path, NIGHTREEL_MONITORING="yes")
