"""What is told of a backfill on the way, and by the command that asks for it."""

import json
import re
from datetime import UTC
from io import StringIO

import httpx
import pytest
from rich.console import Console
from sqlalchemy import text

from operators.backfill.closing import close_backfill
from operators.backfill.night import tick
from operators.backfill.pause import PauseAction, switch_backfills
from operators.backfill.progress import choose, main, progress_lines, read_progress, render, show
from operators.gpu.configuration import GpuConfiguration
from operators.timings import RunStart, begin_run
from tests.operators.backfill.night_setup import MINUTE, NOW, begin, fill_archive, finish, night_of

NO_GPUS = GpuConfiguration.from_environment({})


def test_progress_shows_runs_under_way_with_their_age(media_database, airflow, clock, capsys):
    fill_archive(media_database, [600, 600])
    backfill_id = begin(media_database, closes_at=NOW + 60 * MINUTE)
    night = night_of(media_database, backfill_id, airflow, clock)
    tick(night)
    progress = read_progress(media_database, backfill_id, NOW + 3 * MINUTE)
    Console(width=100).print(render(progress, night.settings.zone))
    shown = capsys.readouterr().out
    assert f"shard__{backfill_id}_" in shown
    assert "3 min 00 s" in shown
    assert "launches until 2026-11-20 23:00" in shown


def test_progress_tells_the_expected_end_once_something_was_done(media_database, airflow, clock):
    fill_archive(media_database, [3600] * 8)
    backfill_id = begin(media_database)
    night = night_of(media_database, backfill_id, airflow, clock)
    tick(night)
    finish(media_database, airflow, airflow.posts[0])
    clock.now = NOW + 10 * MINUTE
    tick(night)
    progress = read_progress(media_database, backfill_id, clock.now)
    assert progress.expected_end is not None
    assert progress.expected_end > clock.now
    assert "at this pace all is done about" in "\n".join(progress_lines(progress, night.settings.zone))


def test_progress_shows_the_last_report_when_none_is_running(media_database, ended_night, capsys):
    backfill_id, settings = ended_night
    close_backfill(media_database, backfill_id, settings, NO_GPUS)
    assert not show(media_database, Console(width=100), settings.zone, choose(media_database, None, None))
    assert "2 done, 1 rejected, 1 failed, 1 left" in capsys.readouterr().out


def test_the_command_prints_how_it_goes(media_database, airflow, clock, monkeypatch, capsys):
    monkeypatch.setattr("operators.backfill.progress.connect", lambda: media_database)
    assert main([]) == 0
    assert "There was no backfill yet" in capsys.readouterr().out
    fill_archive(media_database, [600])
    begin(media_database, "tonight")
    assert main(["--run-id", "tonight"]) == 0
    assert "tonight" in capsys.readouterr().out


@pytest.fixture
def command(media_database, monkeypatch, capsys):
    """Runs the command; returns its status, and what it printed."""
    monkeypatch.setattr("operators.backfill.progress.connect", lambda: media_database)
    monkeypatch.setenv("NIGHTREEL_TIME_ZONE", "Europe/Berlin")

    def run(*arguments):
        status = main(arguments)
        printed = capsys.readouterr()
        return status, printed.out, printed.err

    return run


def test_a_run_that_is_over_is_shown_while_another_goes_on(media_database, ended_night, command):
    backfill_id, settings = ended_night
    close_backfill(media_database, backfill_id, settings, NO_GPUS)
    begin(media_database, "another")
    status, told, _ = command("--run-id", "night")
    assert status == 0
    assert "night, which began 2026-11-20 23:00:" in told
    assert "2 done, 1 rejected, 1 failed, 1 left" in told
    assert "another" not in told


def test_a_run_that_is_not_there_is_an_error(media_database, command):
    begin(media_database)
    status, told, error = command("--run-id", "nihgt")
    assert (status, told) == (1, "")
    assert "'nihgt' of archive_backfill has not, or is not there" in error


def test_a_report_of_another_version_is_shown(media_database, ended_night, command):
    backfill_id, settings = ended_night
    report = json.loads(close_backfill(media_database, backfill_id, settings, NO_GPUS).model_dump_json())
    older = {
        name: value for name, value in report.items() if name not in ("night_s", "held_back", "pauses", "fruitless")
    }
    older["failed_assets"] = [{**asset, "since_dropped": 1} for asset in older["failed_assets"]]
    keep_report(media_database, backfill_id, older | {"parked_in_all": 7})
    status, told, _ = command()
    assert status == 0
    assert "2 done, 1 rejected, 1 failed, 1 left" in told
    assert "too long for the window: archive/tape 0004.mp4" in told


def test_a_report_that_is_none_is_an_error_in_words(media_database, command):
    keep_report(media_database, begin(media_database), {"done": "many"})
    status, _, error = command()
    assert status == 1
    assert "a report must be one that this version knows: that of night lacks" in error
    assert "Traceback" not in error


def test_the_last_reports_come_one_after_the_other_the_newest_last(media_database, airflow, clock, command):
    settings = night_of(media_database, 0, airflow, clock).settings
    for run_id in ("monday", "tuesday", "wednesday"):
        close_backfill(media_database, begin(media_database, run_id), settings, NO_GPUS)
    begin(media_database, "thursday")
    _, told, _ = command("--last", "2")
    assert [line.split(",")[0] for line in told.splitlines() if "which began" in line] == ["tuesday", "wednesday"]
    with pytest.raises(SystemExit):
        command("--last", "0")


def test_runs_that_airflow_does_not_start_are_told_with_what_to_look_at(media_database, airflow, clock):
    fill_archive(media_database, [3600] * 8)
    backfill_id = begin(media_database)
    tick(night_of(media_database, backfill_id, airflow, clock))
    started, waiting = airflow.posts
    begin_run(media_database, RunStart("process_media", started, {}, NOW, NOW))

    def told(minutes):
        progress = read_progress(media_database, backfill_id, NOW + minutes * MINUTE)
        Console(width=100, file=(shown := StringIO())).print(render(progress, UTC))
        return "\n".join(progress_lines(progress, UTC)), shown.getvalue()

    words, table = told(3)
    assert "1 run waiting to be started by Airflow: is process_media paused there" in words
    assert re.search(rf"{started} +runs ", table)
    assert re.search(rf"{waiting} +queued ", table)
    assert "to be started" not in told(1)[0]


def test_runs_that_airflow_does_not_take_are_told(media_database, airflow, clock):
    fill_archive(media_database, [3600] * 8)
    backfill_id = begin(media_database)
    airflow.refuses_posts = True
    with pytest.raises(httpx.ConnectError):
        tick(night_of(media_database, backfill_id, airflow, clock))
    progress = read_progress(media_database, backfill_id, NOW)
    assert (
        "1 run asked for and not taken by Airflow: if that stays, the log of launch_shards says why"
        in progress_lines(progress, UTC)
    )


def test_a_pause_is_told_with_its_time_and_its_end(media_database):
    backfill_id = begin(media_database)
    switch_backfills(media_database, PauseAction.PAUSE, "anna", "disks are moved")
    lines = progress_lines(read_progress(media_database, backfill_id, NOW), UTC)
    (paused,) = [line for line in lines if line.startswith("paused by anna since 20")]
    assert paused.endswith(": disks are moved; `make resume` lets it go on")


def keep_report(database, backfill_id, report):
    with database.begin() as connection:
        statement = "update backfill set finished_at = now(), report = cast(:report as jsonb) where backfill_id = :id"
        connection.execute(text(statement), {"report": json.dumps(report), "id": backfill_id})
