"""Asking an agent that is well, away, slow, or talks nonsense: real servers on real sockets."""

import asyncio
import contextlib
import socket
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta

import pytest

from operators.gpu.agent_client import ask_agent, ask_agent_async
from stage_contract.gpu_health import HealthCode, HealthVerdict, HostHealth
from tests.operators.gpu.samples import device, host

TIMEOUT_S = 0.5
Talk = Callable[[socket.socket], None]


@contextlib.contextmanager
def server(talk: Talk) -> Iterator[str]:
    """A server that reads each request and then does what `talk` does with the connection."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        ended = threading.Event()

        def serve() -> None:
            while not ended.is_set():
                with contextlib.suppress(OSError):
                    connection, _ = listener.accept()
                    threading.Thread(target=answer, args=(connection,), daemon=True).start()

        def answer(connection: socket.socket) -> None:
            with connection, contextlib.suppress(OSError):
                connection.recv(65536)
                talk(connection)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            ended.set()
            listener.shutdown(socket.SHUT_RDWR)
            thread.join()


def say(body: bytes, status: str = "200 OK") -> Talk:
    def talk(connection: socket.socket) -> None:
        head = f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
        connection.sendall(head.encode() + body)

    return talk


def health_seen(seconds_ago: float = 0.0) -> HostHealth:
    return host(device()).model_copy(update={"observed_at": datetime.now(UTC) - timedelta(seconds=seconds_ago)})


def json_of(health: HostHealth) -> bytes:
    return health.model_dump_json().encode()


def hang(connection: socket.socket) -> None:
    connection.settimeout(5)
    connection.recv(1)


def trickle(connection: socket.socket) -> None:
    connection.sendall(b"HTTP/1.1 200 OK\r\nX-Slow: ")
    for _ in range(50):
        connection.sendall(b"a")
        time.sleep(0.1)


def trickle_body(connection: socket.socket) -> None:
    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
    for _ in range(50):
        connection.sendall(b" ")
        time.sleep(0.1)


def flood(connection: socket.socket) -> None:
    connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
    while True:
        connection.sendall(b" " * 65536)


def code_of(health: HostHealth) -> HealthCode:
    assert health.verdict is HealthVerdict.UNKNOWN
    assert health.devices == ()
    (reason,) = health.reasons
    assert reason.message
    return reason.code


def test_an_agent_that_is_well_is_believed() -> None:
    told = health_seen()
    with server(say(json_of(told))) as url:
        assert ask_agent(url, TIMEOUT_S) == told
        assert ask_agent(f"{url}/", TIMEOUT_S) == told


def test_a_trigger_asks_within_its_own_loop() -> None:
    told = health_seen()
    with server(say(json_of(told))) as url:
        assert asyncio.run(ask_agent_async(url, TIMEOUT_S)) == told


def test_it_can_be_asked_where_a_loop_runs_already() -> None:
    async def caller() -> HostHealth:
        return ask_agent(url, TIMEOUT_S)

    told = health_seen()
    with server(say(json_of(told))) as url:
        assert asyncio.run(caller()) == told


@pytest.mark.parametrize("talk", [hang, trickle, trickle_body])
def test_an_agent_that_hangs_costs_no_more_than_the_time_given(talk: Talk) -> None:
    with server(talk) as url:
        started_s = time.monotonic()
        code = code_of(ask_agent(url, TIMEOUT_S))
        took_s = time.monotonic() - started_s

    assert code is HealthCode.UNREACHABLE
    assert took_s < TIMEOUT_S + 0.5


def test_an_agent_that_is_down_is_unreachable() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]

    assert code_of(ask_agent(f"http://127.0.0.1:{port}", TIMEOUT_S)) is HealthCode.UNREACHABLE


@pytest.mark.parametrize("url", ["http://nowhere.invalid:9410", "gpu-agent:9410", "", "http://[", "http://a\n"])
def test_an_address_that_leads_nowhere_is_unreachable(url: str) -> None:
    assert code_of(ask_agent(url, 2.0)) is HealthCode.UNREACHABLE


@pytest.mark.parametrize(
    "talk",
    [
        say(b"<html>"),
        say(b""),
        say(b"\xff\xfe{"),
        say(b"[" * 100_000),
        say(b'{"schema_version": 2}'),
        say(json_of(health_seen())[:-1] + b', "more": 1}'),
        say(json_of(health_seen()), status="500 Internal Server Error"),
        say(b"", status="302 Found"),
        lambda connection: connection.sendall(b"SSH-2.0-OpenSSH_9.2\r\n"),
        lambda connection: connection.close(),
        flood,
    ],
    ids=["html", "empty", "bytes", "deep", "other version", "unknown field", "500", "302", "ssh", "closed", "flood"],
)
def test_what_is_not_understood_is_nonsense(talk: Talk) -> None:
    with server(talk) as url:
        assert code_of(ask_agent(url, 2.0)) is HealthCode.NONSENSE


def test_what_was_seen_long_ago_does_not_count() -> None:
    with server(say(json_of(health_seen(14)))) as url:
        assert ask_agent(url).verdict is HealthVerdict.HEALTHY
    with server(say(json_of(health_seen(40)))) as url:
        health = ask_agent(url)
    assert code_of(health) is HealthCode.NVML_HANGS
    assert "0:00:40 ago" in health.reasons[0].message


def test_what_will_be_seen_in_the_future_is_nonsense() -> None:
    with server(say(json_of(health_seen(-100)))) as url:
        assert code_of(ask_agent(url)) is HealthCode.NONSENSE
