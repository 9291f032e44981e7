"""An archive in Postgres, backfills over it, and what their runs would have written."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from sqlalchemy import Engine, text

from operators.backfill.estimate import STARTING_RATES, Stretch
from operators.backfill.hours import parse_hours
from operators.backfill.night import Night
from operators.backfill.night_settings import NightSettings
from operators.backfill.packer import Learned
from operators.backfill.scope import BackfillScope
from operators.backfill.store import NewBackfill, open_backfill
from operators.gpu.configuration import GpuConfiguration
from operators.routing import with_prerequisites
from operators.scan.rules import ScanRules
from operators.timings import RunItem, RunItemOutcome, RunStart, begin_run, set_item_outcomes
from stage_contract.vocabulary import Reason, Stage
from tests.operators.backfill.airflow_double import AirflowDouble

NOW = datetime(2026, 11, 20, 22, 0, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
HOURS = parse_hours("22:00-06:00", "mon-sun", "UTC")
SCOPE = BackfillScope(stages=(Stage.TRANSCRIBE,))
LEARNED = Learned(STARTING_RATES, Stretch(), {})


class Clock:
    """Tells the time that it was set to."""

    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> datetime:
        return self.now


def asset_id(number: int) -> str:
    return f"{number:064x}"


def fill_archive(database: Engine, lengths_s: Sequence[float]) -> None:
    with database.begin() as connection:
        for number, duration_s in enumerate(lengths_s):
            row = {"id": asset_id(number), "path": f"tape {number:04}.mp4", "duration_s": duration_s, "n": number}
            connection.execute(
                text(
                    "insert into media_asset (asset_id, size_bytes, duration_s, has_audio, has_video)"
                    " values (:id, 1000, :duration_s, true, true)"
                ),
                row,
            )
            connection.execute(
                text(
                    "insert into media_location (root, path, asset_id, size_bytes, mtime_ns, inode, seen_at)"
                    " values ('archive', :path, :id, 1000, 1000000000 * cast(1000 - :n as bigint), :n, now())"
                ),
                row,
            )


def hold_back(database: Engine) -> None:
    """Two assets failed before: tape 0 waits for an hour, tape 1 is parked."""
    with database.begin() as connection:
        for number, not_before in ((0, NOW + 60 * MINUTE), (1, None)):
            row = {"id": asset_id(number), "at": NOW, "not_before": not_before}
            connection.execute(
                text(
                    "insert into asset_failure (asset_id, failures, failed_at, not_before, reason)"
                    " values (:id, 1, :at, :not_before, 'a bad day')"
                ),
                row,
            )


def begin(database: Engine, run_id: str = "night", closes_at: datetime | None = None) -> int:
    wanted = dict.fromkeys(with_prerequisites(SCOPE.stages))
    return open_backfill(database, NewBackfill("archive_backfill", run_id, SCOPE, wanted, NOW, closes_at))


def night_of(database: Engine, backfill_id: int, airflow: AirflowDouble, clock: Clock, cpu_slots: int = 1) -> Night:
    settings = NightSettings(HOURS, 8 * 60 * MINUTE, ZoneInfo("UTC"), SCOPE, shard_minutes=20, cpu_slots=cpu_slots)
    gpus = GpuConfiguration.from_environment({})
    return Night(
        database, backfill_id, settings, gpus, ScanRules(), airflow.session, clock, LEARNED, learned_s=float("inf")
    )


def finish(database: Engine, airflow: AirflowDouble, run_id: str, **fates: RunItemOutcome) -> None:
    """What a run would have written: `done` for every asset but those of `fates`, by number such as `a7`."""
    begin_run(database, RunStart("process_media", run_id, {}, NOW, NOW))
    items = []
    for asset in airflow.runs["process_media", run_id]["conf"]["asset_ids"]:
        number = int(asset, 16)
        outcome = fates.get(f"a{number}", RunItemOutcome.DONE)
        reason = Reason.CORRUPT if outcome is RunItemOutcome.REJECTED else None
        items.append(RunItem("archive", f"tape {number:04}.mp4", asset, outcome, reason, f"{outcome} it is"))
    set_item_outcomes(database, "process_media", run_id, items)
    airflow.end(run_id)


def rows(database: Engine, statement: str) -> list[tuple[Any, ...]]:
    with database.connect() as connection:
        return [tuple(row) for row in connection.execute(text(statement))]


def claimed(airflow: AirflowDouble) -> list[str]:
    return [asset for run in airflow.runs.values() for asset in run["conf"].get("asset_ids", [])]
