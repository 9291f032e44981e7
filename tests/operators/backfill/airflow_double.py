"""Airflow's REST API as a backfill uses it, at the HTTP border."""

import json
import re
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from urllib.parse import unquote

import httpx

from operators.backfill.airflow_runs import AirflowRuns

MEDIA = ("process_media",)
RESERVED = ("backfill__", "scheduled__", "asset_triggered__")
"""Airflow takes no run of these names that is asked for by hand."""

RUN = re.compile(r"/api/v2/dags/(?P<dag>[^/]+)/dagRuns/(?P<run>[^/]+)")
RUNS = re.compile(r"/api/v2/dags/(?P<dag>[^/]+)/dagRuns")
TASK = re.compile(RUN.pattern + r"/taskInstances/(?P<task>[^/]+)")


@dataclass
class AirflowDouble:
    """Holds runs by DAG and id. Deaf after a post or a deletion, it does what it is asked for and does not answer."""

    runs: dict[tuple[str, str], dict[str, Any]] = field(default_factory=dict)
    scan_state: str | None = "success"
    is_down: bool = False
    deaf_after_post: bool = False
    deaf_after_delete: bool = False
    starts_before_delete: bool = False
    """What is queued starts as a request to delete it is on its way."""
    refuses_posts: bool = False
    posts: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    deleted: set[str] = field(default_factory=set)
    """Backfills' own runs that are not there. Whatever has a backfill had a run."""

    def session(self) -> AirflowRuns:
        return AirflowRuns(transport=httpx.MockTransport(self.answer))

    def end(
        self,
        run_id: str,
        state: str = "success",
        dag_id: str = "process_media",
        ended_at: datetime | None = None,
    ) -> None:
        self.runs[dag_id, run_id] |= {"state": state, "end_date": (ended_at or datetime.now(UTC)).isoformat()}

    def running(self) -> list[str]:
        return [run_id for (dag_id, run_id), run in self.runs.items() if dag_id in MEDIA and run["state"] == "running"]

    def answer(self, request: httpx.Request) -> httpx.Response:
        if self.is_down:
            raise httpx.ConnectError("connection refused")
        path = unquote(request.url.raw_path.decode())
        if path == "/auth/token":
            return httpx.Response(201, json={"access_token": "token"})
        if TASK.fullmatch(path):
            return httpx.Response(200, json={"state": self.scan_state})
        if found := RUN.fullmatch(path):
            return self._run(request, (found["dag"], found["run"]))
        found = RUNS.fullmatch(path)
        assert found, path
        return self._create(found["dag"], json.loads(request.content))

    def queue(self, run_id: str) -> None:
        """A shard's run waits for its turn."""
        self.runs["process_media", run_id]["state"] = "queued"

    def _delete(self, key: tuple[str, str]) -> httpx.Response:
        if key not in self.runs:
            return httpx.Response(404, json={"detail": "no such run"})
        if self.starts_before_delete:
            self.runs[key]["state"] = "running"
        if self.runs[key]["state"] == "running":
            return httpx.Response(409, json={"detail": "cannot be deleted in running state"})
        del self.runs[key]
        if self.deaf_after_delete:
            raise httpx.ReadTimeout("no answer")
        return httpx.Response(204)

    def _run(self, request: httpx.Request, key: tuple[str, str]) -> httpx.Response:
        if request.method == "DELETE":
            return self._delete(key)
        if request.method == "PATCH":
            note = json.loads(request.content)["note"]
            self.notes.append(note)
            self.runs.setdefault(key, _new_run({}))["note"] = note
        if key[0] == "archive_backfill" and key[1] not in self.deleted:
            self.runs.setdefault(key, _new_run({}))
        if key not in self.runs:
            return httpx.Response(404, json={"detail": "no such run"})
        return httpx.Response(200, json=self.runs[key])

    def _create(self, dag_id: str, body: dict[str, Any]) -> httpx.Response:
        self.posts.append(body["dag_run_id"])
        if self.refuses_posts:
            raise httpx.ConnectError("connection refused")
        if body["dag_run_id"].startswith(RESERVED):
            return httpx.Response(400, json={"detail": "it is reserved"})
        key = (dag_id, body["dag_run_id"])
        if key in self.runs:
            return httpx.Response(409, json={"detail": "it is there"})
        self.runs[key] = _new_run(body["conf"])
        if self.deaf_after_post:
            raise httpx.ReadTimeout("no answer")
        return httpx.Response(200, json=self.runs[key])


def _new_run(conf: dict[str, Any]) -> dict[str, Any]:
    return {
        "state": "running",
        "queued_at": datetime.now(UTC).isoformat(),
        "end_date": None,
        "note": None,
        "conf": conf,
    }
