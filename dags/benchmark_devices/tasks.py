"""The tasks of `benchmark_devices` that run no container."""

import logging
from datetime import UTC, datetime

from airflow.sdk import get_current_context, task
from airflow.sdk.exceptions import AirflowFailException

from operators.attempt import asked_at, task_key
from operators.benchmark.conclusion import begin_benchmark, conclude
from operators.benchmark.environment import read_machine
from operators.benchmark.plan import MOST_ASSETS, read_plan, refuse_absent_gpu
from operators.benchmark.records import BenchmarkFolder
from operators.benchmark.report import export, write_markdown
from operators.database import connect
from operators.errors import ChoiceInvalid, ShardMissing
from operators.gpu.configuration import GpuConfiguration
from operators.run import begin_shard, run_parameters
from operators.settings import container_limits, folders
from operators.shard import RunFolder
from operators.timings import RunOutcome, RunStart, begin_run, finish_run

log = logging.getLogger(__name__)


@task(pool="default_pool")
def find_assets() -> str:
    """Find the files asked for, hash what is new, and write down what is to be measured."""
    context = get_current_context()
    key, dag_run, params = task_key(context), context["dag_run"], dict(context["params"])
    database, gpus, places = connect(), GpuConfiguration.from_environment(), folders()
    run = RunStart(key.dag_id, key.run_id, params, asked_at(dag_run), dag_run.start_date or datetime.now(UTC))
    begin_run(database, run)
    try:
        plan = read_plan(params, key.run_id)
        refuse_absent_gpu(plan, gpus)
        run_folder = RunFolder(places.work, key.dag_id, key.run_id)
        request = run_parameters({**params, "stages": [stage.value for stage in plan.stages]})
        shard = begin_shard(database, places, run_folder, run, request)
        if not 1 <= len(shard.items) <= MOST_ASSETS:
            raise ChoiceInvalid(f"a benchmark must be of 1 to {MOST_ASSETS} assets: {len(shard.items)} were found")
        machine = read_machine(container_limits(), gpus)
        begin_benchmark(database, BenchmarkFolder(run_folder), plan, shard, machine, (key.dag_id, key.run_id))
    except ChoiceInvalid as error:
        finish_run(database, key.dag_id, key.run_id, datetime.now(UTC), RunOutcome.FAILED)
        raise AirflowFailException(str(error)) from error
    return f"{len(shard.items)} assets, {len(plan.variants)} variants, {plan.repeats} rounds; {machine}"


@task(pool="default_pool")
def compare() -> str:
    """Hold the variants against each other and the baseline, record it, and write the files. Returns the report.

    Fails when something is slower than the baseline by more than the spread, after all is recorded.
    """
    context = get_current_context()
    key = task_key(context)
    folder = BenchmarkFolder(RunFolder(folders().work, key.dag_id, key.run_id))
    try:
        found = conclude(connect(), folder, key.dag_id, key.run_id)
    except ShardMissing as error:
        raise AirflowFailException(str(error)) from error
    export(folder.path, found.header, found.measured)
    text = write_markdown(found.header, found.measured)
    log.info("%s", text)
    if found.regressions:
        # The exception keeps Airflow from storing what is returned.
        context["ti"].xcom_push(key="return_value", value=text)
        raise AirflowFailException(f"{found.header.message}; the whole report is in {folder.path}")
    return text
