"""
## What it does

Takes one shard of media files from the archive and makes transcripts, subtitles, detected objects,
on-screen text, entities and sentiment of them, with the time of every phase in Postgres.

Sound and pictures are worked on by a GPU where one is well, else by the CPU: `audio_gpu_health` and
`vision_gpu_health` choose, and say why in a note on the task and on the run. When a GPU fails on the
way, its task is red, what it finished is kept, and the CPU's task takes the rest in the same run.

`find_assets` hashes the files and makes them known; each stage then runs in one container over all
of them; `publish` writes the results to the database.

`process_media_urgent` is the same for what cannot wait. It goes first in every pool, and running stages of other
runs step aside for it: each ends after the file it is on, keeps what it finished, and goes on in the same try when
the urgent run is through. So an urgent run waits for one file of another's at most, never for its shard.

## How to run it

Press **Trigger** and name files or folders below `archive/`, or use `make process FILE=…`; for what is urgent, the
same form of `process_media_urgent`, or `make process FILE=… URGENT=1`.
Running it again is free: what has a result with the same fingerprint is not computed again.

## When something is wrong

| You see | It means | Do |
| --- | --- | --- |
| a stage *skipped* | nothing for it to do, every file was rejected, or the other device did it | read the task's note or last log line; reasons are in `run_item` |
| `…_gpu` *failed*, the run green | the GPU failed or ran out of memory; the CPU did the rest | read the task's note; `make gpu` shows the device and its breaker |
| a stage *up for retry* | its container was killed or the system was short of something | nothing; the retry joins the container or goes on after the last finished file |
| a stage *deferred* | an urgent run goes first, or backfills are paused and this run is part of one | nothing; its note says why, and it goes on by itself |
| a stage *failed* | the software or the device broke; the other files went on | read the log, mend, then clear the task |
| `publish` *failed* | all that was finished is in the database; some files failed, or a stage did not come to them | read its message, then clear the failed stage |

Clearing a task is always safe: finished results are kept and reused.
"""

import os
from datetime import timedelta
from typing import Any

from airflow.sdk import DAG, chain

from operators.backfill.pace import most_runs
from operators.gpu.configuration import GpuConfiguration
from operators.gpu.gpu_sensor import GpuHealthSensor
from operators.gpu.gpu_stage_operator import GpuStageOperator
from operators.routing import DevicePolicy
from operators.stage_operator import StageOperator
from operators.urgency import URGENT_DAG_ID
from process_media.params import process_media_params
from process_media.tasks import find_assets, publish
from stage_contract.vocabulary import Stage

URGENT_PRIORITY = 1000
# The file is read without a deployment too, for the documents.
CPU_SLOTS = int(os.environ.get("NIGHTREEL_CPU_SLOTS") or 1)

DEFAULT_ARGS: dict[str, Any] = {
    "owner": "nightreel",
    "retries": 3,
    "retry_delay": timedelta(seconds=10),
    "execution_timeout": timedelta(hours=12),
    "weight_rule": "absolute",
    "pool": "cpu",
}


def process_media(dag_id: str, base_priority: int, description: str) -> DAG:
    """The DAG. `base_priority` is added to every task's weight; a higher one goes first in a pool."""
    gpus = GpuConfiguration.from_environment()
    with DAG(
        dag_id=dag_id,
        description=description,
        doc_md=__doc__,
        schedule=None,
        catchup=False,
        max_active_runs=most_runs(CPU_SLOTS, gpus.slots),
        params=process_media_params(),
        render_template_as_native_obj=True,
        default_args=DEFAULT_ARGS,
        tags=["nightreel", "media"],
    ) as dag:

        def stage(task_id: str, which: Stage, step: int) -> StageOperator:
            return StageOperator(
                task_id=task_id,
                stage=which,
                device_policy=DevicePolicy.CPU,
                # A file that failed in one stage must not keep the others from the next.
                trigger_rule="all_done",
                # Later steps first, so that runs end before new ones begin.
                priority_weight=base_priority + step,
            )

        def on_either_device(
            name: str, verb: str, which: Stage, **parameters: str
        ) -> tuple[GpuHealthSensor, GpuStageOperator, StageOperator]:
            """The choice, the stage on a GPU, and the stage on the CPU, which takes what the GPU left."""
            on_gpu, on_cpu = f"{name}_{verb}_gpu", f"{name}_{verb}_cpu"
            common: dict[str, Any] = {
                "stage": which,
                "device_policy": "{{ params.device }}",
                "priority_weight": base_priority + 3,
            }
            health = GpuHealthSensor(
                task_id=f"{name}_gpu_health",
                gpu_task_id=on_gpu,
                cpu_task_id=on_cpu,
                pool="default_pool",
                trigger_rule="all_done",
                **common,
            )
            gpu = GpuStageOperator(
                task_id=on_gpu,
                hands_over_to=on_cpu,
                parameters=parameters,
                pool="gpu",
                pool_slots=gpus.pool_slots_of(which),
                **common,
            )
            cpu = StageOperator(
                task_id=on_cpu, takes_over_from=on_gpu, parameters=parameters, trigger_rule="all_done", **common
            )
            chain(health, gpu, cpu)
            chain(health, cpu)
            return health, gpu, cpu

        found = find_assets.override(priority_weight=base_priority)()
        probe = stage("media_probe", Stage.PROBE, 1)
        extract = stage("media_extract", Stage.EXTRACT, 2)
        audio = on_either_device("audio", "transcribe", Stage.TRANSCRIBE, language="{{ params.language }}")
        vision = on_either_device("vision", "analyze", Stage.ANALYZE)
        enrich = stage("nlp_enrich", Stage.ENRICH, 4)
        published = publish.override(priority_weight=base_priority + 5)()

        chain(found, probe, [extract, vision[0]])
        chain(extract, audio[0])
        chain(audio[1:], enrich)
        chain([enrich, *vision[1:]], published)
    return dag


plain = process_media("process_media", 1, "Media files of one shard through every stage")
urgent = process_media(URGENT_DAG_ID, URGENT_PRIORITY, "The same at once: all other work steps aside for it")
