"""
## What it does

Every ten minutes, removes stage containers that nobody waits for any more. That happens when a task's
process was killed and its retries are used up, or when a run was deleted while its containers ran.
Containers of tasks that still run, or will be tried again, stay: the retry joins them. VRAM that was
leased to a task that died is taken back as well; tasks that wait for a GPU do that by themselves, sooner.
Runs that were cancelled before they could publish are closed in the database, where they still say running;
tasks that wait for an urgent run do that for it by themselves, sooner.

## When something is wrong

If it fails, the Docker engine or Airflow's API did not answer; see `docker info` on the machine, and
`make status`. Nothing depends on it but memory and CPU held by orphans, and the end of runs that were cancelled.
"""

import logging
from datetime import datetime, timedelta

import docker
import pendulum
from airflow.sdk import DAG, get_current_context, task

from operators.database import connect
from operators.gpu.lease import reclaim
from operators.orphans import TaskStates, find_orphans, list_containers, remove
from operators.settings import stack_name
from operators.stage_container import is_running
from operators.urgency_store import close_ended_runs

log = logging.getLogger(__name__)

FIRST_DAY: datetime = pendulum.datetime(2026, 1, 1, tz="UTC")


@task
def remove_orphans() -> int:
    """Remove the containers of tasks that have ended, returns how many; end what else they left open."""
    running_task = get_current_context()["ti"]

    def states_of(dag_id: str, run_ids: list[str]) -> TaskStates:
        states: TaskStates = running_task.get_task_states(dag_id=dag_id, run_ids=run_ids)
        return states

    client = docker.APIClient()
    orphans = find_orphans(list_containers(client, stack_name()), states_of)
    for orphan in orphans:
        log.info("Removing %s of %s", orphan.container_id, orphan.task)
    removed = sum(remove(client, orphan) for orphan in orphans)
    database = connect()
    for lease in reclaim(database, lambda name: is_running(client, name)):
        log.info("Took back lease %d of %s %s on %s", lease.lease_id, lease.run_id, lease.task_id, lease.device_uuid)
    close_ended_runs(database)
    return removed


with DAG(
    dag_id="remove_orphans",
    description="Remove what dead tasks and cancelled runs left behind",
    doc_md=__doc__,
    schedule=timedelta(minutes=10),
    start_date=FIRST_DAY,
    catchup=False,
    max_active_runs=1,
    default_args={"owner": "nightreel", "retries": 0},
    tags=["nightreel", "maintenance"],
) as dag:
    remove_orphans()
