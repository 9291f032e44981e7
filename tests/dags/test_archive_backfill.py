"""The wiring of `archive_backfill`, its schedule, and what its tasks do with a form."""

import importlib
import os
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import pytest
from airflow.sdk import CronTriggerTimetable
from airflow.sdk.api.datamodels._generated import DagRunType
from airflow.sdk.exceptions import AirflowFailException, AirflowSkipException, TaskDeferred

from archive_backfill import tasks
from operators.backfill import night_operator
from operators.backfill.night_operator import LaunchShards, NightTrigger
from operators.backfill.pause import PauseAction, switch_backfills
from operators.backfill.store import find_backfill, open_backfills
from operators.catalog import look_at
from operators.scan.report import ScanReport
from tests.operators.backfill.night_setup import begin, fill_archive

MODULE = "archive_backfill.archive_backfill_dag"
FORM = {
    "folders": ["archive"],
    "asset_ids": None,
    "order": "newest",
    "first_folder": "",
    "stages": ["audio.transcribe"],
    "device": "auto",
    "renew": False,
    "retry_parked": False,
    "language": None,
    "dry_run": False,
    "until": "",
    "in_window": False,
}


@pytest.fixture
def deployment(monkeypatch, media_database):
    for folder in ("ARCHIVE", "INBOX", "RESULTS", "WORK"):
        monkeypatch.setenv(f"NIGHTREEL_HOST_{folder}", f"/srv/{folder.lower()}")
    monkeypatch.setenv("NIGHTREEL_SCAN_INCLUDE", "*")
    monkeypatch.setenv("NIGHTREEL_SETTLE_S", "600")
    monkeypatch.setattr(tasks, "connect", lambda: media_database)
    monkeypatch.setattr(night_operator, "connect", lambda: media_database)
    return media_database


def context(
    run_id="by_hand__1", run_type=DagRunType.MANUAL, scan_state="success", open_state="success", scanned=None, **form
):
    dag_run = SimpleNamespace(dag_id="archive_backfill", run_id=run_id, run_type=run_type)
    states = {run_id: {"open_backfill": open_state, "scan_archive": scan_state, "launch_shards": "success"}}
    running = SimpleNamespace(
        dag_id="archive_backfill",
        run_id=run_id,
        get_task_states=lambda **asked: states,
        xcom_push=lambda key, value: None,
        xcom_pull=lambda task_ids: scanned,
    )
    return {"dag_run": dag_run, "params": {**FORM, **form}, "ti": running}


def call(monkeypatch, task, **given):
    monkeypatch.setattr(tasks, "get_current_context", lambda: context(**given))
    return task.function()


@pytest.mark.parametrize(("days", "expression"), [("mon-sun", "30 21 * * *"), ("fri,sat", "30 21 * * 5,6"), ("", None)])
def test_nights_are_scheduled_where_there_are_any(monkeypatch, days, expression):
    monkeypatch.setenv("NIGHTREEL_NIGHT_DAYS", days)
    monkeypatch.setenv("NIGHTREEL_NIGHT_HOURS", "21:30-06:00")
    monkeypatch.setenv("NIGHTREEL_TIME_ZONE", "Europe/Berlin")
    dag = importlib.reload(importlib.import_module(MODULE)).dag
    if expression is None:
        assert dag.schedule is None
    else:
        assert isinstance(dag.schedule, CronTriggerTimetable)
        assert dag.schedule.expression == expression
        assert str(dag.schedule.timezone) == "Europe/Berlin"
    assert dag.catchup is False


def test_the_scan_and_the_launching_go_side_by_side_and_are_reported_whatever_became_of_them():
    dag = importlib.import_module(MODULE).dag
    assert dag.get_task("scan_archive").upstream_task_ids == {"open_backfill"}
    assert dag.get_task("launch_shards").upstream_task_ids == {"open_backfill"}
    report = dag.get_task("report_backfill")
    assert report.upstream_task_ids == {"scan_archive", "launch_shards"}
    assert report.trigger_rule == "all_done"


def test_a_backfill_by_hand_begins_now_and_has_no_end(monkeypatch, deployment):
    call(monkeypatch, tasks.open_night)
    (backfill_id,) = open_backfills(deployment)
    assert find_backfill(deployment, backfill_id).closes_at is None


