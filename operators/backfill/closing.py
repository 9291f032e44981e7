"""The end of a backfill: its report is made and kept."""

from datetime import UTC, datetime

from sqlalchemy import Engine

from operators.backfill.airflow_runs import AirflowRuns
from operators.backfill.night_settings import NightSettings
from operators.backfill.packer import Learned, Packer
from operators.backfill.report import BackfillReport, make_report
from operators.backfill.store import find_backfill, finish_backfill, open_backfills
from operators.gpu.configuration import GpuConfiguration
from operators.routing import DevicePolicy


def close_backfill(
    database: Engine, backfill_id: int, settings: NightSettings, gpus: GpuConfiguration
) -> BackfillReport:
    """Make a backfill's report and keep it, or return the one that it has.

    What it left under way is settled by the next backfill, which also finds what waits.

    Raises:
        BackfillMissing: there is none of this number.
    """
    backfill = find_backfill(database, backfill_id)
    if backfill.finished_at is None:
        has_gpu = bool(gpus.devices) and backfill.scope.device is not DevicePolicy.CPU
        packer = Packer(Learned.read(database), backfill.scope, has_gpu, settings.shard_minutes)
        report = make_report(database, backfill_id, settings, packer)
        finish_backfill(database, backfill_id, datetime.now(UTC), report.model_dump_json())
        # Another may have been faster, and what waited was forgotten with its report.
        backfill = find_backfill(database, backfill_id)
    return BackfillReport.model_validate(backfill.report)


def close_abandoned(
    database: Engine,
    own_run: tuple[str, str],
    settings: NightSettings,
    gpus: GpuConfiguration,
    airflow: AirflowRuns,
) -> list[int]:
    """Close backfills whose run in Airflow has ended, or is gone, without a report; returns which.

    Were they left open, nobody would settle their shards, and their assets would be in a shard for ever.

    Raises:
        httpx.HTTPError: Airflow does not answer, or refuses.
    """
    closed = []
    for backfill_id in open_backfills(database):
        backfill = find_backfill(database, backfill_id)
        if (backfill.dag_id, backfill.run_id) == own_run:
            continue
        run = airflow.find_run(backfill.dag_id, backfill.run_id)
        if run is None or run.has_ended:
            close_backfill(database, backfill_id, settings, gpus)
            closed.append(backfill_id)
    return closed
