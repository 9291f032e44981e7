"""Answers over HTTP from the last observation, at once: no request touches NVML."""

from datetime import UTC, datetime
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder

from gpu_agent.metrics import health_registry
from gpu_agent.observer import Observer
from gpu_agent.verdict import unread_health

HINT = "Nightreel's GPU agent: /health tells each device's verdict and why (JSON), /metrics is for Prometheus.\n"


class AgentServer(ThreadingHTTPServer):
    """The agent's HTTP server; a request is a thread."""

    daemon_threads = True

    def __init__(self, address: tuple[str, int], observer: Observer) -> None:
        super().__init__(address, _Handler)
        self.observer = observer
        self.registry: CollectorRegistry = health_registry(lambda: observer.last)


class _Handler(BaseHTTPRequestHandler):
    server: AgentServer
    # A client that sends nothing does not keep its thread for ever.
    timeout = 5

    def do_GET(self) -> None:
        match self.path.partition("?")[0]:
            case "/health":
                self._answer_health()
            case "/metrics":
                encode, content_type = choose_encoder(self.headers.get("Accept", ""))
                self._answer(HTTPStatus.OK, content_type, encode(self.server.registry))
            case "/":
                self._answer(HTTPStatus.OK, "text/plain; charset=utf-8", HINT.encode())
            case _:
                self._answer(HTTPStatus.NOT_FOUND, "text/plain; charset=utf-8", HINT.encode())

    def _answer_health(self) -> None:
        last = self.server.observer.last
        health = unread_health(datetime.now(UTC)) if last is None else last.health
        self._answer(HTTPStatus.OK, "application/json", health.model_dump_json().encode())

    def _answer(self, status: HTTPStatus, content_type: str, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_arguments: object) -> None:
        """Requests come every few seconds; they are not news."""
