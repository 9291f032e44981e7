"""The tasks of `archive_backfill` that take no steps of their own in the night."""

import logging
from collections.abc import Mapping
from datetime import UTC, datetime

import docker
from airflow.sdk import Context, get_current_context, task
from airflow.sdk.exceptions import AirflowFailException, AirflowSkipException

from operators.backfill.airflow_runs import note_backfill
from operators.backfill.closing import close_backfill
from operators.backfill.night_settings import NightSettings
from operators.backfill.opening import (
    Asked,
    NightClosed,
    asked_for,
    new_backfill,
    refuse_impossible,
    window_for,
)
from operators.backfill.pause import find_pause
from operators.backfill.preview import plan_lines, plan_summary, preview
from operators.backfill.report_text import report_lines, summary_lines
from operators.backfill.store import NewBackfill, backfill_of_run, find_backfill, open_backfill, set_scan
from operators.database import Database, connect
from operators.errors import ChoiceInvalid
from operators.gpu.configuration import GpuConfiguration
from operators.scan.rules import ScanRules
from operators.scan.scan import HashOrder, scan_archive
from operators.settings import folders

log = logging.getLogger(__name__)

SCHEDULED = "scheduled"

Window = tuple[datetime, datetime | None]
"""From when to when; the end is none where there is none."""


@task(task_id="open_backfill", pool="default_pool")
def open_night() -> str:
    """Write down what is to be done, and from when to when."""
    context = get_current_context()
    settings, gpus = NightSettings.from_environment(), GpuConfiguration.from_environment()
    database = connect()
    try:
        asked = _asked(context)
        refuse_impossible(asked.scope, list(folders().media_roots), gpus)
        new = _new(context, asked, _window(asked, settings))
    except ChoiceInvalid as error:
        # There will be no report: whoever waits for one reads the note.
        note_backfill(context["dag_run"].dag_id, context["dag_run"].run_id, [str(error)])
        if isinstance(error, NightClosed):
            raise AirflowSkipException(str(error)) from error
        raise AirflowFailException(str(error)) from error
    if asked.is_dry:
        return "dry run: nothing is opened"
    backfill_id = open_backfill(database, new)
    end = f"until {new.closes_at.astimezone(settings.zone):%Y-%m-%d %H:%M}" if new.closes_at else "until all is done"
    return f"backfill {backfill_id}: {', '.join(asked.scope.folders)}, {end}"


@task(task_id="scan_archive", pool="default_pool")
def scan() -> str:
    """Make the files known that are new or changed, until the window closes."""
    context = get_current_context()
    dag_run, database = context["dag_run"], connect()
    asked = _asked(context)
    if asked.scope.asset_ids:
        raise AirflowSkipException("nothing is scanned: the assets are named by their ids")
    backfill_id = backfill_of_run(database, dag_run.dag_id, dag_run.run_id)

    def remember(scan_id: int) -> None:
        if backfill_id is not None:
            set_scan(database, backfill_id, scan_id)

    rules = ScanRules.from_environment()
    try:
        deadline_at = _deadline(database, backfill_id, asked)
        found = scan_archive(
            database,
            folders().media_roots,
            asked.scope.folders,
            rules,
            deadline_at,
            remember,
            HashOrder(asked.scope.order, asked.scope.first_folder),
            is_paused=lambda: find_pause(database) is not None,
        )
    except NightClosed as closed:
        raise AirflowSkipException(str(closed)) from closed
    except ChoiceInvalid as error:
        raise AirflowFailException(str(error)) from error
    end = "to the end" if found.is_complete else "not to the end; the next scan goes on there"
    return (
        f"{found.files_found} files found, {found.files_hashed} hashed, {found.files_known_content} of known content, "
        f"{found.files_being_written} being written, {found.files_vanished} vanished: {end}. {found.message}".strip()
    )


@task(task_id="report_backfill", pool="default_pool", trigger_rule="all_done")
def report() -> str:
    """Say what came of it, or what would; returns the text for a terminal."""
    context = get_current_context()
    settings, gpus = NightSettings.from_environment(), GpuConfiguration.from_environment()
    dag_run, database = context["dag_run"], connect()
    asked = _asked(context)
    backfill_id = backfill_of_run(database, dag_run.dag_id, dag_run.run_id)
    opened = _task_states(context).get("open_backfill")
    if opened == "skipped" and backfill_id is None:
        raise AirflowSkipException("there is nothing to report: open_backfill was skipped, and the run's note says why")
    if asked.is_dry and opened == "success":
        now = datetime.now(UTC)
        try:
            # A window only bounds the scan: the plan is of all that it found.
            new = _new(context, asked, (now, None))
        except ChoiceInvalid as error:
            raise AirflowFailException(str(error)) from error
        plan = preview(database, new, settings, gpus, ScanRules.from_environment(), now)
        scanned = context["ti"].xcom_pull(task_ids="scan_archive")
        told = [f"the scan: {scanned}"] if scanned else []
        short, lines = [*plan_summary(plan, settings.zone), *told], [*told, *plan_lines(plan, settings.zone)]
    elif backfill_id is not None:
        found = close_backfill(database, backfill_id, settings, gpus)
        short, lines = summary_lines(found, settings.zone), report_lines(found, settings.zone)
    else:
        raise AirflowFailException("there is nothing to report: open_backfill did not end; see its log")
    note_backfill(dag_run.dag_id, dag_run.run_id, short)
    text = "\n".join(lines)
    log.info("%s", text)
    # A task that fails returns nothing, and the terminal shows what is returned.
    context["ti"].xcom_push(key="return_value", value=text)
    _require_all_well(context)
    return text


def _require_all_well(context: Context) -> None:
    """The run is as red as its tasks, though the report comes after them whatever they did."""
    failed = sorted(task for task, state in _task_states(context).items() if state in ("failed", "upstream_failed"))
    if failed:
        raise AirflowFailException(f"{', '.join(failed)} failed, the report is made all the same; see the task's log")


def _task_states(context: Context) -> Mapping[str, str]:
    dag_run = context["dag_run"]
    states: Mapping[str, Mapping[str, str]] = context["ti"].get_task_states(
        dag_id=dag_run.dag_id, run_ids=[dag_run.run_id]
    )
    return states[dag_run.run_id]


def _asked(context: Context) -> Asked:
    run_type = context["dag_run"].run_type
    return asked_for(dict(context["params"]), is_scheduled=run_type.value == SCHEDULED)


def _window(asked: Asked, settings: NightSettings) -> Window:
    return window_for(asked, settings.hours, settings.zone, datetime.now(UTC))


def _deadline(database: Database, backfill_id: int | None, asked: Asked) -> datetime | None:
    """When the scan must end: with the backfill; with what it would be where it is not opened, in a dry run."""
    if backfill_id is not None:
        return find_backfill(database, backfill_id).closes_at
    return _window(asked, NightSettings.from_environment())[1]


def _new(context: Context, asked: Asked, window: Window) -> NewBackfill:
    dag_run = context["dag_run"]
    if not asked.scope.renew:
        return new_backfill(dag_run.dag_id, dag_run.run_id, asked, window, None)
    with docker.APIClient() as client:
        return new_backfill(dag_run.dag_id, dag_run.run_id, asked, window, client)
