"""A real Postgres for tests and benchmarks: `NIGHTREEL_TEST_DSN`, or a container of our own image."""

import os
import secrets
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import URL, Engine, create_engine, make_url, text

from console.base_image import ensure_postgres_image
from operators.database import DRIVER, open_engine
from operators.migrate import wait_for

SERVER_VARIABLE = "NIGHTREEL_TEST_DSN"


@contextmanager
def serving(is_measured: bool = False) -> Iterator[URL]:
    """A server where databases may be made; the URL names its maintenance database.

    Where it `is_measured` it waits for the disk as in production, and keeps its log to itself.

    Raises:
        RuntimeError: there is neither a server nor a Docker engine.
    """
    given = os.environ.get(SERVER_VARIABLE)
    if given:
        yield make_url(given).set(drivername=DRIVER)
        return
    password = secrets.token_hex(16)
    image = ensure_postgres_image()
    command = [] if is_measured else ["postgres", "-c", "fsync=off"]
    container = _docker(
        *("run", "--detach", "--pull", "never", "--publish", "127.0.0.1::5432"),
        *("--env", f"POSTGRES_PASSWORD={password}", image, *command),
    )
    try:
        port = int(_docker("port", container, "5432/tcp").splitlines()[0].rsplit(":", 1)[1])
        url = URL.create(DRIVER, "postgres", password, "127.0.0.1", port, "postgres")
        engine = open_engine(url.render_as_string(hide_password=False))
        wait_for(engine)
        engine.dispose()
        yield url
    finally:
        if not is_measured:
            subprocess.run(["docker", "logs", container])
        _docker("rm", "--force", "--volumes", container)


@contextmanager
def made_database(server: URL) -> Iterator[Engine]:
    """An empty database for the block."""
    name = f"nightreel_test_{secrets.token_hex(6)}"
    maintenance = create_engine(server, isolation_level="AUTOCOMMIT")
    engine = open_engine(server.set(database=name).render_as_string(hide_password=False))
    with maintenance.connect() as connection:
        connection.execute(text(f"create database {name} encoding 'UTF8' template template0"))
    try:
        yield engine
    finally:
        engine.dispose()
        with maintenance.connect() as connection:
            connection.execute(text(f"drop database {name} with (force)"))
        maintenance.dispose()


def _docker(*arguments: str) -> str:
    done = subprocess.run(["docker", *arguments], capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(
            f"tests need {SERVER_VARIABLE} or a Docker engine: docker {arguments[0]}: {done.stderr.strip()}"
        )
    return done.stdout.strip()
