"""The runs of a backfill in Airflow: asked for, looked after, and the note on the backfill's own run."""

import logging
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import quote

import httpx

from operators.airflow_api import UNREACHABLE, run_path
from operators.backfill.shards import Shard
from operators.notes import Notes
from stage_contract.vocabulary import Stage

MARK = "backfill: "
"""Begins each line of ours in the note of a backfill's run."""

TASK_ENDED = frozenset({"success", "failed", "upstream_failed", "skipped", "removed"})

log = logging.getLogger(__name__)


class AirflowRuns(Notes):
    """A logged-in session, as its bases have it."""

    def create_run(self, dag_id: str, run_id: str, conf: Mapping[str, Any]) -> None:
        """Ask for a run. One that is there already is as good: an earlier request had reached Airflow."""
        body = {"dag_run_id": run_id, "logical_date": None, "conf": dict(conf)}
        try:
            self.send("POST", f"/api/v2/dags/{quote(dag_id)}/dagRuns", json=body)
        except httpx.HTTPStatusError as error:
            if error.response.status_code != httpx.codes.CONFLICT:
                raise

    def delete_run(self, dag_id: str, run_id: str) -> bool:
        """Delete a run that waits for its turn; false when it has started meanwhile. One that is gone is as good."""
        try:
            self.send("DELETE", run_path(dag_id, run_id))
        except httpx.HTTPStatusError as error:
            if error.response.status_code == httpx.codes.CONFLICT:
                return False
            if error.response.status_code != httpx.codes.NOT_FOUND:
                raise
        return True

    def has_task_ended(self, dag_id: str, run_id: str, task_id: str) -> bool:
        """Whether a task of a run will do no more, unless a person clears it. One that is not there has ended."""
        try:
            found = self.send("GET", f"{run_path(dag_id, run_id)}/taskInstances/{quote(task_id)}")
        except httpx.HTTPStatusError as error:
            if error.response.status_code == httpx.codes.NOT_FOUND:
                return True
            raise
        return found["state"] in TASK_ENDED


def shard_conf(shard: Shard, asset_ids: Sequence[str]) -> dict[str, Any]:
    """What the form of `process_media` is filled in with. It offers no choice of the probe, which always runs."""
    stages = [str(stage) for stage in shard.scope.stages if stage is not Stage.PROBE]
    scope = shard.scope
    return {"asset_ids": list(asset_ids), "stages": stages, "device": str(scope.device), "language": scope.language}


def note_backfill(dag_id: str, run_id: str, lines: Sequence[str]) -> None:
    """Show lines on a backfill's run. Where that cannot be done it is logged: Postgres has the same words."""
    try:
        with AirflowRuns() as airflow:
            airflow.note_run(dag_id, run_id, lines, MARK)
    except UNREACHABLE as error:
        log.warning("The note could not be written: %s", error)
