"""How urgent and other work stands, from Postgres; and an end for runs that say running, and have ended in Airflow."""

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from pydantic import AwareDatetime, BaseModel, ConfigDict, TypeAdapter

from operators.airflow_api import AirflowApi
from operators.database import Database, transaction
from operators.gpu.configuration import GpuConfiguration
from operators.queries import query
from operators.routing import GPU_STAGES
from operators.settings import cpu_slots
from operators.urgency import (
    CPU_CONTAINERS_PER_RUN,
    URGENT_DAG_ID,
    Holder,
    Pause,
    Pool,
    PoolRoom,
    Standing,
    why_aside,
    why_wait,
)
from stage_contract.request import TaskKey
from stage_contract.vocabulary import Stage, Variant

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Asker:
    """The stage task that asks whether it may go on, or begin."""

    task: TaskKey
    stage: Stage
    variant: Variant


class _Row(BaseModel):
    """One running stage task, as the query tells it."""

    model_config = ConfigDict(frozen=True)

    task: TaskKey
    stage: Stage
    variant: Variant
    started_at: AwareDatetime
    is_backfill: bool


_ROWS = TypeAdapter(tuple[_Row, ...])


def why_step_aside(database: Database, asker: Asker) -> str | None:
    """Why a task that runs must step aside now, for a person; none while it may go on."""
    standing, is_backfill = read_standing(database, asker.task)
    own = next((holder for holder in standing.holders if holder.task == asker.task), None)
    if own is None:
        # Somebody ended its attempt: then it counts as the last that came.
        return why_wait(standing, _newcomer(asker, is_backfill))
    return why_aside(standing, own)


def why_stay_aside(database: Database, asker: Asker) -> str | None:
    """Why a task that does not run must not begin now, for a person; none when it may."""
    standing, is_backfill = read_standing(database, asker.task)
    return why_wait(standing, _newcomer(asker, is_backfill))


def read_standing(database: Database, task: TaskKey) -> tuple[Standing, bool]:
    """How things stand, and whether this task is part of a backfill."""
    gpus = GpuConfiguration.from_environment()
    row = {"urgent_dag_id": URGENT_DAG_ID, "dag_id": task.dag_id, "run_id": task.run_id}
    with transaction(database) as connection:
        found = connection.execute(query("urgency_standing"), row).one()
    standing = Standing(
        rooms=rooms(gpus),
        urgent_runs=found.urgent_runs,
        pause=Pause(found.paused_by, found.pause_reason) if found.paused_by is not None else None,
        holders=tuple(
            Holder(one.task, *_place(one.stage, one.variant, gpus), one.started_at, one.is_backfill)
            for one in _ROWS.validate_python(found.holders)
        ),
    )
    return standing, found.is_backfill


def rooms(gpus: GpuConfiguration) -> Mapping[Pool, PoolRoom]:
    """The pools, and what of each an urgent run may need at once: in `gpu`, all stages that have a GPU build."""
    return {
        Pool.CPU: PoolRoom(cpu_slots(), CPU_CONTAINERS_PER_RUN),
        Pool.GPU: PoolRoom(gpus.slots, sum(gpus.pool_slots_of(stage) for stage in GPU_STAGES)),
    }


def _newcomer(asker: Asker, is_backfill: bool) -> Holder:
    gpus = GpuConfiguration.from_environment()
    return Holder(asker.task, *_place(asker.stage, asker.variant, gpus), datetime.now(UTC), is_backfill)


def _place(stage: Stage, variant: Variant, gpus: GpuConfiguration) -> tuple[Pool, int]:
    """The pool that a stage's task runs in, and its slots."""
    return (Pool.GPU, gpus.pool_slots_of(stage)) if variant is Variant.CUDA else (Pool.CPU, 1)


def running_runs(database: Database, dag_id: str | None = None) -> list[tuple[str, str]]:
    """DAG and run id of the runs that say running, of one DAG or of all; the earliest first."""
    with transaction(database) as connection:
        return [tuple(found) for found in connection.execute(query("list_running_runs"), {"dag_id": dag_id})]


def close_ended_runs(
    database: Database, dag_id: str | None = None, session: Callable[[], AirflowApi] = AirflowApi
) -> list[tuple[str, str]]:
    """End what says running, and has ended in Airflow or was deleted there: cancelled before it could publish.

    Attempts of such a run that say running are lost.

    Args:
        dag_id: only this DAG's runs; none for all.

    Returns:
        DAG and run id of those that were closed.

    Raises:
        httpx.HTTPError: Airflow does not answer, or refuses.
    """
    runs = running_runs(database, dag_id)
    closed = []
    if runs:
        with session() as api:
            for run in runs:
                asked_at = datetime.now(UTC)
                found = api.find_run(*run)
                if (found is None or found.has_ended) and _close(database, run, asked_at):
                    log.info("Closed %s %s: it has ended in Airflow, and still said running", *run)
                    closed.append(run)
    return closed


def _close(database: Database, run: tuple[str, str], ended_at: datetime) -> bool:
    row = {"dag_id": run[0], "run_id": run[1], "ended_at": ended_at}
    with transaction(database) as connection:
        if connection.execute(query("close_run"), row).first() is None:
            return False
        connection.execute(query("close_attempts_of_run"), row)
    return True
