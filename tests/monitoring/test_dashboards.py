"""The dashboards: each expression parses, names metrics that there are, and no metric of ours is there for nothing."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml  # type: ignore[import-untyped]
from airflow.sdk._shared.observability.metrics.metrics_registry import MetricsRegistry
from prometheus_client import generate_latest
from prometheus_client.parser import text_string_to_metric_families as parse
from sqlalchemy import Engine

from gpu_agent.metrics import health_registry
from gpu_agent.observer import Observation
from operators.metrics.reading import read_media
from stage_contract.gpu_health import HealthCode, HealthVerdict, XidSeverity
from tests.monitoring.conftest import MONITORING, Promtool
from tests.monitoring.test_rules import ALERTS
from tests.operators.gpu.samples import device, host
from tests.operators.metrics.test_server import scrape, serving
from tests.operators.metrics.tonight import GPUS, fill

DASHBOARDS = {
    path.stem: json.loads(path.read_text()) for path in (MONITORING / "grafana" / "dashboards").glob("*.json")
}
OF_PROMETHEUS = {"up", "ALERTS"}
KEYWORDS = {"and", "or", "unless", "offset", "bool", "sum"}
NOT_NAMES = re.compile(
    r'"[^"]*"|\{[^}]*\}|\[[^\]]*\]|\b(?:by|on|without|ignoring)\s*\([^)]*\)|\b\d+[smhdwy]\b|\b\w+\s*(?=\()'
)


def panels() -> list[tuple[str, dict[str, Any]]]:
    return [(name, panel) for name, board in sorted(DASHBOARDS.items()) for panel in board["panels"]]


def expressions() -> dict[str, str]:
    """Every expression of a panel, by where it stands; a variable stands for anything."""
    return {
        f"{name}: {panel['title']} {target['refId']}": target["expr"].replace("$part", ".*")
        for name, panel in panels()
        for target in panel["targets"]
    }


def metric_names(expression: str) -> set[str]:
    return set(re.findall(r"[a-zA-Z_]\w*", NOT_NAMES.sub(" ", expression))) - KEYWORDS


def named() -> dict[str, set[str]]:
    rules = {name: rule["expr"] for name, rule in ALERTS.items()}
    return {where: metric_names(expression) for where, expression in (expressions() | rules).items()}


@pytest.fixture
def ours(media_database: Engine) -> set[str]:
    """The metrics of a night in which everything happens."""
    fill(media_database)
    with serving(lambda: read_media(media_database, GPUS, 5.0)) as address:
        return set(scrape(address))


def of_the_gpu_agent() -> set[str]:
    gpu = device("GPU-1", HealthCode.GPU_LOST, verdict=HealthVerdict.UNHEALTHY).model_copy(
        update={"utilization": 0.5, "temperature_c": 50, "power_w": 70.0}
    )
    seen = Observation(host(gpu), 0.1, 1, 0, frozenset({"GPU-1"}), {("GPU-1", XidSeverity.DEVICE): 1})
    text = generate_latest(health_registry(lambda: seen)).decode()
    return {sample.name for family in parse(text) for sample in family.samples}


def of_airflow() -> set[str]:
    """What `operators/metrics/otlp.py` makes of the names that Airflow's own registry lists."""
    endings = {"counter": ("_total",), "gauge": ("",), "timer": ("_seconds_sum", "_seconds_count")}
    return {
        f"airflow_{re.sub(r'[^a-zA-Z0-9_]', '_', name)}{ending}"
        for name, metric in MetricsRegistry()._metrics.items()
        for ending in endings[metric["type"]]
    }


def test_metric_names_are_told_from_all_else() -> None:
    assert metric_names('sum by (a) (rate(b_total{c=~"d"}[1h])) / avg_over_time(e[7d:1h] offset 1d) > 1.3 * f') == {
        "b_total", "e", "f"
    }  # fmt: skip


def test_every_expression_parses(promtool: Promtool, tmp_path: Path) -> None:
    rules = [{"record": f"panel:{number}", "expr": expr} for number, expr in enumerate(expressions().values())]
    (tmp_path / "panels.yml").write_text(json.dumps({"groups": [{"name": "panels", "rules": rules}]}))
    tmp_path.chmod(0o755)
    told = promtool("check", "rules", "/monitoring/panels.yml", folder=tmp_path)
    assert told.returncode == 0, told.stderr
    assert f"{len(rules)} rules found" in told.stdout


def test_every_metric_that_is_named_exists(ours: set[str]) -> None:
    known = ours | of_the_gpu_agent() | of_airflow() | OF_PROMETHEUS
    assert {where: names - known for where, names in named().items() if names - known} == {}


def test_no_metric_of_ours_is_there_for_nothing(ours: set[str]) -> None:
    used = {name for names in named().values() for name in names}
    assert {name for name in ours if name.startswith("nightreel_")} - used == set()


def test_airflow_is_let_send_what_is_named() -> None:
    compose = yaml.safe_load((MONITORING.parent / "docker-compose.yaml").read_text())
    allowed = compose["x-airflow-environment"]["AIRFLOW__METRICS__METRICS_ALLOW_LIST"].split(",")
    used = {name for names in named().values() for name in names if name.startswith("airflow_")}
    assert used
    left_out = [name for name in used if not any(name.startswith(f"airflow_{p.lstrip('^')}") for p in allowed)]
    assert left_out == []


@pytest.mark.parametrize("name", sorted(DASHBOARDS))
def test_a_dashboard_is_provisioned_as_it_must_be(name: str) -> None:
    board = DASHBOARDS[name]
    source = yaml.safe_load((MONITORING / "grafana/provisioning/datasources/prometheus.yml").read_text())
    (provided,) = source["datasources"]
    assert board["uid"] == f"nightreel-{name}"
    assert len({panel["id"] for panel in board["panels"]}) == len(board["panels"])
    sources = {target["datasource"]["uid"] for panel in board["panels"] for target in panel["targets"]}
    assert sources == {provided["uid"]}
    for panel in board["panels"]:
        place = panel["gridPos"]
        assert place["x"] + place["w"] <= 24
        assert panel["title"]
