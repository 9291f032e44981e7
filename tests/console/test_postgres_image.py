"""Our own image of the database server, as Compose uses it."""

import secrets
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from console.base_image import POSTGRES_DIRECTORY, build_postgres_image
from console.engine import docker, docker_succeeds, ensure_engine

IMAGE = "nightreel/postgres-test:15"
READY_S = 60.0
INITIALIZED_ENVIRONMENT = {
    "POSTGRES_PASSWORD": "p0",
    "AIRFLOW_DB_PASSWORD": "p1",
    "MEDIA_DB_PASSWORD": "p2",
    "PGDATA": "/var/lib/postgresql/data/15",
}


@dataclass(frozen=True)
class Server:
    """A container with a volume of its own; both go by one name."""

    name: str

    def start(self) -> None:
        environment = (part for item in INITIALIZED_ENVIRONMENT.items() for part in ("--env", "=".join(item)))
        docker(
            *("run", "--detach", "--name", self.name, "--network", "none", "--stop-signal", "SIGINT", *environment),
            *("--volume", f"{self.name}:/var/lib/postgresql/data"),
            *("--volume", f"{POSTGRES_DIRECTORY}/initdb:/docker-entrypoint-initdb.d:ro"),
            *(IMAGE, "postgres", "-c", "shared_buffers=16MB"),
        )

    def wait(self) -> None:
        deadline_s = time.monotonic() + READY_S
        while not docker_succeeds("exec", self.name, "pg_isready", "--quiet", "--host=127.0.0.1"):
            if time.monotonic() > deadline_s:
                pytest.fail(docker("logs", self.name))
            time.sleep(0.1)

    def ask(self, user: str, password: str, database: str, sql: str) -> str:
        return docker(
            *("exec", "--env", f"PGPASSWORD={password}", self.name),
            *("psql", "--host", "127.0.0.1", "--username", user, "--no-align", "--tuples-only"),
            *("--dbname", database, "--command", sql),
        )

    def refuses(self, user: str, password: str, database: str) -> bool:
        command = ("psql", "--host", "127.0.0.1", "--username", user, "--dbname", database, "--command", "select 1")
        return not docker_succeeds("exec", "--env", f"PGPASSWORD={password}", self.name, *command)


@pytest.fixture
def server() -> Iterator[Server]:
    ensure_engine()
    build_postgres_image(IMAGE, "test")
    made = Server(f"nightreel-test-postgres-{secrets.token_hex(4)}")
    try:
        made.start()
        yield made
    finally:
        docker("rm", "--force", made.name)
        docker("volume", "rm", "--force", made.name)


def test_each_owner_enters_its_own_database_only(server: Server) -> None:
    server.wait()
    assert server.ask("airflow", "p1", "airflow", "select current_user") == "airflow"
    server.ask("media", "p2", "media", "create table kept (n int)")
    assert server.refuses("media", "p2", "airflow")
    assert server.refuses("airflow", "p1", "media")
    assert server.refuses("media", "p1", "media")


def test_committed_rows_outlive_a_killed_server(server: Server) -> None:
    server.wait()
    server.ask("media", "p2", "media", "create table kept as select generate_series(1, 1000) n")
    docker("kill", "--signal", "KILL", server.name)
    docker("start", server.name)
    server.wait()
    assert server.ask("media", "p2", "media", "select count(*) from kept") == "1000"


def test_a_stop_does_not_wait_for_clients_to_leave(server: Server) -> None:
    server.wait()
    sleeping = ("psql", "--host=127.0.0.1", "--username=media", "--command", "select pg_sleep(60)")
    docker("exec", "--detach", "--env", "PGPASSWORD=p2", server.name, *sleeping)
    started_s = time.monotonic()
    docker("stop", "--time", "30", server.name)
    assert time.monotonic() - started_s < 10
    assert docker("inspect", "--format", "{{.State.ExitCode}}", server.name) == "0"
    assert "database system is shut down" in docker_logs(server.name)


def test_a_first_start_that_is_killed_half_way_is_done_again(server: Server) -> None:
    # Whenever the kill comes, even in the middle of making the databases, the next start has to end well.
    for wait_s in (0.05, 0.2, 0.4):
        time.sleep(wait_s)
        docker("kill", "--signal", "KILL", server.name)
        docker("start", server.name)
    server.wait()
    assert server.ask("media", "p2", "media", "select 1") == "1"


def docker_logs(name: str) -> str:
    """Postgres writes to stderr, which `docker logs` keeps apart."""
    told = subprocess.run(["docker", "logs", name], capture_output=True, text=True, check=True)
    return told.stdout + told.stderr
