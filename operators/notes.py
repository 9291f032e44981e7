"""Notes on runs and tasks in Airflow's UI, through its REST API."""

from collections.abc import Sequence
from types import TracebackType
from typing import Any, Self
from urllib.parse import quote

import httpx

from operators.settings import required
from stage_contract.request import TaskKey

TIMEOUT_S = 5.0
# Airflow refuses a longer note.
LONGEST = 1000
SHORTEST_LINE = 40
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
        """Show `text` on the task, cut where Airflow takes no more."""
        path = f"{_run_path(task)}/taskInstances/{quote(task.task_id)}"
        self._send("PATCH", path, json={"note": _cut(text, LONGEST)})

    def note_run(self, task: TaskKey, lines: Sequence[str]) -> None:
        """Show `lines` on the task's run, in place of those shown before; a person's own lines stay."""
        before = self._send("GET", _run_path(task)).get("note") or ""
        note = write_run_note(before, lines)
        if note != before:
            self._send("PATCH", _run_path(task), json={"note": note})

    def _send(self, method: str, path: str, **options: Any) -> dict[str, Any]:
        answer = self._client.request(method, path, **options)
        answer.raise_for_status()
        content: dict[str, Any] = answer.json()
        return content


def _run_path(task: TaskKey) -> str:
    return f"/api/v2/dags/{quote(task.dag_id)}/dagRuns/{quote(task.run_id, safe='')}"


def write_run_note(before: str, lines: Sequence[str]) -> str:
    """The note with `lines` in place of those of ours in `before`.

    A person's words stay whole. Ours share the room that is left, short ones in full; where there is not
    enough for all, the first go, since the last tell what happened most lately.
    """
    own = "\n".join(line for line in before.splitlines() if not line.startswith(MARK))
    room = LONGEST - len(own)
    told = [MARK + " ".join(line.split()) for line in lines]
    told = told[max(0, len(told) - room // SHORTEST_LINE) :]
    widths: dict[str, int] = {}
    for place, line in enumerate(sorted(told, key=len)):
        # One for the line's end.
        widths[line] = min(len(line), room // (len(told) - place) - 1)
        room -= widths[line] + 1
    return "\n".join([*filter(None, [own]), *(_cut(line, widths[line]) for line in told)])


def _cut(text: str, longest: int) -> str:
    """`text` on one line, in so many characters."""
    line = " ".join(text.split())
    return line if len(line) <= longest else f"{line[: longest - 1]}…"
