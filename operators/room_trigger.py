"""Waits in the triggerer until a stage task that stepped aside may go on."""

import asyncio
import logging
import threading
import time
from collections.abc import AsyncIterator
from functools import cache
from typing import Any, Self

from airflow.triggers.base import BaseTrigger, TriggerEvent
from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError

from operators.airflow_api import UNREACHABLE
from operators.database import Database, connect
from operators.urgency import URGENT_DAG_ID
from operators.urgency_store import Asker, close_ended_runs, why_stay_aside
from stage_contract.request import TaskKey
from stage_contract.vocabulary import Stage, Variant

# Waiting before the first question keeps the trigger from firing at once, which under load can leave the task
# deferred for good: https://github.com/apache/airflow/issues/71580
ASK_EVERY_S = 2.5
CLOSE_EVERY_S = 20.0

log = logging.getLogger(__name__)


class RoomTrigger(BaseTrigger):
    """Fires when the task may begin. A database that is away is asked again: waiting fails for nothing."""

    def __init__(self, task: dict[str, Any], stage: str, variant: str) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.asker = Asker(TaskKey.model_validate(task), Stage(stage), Variant(variant))

    @classmethod
    def of(cls, asker: Asker) -> Self:
        """The trigger of this task."""
        return cls(asker.task.model_dump(), str(asker.stage), str(asker.variant))

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """How the triggerer makes it again."""
        asker = self.asker
        plain = {"task": asker.task.model_dump(), "stage": str(asker.stage), "variant": str(asker.variant)}
        return "operators.room_trigger.RoomTrigger", plain

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Ask until there is room. What the event carries does not matter."""
        told = ""
        while True:
            await asyncio.sleep(ASK_EVERY_S)
            reason = await asyncio.to_thread(ask, _database(), self.asker)
            if reason is None:
                yield TriggerEvent("there is room")  # type: ignore[no-untyped-call]
                return
            if reason != told:
                self.log.info("Waits: %s", reason)
                told = reason


def ask(database: Database, asker: Asker) -> str | None:
    """Why the task still has to wait; none when it may begin.

    While it has to, urgent runs that ended without saying so are looked for: nobody shall wait for those.
    """
    try:
        reason = why_stay_aside(database, asker)
        if reason:
            _ended_runs.close(database)
    except SQLAlchemyError as error:
        return f"the database does not answer ({type(error).__name__})"
    return reason


class EndedRuns:
    """Closes urgent runs that have ended, every 20 s at most, whoever of a process' tasks asks for it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._closed_at_s: float | None = None

    def close(self, database: Database) -> None:
        """Do it if it is time."""
        if not self._lock.acquire(blocking=False):
            return
        try:
            now_s = time.monotonic()
            if self._closed_at_s is not None and now_s - self._closed_at_s < CLOSE_EVERY_S:
                return
            self._closed_at_s = now_s
            close_ended_runs(database, URGENT_DAG_ID)
        except UNREACHABLE as error:
            log.warning("Airflow could not be asked about urgent runs, and will be again: %s", error)
        finally:
            self._lock.release()


_ended_runs = EndedRuns()


@cache
def _database() -> Engine:
    """One for all that wait: the triggerer runs them in one process."""
    return connect()
