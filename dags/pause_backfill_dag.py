"""
## What it does

Pauses all backfills, or lets them go on. While they are paused nothing is launched, and running shards step aside: each
ends the file it is at and gives its slot back. Scans wait too, and read nothing. What they finished is kept, and they go on
where they were. Runs that were started by hand and urgent ones go on. Who did it, when and why stays in `backfill_pause`.

## How to run it

Press **Trigger**, choose the action, and say why; or use `make pause WHY="…"` and `make resume`.

## When something is wrong

| You see | It means | Do |
| --- | --- | --- |
| a container goes on after the pause | it is in the middle of a long file | wait, or mark its task failed: finished files are kept |
| the task says *paused already* | somebody was faster; who and why is in the message | nothing |
| a disk cannot be unmounted | a scan that waits holds a file open | mark its run of `archive_backfill` as failed |
| the night closes while paused | nothing is launched any more | the next night goes on, or start one by hand |
"""

from airflow.sdk import DAG, Param, get_current_context, task
from airflow.sdk.exceptions import AirflowFailException

from operators.backfill.night_settings import NightSettings
from operators.backfill.pause import NOBODY, PauseAction, switch_backfills
from operators.database import connect
from operators.errors import NightreelError

PARAMS = {
    "action": Param(
        PauseAction.PAUSE.value,
        type="string",
        enum=[action.value for action in PauseAction],
        title="Action",
        description="“pause” holds all backfills up, “resume” lets them go on.",
    ),
    "reason": Param(
        None,
        type=["null", "string"],
        title="Reason",
        description="Why; recorded with your name and the time. A pause must have one, resuming need not.",
    ),
}


@task
def switch() -> str:
    """Pause or resume; returns what holds now."""
    context = get_current_context()
    who = getattr(context["dag_run"], "triggering_user_name", None) or NOBODY
    wish = context["params"]
    try:
        zone = NightSettings.from_environment().zone
        return switch_backfills(connect(), PauseAction(wish["action"]), who, wish["reason"] or "", zone)
    except NightreelError as error:
        raise AirflowFailException(str(error)) from error


with DAG(
    dag_id="pause_backfill",
    description="Pause all backfills, or let them go on",
    doc_md=__doc__,
    schedule=None,
    catchup=False,
    params=PARAMS,
    default_args={"owner": "nightreel", "retries": 0},
    tags=["nightreel", "backfill"],
) as dag:
    switch()
