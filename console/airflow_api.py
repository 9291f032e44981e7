"""The few calls of Airflow's REST API that the console needs."""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from urllib.parse import quote

import httpx

from console.terminal import ConsoleError

REQUEST_TIMEOUT_S = 30.0
ATTEMPTS = 10
PAUSE_S = 2.0


@dataclass(frozen=True)
class TaskState:
    """One task of a run. `state` is Airflow's, none before the scheduler looked at it; `instance_id` is the try's."""

    task_id: str
    instance_id: str
    state: str | None
    try_number: int
    started_at: datetime | None
    ended_at: datetime | None


@dataclass(frozen=True)
class RunState:
    """One DAG run. `queued_at` is when it was asked for."""

    dag_id: str
    run_id: str
    state: str
    queued_at: datetime | None
    started_at: datetime | None
    ended_at: datetime | None

    @property
    def ended(self) -> bool:
        """Whether nothing more will happen."""
        return self.state in ("success", "failed")


class AirflowApi:
    """A logged-in client.

    Raises (every method):
        ConsoleError: the API server does not answer or refuses, in words.
    """

    def __init__(self, base_url: str, user: str, password: str) -> None:
        self.base_url = base_url
        self._client = httpx.Client(base_url=base_url, timeout=REQUEST_TIMEOUT_S)
        credentials = {"username": user, "password": password}
        token = self._send("POST", "/auth/token", json=credentials)["access_token"]
        self._client.headers["Authorization"] = f"Bearer {token}"

    def trigger(self, dag_id: str, conf: Mapping[str, Any], run_id: str | None = None) -> RunState:
        """Start a run now."""
        body: dict[str, Any] = {"logical_date": None, "conf": dict(conf)}
        if run_id:
            body["dag_run_id"] = run_id
        return _run_state(self._send("POST", f"/api/v2/dags/{dag_id}/dagRuns", json=body))

    def run(self, dag_id: str, run_id: str) -> RunState:
        """Where a run is."""
        return _run_state(self._send("GET", _run_path(dag_id, run_id)))

    def tasks(self, dag_id: str, run_id: str) -> list[TaskState]:
        """Where a run's tasks are."""
        answer = self._send("GET", f"{_run_path(dag_id, run_id)}/taskInstances", params={"limit": 100})
        return [
            TaskState(
                task["task_id"],
                task["id"],
                task["state"],
                task["try_number"],
                _instant(task["start_date"]),
                _instant(task["end_date"]),
            )
            for task in answer["task_instances"]
        ]

    def run_note(self, dag_id: str, run_id: str) -> str:
        """The note on a run; empty when there is none."""
        return self._send("GET", _run_path(dag_id, run_id))["note"] or ""

    def returned_text(self, dag_id: str, run_id: str, task_id: str) -> str | None:
        """What a task returned; none when it returned nothing."""
        path = f"{_run_path(dag_id, run_id)}/taskInstances/{task_id}/xcomEntries"
        keys = {entry["key"] for entry in self._send("GET", path)["xcom_entries"]}
        if "return_value" not in keys:
            return None
        return str(self._send("GET", f"{path}/return_value", params={"deserialize": "false"})["value"])

    def set_run_state(self, dag_id: str, run_id: str, state: str) -> None:
        """Mark a run `failed` (which cancels what runs) or `success`."""
        self._send("PATCH", _run_path(dag_id, run_id), json={"state": state})

    def task_log(self, dag_id: str, run_id: str, task_id: str, try_number: int) -> str:
        """The log of one attempt, one event a line."""
        path = f"{_run_path(dag_id, run_id)}/taskInstances/{task_id}/logs/{try_number}"
        content = self._send("GET", path)["content"]
        return "\n".join(str(entry.get("event", entry)) for entry in content)

    def run_url(self, dag_id: str, run_id: str) -> str:
        """The run's page, for a person."""
        return f"{self.base_url}/dags/{dag_id}/runs/{quote(run_id)}"

    def _send(self, method: str, path: str, **options: Any) -> dict[str, Any]:
        # The server may be restarting: reading again is harmless, triggering again is not.
        attempts_left = ATTEMPTS if method == "GET" else 1
        while True:
            attempts_left -= 1
            try:
                answer = self._client.request(method, path, **options)
                break
            except httpx.TransportError as error:
                if not attempts_left:
                    raise ConsoleError(
                        f"Airflow must answer at {self.base_url}, and does not ({error}); start it with `make up`"
                    ) from error
                time.sleep(PAUSE_S)
        if answer.is_error:
            raise ConsoleError(f"Airflow refused {method} {path} ({answer.status_code}): {_detail(answer)}")
        result: dict[str, Any] = answer.json() if answer.content else {}
        return result


def _run_path(dag_id: str, run_id: str) -> str:
    return f"/api/v2/dags/{dag_id}/dagRuns/{quote(run_id, safe='')}"


def _run_state(answer: Mapping[str, Any]) -> RunState:
    return RunState(
        answer["dag_id"],
        answer["dag_run_id"],
        answer["state"],
        _instant(answer["queued_at"]),
        _instant(answer["start_date"]),
        _instant(answer["end_date"]),
    )


def _instant(text: str | None) -> datetime | None:
    return datetime.fromisoformat(text) if text else None


def _detail(answer: httpx.Response) -> str:
    try:
        return str(answer.json().get("detail", answer.text))[:500]
    except ValueError:
        return answer.text[:500]
