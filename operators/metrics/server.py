"""The HTTP server: `/metrics` for Prometheus, `/v1/metrics` for what Airflow's processes send, `/healthy`."""

import logging
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceResponse
from prometheus_client import CollectorRegistry
from prometheus_client.core import Metric
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector
from sqlalchemy.exc import SQLAlchemyError

from operators.metrics.families import media_families
from operators.metrics.otlp import AirflowMetrics, OtlpMalformed
from operators.metrics.reading import Reading

DEADLINE_S = 8.0
"""Prometheus waits for ten seconds."""

MOST_BYTES = 4 << 20
PROTOBUF = "application/x-protobuf"
TEXT = "text/plain; charset=utf-8"
HINT = b"Nightreel's metrics: /metrics is for Prometheus, /v1/metrics takes OTLP, /healthy says that this answers.\n"

log = logging.getLogger(__name__)


class LatestReading:
    """Reads when asked, one at a time; who asks meanwhile gets the same reading, nobody waits past the deadline."""

    def __init__(self, read: Callable[[], Reading], deadline_s: float = DEADLINE_S) -> None:
        self._read = read
        self._deadline_s = deadline_s
        self._reader = ThreadPoolExecutor(max_workers=1, thread_name_prefix="reader")
        self._lock = threading.Lock()
        self._running: Future[Reading] | None = None

    def get(self) -> Reading | None:
        """The reading; none when the database did not answer in time."""
        with self._lock:
            if self._running is None or self._running.done():
                self._running = self._reader.submit(self._read)
            running = self._running
        try:
            return running.result(timeout=self._deadline_s)
        except (SQLAlchemyError, TimeoutError) as error:
            log.warning("the media database must answer within %g s: %r", self._deadline_s, error)
            return None


class EverythingCollector(Collector):
    """Both kinds of metrics, whenever they are asked for."""

    def __init__(self, latest: LatestReading, airflow: AirflowMetrics) -> None:
        self._latest = latest
        self._airflow = airflow

    def describe(self) -> Iterator[Metric]:
        """Nothing: what there is depends on the data, and registering must not read it."""
        yield from ()

    def collect(self) -> Iterator[Metric]:
        """All there is now."""
        yield from media_families(self._latest.get())
        yield from self._airflow.families()


class MetricsServer(ThreadingHTTPServer):
    """A request is a thread."""

    daemon_threads = True

    def __init__(self, address: tuple[str, int], latest: LatestReading) -> None:
        super().__init__(address, _Handler)
        self.airflow = AirflowMetrics()
        self.registry = CollectorRegistry()
        self.registry.register(EverythingCollector(latest, self.airflow))


class _Handler(BaseHTTPRequestHandler):
    server: MetricsServer
    # A client that sends nothing does not keep its thread for ever.
    timeout = 10

    def do_GET(self) -> None:
        match self.path.partition("?")[0]:
            case "/metrics":
                encode, content_type = choose_encoder(self.headers.get("Accept", ""))
                self._answer(HTTPStatus.OK, content_type, encode(self.server.registry))
            case "/healthy":
                self._answer(HTTPStatus.OK, TEXT, b"it answers\n")
            case _:
                self._answer(HTTPStatus.NOT_FOUND, TEXT, HINT)

    def do_POST(self) -> None:
        length = self.headers.get("Content-Length", "")
        if self.path != "/v1/metrics":
            self._refuse(HTTPStatus.NOT_FOUND, HINT.decode())
        elif self.headers.get("Content-Type") != PROTOBUF or "Content-Encoding" in self.headers:
            self._refuse(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, f"a request must be {PROTOBUF}, not compressed")
        elif not length.isdecimal() or int(length) > MOST_BYTES:
            self._refuse(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"a request must have a length, {MOST_BYTES} at most")
        else:
            self._take(self.rfile.read(int(length)))

    def _take(self, body: bytes) -> None:
        try:
            self.server.airflow.take(body)
        except OtlpMalformed as error:
            self._refuse(HTTPStatus.BAD_REQUEST, str(error))
        else:
            self._answer(HTTPStatus.OK, PROTOBUF, ExportMetricsServiceResponse().SerializeToString())

    def _refuse(self, status: HTTPStatus, why: str) -> None:
        # What was sent may still lie unread in the connection.
        self.close_connection = True
        self._answer(status, TEXT, f"{why}\n".encode())

    def _answer(self, status: HTTPStatus, content_type: str, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_arguments: object) -> None:
        """Requests come every few seconds; they are not news."""
