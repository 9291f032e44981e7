"""The last observation as metrics for Prometheus. What a device does not support has no sample."""

from collections.abc import Callable, Iterator

from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric, StateSetMetricFamily
from prometheus_client.registry import Collector

from gpu_agent.observer import Observation
from stage_contract.gpu_health import DeviceHealth, HealthVerdict

PREFIX = "nightreel_gpu"
BYTES_PER_MIB = 1 << 20
DEVICE_LABELS = ("device_uuid", "name")
Value = Callable[[DeviceHealth], float | None]
# Name below PREFIX, help, and where the value comes from.
GAUGES: tuple[tuple[str, str, Value], ...] = (
    (
        "memory_total_bytes",
        "VRAM of the device, without what the driver keeps for itself.",
        lambda d: _bytes(d.total_mib),
    ),
    ("memory_used_bytes", "VRAM that processes take.", lambda d: _bytes(d.used_mib)),
    ("utilization_ratio", "Part of the last moments in which the device computed, 0 to 1.", lambda d: d.utilization),
    ("temperature_celsius", "Temperature of the GPU.", lambda d: d.temperature_c),
    ("power_watts", "Power that the GPU draws.", lambda d: d.power_w),
    ("ecc_uncorrected_errors", "Memory errors not corrected, since the driver's load.", lambda d: d.ecc_uncorrected),
    ("remapped_rows", "Memory rows that were remapped.", lambda d: d.rows_remapped),
    ("processes", "Processes on the device.", lambda d: len(d.processes)),
)


class HealthCollector(Collector):
    """Turns the last observation into metrics when they are asked for."""

    def __init__(self, last: Callable[[], Observation | None]) -> None:
        self._last = last

    def collect(self) -> Iterator[Metric]:
        """All metrics; none before the first look at the host."""
        observation = self._last()
        if observation is None:
            return
        yield from _agent_metrics(observation)
        yield from _device_metrics(observation.health.devices)
        yield _container_metric(observation.health.devices)
        yield from _xid_metrics(observation)


def health_registry(last: Callable[[], Observation | None]) -> CollectorRegistry:
    """A registry of the agent's metrics alone."""
    registry = CollectorRegistry()
    registry.register(HealthCollector(last))
    return registry


def _agent_metrics(observation: Observation) -> Iterator[Metric]:
    health = observation.health
    verdict = StateSetMetricFamily(f"{PREFIX}_host_verdict", "The host's verdict, the worst of its devices'.")
    verdict.add_metric([], _states(health.verdict))
    yield verdict
    observed_s = health.observed_at.timestamp()
    yield GaugeMetricFamily(f"{PREFIX}_observed_timestamp_seconds", "When NVML was last asked.", observed_s)
    yield GaugeMetricFamily(f"{PREFIX}_read_seconds", "How long the last look at NVML took.", observation.read_s)
    yield CounterMetricFamily(f"{PREFIX}_reads", "Looks at NVML.", observation.reads)
    yield CounterMetricFamily(f"{PREFIX}_read_hangs", "Reads that NVML did not answer in time.", observation.hangs)
    versions = (health.driver_version or "", health.library_version or "", health.cuda_version or "")
    build = GaugeMetricFamily(
        f"{PREFIX}_driver_info", "Versions, as labels.", labels=("driver_version", "library_version", "cuda_version")
    )
    build.add_metric(versions, 1)
    yield build


def _device_metrics(devices: tuple[DeviceHealth, ...]) -> Iterator[Metric]:
    verdict = StateSetMetricFamily(f"{PREFIX}_verdict", "The device's verdict.", labels=DEVICE_LABELS)
    reasons = GaugeMetricFamily(
        f"{PREFIX}_reason", "1 for each reason why a verdict is not healthy.", labels=(*DEVICE_LABELS, "code")
    )
    slowdowns = GaugeMetricFamily(
        f"{PREFIX}_slowdown", "1 for each thing that slows the GPU down.", labels=(*DEVICE_LABELS, "cause")
    )
    for device in devices:
        labels = (device.device_uuid, device.name)
        verdict.add_metric(labels, _states(device.verdict))
        for code in sorted({reason.code for reason in device.reasons}):
            reasons.add_metric((*labels, code), 1)
        for cause in device.slowdowns:
            slowdowns.add_metric((*labels, cause), 1)
    yield from (verdict, reasons, slowdowns)
    for name, documentation, value_of in GAUGES:
        gauge = GaugeMetricFamily(f"{PREFIX}_{name}", documentation, labels=DEVICE_LABELS)
        for device in devices:
            value = value_of(device)
            if value is not None:
                gauge.add_metric((device.device_uuid, device.name), value)
        yield gauge


def _container_metric(devices: tuple[DeviceHealth, ...]) -> Metric:
    used = GaugeMetricFamily(
        f"{PREFIX}_container_memory_used_bytes",
        "VRAM that a container's processes use.",
        labels=(*DEVICE_LABELS, "container_id"),
    )
    for device in devices:
        use: dict[str, int] = {}
        for process in device.processes:
            if process.container_id is not None and process.used_mib is not None:
                use[process.container_id] = use.get(process.container_id, 0) + process.used_mib
        for container, used_mib in sorted(use.items()):
            used.add_metric((device.device_uuid, device.name, container), used_mib * BYTES_PER_MIB)
    return used


def _xid_metrics(observation: Observation) -> Iterator[Metric]:
    # By physical GPU: of an Xid on a GPU in slices, it is not always told which slice it concerns.
    xids = CounterMetricFamily(
        f"{PREFIX}_xids", "Xid events since the agent's start, by whose fault they tell of.", labels=("gpu", "severity")
    )
    for (gpu, severity), count in sorted(observation.xid_counts.items()):
        xids.add_metric((gpu, severity), count)
    yield xids
    watched = GaugeMetricFamily(f"{PREFIX}_xid_watch", "1 where the GPU's Xid events are watched.", labels=("gpu",))
    for gpu in sorted(observation.watched_gpus):
        watched.add_metric((gpu,), 1)
    yield watched


def _states(verdict: HealthVerdict) -> dict[str, bool]:
    return {state.value: state is verdict for state in HealthVerdict}


def _bytes(mib: int | None) -> float | None:
    return None if mib is None else mib * BYTES_PER_MIB
