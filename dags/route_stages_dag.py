"""
## What it does

Sends one stage to another device: `auto` takes a GPU where one is usable and else the CPU, `cpu` keeps the
stage off the GPUs, `gpu` waits ten times as long for a GPU before it takes the CPU. The change is in force at the
stage's next task, in every run; nothing is restarted. Tasks that run go on where they are. Who changed what, when
and why stays in `stage_routing_change`.

This is how a team moves to GPUs and back, one stage at a time. A run whose form says `cpu` or `gpu` is not touched.

## How to run it

Press **Trigger**, choose the stage and the policy, and say why; or use
`make gpu ROUTE=audio.transcribe=cpu WHY="…"`. `make gpu` shows what is in force.

## When something is wrong

| You see | It means | Do |
| --- | --- | --- |
| the task *failed*, "must have one: none is configured" | `gpu` was chosen where there is no GPU | name the GPU in `.env` and run `make up`, or choose `auto` |
| the task *failed*, "must fit a device" | no GPU is large enough for the stage | follow the message: a smaller model, a larger GPU, or `cpu` |
| the stage still runs on the old device | the run's own form says `cpu` or `gpu`, or the task had begun | look at the device in the run's parameters |
"""

from airflow.sdk import DAG, Param, get_current_context, task
from airflow.sdk.exceptions import AirflowFailException

from operators.database import connect
from operators.errors import NightreelError
from operators.gpu.configuration import GpuConfiguration
from operators.gpu.switch import NOBODY, route_stage
from operators.routing import GPU_STAGES, DevicePolicy
from stage_contract.vocabulary import Stage

PARAMS = {
    "stage": Param(
        GPU_STAGES[0].value,
        type="string",
        enum=[stage.value for stage in GPU_STAGES],
        title="Stage",
        description="The stage to send elsewhere; the others have a build for the CPU only.",
    ),
    "policy": Param(
        DevicePolicy.AUTO.value,
        type="string",
        enum=[policy.value for policy in DevicePolicy],
        title="Policy",
        description="“auto” takes a GPU where one is usable, “cpu” keeps off it, “gpu” waits long for it.",
    ),
    "reason": Param(
        "", type="string", minLength=1, title="Reason", description="Why; recorded with your name and the time."
    ),
}


@task
def route() -> str:
    """Change the routing; returns what holds now."""
    context = get_current_context()
    who = getattr(context["dag_run"], "triggering_user_name", None) or NOBODY
    wish = context["params"]
    stage, policy = Stage(wish["stage"]), DevicePolicy(wish["policy"])
    try:
        return route_stage(connect(), GpuConfiguration.from_environment(), stage, policy, who, wish["reason"])
    except NightreelError as error:
        raise AirflowFailException(str(error)) from error


with DAG(
    dag_id="route_stages",
    description="Send a stage to the GPU or to the CPU, from its next task on",
    doc_md=__doc__,
    schedule=None,
    catchup=False,
    params=PARAMS,
    default_args={"owner": "nightreel", "retries": 0},
    tags=["nightreel", "gpu"],
) as dag:
    route()
