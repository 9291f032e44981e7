"""What is told of a backfill: at its end, on the way, and before it begins."""

from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console
from sqlalchemy import text

from operators.backfill.closing import close_abandoned, close_backfill
from operators.backfill.night import tick
from operators.backfill.preview import plan_lines, preview
from operators.backfill.progress import main, progress_lines, read_progress, render, show
from operators.backfill.report import BackfillReport, nights_left, report_lines, summary_lines
from operators.backfill.store import Counts, NewBackfill, find_backfill, open_backfills
from operators.gpu.configuration import GpuConfiguration
from operators.scan.rules import ScanRules
from operators.timings import RunItemOutcome
from tests.operators.backfill.night_setup import (
    MINUTE,
    NOW,
    SCOPE,
    begin,
    fill_archive,
    finish,
    night_of,
    rows,
)

NO_GPUS = GpuConfiguration.from_environment({})
NOTHING = Counts(0, 0, 0, 0, 0, 0.0, 0.0, 0.0, 0.0)
NIGHT = timedelta(hours=8)
POSITIVE = st.floats(1.0, 1e7)


@pytest.fixture
def ended_night(media_database, airflow, clock):
    """A window of an hour: three assets ended, one failed, one can never end in it."""
    fill_archive(media_database, [600, 600, 600, 600, 360_000])
    backfill_id = begin(media_database, closes_at=NOW + 60 * MINUTE)
    night = night_of(media_database, backfill_id, airflow, clock)
    tick(night)
    for run_id in list(airflow.posts):
        finish(media_database, airflow, run_id, a2=RunItemOutcome.REJECTED, a3=RunItemOutcome.FAILED)
    while not tick(night).is_over:
        for run_id in airflow.running():
            if run_id.startswith("shard__"):
                finish(media_database, airflow, run_id, a2=RunItemOutcome.REJECTED, a3=RunItemOutcome.FAILED)
    with media_database.begin() as connection:
        connection.execute(text("update backfill_shard set ended_at = launched_at + interval '10 minutes'"))
    return backfill_id, night.settings


def test_the_report_is_kept_and_says_what_came_of_the_night(media_database, ended_night):
    backfill_id, settings = ended_night
    report = close_backfill(media_database, backfill_id, settings, NO_GPUS)
    assert BackfillReport.model_validate(find_backfill(media_database, backfill_id).report) == report
    assert (report.done, report.rejected, report.failed, report.left) == (2, 1, 1, 1)
    assert report.media_done_s == 1800
    assert report.nights_left is not None
    (long,) = report.too_long
    assert long.name == "archive/tape 0004.mp4"
    (failed,) = report.failed_assets
    assert (failed.name, failed.is_parked, failed.reason) == ("archive/tape 0003.mp4", False, "failed it is")
    told = "\n".join(report_lines(report))
    assert "2 done, 1 rejected, 1 failed, 1 left" in told
    assert "too long for this window: archive/tape 0004.mp4" in told
    assert "make process" in told


def test_the_estimate_is_held_against_the_truth(media_database, ended_night):
    backfill_id, settings = ended_night
    truth = close_backfill(media_database, backfill_id, settings, NO_GPUS).truth
    ((shards, expected_s),) = rows(media_database, "select count(*), sum(expected_s) from backfill_shard")
    assert truth is not None
    assert (truth.shards, truth.took_s) == (shards, shards * 600)
    assert truth.expected_s == pytest.approx(expected_s)


def test_a_parked_asset_is_told_with_its_reason(media_database, ended_night):
    backfill_id, settings = ended_night
    with media_database.begin() as connection:
        connection.execute(text("update asset_failure set not_before = null, failures = 4"))
    report = close_backfill(media_database, backfill_id, settings, NO_GPUS)
    assert report.parked_in_all == 1
    assert "failed: archive/tape 0003.mp4 (parked after 4 failures): failed it is" in report_lines(report)


def test_a_summary_fits_a_note(media_database, ended_night):
    backfill_id, settings = ended_night
    report = close_backfill(media_database, backfill_id, settings, NO_GPUS)
    assert sum(len(line) + 11 for line in summary_lines(report)) < 1000


@given(done=POSITIVE, left=POSITIVE, took_s=POSITIVE)
def test_nights_that_remain_hold_what_is_left_at_the_pace_so_far(done, left, took_s):
    counts = replace(NOTHING, done=1, waiting=1, expected_done_s=done, expected_left_s=left)
    nights = nights_left(counts, NOW, NOW + timedelta(seconds=took_s), NIGHT)
    assert nights is not None
    per_night_s = done / timedelta(seconds=took_s).total_seconds() * NIGHT.total_seconds()
    assert per_night_s * nights >= left * (1 - 1e-9)
    assert per_night_s * (nights - 1) <= left


@pytest.mark.parametrize(("started_at", "night"), [(None, NIGHT), (NOW, None)])
def test_nights_that_remain_are_unknown_without_a_pace_or_a_night(started_at, night):
    counts = replace(NOTHING, waiting=1, expected_left_s=60.0)
    assert nights_left(counts, started_at, NOW + MINUTE, night) is None


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
    assert not show(media_database, Console(width=100), settings.zone)
    assert "2 done, 1 rejected, 1 failed, 1 left" in capsys.readouterr().out


def test_the_command_prints_how_it_goes(media_database, airflow, clock, monkeypatch, capsys):
    monkeypatch.setattr("operators.backfill.progress.connect", lambda: media_database)
    assert main([]) == 0
    assert "There was no backfill yet" in capsys.readouterr().out
    fill_archive(media_database, [600])
    begin(media_database, "tonight")
    assert main(["--run-id", "tonight"]) == 0
    assert "tonight" in capsys.readouterr().out


def test_a_dry_run_tells_the_plan_and_leaves_nothing_behind(media_database, airflow, clock):
    fill_archive(media_database, [600] * 30)
    settings = night_of(media_database, 0, airflow, clock).settings
    new = NewBackfill("archive_backfill", "dry", SCOPE, dict.fromkeys(SCOPE.stages), NOW, None)
    plan = preview(media_database, new, settings, NO_GPUS, ScanRules(), NOW)
    assert (plan.assets, plan.media_s, plan.guessed) == (30, 18_000, 0)
    assert plan.shards >= len(plan.first_shards) > 1
    assert sum(shard.assets for shard in plan.first_shards) == 30
    assert plan.on_cpu.shortest_s < plan.on_cpu.expected_s < plan.on_cpu.longest_s
    assert plan.nights == 1
    assert plan.first_assets[0] == "archive/tape 0000.mp4"
    assert any(line.startswith("shard 1: ") for line in plan_lines(plan))
    assert rows(media_database, "select * from backfill_item") == []
    assert open_backfills(media_database) == []


def test_a_backfill_whose_run_has_ended_without_a_report_gets_one(media_database, airflow, clock):
    cancelled, goes_on, gone = (begin(media_database, name) for name in ("cancelled", "goes on", "gone"))
    airflow.runs["archive_backfill", "cancelled"] = {"state": "failed", "queued_at": None, "end_date": None}
    airflow.deleted.add("gone")
    settings = night_of(media_database, cancelled, airflow, clock).settings
    own_run = ("archive_backfill", "own")
    with airflow.session() as session:
        assert close_abandoned(media_database, own_run, settings, NO_GPUS, session) == [cancelled, gone]
    assert open_backfills(media_database) == [goes_on]
