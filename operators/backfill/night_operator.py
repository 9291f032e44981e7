"""Goes through a night, deferred: the triggerer takes its steps, no slot is held."""

import asyncio
import logging
from collections.abc import AsyncIterator
from typing import Any

import httpx
from airflow.sdk import BaseOperator, Context
from airflow.sdk.exceptions import AirflowSkipException
from airflow.triggers.base import BaseTrigger, TriggerEvent
from sqlalchemy.exc import InterfaceError, OperationalError, SQLAlchemyError

from operators.airflow_api import UNREACHABLE
from operators.backfill.night import Night, Standing, tick
from operators.backfill.night_settings import NightSettings
from operators.backfill.store import backfill_of_run
from operators.database import connect
from operators.gpu.configuration import GpuConfiguration
from operators.scan.rules import ScanRules

# Also keeps the trigger from firing at once, which under load can leave the task deferred for good:
# https://github.com/apache/airflow/issues/71580
TICK_EVERY_S = 5.0
# In a row, of a kind that does not pass by itself: then the task fails, is tried again, and the report says so.
MOST_ERRORS = 20

log = logging.getLogger(__name__)


def try_tick(night: Night) -> Standing | None:
    """One step; none when Airflow or the database is away: then the next one goes on."""
    try:
        standing = tick(night)
        night.errors = 0
        return standing
    except (*UNREACHABLE, SQLAlchemyError) as error:
        night.errors = 0 if _may_pass(error) else night.errors + 1
        if night.errors >= MOST_ERRORS:
            raise
        log.warning("This step could not be done, the next goes on: %s", error)
        return None


def _may_pass(error: Exception) -> bool:
    """Whether it is for lack of somebody to answer: however long that lasts, the night goes on after it."""
    if isinstance(error, httpx.HTTPStatusError):
        return error.response.is_server_error
    return isinstance(error, httpx.TransportError | OperationalError | InterfaceError)


class NightTrigger(BaseTrigger):
    """Takes a step every five seconds, and fires when the night is over."""

    def __init__(self, backfill_id: int) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.backfill_id = backfill_id

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """How the triggerer makes it again."""
        return "operators.backfill.night_operator.NightTrigger", {"backfill_id": self.backfill_id}

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Step by step to the end. The event is how the night stands then."""
        night = Night(
            connect(),
            self.backfill_id,
            NightSettings.from_environment(),
            GpuConfiguration.from_environment(),
            ScanRules.from_environment(),
        )
        while True:
            await asyncio.sleep(TICK_EVERY_S)
            standing = await asyncio.to_thread(try_tick, night)
            if standing and standing.is_over:
                yield TriggerEvent("; ".join(standing.told))  # type: ignore[no-untyped-call]
                return


class LaunchShards(BaseOperator):
    """Launches runs of `process_media` for the backfill that this run has opened, until it is over.

    Stopped anywhere, it goes on where it was when it is started again.
    """

    ui_color = "#e6e0f5"

    def execute(self, context: Context) -> None:
        """Hand over to the triggerer.

        Raises:
            AirflowSkipException: this run opened no backfill.
        """
        running = context["ti"]
        backfill_id = backfill_of_run(connect(), running.dag_id, running.run_id)
        if backfill_id is None:
            raise AirflowSkipException("nothing is launched: this run opened no backfill; see open_backfill")
        self.defer(trigger=NightTrigger(backfill_id), method_name="resume")

    def resume(self, context: Context, event: str) -> str:
        """The night is over; returns how it stands."""
        self.log.info("%s", event)
        return event
