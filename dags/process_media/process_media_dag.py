"""
## What it does

Takes one shard of media files from the archive and makes transcripts, subtitles, detected objects,
on-screen text, entities and sentiment of them, with the time of every phase in Postgres.

`find_assets` hashes the files and makes them known; each stage then runs in one container over all
of them; `publish` writes the results to the database. `process_media_urgent` is the same, ahead of
everything else in every pool.

## How to run it

Press **Trigger** and name files or folders below `archive/`, or use `make process FILE=…`.
Running it again is free: what has a result with the same fingerprint is not computed again.

## When something is wrong

| You see | It means | Do |
| --- | --- | --- |
| a stage *skipped* | nothing for it to do, or every file was rejected | read the task's last log line; reasons are in `run_item` |
| a stage *up for retry* | its container was killed or the system was short of something | nothing; the retry joins the container or goes on after the last finished file |
| a stage *failed* | the software or the device broke; the other files went on | read the log, mend, then clear the task |
| `publish` *failed* | all that was finished is in the database; some files failed | read its message, then clear the failed stage |

Clearing a task is always safe: finished results are kept and reused.
"""

from datetime import timedelta
from typing import Any

from airflow.sdk import DAG, chain

from operators.routing import DevicePolicy
from operators.stage_operator import StageOperator
from process_media.params import process_media_params
from process_media.tasks import find_assets, publish
from stage_contract.vocabulary import Stage

URGENT_PRIORITY = 1000
ON_EITHER_DEVICE = {Stage.TRANSCRIBE, Stage.ANALYZE}

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
    with DAG(
        dag_id=dag_id,
        description=description,
        doc_md=__doc__,
        schedule=None,
        catchup=False,
        max_active_runs=16,
        params=process_media_params(),
        render_template_as_native_obj=True,
        default_args=DEFAULT_ARGS,
        tags=["nightreel", "media"],
    ) as dag:

        def stage(task_id: str, which: Stage, step: int, **parameters: str) -> StageOperator:
            return StageOperator(
                task_id=task_id,
                stage=which,
                device_policy="{{ params.device }}" if which in ON_EITHER_DEVICE else DevicePolicy.CPU,
                parameters=parameters,
                # A file that failed in one stage must not keep the others from the next.
                trigger_rule="all_done",
                # Later steps first, so that runs end before new ones begin.
                priority_weight=base_priority + step,
            )

        found = find_assets.override(priority_weight=base_priority)()
        probe = stage("media_probe", Stage.PROBE, 1)
        extract = stage("media_extract", Stage.EXTRACT, 2)
        transcribe = stage("audio_transcribe", Stage.TRANSCRIBE, 3, language="{{ params.language }}")
        analyze = stage("vision_analyze", Stage.ANALYZE, 3)
        enrich = stage("nlp_enrich", Stage.ENRICH, 4)
        published = publish.override(priority_weight=base_priority + 5)()

        chain(found, probe, [extract, analyze])
        chain(extract, transcribe, enrich)
        chain([enrich, analyze], published)
    return dag


plain = process_media("process_media", 1, "Media files of one shard through every stage")
urgent = process_media("process_media_urgent", URGENT_PRIORITY, "The same, ahead of everything else")
