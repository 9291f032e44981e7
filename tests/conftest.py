"""A private Airflow, and fixtures with a real Postgres."""

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import URL, Engine, text

from operators.migrate import migrate
from tests.postgres import made_database, serving

# A private Airflow, set up before any test imports Airflow.
os.environ |= {
    "AIRFLOW_HOME": tempfile.mkdtemp(prefix="nightreel-airflow-"),
    "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
    "AIRFLOW__CORE__UNIT_TEST_MODE": "True",
}

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
    with serving() as url:
        yield url


@pytest.fixture
def empty_database(postgres_server: URL) -> Iterator[Engine]:
    """A database without any table, for one test."""
    with made_database(postgres_server) as engine:
        yield engine


@pytest.fixture(scope="session")
def migrated_database(postgres_server: URL) -> Iterator[Engine]:
    """A database that all migrations were applied to, for the whole session."""
    with made_database(postgres_server) as engine:
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
