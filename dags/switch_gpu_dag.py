"""
## What it does

Takes one GPU out of service, or puts it back, by its breaker. `open`: no task gets the GPU, work that runs on it
goes on on the CPU in the same run, and only a person closes the breaker again. `close`: the next task may take the
GPU, whatever had opened its breaker. Who did it, when and why stays in `gpu_breaker_change`.

Nightreel opens and closes breakers by itself when a GPU fails and when a trial on it succeeds. Do it by hand before
maintenance, or when you know more than the GPU tells.

## How to run it

Press **Trigger**, choose the GPU and the action, and say why; or use `make gpu OPEN=GPU-… WHY="…"` and
`make gpu CLOSE=GPU-… WHY="…"`. `make gpu` lists the GPUs with their breakers.

## When something is wrong

| You see | It means | Do |
| --- | --- | --- |
| the task *failed*, "must be one of" | no such GPU is configured | take the UUID from `make gpu` |
| the task *failed*, "no GPU is" | this deployment has none | name it in `NIGHTREEL_GPU_DEVICES` in `.env` and run `make up` |
| a closed breaker opens again at once | the GPU still reports a fault | read the breaker's reason in `make gpu`, mend the GPU first |
"""

from airflow.sdk import DAG, Param, get_current_context, task
from airflow.sdk.exceptions import AirflowFailException

from operators.database import connect
from operators.errors import NightreelError
from operators.gpu.configuration import GpuConfiguration
from operators.gpu.switch import NOBODY, DeviceAction, switch_device

DEVICES = [device.uuid for device in GpuConfiguration.from_environment().devices]
# Any text where there is no GPU: the task then says what to do.
CHOICES = {"enum": DEVICES} if DEVICES else {"minLength": 1}

PARAMS = {
    "device": Param("", type="string", title="GPU", description="Its UUID, as “make gpu” lists it.", **CHOICES),
    "action": Param(
        DeviceAction.OPEN.value,
        type="string",
        enum=[action.value for action in DeviceAction],
        title="Action",
        description="“open” the breaker takes the GPU out of service, “close” puts it back.",
    ),
    "reason": Param(
        "", type="string", minLength=1, title="Reason", description="Why; recorded with your name and the time."
    ),
}


@task
def switch() -> str:
    """Open or close the breaker; returns what holds now."""
    context = get_current_context()
    who = getattr(context["dag_run"], "triggering_user_name", None) or NOBODY
    wish = context["params"]
    device, action = wish["device"], DeviceAction(wish["action"])
    try:
        return switch_device(connect(), GpuConfiguration.from_environment(), device, action, who, wish["reason"])
    except NightreelError as error:
        raise AirflowFailException(str(error)) from error


with DAG(
    dag_id="switch_gpu",
    description="Take a GPU out of service, or put it back",
    doc_md=__doc__,
    schedule=None,
    catchup=False,
    params=PARAMS,
    default_args={"owner": "nightreel", "retries": 0},
    tags=["nightreel", "gpu"],
) as dag:
    switch()