def test_opening_again_goes_on_with_the_same_backfill(monkeypatch, deployment):
    for _ in range(2):
        call(monkeypatch, tasks.open_night)
    assert len(open_backfills(deployment)) == 1


@pytest.fixture
def closed_night(monkeypatch):
    """A window that a clock shows for a minute, far from now."""
    monkeypatch.setenv("NIGHTREEL_NIGHT_DAYS", "mon-sun")
    now_hour = datetime.now(UTC).hour
    monkeypatch.setenv("NIGHTREEL_NIGHT_HOURS", f"{(now_hour + 6) % 24}:00-{(now_hour + 6) % 24}:01")


@pytest.fixture
def notes(monkeypatch):
    """What would be shown on runs."""
    shown = []
    monkeypatch.setattr(tasks, "note_backfill", lambda dag_id, run_id, lines: shown.append((run_id, *lines)))
    return shown


def test_a_scheduled_run_without_an_open_night_does_nothing_and_says_so(monkeypatch, deployment, closed_night, notes):
    with pytest.raises(AirflowSkipException, match="the next night opens"):
        call(monkeypatch, tasks.open_night, run_type=DagRunType.SCHEDULED)
    assert open_backfills(deployment) == []
    ((run_id, told),) = notes
    assert run_id == "by_hand__1"
    assert "the next night opens" in told


@pytest.mark.parametrize("is_dry", [False, True])
def test_what_was_not_opened_has_no_report(monkeypatch, deployment, notes, is_dry):
    with pytest.raises(AirflowSkipException, match="the run's note says why"):
        call(monkeypatch, tasks.report, open_state="skipped", dry_run=is_dry)
    assert notes == []


def test_what_was_open_before_its_run_was_cleared_by_day_is_closed(monkeypatch, deployment):
    begin(deployment, "by_hand__1")
    assert "nothing is left" in call(monkeypatch, tasks.report, open_state="skipped")
    assert open_backfills(deployment) == []


def test_a_form_that_is_refused_is_told_in_the_note(monkeypatch, deployment, notes):
    with pytest.raises(AirflowFailException):
        call(monkeypatch, tasks.open_night, folders=["tapes/2024"])
    assert "must lie below" in notes[0][1]


@pytest.fixture
def scans(monkeypatch):
    """The deadlines of the scans that were asked for; none of them finds anything."""
    deadlines = []

    def scan(database, roots, asked_for, rules, deadline_at, *others, **more):
        deadlines.append(deadline_at)
        now = datetime.now(UTC)
        return ScanReport(1, tuple(asked_for), now, now, 0, 0, 0, 0, 0, 0, 0, 0, 0, is_complete=True, message="")

    monkeypatch.setattr(tasks, "scan_archive", scan)
    return deadlines


@pytest.mark.parametrize("is_dry", [False, True])
def test_the_scan_of_a_dry_run_ends_when_that_of_a_real_one_would(monkeypatch, deployment, scans, is_dry):
    until = (datetime.now(UTC) + timedelta(hours=6)).replace(second=0, microsecond=0)
    form = {"dry_run": is_dry, "until": f"{until:%H:%M}"}
    call(monkeypatch, tasks.open_night, **form)
    call(monkeypatch, tasks.scan, **form)
    assert scans == [until]


def test_a_dry_run_is_reported_though_its_window_has_closed_since(monkeypatch, deployment, closed_night):
    told = call(monkeypatch, tasks.report, dry_run=True, in_window=True, scanned="7 files found: not to the end")
    assert "dry run: nothing lacks a current result" in told
    assert "the scan: 7 files found: not to the end" in told


def test_a_form_with_a_language_asks_for_it(monkeypatch, deployment):
    call(monkeypatch, tasks.open_night, language="de")
    (backfill_id,) = open_backfills(deployment)
    assert find_backfill(deployment, backfill_id).scope.language == "de"


