"""The alert rules: that Prometheus takes them, that their thresholds hold, and that each leads to its runbook."""

import re
from typing import Any

import pytest
import yaml  # type: ignore[import-untyped]

from console.terminal import REPOSITORY
from tests.monitoring.conftest import MONITORING, Promtool

RULES = yaml.safe_load((MONITORING / "prometheus" / "rules.yml").read_text())
ALERTS: dict[str, dict[str, Any]] = {rule["alert"]: rule for group in RULES["groups"] for rule in group["rules"]}
HEADING = re.compile(r"^#+ (.+)$", re.MULTILINE)


def test_prometheus_takes_the_configuration_and_the_rules(promtool: Promtool) -> None:
    told = promtool("check", "config", "/etc/prometheus/prometheus.yml")
    assert told.returncode == 0, told.stderr
    assert f"{len(ALERTS)} rules found" in told.stdout
    assert "/etc/prometheus_gpu/gpu_agent.yml" not in told.stderr


def test_each_alert_fires_past_its_threshold_and_not_before(promtool: Promtool) -> None:
    told = promtool("test", "rules", "/monitoring/rules_test.yml")
    assert told.returncode == 0, told.stdout + told.stderr


def test_each_alert_is_tried_both_ways() -> None:
    tests = yaml.safe_load((MONITORING / "rules_test.yml").read_text())["tests"]
    tried = [case for test in tests for case in test["alert_rule_test"]]
    assert {case["alertname"] for case in tried if case["exp_alerts"]} == set(ALERTS)
    assert {case["alertname"] for case in tried if not case["exp_alerts"]} == set(ALERTS)


@pytest.mark.parametrize("name", sorted(ALERTS))
def test_each_alert_says_what_is_wrong_and_leads_to_its_runbook(name: str) -> None:
    told = ALERTS[name]["annotations"]
    assert told["summary"]
    assert told["description"].endswith(".")
    document, _, anchor = told["runbook"].partition("#")
    headings = {heading.lower() for heading in HEADING.findall((REPOSITORY / document).read_text())}
    assert anchor == name.lower()
    assert anchor in headings
