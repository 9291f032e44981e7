"""What Prometheus gets, read by its own parser."""

import httpx
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics

from stage_contract.gpu_health import HealthCode
from tests.images.gpu_agent.running_agent import RunningAgent
from tests.simulation.nvml_state import HW_THERMAL_SLOWDOWN, SimulatedProcess

MIB = 1 << 20


def values(agent: RunningAgent, name: str, label: str = "device_uuid") -> dict[str, float]:
    return {labels[label]: value for labels, value in agent.metrics().get(name, [])}


def test_gauges_tell_what_health_tells(agent: RunningAgent) -> None:
    assert values(agent, "nightreel_gpu_memory_total_bytes") == {"GPU-1": 7892 * MIB, "GPU-2": 24576 * MIB}
    assert values(agent, "nightreel_gpu_memory_used_bytes")["GPU-1"] == 100 * MIB
    assert values(agent, "nightreel_gpu_temperature_celsius") == {"GPU-1": 45, "GPU-2": 45}
    assert {labels["name"] for labels, _ in agent.metrics()["nightreel_gpu_power_watts"]} == {"NVIDIA L4", "NVIDIA A10"}
    assert agent.metric("nightreel_gpu_driver_info")[0]["driver_version"] == "570.86.15"


def test_a_verdict_is_one_state_of_four(agent: RunningAgent) -> None:
    agent.nvml.change_gpu("GPU-1", slowdowns=HW_THERMAL_SLOWDOWN)
    agent.until_reason(HealthCode.THERMAL_SLOWDOWN, "GPU-1")
    states = {
        labels["device_uuid"]: labels["nightreel_gpu_verdict"] for labels in agent.metric("nightreel_gpu_verdict")
    }
    assert states == {"GPU-1": "degraded", "GPU-2": "healthy"}
    assert [labels["nightreel_gpu_host_verdict"] for labels in agent.metric("nightreel_gpu_host_verdict")] == [
        "degraded"
    ]
    assert [labels["code"] for labels in agent.metric("nightreel_gpu_reason")] == ["thermal_slowdown"]
    assert [labels["cause"] for labels in agent.metric("nightreel_gpu_slowdown")] == ["hardware_thermal"]


def test_what_a_device_does_not_support_has_no_sample(agent: RunningAgent) -> None:
    agent.nvml.change_gpu("GPU-1", ecc_uncorrected=None)
    agent.until(lambda health: health.devices[0].ecc_uncorrected is None)
    assert values(agent, "nightreel_gpu_ecc_uncorrected_errors") == {"GPU-2": 0}


def test_xids_are_counted_by_severity(agent: RunningAgent) -> None:
    agent.until_watching("GPU-1", "GPU-2")
    for xid in (31, 13, 79):
        agent.nvml.raise_xid("GPU-1", xid)
    agent.until(lambda health: len(health.devices[0].xids) == 3)
    counted = {labels["severity"]: value for labels, value in agent.metrics()["nightreel_gpu_xids_total"]}
    assert counted == {"application": 2, "device": 1}


def test_processes_are_counted_and_reads_go_on(agent: RunningAgent) -> None:
    agent.nvml.change_gpu("GPU-2", processes=(SimulatedProcess(pid=1, used_mib=10),))
    agent.until(lambda health: bool(health.devices[1].processes))
    assert values(agent, "nightreel_gpu_processes") == {"GPU-1": 0, "GPU-2": 1}
    ((_, before),) = agent.metrics()["nightreel_gpu_reads_total"]
    last = agent.health().observed_at
    agent.until(lambda health: health.observed_at > last)
    ((_, after),) = agent.metrics()["nightreel_gpu_reads_total"]
    assert after > before


def test_openmetrics_is_spoken_to_who_asks_for_it(agent: RunningAgent) -> None:
    accept = {"Accept": "application/openmetrics-text; version=1.0.0"}
    answer = httpx.get(f"{agent.url}/metrics", headers=accept)
    families = {family.name: family.type for family in parse_openmetrics(answer.text)}
    assert families["nightreel_gpu_verdict"] == "stateset"
    assert families["nightreel_gpu_xids"] == "counter"
