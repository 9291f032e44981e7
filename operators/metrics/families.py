"""A reading of the media database as metrics. Only what rules and dashboards use is here."""

from collections.abc import Callable, Iterable, Iterator, Mapping

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

from operators.backfill.progress import Progress
from operators.gpu.breaker import BreakerState
from operators.metrics.reading import DeviceUse, PhaseSpread, PhaseUse, Reading
from operators.routing import GPU_STAGES

PREFIX = "nightreel"
BYTES_PER_MIB = 1 << 20
FALLBACK_CAUSES = ("chosen", "moved", "device_failed")
Values = Mapping[tuple[str, ...], float]
DeviceValue = Callable[[DeviceUse], float | None]


def media_families(reading: Reading | None) -> Iterator[Metric]:
    """All metrics of a reading; without one only that the database does not answer."""
    yield _gauge("database_up", "1 when the media database answered in time.", {(): float(reading is not None)})
    if reading is None:
        return
    yield _gauge("read_seconds", "How long reading the media database took.", {(): reading.read_s})
    yield from _phase_families(reading.phase_uses, reading.phase_spreads)
    yield from _run_families(reading)
    yield from _device_families(reading)
    yield from _backfill_families(reading)


def _phase_families(uses: Iterable[PhaseUse], spreads: Iterable[PhaseSpread]) -> Iterator[Metric]:
    by_device = ("part", "phase", "variant", "device")
    counted = CounterMetricFamily(
        f"{PREFIX}_phases", "Phases that ended in order, since noon UTC, when it begins anew.", labels=by_device
    )
    worked = CounterMetricFamily(
        f"{PREFIX}_phase_seconds", "What they took together, since noon UTC, when it begins anew.", labels=by_device
    )
    for use in uses:
        labels = (use.part, use.phase, use.variant, use.device)
        counted.add_metric(labels, use.occurrences)
        worked.add_metric(labels, use.total_s)
    yield from (counted, worked)
    spread_labels = ("part", "phase", "variant")
    shown = {(spread.part, spread.phase, spread.variant): spread for spread in spreads}
    yield _gauge(
        "phase_night_occurrences",
        "Phases that ended in order in the night under way.",
        {labels: spread.occurrences for labels, spread in shown.items()},
        spread_labels,
    )
    yield _gauge(
        "phase_median_seconds",
        "Half of the night's phases took no longer.",
        {labels: spread.median_s for labels, spread in shown.items()},
        spread_labels,
    )
    yield _gauge(
        "phase_p95_seconds",
        "Of the night's phases 19 in 20 took no longer.",
        {labels: spread.p95_s for labels, spread in shown.items()},
        spread_labels,
    )


def _run_families(reading: Reading) -> Iterator[Metric]:
    yield _gauge(
        "runs_under_way",
        "Runs that have not ended.",
        {(dag_id,): runs for dag_id, runs in reading.runs_under_way.items()},
        ("dag_id",),
    )
    yield _gauge(
        "attempts_last_hour",
        "Attempts that ended in the last hour.",
        {(ended.part, ended.variant, ended.outcome): ended.count for ended in reading.attempts},
        ("part", "variant", "outcome"),
    )
    never: Values = {(str(stage), cause): 0.0 for stage in GPU_STAGES for cause in FALLBACK_CAUSES}
    yield _gauge(
        "fallbacks_last_hour",
        "How often in the last hour the CPU took what was meant for a GPU.",
        {**never, **{(fallback.stage, fallback.cause): fallback.count for fallback in reading.fallbacks}},
        ("stage", "cause"),
    )


def _device_families(reading: Reading) -> Iterator[Metric]:
    label = ("device_uuid",)
    yield _gauge(
        "breaker_state",
        "1 for the state that the device's breaker is in.",
        {
            (device.breaker.device_uuid, state): float(device.breaker.state is state)
            for device in reading.devices
            for state in BreakerState
        },
        ("device_uuid", "state"),
    )
    yield _gauge("leases", "Leases held on the device.", _by_device(reading.devices, lambda use: use.leases), label)
    yield _gauge(
        "leased_bytes",
        "VRAM of the device that is leased.",
        _by_device(reading.devices, lambda use: use.leased_mib * BYTES_PER_MIB),
        label,
    )
    yield _gauge(
        "device_capacity_bytes",
        "VRAM of the device that may be leased.",
        _by_device(reading.devices, lambda use: use.capacity_mib and use.capacity_mib * BYTES_PER_MIB),
        label,
    )
    yield _gauge("leases_waiting", "Tasks that wait for VRAM.", {(): reading.waiting.count})
    yield _gauge(
        "lease_longest_wait_seconds", "How long the first of them has waited.", {(): reading.waiting.longest_s}
    )


def _backfill_families(reading: Reading) -> Iterator[Metric]:
    yield _gauge("backfills_paused", "1 while backfills are paused.", {(): float(reading.is_paused)})
    yield _gauge("parked_assets", "Assets that no night takes again.", {(): reading.parked})
    label = ("backfill",)
    shown = {str(progress.backfill.backfill_id): progress for progress in reading.backfills}
    yield _gauge(
        "backfill_assets",
        "Assets of a backfill that has not ended, by how they stand.",
        {
            (number, state): getattr(progress.counts, state)
            for number, progress in shown.items()
            for state in ("done", "rejected", "failed", "under_way", "waiting")
        },
        ("backfill", "state"),
    )
    media: dict[tuple[str, ...], float] = {
        (number, "done"): progress.counts.media_done_s for number, progress in shown.items()
    }
    media |= {(number, "left"): progress.counts.media_left_s for number, progress in shown.items()}
    yield _gauge(
        "backfill_media_seconds", "Length of its media that is done, and that is left.", media, ("backfill", "state")
    )
    yield _gauge(
        "backfill_shards_under_way",
        "Runs of it that have not ended.",
        {(number,): len(progress.shards) for number, progress in shown.items()},
        label,
    )
    yield _gauge(
        "backfill_plan_complete",
        "1 when all that the scan found is in its plan.",
        {(number,): float(progress.backfill.is_planned) for number, progress in shown.items()},
        label,
    )
    yield from _window_families({number: p for number, p in shown.items() if p.backfill.is_open(reading.now)})


def _window_families(launching: Mapping[str, Progress]) -> Iterator[Metric]:
    closes = {number: progress.backfill.closes_at for number, progress in launching.items()}
    yield _gauge(
        "backfill_closes_timestamp_seconds",
        "When it launches nothing more. Only while it may launch, and where there is such a time.",
        {(number,): closes_at.timestamp() for number, closes_at in closes.items() if closes_at},
        ("backfill",),
    )
    ends = {number: progress.expected_end for number, progress in launching.items() if progress.counts.left}
    yield _gauge(
        "backfill_expected_end_timestamp_seconds",
        "When all of it is done at the pace so far. Only while it may launch, and once something was done.",
        {(number,): ends_at.timestamp() for number, ends_at in ends.items() if ends_at},
        ("backfill",),
    )


def _by_device(devices: Iterable[DeviceUse], value_of: DeviceValue) -> Values:
    values = {(device.breaker.device_uuid,): value_of(device) for device in devices}
    return {labels: value for labels, value in values.items() if value is not None}


def _gauge(name: str, documentation: str, values: Values, labels: tuple[str, ...] = ()) -> Metric:
    gauge = GaugeMetricFamily(f"{PREFIX}_{name}", documentation, labels=labels)
    for label_values, value in values.items():
        gauge.add_metric(label_values, value)
    return gauge
