"""The metrics service over HTTP: what Prometheus gets, and what it does when Postgres does not answer."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import httpx
import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse
from sqlalchemy import Engine

from operators.database import open_engine
from operators.metrics.reading import Reading, read_media
from operators.metrics.server import MOST_BYTES, LatestReading, MetricsServer
from tests.operators.metrics.test_otlp import counter, request
from tests.operators.metrics.tonight import GPUS, fill

PROTOBUF = {"Content-Type": "application/x-protobuf"}


@contextmanager
def serving(read: Callable[[], Reading], deadline_s: float = 5.0) -> Iterator[str]:
    """A server on a free port of this machine; gives its address."""
    server = MetricsServer(("127.0.0.1", 0), LatestReading(read, deadline_s))
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def scrape(address: str) -> dict[str, dict[tuple[str, ...], float]]:
    found: dict[str, dict[tuple[str, ...], float]] = {}
    for family in parse(httpx.get(f"{address}/metrics").text):
        for sample in family.samples:
            found.setdefault(sample.name, {})[tuple(value for _, value in sorted(sample.labels.items()))] = sample.value
    return found


def test_a_scrape_tells_what_the_database_holds(media_database: Engine) -> None:
    fill(media_database)
    with serving(lambda: read_media(media_database, GPUS, 5.0)) as address:
        told = scrape(address)

    assert told["nightreel_database_up"] == {(): 1}
    assert told["nightreel_phase_seconds_total"] == {("cpu", "audio.transcribe", "transcription", "cpu"): 5050}
    assert told["nightreel_breaker_state"]["GPU-2", "closed"] == 1
    assert told["nightreel_fallbacks_last_hour"]["moved", "audio.transcribe"] == 1
    assert told["nightreel_fallbacks_last_hour"]["moved", "vision.analyze"] == 0
    assert sum(told["nightreel_leased_bytes"].values()) > 4096 << 20
    assert {labels[1]: value for labels, value in told["nightreel_backfill_assets"].items()} == {
        "done": 1, "rejected": 0, "failed": 1, "under_way": 1, "waiting": 2
    }  # fmt: skip
    (closes_s,), (ends_s,) = (
        told[f"nightreel_backfill_{name}_timestamp_seconds"].values() for name in ("closes", "expected_end")
    )
    assert ends_s - closes_s == pytest.approx(5 * 3600, rel=0.01)


def test_openmetrics_is_spoken_to_who_asks_for_it(media_database: Engine) -> None:
    fill(media_database)
    accept = {"Accept": "application/openmetrics-text; version=1.0.0"}
    with serving(lambda: read_media(media_database, GPUS, 5.0)) as address:
        httpx.post(
            f"{address}/v1/metrics", content=request(counter("airflow.scheduler_heartbeat", 1)), headers=PROTOBUF
        )
        answer = httpx.get(f"{address}/metrics", headers=accept)

    types = {family.name: family.type for family in parse_openmetrics(answer.text)}
    assert (types["nightreel_phases"], types["airflow_scheduler_heartbeat"]) == ("counter", "counter")


def test_a_database_that_is_away_is_told_and_airflows_metrics_go_on() -> None:
    nowhere = open_engine("postgresql+psycopg://media:secret@127.0.0.1:1/media")
    with serving(lambda: read_media(nowhere, GPUS, 5.0)) as address:
        httpx.post(
            f"{address}/v1/metrics", content=request(counter("airflow.scheduler_heartbeat", 1)), headers=PROTOBUF
        )
        told = scrape(address)

    assert {name for name in told if name.startswith("nightreel")} == {
        "nightreel_database_up",
        "nightreel_otlp_points_dropped_total",
    }
    assert told["nightreel_database_up"] == {(): 0}
    assert told["airflow_scheduler_heartbeat_total"] == {("scheduler",): 1}


def test_a_database_that_hangs_keeps_no_scrape_waiting_and_is_asked_once(media_database: Engine) -> None:
    asked, go_on = [], threading.Event()

    def hang() -> Reading:
        asked.append(time.monotonic())
        go_on.wait(10.0)
        return read_media(media_database, GPUS, 5.0)

    with serving(hang, deadline_s=0.2) as address:
        started_s = time.monotonic()
        assert [scrape(address)["nightreel_database_up"] for _ in range(3)] == [{(): 0}] * 3
        assert time.monotonic() - started_s < 3.0
        assert len(asked) == 1
        go_on.set()
        time.sleep(1.0)
        assert scrape(address)["nightreel_database_up"] == {(): 1}


@pytest.mark.parametrize(
    ("path", "headers", "body", "status"),
    [
        ("/v1/metrics", PROTOBUF, b"\xff\xff\xff", 400),
        ("/v1/metrics", {"Content-Type": "application/json"}, b"{}", 415),
        ("/v1/metrics", {**PROTOBUF, "Content-Encoding": "gzip"}, b"", 415),
        ("/v1/metrics", PROTOBUF, bytes(MOST_BYTES + 1), 413),
        ("/metrics", PROTOBUF, b"", 404),
    ],
    ids=["no OTLP", "JSON", "compressed", "too large", "not there"],
)
def test_what_is_not_taken_is_refused(path: str, headers: dict[str, str], body: bytes, status: int) -> None:
    nowhere = open_engine("postgresql+psycopg://media:secret@127.0.0.1:1/media")
    with serving(lambda: read_media(nowhere, GPUS, 5.0)) as address:
        try:
            assert httpx.post(f"{address}{path}", content=body, headers=headers).status_code == status
        except (httpx.WriteError, httpx.ReadError):
            # It hangs up on one who goes on sending what is too large.
            assert status == 413
        assert httpx.get(f"{address}/healthy").status_code == 200
        assert httpx.get(f"{address}/").status_code == 404
