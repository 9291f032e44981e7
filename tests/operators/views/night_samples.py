"""Nights as their pages find them: one under way, and one that is over with its report."""

from sqlalchemy import Engine, text

from operators.backfill.closing import close_backfill
from operators.backfill.night import tick
from operators.gpu.configuration import GpuConfiguration
from operators.timings import RunItemOutcome
from tests.operators.backfill.airflow_double import AirflowDouble
from tests.operators.backfill.night_setup import MINUTE, NOW, Clock, asset_id, begin, fill_archive, finish, night_of

FATES = {"a2": RunItemOutcome.REJECTED, "a3": RunItemOutcome.FAILED}


def night_under_way(database: Engine) -> int:
    """Four assets, one run that has begun."""
    fill_archive(database, [600, 600, 600, 600])
    backfill_id = begin(database)
    airflow = AirflowDouble()
    tick(night_of(database, backfill_id, airflow, Clock()))
    with database.begin() as connection:
        connection.execute(
            text(
                "insert into processing_run (dag_id, run_id, started_at, outcome) "
                "select dag_id, run_id, :now, 'running' from backfill_shard"
            ),
            {"now": NOW},
        )
    return backfill_id


def night_that_is_over(database: Engine, run_id: str = "night") -> int:
    """An hour in which two assets were done, one was rejected and one failed; one is too long for any night."""
    fill_archive(database, [600, 600, 600, 600, 360_000])
    backfill_id = begin(database, run_id, closes_at=NOW + 60 * MINUTE)
    airflow = AirflowDouble()
    night = night_of(database, backfill_id, airflow, Clock())
    while not tick(night).is_over:
        for shard in airflow.running():
            if shard.startswith("shard__"):
                finish(database, airflow, shard, **FATES)
    with database.begin() as connection:
        connection.execute(text("update backfill_shard set ended_at = launched_at + interval '10 minutes'"))
    close_backfill(database, backfill_id, night.settings, GpuConfiguration.from_environment({}))
    return backfill_id


def add_failures(database: Engine, count: int, is_parked: bool, reason: str = "out of memory") -> None:
    """Failures of the first `count` assets, the first one the latest; those that wait do so for long."""
    with database.begin() as connection:
        for number in range(count):
            connection.execute(
                text(
                    "insert into asset_failure (asset_id, failures, failed_at, not_before, reason) values "
                    "(:id, 4, now() - make_interval(mins => :n), "
                    "case when :is_parked then null else now() + interval '3 days' end, :reason)"
                ),
                {"id": asset_id(number), "n": number, "is_parked": is_parked, "reason": reason},
            )
