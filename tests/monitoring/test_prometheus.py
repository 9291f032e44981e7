"""The real Prometheus over a real database: it scrapes, takes what Airflow sends, and fires an alert and ends it."""

import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml  # type: ignore[import-untyped]
from sqlalchemy import Engine

from console.settings import port_is_free
from operators.gpu.breaker_store import close_by_hand, fail
from operators.metrics.reading import read_media
from operators.metrics.server import LatestReading, MetricsServer
from tests.monitoring.conftest import MONITORING
from tests.monitoring.test_rules import ALERTS
from tests.operators.metrics.tonight import GPUS, fill

PATIENCE_S = 30.0
# Airflow's own way to send: a process with the settings that Compose gives, one that it forks, and one more.
SENDING = """
import os, time
from airflow._shared.observability.metrics import stats
from airflow.observability.metrics import stats_utils
stats.initialize(factory=stats_utils.get_stats_factory(), export_legacy_names=False)
stats.gauge("pool.open_slots", 3, tags={"pool_name": "cpu"})
stats.incr("scheduler_heartbeat", 1, 1)
stats.incr("ti.start", tags={"dag_id": "process_media", "task_id": "publish"})
stats.timing("scheduler.scheduler_loop_duration", 250.0)
time.sleep(0.5)
if os.fork() == 0:
    time.sleep(1.0)
    os._exit(0)
stats.incr("scheduler_heartbeat", 2, 1)
os.wait()
"""


class Prometheus:
    """A running server, asked through its API."""

    def __init__(self, address: str) -> None:
        self._address = address

    def get(self, path: str, **parameters: str) -> Any:
        answer = httpx.get(f"{self._address}/api/v1/{path}", params=parameters).raise_for_status().json()
        return answer["data"]

    def value(self, expression: str) -> float | None:
        found = self.get("query", query=expression)["result"]
        return float(found[0]["value"][1]) if found else None

    def firing(self) -> dict[str, dict[str, Any]]:
        alerts = self.get("alerts")["alerts"]
        return {alert["labels"]["alertname"]: alert for alert in alerts if alert["state"] == "firing"}


def until(holds: Callable[[], object], what: str) -> None:
    deadline_s = time.monotonic() + PATIENCE_S
    while not holds():
        assert time.monotonic() < deadline_s, f"{what} must come within {PATIENCE_S:g} s"
        time.sleep(0.25)


@pytest.fixture
def metrics_port(media_database: Engine) -> Iterator[int]:
    """The metrics service over the database of tonight."""
    fill(media_database)
    server = MetricsServer(("127.0.0.1", 0), LatestReading(lambda: read_media(media_database, GPUS, 5.0)))
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield server.server_address[1]
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture
def prometheus(prometheus_image: str, metrics_port: int, tmp_path: Path) -> Iterator[Prometheus]:
    """The image with its own configuration and rules, but for addresses and intervals."""
    port = next(number for number in range(19_500, 19_600) if port_is_free(number))
    configuration = yaml.safe_load((MONITORING / "prometheus" / "prometheus.yml").read_text())
    configuration["global"] = {"scrape_interval": "1s", "scrape_timeout": "1s", "evaluation_interval": "1s"}
    for job, target in zip(configuration["scrape_configs"], (metrics_port, port), strict=True):
        job["static_configs"] = [{"targets": [f"127.0.0.1:{target}"]}]
    (tmp_path / "prometheus.yml").write_text(yaml.safe_dump(configuration))
    (tmp_path / "rules.yml").write_text((MONITORING / "prometheus" / "rules.yml").read_text())
    tmp_path.chmod(0o755)
    command = ["docker", "run", "--detach", "--network", "host", "--read-only"]
    command += ["--volume", f"{tmp_path}:/etc/prometheus:ro", prometheus_image]
    command += ["--config.file=/etc/prometheus/prometheus.yml", "--storage.tsdb.path=/prometheus"]
    command += [f"--web.listen-address=127.0.0.1:{port}"]
    started = subprocess.run(command, capture_output=True, text=True, check=True)
    container = started.stdout.strip()
    try:
        address = f"http://127.0.0.1:{port}"
        until(lambda: _is_ready(address), "Prometheus' answer")
        yield Prometheus(address)
    finally:
        subprocess.run(["docker", "logs", container])
        subprocess.run(["docker", "rm", "--force", "--volumes", container], capture_output=True)


def _is_ready(address: str) -> bool:
    try:
        return httpx.get(f"{address}/-/ready").status_code == 200
    except httpx.TransportError:
        return False


def test_an_open_breaker_is_scraped_fires_its_alert_and_ends_it_when_it_closes(
    prometheus: Prometheus, media_database: Engine
) -> None:
    until(lambda: prometheus.value('up{job="nightreel"}') == 1, "the first scrape")
    until(lambda: prometheus.value('nightreel_breaker_state{device_uuid="GPU-2",state="closed"}') == 1, "its breaker")
    until(lambda: len(prometheus.get("rules")["groups"]) == 4, "the rules")
    assert "BreakerOpen" not in prometheus.firing()

    fail(media_database, "GPU-2", "Xid 79: the GPU has fallen off the bus", None, first_wait_s=120.0)
    until(lambda: "BreakerOpen" in prometheus.firing(), "the alert")

    alert = prometheus.firing()["BreakerOpen"]
    assert alert["labels"]["device_uuid"] == "GPU-2"
    assert alert["annotations"]["summary"] == "GPU GPU-2 is out of service"
    assert alert["annotations"]["runbook"] == "docs/operations.md#breakeropen"
    close_by_hand(media_database, "GPU-2", "ana", "new card")
    until(lambda: "BreakerOpen" not in prometheus.firing(), "the alert's end")


def test_every_rule_is_evaluated_without_an_error(prometheus: Prometheus) -> None:
    def rules() -> list[dict[str, Any]]:
        return [rule for group in prometheus.get("rules")["groups"] for rule in group["rules"]]

    until(lambda: sum(rule["lastEvaluation"] > "2000" for rule in rules()) == len(ALERTS) - 1, "their evaluation")
    assert {rule["lastError"] for rule in rules() if "lastError" in rule} == set()
    assert {rule["health"] for rule in rules() if rule["name"] != "PhaseSlower"} == {"ok"}


def test_what_airflows_processes_send_is_there_once(prometheus: Prometheus, metrics_port: int, tmp_path: Path) -> None:
    compose = yaml.safe_load((MONITORING.parent / "docker-compose.yaml").read_text())
    given = compose["x-airflow-environment"] | compose["services"]["scheduler"]["environment"]
    sent = {name: value for name, value in given.items() if name.startswith(("OTEL_", "AIRFLOW__METRICS__"))}
    sent |= {
        "AIRFLOW__METRICS__OTEL_ON": "1",
        "OTEL_EXPORTER_OTLP_METRICS_ENDPOINT": f"http://127.0.0.1:{metrics_port}/v1/metrics",
        "OTEL_METRIC_EXPORT_INTERVAL": "200",
    }
    for _ in range(2):
        subprocess.run([sys.executable, "-c", SENDING], env={**os.environ, **sent}, check=True, timeout=60)

    until(lambda: prometheus.value("airflow_scheduler_heartbeat_total") == 6, "the heartbeats of both processes")
    assert prometheus.value('airflow_pool_open_slots{pool_name="cpu", service="scheduler"}') == 3
    assert prometheus.value("airflow_scheduler_scheduler_loop_duration_seconds_count") == 2
    assert prometheus.value("airflow_scheduler_scheduler_loop_duration_seconds_sum") == 0.5
    assert prometheus.value('{__name__=~"airflow_ti_.+"}') is None
