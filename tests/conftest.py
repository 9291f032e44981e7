"""A private Airflow, and fixtures with a real Postgres: `NIGHTREEL_TEST_DSN`, or a container of our own image."""

import os
import secrets
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from sqlalchemy import URL, Engine, create_engine, make_url, text

from console.base_image import ensure_postgres_image
from operators.database import DRIVER, open_engine
from operators.migrate import migrate, wait_for

# A private Airflow, set up before any test imports Airflow.
os.environ |= {
    "AIRFLOW_HOME": tempfile.mkdtemp(prefix="nightreel-airflow-"),
    "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
    "AIRFLOW__CORE__UNIT_TEST_MODE": "True",
}

SERVER_VARIABLE = "NIGHTREEL_TEST_DSN"
EMPTY_ALL = text(
    """
    do $$
    begin
        execute (
            select 'truncate ' || string_agg(format('%I', tablename), ', ') from pg_tables
            where schemaname = 'public' and tablename <> 'schema_migration'
        );
    end
    $$
    """
)


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[URL]:
    """A server where databases may be made; the URL names its maintenance database."""
    given = os.environ.get(SERVER_VARIABLE)
    if given:
        yield make_url(given).set(drivername=DRIVER)
        return
    password = secrets.token_hex(16)
    image = ensure_postgres_image()
    container = _docker(
        *("run", "--detach", "--pull", "never", "--publish", "127.0.0.1::5432"),
        *("--env", f"POSTGRES_PASSWORD={password}", image, "postgres", "-c", "fsync=off"),
    )
    try:
        port = int(_docker("port", container, "5432/tcp").splitlines()[0].rsplit(":", 1)[1])
        url = URL.create(DRIVER, "postgres", password, "127.0.0.1", port, "postgres")
        engine = open_engine(url.render_as_string(hide_password=False))
        wait_for(engine)
        engine.dispose()
        yield url
    finally:
        subprocess.run(["docker", "logs", container])
        _docker("rm", "--force", "--volumes", container)


@pytest.fixture
def empty_database(postgres_server: URL) -> Iterator[Engine]:
    """A database without any table, for one test."""
    with _database(postgres_server) as engine:
        yield engine


@pytest.fixture(scope="session")
def migrated_database(postgres_server: URL) -> Iterator[Engine]:
    """A database that all migrations were applied to, for the whole session."""
    with _database(postgres_server) as engine:
        migrate(engine)
        yield engine


@pytest.fixture
def media_database(migrated_database: Engine) -> Engine:
    """The migrated database, emptied for this test."""
    with migrated_database.begin() as connection:
        connection.execute(EMPTY_ALL)
    return migrated_database


@pytest.fixture
def results(tmp_path: Path) -> Path:
    """An empty results folder."""
    folder = tmp_path / "results"
    folder.mkdir()
    return folder


@contextmanager
def _database(server: URL) -> Iterator[Engine]:
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
        pytest.fail(f"tests need {SERVER_VARIABLE} or a Docker engine: docker {arguments[0]}: {done.stderr.strip()}")
    return done.stdout.strip()
