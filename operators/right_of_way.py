"""What a stage task does for others that go first: it asks whether it must make way, and tells its container."""

import logging
import time
from dataclasses import replace
from pathlib import Path

from sqlalchemy.exc import SQLAlchemyError

from operators.airflow_api import UNREACHABLE
from operators.database import Database
from operators.errors import NightreelError
from operators.notes import Notes
from operators.stage_plan import AttemptOutcome, Verdict
from operators.urgency_store import Asker, why_step_aside
from stage_contract.request import TaskKey
from stage_contract.runner import STEP_ASIDE_FILE

LOOK_EVERY_S = 2.0

log = logging.getLogger(__name__)


class MustStandAside(NightreelError):
    """Others go first, and the task has not begun. Says why."""


class RightOfWay:
    """Whether one task may go on. Asks every two seconds at most, however often it is called.

    A database that is away is logged and asked again: work that runs is not stopped for it.
    """

    def __init__(self, database: Database, asker: Asker) -> None:
        self._database = database
        self._asker = asker
        self._asked_at_s: float | None = None
        self._reason: str | None = None

    def require(self) -> None:
        """Go on only when the task may begin.

        Raises:
            MustStandAside: it may not.
        """
        reason = self._look()
        if reason:
            raise MustStandAside(reason)

    def attend(self, folder: Path) -> None:
        """Ask the container of this attempt's folder to step aside when it must. Once: then it ends after its item."""
        if self._reason:
            return
        reason = self._look()
        if not reason:
            return
        try:
            (folder / STEP_ASIDE_FILE).touch()
        except OSError as error:
            log.warning("The container could not be asked to step aside, and will be again: %s", error)
            return
        self._reason = reason
        log.info("The container steps aside after the item it is on: %s", reason)

    def explain(self, verdict: Verdict) -> Verdict:
        """The verdict, with the reason where the container was asked to step aside and did."""
        if verdict.outcome is not AttemptOutcome.STEPPED_ASIDE or not self._reason:
            return verdict
        return replace(verdict, message=f"{verdict.message}; {self._reason}")

    def _look(self) -> str | None:
        now_s = time.monotonic()
        if self._asked_at_s is not None and now_s - self._asked_at_s < LOOK_EVERY_S:
            return None
        self._asked_at_s = now_s
        try:
            return why_step_aside(self._database, self._asker)
        except SQLAlchemyError as error:
            log.warning("Whether others go first could not be asked, and will be again: %s", error)
            return None


def note_aside(task: TaskKey, text: str) -> None:
    """Show on the task that it waits, or waited. A note that cannot be written is logged: Postgres knows it too."""
    try:
        with Notes() as notes:
            notes.note_task(task, text)
    except UNREACHABLE as error:
        log.warning("The note could not be written: %s", error)
