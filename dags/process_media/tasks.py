"""The tasks of `process_media` that run no container."""

import logging
from datetime import UTC, datetime

from airflow.sdk import get_current_context, task
from airflow.sdk.exceptions import AirflowFailException

from operators.attempt import Attempt, asked_at
from operators.errors import ChoiceInvalid, ShardMissing
from operators.run import begin_shard, publish_run, run_parameters, summary
from operators.settings import folders
from operators.shard import RunFolder
from operators.stage_plan import AttemptOutcome
from operators.timings import RunItemOutcome, RunStart
from stage_contract.vocabulary import Phase

UNFINISHED = {RunItemOutcome.FAILED, RunItemOutcome.LEFT}

log = logging.getLogger(__name__)


@task(pool="default_pool")
def find_assets() -> str:
    """Find the files asked for, hash what is new, and write the run's shard."""
    context = get_current_context()
    dag_run, params = context["dag_run"], dict(context["params"])
    attempt = Attempt.begin(context)
    begun_at = dag_run.start_date or datetime.now(UTC)
    run = RunStart(dag_run.dag_id, dag_run.run_id, params, asked_at(dag_run), begun_at)
    try:
        places = folders()
        with attempt.phase(Phase.REGISTER) as counters:
            folder = RunFolder(places.work, run.dag_id, run.run_id)
            shard = begin_shard(attempt.database, places, folder, run, run_parameters(params))
            counters["files"] = len(shard.locations)
            counters["bytes"] = sum(item.size_bytes for item in shard.items)
    except ChoiceInvalid as error:
        attempt.finish(AttemptOutcome.FAILED, str(error))
        raise AirflowFailException(str(error)) from error
    except BaseException as error:
        attempt.finish(AttemptOutcome.FAILED, str(error) or type(error).__name__)
        raise
    told = f"{len(shard.items)} assets in {len(shard.locations)} files"
    attempt.finish(AttemptOutcome.DONE, told)
    return told


@task(pool="default_pool", trigger_rule="all_done")
def publish() -> str:
    """Load all results into the database. Fails when a file failed or is left, after the others are loaded."""
    context = get_current_context()
    attempt = Attempt.begin(context)
    key = attempt.task
    try:
        places = folders()
        with attempt.phase(Phase.PUBLISH) as counters:
            folder = RunFolder(places.work, key.dag_id, key.run_id)
            items = publish_run(attempt.database, places, folder, key.dag_id, key.run_id)
            counters["files"] = len(items)
    except ShardMissing as error:
        attempt.finish(AttemptOutcome.FAILED, str(error))
        raise AirflowFailException(str(error)) from error
    except BaseException as error:
        attempt.finish(AttemptOutcome.FAILED, str(error) or type(error).__name__)
        raise
    told = summary(items)
    unfinished = [
        f"{item.root}/{item.path} {item.outcome}: {item.message}" for item in items if item.outcome in UNFINISHED
    ]
    attempt.finish(AttemptOutcome.FAILED if unfinished else AttemptOutcome.DONE, told)
    if unfinished:
        raise AirflowFailException(f"{told}; finished results are in the database. {'; '.join(unfinished)}")
    return told
