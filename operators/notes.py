"""Notes on runs and tasks in Airflow's UI, through its REST API."""

from collections.abc import Sequence
from types import TracebackType
from typing import Any, Self
from urllib.parse import quote

import httpx

from operators.settings import required
from stage_contract.request import TaskKey

TIMEOUT_S = 5.0
MARK = "device: "
"""Begins each line of ours in a run's note. Other lines are a person's, and stay."""


class Notes:
    """A logged-in session.

    Raises (every method):
        httpx.HTTPError: Airflow does not answer, or refuses.
        SettingMissing: the deployment does not say where Airflow is.
    """

    def __init__(self) -> None:
        self._client = httpx.Client(base_url=required("NIGHTREEL_AIRFLOW_URL"), timeout=TIMEOUT_S)

    def __enter__(self) -> Self:
        credentials = {"username": "nightreel", "password": required("NIGHTREEL_NOTES_PASSWORD")}
        token = self._send("POST", "/auth/token", json=credentials)["access_token"]
        self._client.headers["Authorization"] = f"Bearer {token}"
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._client.close()

    def note_task(self, task: TaskKey, text: str) -> None:
        """Show `text` on the task."""
        self._send("PATCH", f"{_run_path(task)}/taskInstances/{quote(task.task_id)}", json={"note": text})

    def note_run(self, task: TaskKey, lines: Sequence[str]) -> None:
        """Show `lines` on the task's run, in place of those shown before; a person's own lines stay."""
        before = self._send("GET", _run_path(task)).get("note") or ""
        own = [line for line in before.splitlines() if not line.startswith(MARK)]
        note = "\n".join([*own, *(f"{MARK}{line}" for line in lines)])
        if note != before:
            self._send("PATCH", _run_path(task), json={"note": note})

    def _send(self, method: str, path: str, **options: Any) -> dict[str, Any]:
        answer = self._client.request(method, path, **options)
        answer.raise_for_status()
        content: dict[str, Any] = answer.json()
        return content


def _run_path(task: TaskKey) -> str:
    return f"/api/v2/dags/{quote(task.dag_id)}/dagRuns/{quote(task.run_id, safe='')}"
