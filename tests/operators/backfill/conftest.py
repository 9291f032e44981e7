"""Fixtures of nights: Airflow at its HTTP border, and a clock that is set by hand."""

import pytest
from sqlalchemy import text

from operators.backfill.night import tick
from operators.timings import RunItemOutcome
from tests.operators.backfill.airflow_double import AirflowDouble
from tests.operators.backfill.night_setup import MINUTE, NOW, Clock, begin, fill_archive, finish, night_of


@pytest.fixture
def airflow(monkeypatch) -> AirflowDouble:
    monkeypatch.setenv("NIGHTREEL_AIRFLOW_URL", "http://airflow:8080")
    monkeypatch.setenv("NIGHTREEL_NOTES_PASSWORD", "secret")
    return AirflowDouble()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def ended_night(media_database, airflow, clock):
    """A window of an hour: three assets ended, one failed, one can never end in it."""
    fill_archive(media_database, [600, 600, 600, 600, 360_000])
    backfill_id = begin(media_database, closes_at=NOW + 60 * MINUTE)
    night = night_of(media_database, backfill_id, airflow, clock)
    tick(night)
    for run_id in list(airflow.posts):
        finish(media_database, airflow, run_id, a2=RunItemOutcome.REJECTED, a3=RunItemOutcome.FAILED)
    while not tick(night).is_over:
        for run_id in airflow.running():
            if run_id.startswith("shard__"):
                finish(media_database, airflow, run_id, a2=RunItemOutcome.REJECTED, a3=RunItemOutcome.FAILED)
    with media_database.begin() as connection:
        connection.execute(text("update backfill_shard set ended_at = launched_at + interval '10 minutes'"))
    return backfill_id, night.settings
