"""What Airflow's processes send by OpenTelemetry (OTLP over HTTP), added up for Prometheus to scrape.

Prometheus can take OTLP itself, but not in every distribution's build, and not what Airflow's many processes need:
tasks live for seconds and each counts from zero. So counters and timers come as differences (`delta`) and are
added up here, whichever process they come from.

A process that was forked goes on sending a copy of what its parent measured. It does so under an instance id that the
library draws anew; only the ids that Compose gives (`service.instance.id`) count, so that nothing is told twice.
"""

import re
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field

from google.protobuf.message import DecodeError  # type: ignore[import-untyped]
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.metrics.v1 import metrics_pb2 as otlp
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric, SummaryMetricFamily

from operators.errors import NightreelError

SERVICES = frozenset({"api-server", "scheduler", "dag-processor", "triggerer"})
"""The instance ids that docker-compose.yaml gives."""

GAUGE_LASTS_S = 300.0
"""A gauge that nobody sent for so long says nothing about now."""

MOST_SERIES = 5_000
MS_PER_S = 1000.0
Labels = tuple[tuple[str, str], ...]
Numbers = Iterable[otlp.NumberDataPoint]
Times = Iterable[otlp.HistogramDataPoint | otlp.ExponentialHistogramDataPoint]


class OtlpMalformed(NightreelError):
    """A request that is no OTLP."""


@dataclass
class _Series:
    value: float = 0.0
    count: int = 0
    heard_s: float = 0.0


@dataclass
class _Family:
    """`kind` is counter, gauge or summary."""

    kind: str
    series: dict[Labels, _Series] = field(default_factory=dict)


class AirflowMetrics:
    """Takes requests from Airflow's processes, in any thread, and tells what they amount to."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._families: dict[str, _Family] = {}
        self._dropped = 0
        self._lock = threading.Lock()

    def take(self, body: bytes) -> None:
        """Add what a request holds.

        Raises:
            OtlpMalformed: it is no `ExportMetricsServiceRequest`.
        """
        try:
            request = ExportMetricsServiceRequest.FromString(body)
        except DecodeError as error:
            raise OtlpMalformed(f"a request must be an ExportMetricsServiceRequest in protobuf: {error}") from error
        with self._lock:
            for resource in request.resource_metrics:
                service = dict(_labels(resource.resource.attributes)).get("service_instance_id", "")
                if service in SERVICES:
                    for scope in resource.scope_metrics:
                        for metric in scope.metrics:
                            self._take_metric(metric, ("service", service))

    def families(self) -> Iterator[Metric]:
        """What was sent so far: counters and timers since this process began, gauges as last told."""
        with self._lock:
            told = [_told(name, family, self._clock()) for name, family in sorted(self._families.items())]
            dropped = self._dropped
        yield CounterMetricFamily(
            "nightreel_otlp_points_dropped", "Points that were not taken: too many series, or another kind.", dropped
        )
        yield from told

    def _take_metric(self, metric: otlp.Metric, service: tuple[str, str]) -> None:
        match metric.WhichOneof("data"):
            case "gauge":
                self._set(metric.name, metric.gauge.data_points, service)
            case "sum" if metric.sum.aggregation_temporality == otlp.AGGREGATION_TEMPORALITY_DELTA:
                self._add(metric.name, metric.sum.data_points, service)
            case "sum":
                # What goes up and down is sent as it stands, whatever is asked for.
                self._set(metric.name, metric.sum.data_points, service)
            case "histogram" if metric.histogram.aggregation_temporality == otlp.AGGREGATION_TEMPORALITY_DELTA:
                self._add_times(metric, metric.histogram.data_points, service)
            case "exponential_histogram" if (
                metric.exponential_histogram.aggregation_temporality == otlp.AGGREGATION_TEMPORALITY_DELTA
            ):
                self._add_times(metric, metric.exponential_histogram.data_points, service)
            case _:
                self._dropped += 1

    def _set(self, name: str, points: Numbers, service: tuple[str, str]) -> None:
        for point in points:
            if series := self._series(_name(name), "gauge", point.attributes, service):
                series.value = _number(point)

    def _add(self, name: str, points: Numbers, service: tuple[str, str]) -> None:
        for point in points:
            if series := self._series(_name(name), "counter", point.attributes, service):
                series.value += _number(point)

    def _add_times(self, metric: otlp.Metric, points: Times, service: tuple[str, str]) -> None:
        is_ms = metric.unit == "ms"
        name = f"{_name(metric.name)}_seconds" if is_ms else _name(metric.name)
        for point in points:
            if series := self._series(name, "summary", point.attributes, service):
                series.value += point.sum / MS_PER_S if is_ms else point.sum
                series.count += point.count

    def _series(self, name: str, kind: str, attributes: Iterable[KeyValue], service: tuple[str, str]) -> _Series | None:
        family = self._families.setdefault(name, _Family(kind))
        labels: Labels = (*sorted(_labels(attributes)), service)
        is_full = sum(len(known.series) for known in self._families.values()) >= MOST_SERIES
        if family.kind != kind or (is_full and labels not in family.series):
            self._dropped += 1
            return None
        series = family.series.setdefault(labels, _Series())
        series.heard_s = self._clock()
        return series


def _told(name: str, family: _Family, now_s: float) -> Metric:
    match family.kind:
        case "counter":
            metric: Metric = CounterMetricFamily(name, "Sent by Airflow.")
        case "summary":
            metric = SummaryMetricFamily(name, "Sent by Airflow.")
        case _:
            metric = GaugeMetricFamily(name, "Sent by Airflow.")
    for labels, series in family.series.items():
        shown = dict(labels)
        if family.kind == "counter":
            metric.add_sample(f"{name}_total", shown, series.value)
        elif family.kind == "summary":
            metric.add_sample(f"{name}_count", shown, series.count)
            metric.add_sample(f"{name}_sum", shown, series.value)
        elif now_s - series.heard_s <= GAUGE_LASTS_S:
            metric.add_sample(name, shown, series.value)
    return metric


def _name(name: str) -> str:
    return re.sub(r"[^a-zA-Z0-9_]", "_", name)


def _labels(attributes: Iterable[KeyValue]) -> Iterator[tuple[str, str]]:
    return ((_name(attribute.key), _word(attribute.value)) for attribute in attributes)


def _word(value: AnyValue) -> str:
    kind = value.WhichOneof("value")
    return "" if kind is None else str(getattr(value, kind))


def _number(point: otlp.NumberDataPoint) -> float:
    return point.as_double if point.WhichOneof("value") == "as_double" else float(point.as_int)
