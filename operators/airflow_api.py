"""Airflow's REST API, as the user that tasks and triggers speak as."""

from dataclasses import dataclass
from datetime import datetime
from types import TracebackType
from typing import Any, Self
from urllib.parse import quote

import httpx

from operators.errors import SettingMissing
from operators.settings import required

TIMEOUT_S = 5.0
USER = "nightreel"
LONGEST_ANSWER = 500
ENDED = frozenset({"success", "failed"})
QUEUED = "queued"
UNREACHABLE = (httpx.HTTPError, SettingMissing, ValueError, KeyError)
"""What a call raises when Airflow does not answer, refuses, or answers what is no answer."""


@dataclass(frozen=True)
class AirflowRun:
    """A DAG run as Airflow has it. `queued_at` is when it was asked for."""

    state: str
    queued_at: datetime | None
    ended_at: datetime | None

    @property
    def has_ended(self) -> bool:
        """Whether nothing more will happen in it, unless a person clears it."""
        return self.state in ENDED

    @property
    def is_queued(self) -> bool:
        """Whether it waits for its turn: for its first one, or for another since a person cleared it."""
        return self.state == QUEUED


class AirflowApi:
    """A logged-in session, for a `with` block.

    Raises (every method):
        httpx.HTTPError: Airflow does not answer, or refuses.
        SettingMissing: the deployment does not say where Airflow is.
    """

    def __init__(self, timeout_s: float = TIMEOUT_S, transport: httpx.BaseTransport | None = None) -> None:
        self._client = httpx.Client(base_url=required("NIGHTREEL_AIRFLOW_URL"), timeout=timeout_s, transport=transport)

    def __enter__(self) -> Self:
        try:
            credentials = {"username": USER, "password": required("NIGHTREEL_NOTES_PASSWORD")}
            token = self.send("POST", "/auth/token", json=credentials)["access_token"]
        except BaseException:
            self._client.close()
            raise
        self._client.headers["Authorization"] = f"Bearer {token}"
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._client.close()

    def send(self, method: str, path: str, **options: Any) -> dict[str, Any]:
        """One request; returns what the answer holds."""
        answer = self._client.request(method, path, **options)
        if answer.is_error:
            # The status alone says nothing of what is wrong with a request.
            said = answer.text[:LONGEST_ANSWER]
            raise httpx.HTTPStatusError(
                f"Airflow refused {method} {path} ({answer.status_code}): {said}",
                request=answer.request,
                response=answer,
            )
        content: dict[str, Any] = answer.json() if answer.content else {}
        return content

    def find_run(self, dag_id: str, run_id: str) -> AirflowRun | None:
        """How a run stands; none when Airflow has no such run."""
        try:
            found = self.send("GET", run_path(dag_id, run_id))
        except httpx.HTTPStatusError as error:
            if error.response.status_code == httpx.codes.NOT_FOUND:
                return None
            raise
        return AirflowRun(found["state"], _instant(found["queued_at"]), _instant(found["end_date"]))


def run_path(dag_id: str, run_id: str) -> str:
    """Where the API has a run."""
    return f"/api/v2/dags/{quote(dag_id)}/dagRuns/{quote(run_id, safe='')}"


def _instant(text: str | None) -> datetime | None:
    return datetime.fromisoformat(text) if text else None
