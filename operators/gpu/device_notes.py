"""Where each stage of a run computes and why, shown on the run and on the task in Airflow's UI."""

import logging

from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError

from operators.airflow_api import UNREACHABLE
from operators.database import transaction
from operators.notes import Notes
from operators.queries import query
from stage_contract.request import TaskKey

log = logging.getLogger(__name__)


def note_devices(database: Engine, task: TaskKey, text: str) -> None:
    """Note `text` on the task, and the run's whole story of devices on the run.

    Choices first, then GPU tasks that failed or handed over. A note that cannot be written is logged; no
    work fails for it, since Postgres has the same words.
    """
    row = {"dag_id": task.dag_id, "run_id": task.run_id}
    try:
        with Notes() as notes, transaction(database) as connection:
            notes.note_task(task, text)
            # One after another: each writes the whole story, and the last must have seen all of it.
            connection.execute(query("lock_run_notes"), row)
            lines = connection.execute(query("device_story"), row).scalars().all()
            notes.note_run(task.dag_id, task.run_id, lines)
    except (*UNREACHABLE, SQLAlchemyError) as error:
        log.warning("The note could not be written: %s", error)