@pytest.mark.parametrize(
    ("form", "words"),
    [
        ({"folders": ["tapes/2024"]}, "must lie below"),
        ({"first_folder": "/archive"}, "must lie below"),
        ({"device": "gpu"}, "none is configured"),
        ({"in_window": True}, "NIGHTREEL_NIGHT_DAYS is empty"),
    ],
)
def test_what_cannot_be_done_is_refused_when_it_is_opened(monkeypatch, deployment, form, words):
    with pytest.raises(AirflowFailException, match=words):
        call(monkeypatch, tasks.open_night, **form)


def test_a_dry_run_prints_the_plan_and_keeps_nothing(monkeypatch, deployment):
    fill_archive(deployment, [600.0] * 3)
    call(monkeypatch, tasks.open_night, dry_run=True)
    told = call(monkeypatch, tasks.report, dry_run=True)
    assert "dry run: 3 assets, 0.5 h of media" in told
    assert "first: archive/tape 0000.mp4" in told
    assert open_backfills(deployment) == []
    with pytest.raises(AirflowSkipException, match="nothing is launched"):
        LaunchShards(task_id="launch_shards").execute(context(dry_run=True))


def test_a_report_without_a_backfill_is_an_error(monkeypatch, deployment):
    with pytest.raises(AirflowFailException, match="see its log"):
        call(monkeypatch, tasks.report)


def test_the_end_is_reported_and_kept(monkeypatch, deployment):
    fill_archive(deployment, [600.0])
    backfill_id = begin(deployment, "by_hand__1")
    told = call(monkeypatch, tasks.report)
    assert told.startswith("0 done, 0 rejected, 0 failed, 0 left")
    kept = find_backfill(deployment, backfill_id)
    assert kept.finished_at is not None
    assert kept.report is not None


def test_a_run_whose_scan_failed_is_red_though_its_report_is_kept(monkeypatch, deployment):
    backfill_id = begin(deployment, "by_hand__1")
    with pytest.raises(AirflowFailException, match="scan_archive failed"):
        call(monkeypatch, tasks.report, scan_state="failed")
    assert find_backfill(deployment, backfill_id).report is not None


def test_the_night_is_gone_through_in_the_triggerer(deployment):
    backfill_id = begin(deployment, "by_hand__1")
    with pytest.raises(TaskDeferred) as deferred:
        LaunchShards(task_id="launch_shards").execute(context())
    assert isinstance(deferred.value.trigger, NightTrigger)
    path, arguments = deferred.value.trigger.serialize()
    module, _, name = path.rpartition(".")
    assert getattr(importlib.import_module(module), name)(**arguments).backfill_id == backfill_id


def test_a_scan_waits_while_backfills_are_paused_a_dry_runs_too(monkeypatch, deployment, tmp_path):
    (tmp_path / "a.mp4").write_bytes(b"tape")
    os.utime(tmp_path / "a.mp4", (1, 1))
    monkeypatch.setattr(tasks, "folders", lambda: SimpleNamespace(media_roots={"archive": tmp_path}))
    waits = []

    def resume(wait_s):
        waits.append(wait_s)
        switch_backfills(deployment, PauseAction.RESUME, "anna", "")

    monkeypatch.setattr("operators.scan.pulse.time.sleep", resume)
    switch_backfills(deployment, PauseAction.PAUSE, "anna", "disks must be quiet")
    assert call(monkeypatch, tasks.scan, dry_run=True).startswith("1 files found, 1 hashed")
    assert len(waits) == 1


def test_a_scan_hashes_in_the_order_of_the_form(monkeypatch, deployment, tmp_path):
    monkeypatch.setattr(tasks, "folders", lambda: SimpleNamespace(media_roots={"archive": tmp_path}))
    for second, name in enumerate(["z.mp4", "y.mp4", "x.mp4"], start=1):
        (tmp_path / name).write_bytes(name.encode())
        os.utime(tmp_path / name, (second, second))
    hashed = []

    def look(roots, location, progress):
        hashed.append(location.path)
        return look_at(roots, location, progress)

    monkeypatch.setattr("operators.scan.hashing.look_at", look)
    call(monkeypatch, tasks.scan, order="oldest", first_folder="archive/x.mp4", dry_run=True)
    assert hashed == ["x.mp4", "z.mp4", "y.mp4"]
