"""Fixtures of nights: Airflow at its HTTP border, and a clock that is set by hand."""

import pytest

from tests.operators.backfill.airflow_double import AirflowDouble
from tests.operators.backfill.night_setup import Clock


@pytest.fixture
def airflow(monkeypatch) -> AirflowDouble:
    monkeypatch.setenv("NIGHTREEL_AIRFLOW_URL", "http://airflow:8080")
    monkeypatch.setenv("NIGHTREEL_NOTES_PASSWORD", "secret")
    return AirflowDouble()


@pytest.fixture
def clock() -> Clock:
    return Clock()
