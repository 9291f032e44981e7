"""The pages as a person gets them: the real application and its access rules; Airflow only tells who asks."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest
from airflow.api_fastapi.app import create_auth_manager
from airflow.api_fastapi.auth.managers.simple.user import SimpleAuthManagerUser
from airflow.api_fastapi.core_api.security import get_user
from airflow.models.dag import DagModel
from fastapi.testclient import TestClient
from sqlalchemy import Engine

from nightreel_ui import app
from nightreel_ui.database import media_database

Visitors = Callable[[str], TestClient]


@pytest.fixture
def visit(media_database_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Visitors]:
    """A browser logged in as a person of this role of Airflow's: `viewer`, `user`, `op` or `admin`; or `anonymous`.

    The person is called as the role. It follows no redirects, and its pages lie below no prefix.
    """
    monkeypatch.setenv("NIGHTREEL_DATABASE_URL", media_database_url)
    monkeypatch.setenv("NIGHTREEL_TIME_ZONE", "Europe/Berlin")
    # There are no teams: no database of Airflow's is asked for them.
    monkeypatch.setattr(DagModel, "get_team_name", lambda dag_id: None)
    create_auth_manager()
    media_database.cache_clear()
    with ExitStack() as stack:

        def enter(role: str) -> TestClient:
            built = app.build()
            if role != "anonymous":
                built.dependency_overrides[get_user] = lambda: SimpleAuthManagerUser(username=role, role=role)
            return stack.enter_context(TestClient(built, follow_redirects=False))

        yield enter
    media_database().dispose()
    media_database.cache_clear()


@pytest.fixture
def media_database_url(media_database: Engine) -> str:
    """Where the emptied database of this test is."""
    return media_database.url.render_as_string(hide_password=False)
