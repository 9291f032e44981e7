"""What is made of OTLP requests, as Airflow's library writes them."""

import pytest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.metrics.v1 import metrics_pb2 as otlp
from opentelemetry.proto.resource.v1.resource_pb2 import Resource

from operators.metrics import otlp as receiver
from operators.metrics.otlp import GAUGE_LASTS_S, AirflowMetrics, OtlpMalformed

DELTA, CUMULATIVE = otlp.AGGREGATION_TEMPORALITY_DELTA, otlp.AGGREGATION_TEMPORALITY_CUMULATIVE


class Clock:
    def __init__(self) -> None:
        self.now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


def words(**attributes: str) -> list[KeyValue]:
    return [KeyValue(key=key, value=AnyValue(string_value=value)) for key, value in attributes.items()]


def request(*metrics: otlp.Metric, instance: str = "scheduler") -> bytes:
    resource = Resource(attributes=[KeyValue(key="service.instance.id", value=AnyValue(string_value=instance))])
    scope = otlp.ScopeMetrics(metrics=metrics)
    resource_metrics = [otlp.ResourceMetrics(resource=resource, scope_metrics=[scope])]
    body: bytes = ExportMetricsServiceRequest(resource_metrics=resource_metrics).SerializeToString()
    return body


def counter(
    name: str, value: int, temporality: otlp.AggregationTemporality.ValueType = DELTA, **labels: str
) -> otlp.Metric:
    point = otlp.NumberDataPoint(as_int=value, attributes=words(**labels))
    return otlp.Metric(name=name, sum=otlp.Sum(data_points=[point], aggregation_temporality=temporality))


def gauge(name: str, value: float, **labels: str) -> otlp.Metric:
    return otlp.Metric(
        name=name, gauge=otlp.Gauge(data_points=[otlp.NumberDataPoint(as_double=value, attributes=words(**labels))])
    )


def timer(name: str, count: int, total_ms: float) -> otlp.Metric:
    points = [otlp.ExponentialHistogramDataPoint(count=count, sum=total_ms)]
    histogram = otlp.ExponentialHistogram(data_points=points, aggregation_temporality=DELTA)
    return otlp.Metric(name=name, unit="ms", exponential_histogram=histogram)


def samples(metrics: AirflowMetrics) -> dict[tuple[str, tuple[str, ...]], float]:
    return {
        (
            sample.name,
            tuple(value for label, value in sorted(sample.labels.items()) if label != "service"),
        ): sample.value
        for family in metrics.families()
        for sample in family.samples
    }


def test_differences_of_many_processes_add_up() -> None:
    metrics = AirflowMetrics()
    metrics.take(
        request(counter("airflow.scheduler_heartbeat", 2), timer("airflow.dagrun.duration.success", 1, 1500.0))
    )
    metrics.take(request(counter("airflow.scheduler_heartbeat", 3), timer("airflow.dagrun.duration.success", 2, 500.0)))

    told = samples(metrics)

    assert told["airflow_scheduler_heartbeat_total", ()] == 5
    assert told["airflow_dagrun_duration_success_seconds_count", ()] == 3
    assert told["airflow_dagrun_duration_success_seconds_sum", ()] == 2.0


def test_a_gauge_is_what_was_told_last_by_its_labels() -> None:
    metrics = AirflowMetrics()
    metrics.take(
        request(
            gauge("airflow.pool.open_slots", 3, pool_name="cpu"), gauge("airflow.pool.open_slots", 1, pool_name="gpu")
        )
    )
    metrics.take(request(gauge("airflow.pool.open_slots", 2, pool_name="cpu")))

    told = samples(metrics)

    assert (told["airflow_pool_open_slots", ("cpu",)], told["airflow_pool_open_slots", ("gpu",)]) == (2, 1)


def test_what_goes_up_and_down_is_taken_as_it_stands() -> None:
    metrics = AirflowMetrics()
    for value in (3, 2):
        metrics.take(request(counter("airflow.dag_processing.processes", value, CUMULATIVE)))
    assert samples(metrics)["airflow_dag_processing_processes", ()] == 2


def test_a_gauge_that_nobody_sends_any_more_is_not_told_and_a_counter_is() -> None:
    clock = Clock()
    metrics = AirflowMetrics(clock)
    metrics.take(request(gauge("airflow.pool.open_slots", 3), counter("airflow.scheduler_heartbeat", 1)))
    clock.now_s = GAUGE_LASTS_S
    assert ("airflow_pool_open_slots", ()) in samples(metrics)
    clock.now_s += 1.0
    assert ("airflow_pool_open_slots", ()) not in samples(metrics)
    assert samples(metrics)["airflow_scheduler_heartbeat_total", ()] == 1


def test_the_copy_that_a_forked_process_sends_is_not_counted() -> None:
    metrics = AirflowMetrics()
    metrics.take(request(counter("airflow.scheduler_heartbeat", 2)))
    metrics.take(request(counter("airflow.scheduler_heartbeat", 2), instance="0b5e9d2e-6f0f-4c2a-9d43-4d1a6b1d7c11"))
    assert samples(metrics)["airflow_scheduler_heartbeat_total", ()] == 2


def test_series_are_bounded_and_what_is_too_much_is_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(receiver, "MOST_SERIES", 2)
    metrics = AirflowMetrics()
    for pool in ("a", "b", "c", "a"):
        metrics.take(request(gauge("airflow.pool.open_slots", 1, pool_name=pool)))

    told = samples(metrics)

    assert [labels for name, labels in told if name == "airflow_pool_open_slots"] == [("a",), ("b",)]
    assert told["nightreel_otlp_points_dropped_total", ()] == 1


def test_what_is_no_otlp_is_refused() -> None:
    with pytest.raises(OtlpMalformed, match="must be an ExportMetricsServiceRequest"):
        AirflowMetrics().take(b"\xff\xff\xff")
