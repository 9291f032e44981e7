"""What is told of a backfill at its end."""

from dataclasses import replace
from datetime import UTC, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import text

from operators.backfill.backlog import extend_plan
from operators.backfill.closing import close_abandoned, close_backfill
from operators.backfill.report import nights_left, read_report
from operators.backfill.report_text import report_lines, summary_lines
from operators.backfill.store import Counts, find_backfill, open_backfills
from operators.gpu.configuration import GpuConfiguration
from operators.scan.rules import ScanRules
from stage_contract.vocabulary import Stage
from tests.operators.backfill.night_setup import (
    LEARNED,
    MINUTE,
    NOW,
    asset_id,
    begin,
    fill_archive,
    hold_back,
    night_of,
    rows,
)
from tests.operators.backfill.records import add_attempt, add_shard

NO_GPUS = GpuConfiguration.from_environment({})
NOTHING = Counts(0, 0, 0, 0, 0, 0.0, 0.0, 0.0, 0.0)
NIGHT = timedelta(hours=8)
POSITIVE = st.floats(1.0, 1e7)


def test_the_report_is_kept_and_says_what_came_of_the_night(media_database, ended_night):
    backfill_id, settings = ended_night
    report = close_backfill(media_database, backfill_id, settings, NO_GPUS)
    assert read_report(find_backfill(media_database, backfill_id)) == report
    assert (report.done, report.rejected, report.failed, report.left) == (2, 1, 1, 1)
    assert report.media_done_s == 1800
    assert report.nights_left is not None
    (long,) = report.too_long
    assert long.name == "archive/tape 0004.mp4"
    (failed,) = report.failed_assets
    assert (failed.name, failed.is_parked, failed.reason) == ("archive/tape 0003.mp4", False, "failed it is")
    told = "\n".join(report_lines(report, UTC))
    assert "2 done, 1 rejected, 1 failed, 1 left" in told
    assert "too long for a night of 8 h: archive/tape 0004.mp4" in told
    assert "make process" in told


def test_work_is_told_by_stage_and_device_and_what_overlaps_once(media_database, ended_night):
    backfill_id, settings = ended_night
    ((run_id,),) = rows(media_database, "select run_id from backfill_shard")
    add_attempt(media_database, run_id, Stage.TRANSCRIBE, {asset_id(0): 90.0, asset_id(1): 60.0}, beside_s=30.0)
    add_shard(media_database, backfill_id, "again")
    add_attempt(media_database, "again", Stage.TRANSCRIBE, {asset_id(0): 20.0}, beside_s=10.0)
    (work,) = close_backfill(media_database, backfill_id, settings, NO_GPUS).work
    assert (work.stage, work.variant, work.assets, work.media_s) == ("audio.transcribe", "cpu", 2, 1_200)
    assert work.work_s == pytest.approx(170)


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
    assert (report.held_back.waiting, report.held_back.parked) == (0, 1)
    assert "failed: archive/tape 0003.mp4 (parked after 4 failures): failed it is" in report_lines(report, UTC)


def test_a_summary_fits_a_note(media_database, ended_night):
    backfill_id, settings = ended_night
    report = close_backfill(media_database, backfill_id, settings, NO_GPUS)
    assert sum(len(line) + 11 for line in summary_lines(report, UTC)) < 1000


@given(done=POSITIVE, left=POSITIVE, took_s=POSITIVE)
def test_nights_that_remain_hold_what_is_left_at_the_pace_so_far(done, left, took_s):
    counts = replace(NOTHING, done=1, waiting=1, expected_done_s=done, expected_left_s=left)
    nights = nights_left(counts, NOW, NOW + timedelta(seconds=took_s), NIGHT)
    assert nights is not None
    per_night_s = done / timedelta(seconds=took_s).total_seconds() * NIGHT.total_seconds()
    assert per_night_s * nights >= left * (1 - 1e-9)
    assert per_night_s * (nights - 1) <= left


@pytest.mark.parametrize("started_at", [None, NOW])
def test_nights_that_remain_are_unknown_where_nothing_was_done(started_at):
    counts = replace(NOTHING, waiting=1, expected_left_s=60.0)
    assert nights_left(counts, started_at, NOW + MINUTE, NIGHT) is None


def test_a_backfill_whose_run_has_ended_without_a_report_gets_one(media_database, airflow, clock):
    cancelled, goes_on, gone = (begin(media_database, name) for name in ("cancelled", "goes on", "gone"))
    airflow.runs["archive_backfill", "cancelled"] = {"state": "failed", "queued_at": None, "end_date": None}
    airflow.deleted.add("gone")
    settings = night_of(media_database, cancelled, airflow, clock).settings
    own_run = ("archive_backfill", "own")
    with airflow.session() as session:
        assert close_abandoned(media_database, own_run, settings, NO_GPUS, session) == [cancelled, gone]
    assert open_backfills(media_database) == [goes_on]


@pytest.fixture
def close(media_database, airflow, clock):
    """Closes a backfill; returns its report and all of its lines."""

    def close_it(backfill_id, **changed):
        settings = replace(night_of(media_database, backfill_id, airflow, clock).settings, **changed)
        report = close_backfill(media_database, backfill_id, settings, NO_GPUS)
        return report, report_lines(report, UTC)

    return close_it


def plan(database, backfill_id):
    backfill = find_backfill(database, backfill_id)
    learned = (LEARNED.rates, LEARNED.densities)
    extend_plan(database, backfill_id, backfill.scope, backfill.wanted, *learned, False, NOW, ScanRules())


@pytest.mark.parametrize(("hours", "length_h"), [(8, "8"), (1, "1")])
def test_nights_left_are_nights_of_the_settings_whatever_the_end_of_this_run(ended_night, close, hours, length_h):
    backfill_id, _ = ended_night
    report, lines = close(backfill_id, night=timedelta(hours=hours), hours=None)
    # Three assets of 10 min ended in 10 min of runs, in a window of an hour; one of 100 h is left.
    pace = 100 / 0.5 * 10 / 60
    assert report.nights_left == pytest.approx(pace / hours, rel=0.5)
    (told,) = [line for line in lines if "at this pace" in line]
    nights = f"{report.nights_left} more nights of {length_h} h at this pace"
    assert told.endswith(f"{nights}; none are set: NIGHTREEL_NIGHT_DAYS is empty")


def test_a_short_end_does_not_make_assets_too_long(media_database, close):
    fill_archive(media_database, [3_600, 360_000])
    backfill_id = begin(media_database, closes_at=NOW + MINUTE)
    plan(media_database, backfill_id)
    report, lines = close(backfill_id)
    assert [asset.name for asset in report.too_long] == ["archive/tape 0001.mp4"]
    assert "nothing was launched: no run was sure enough to end by 2026-11-20 22:01; the window is too short" in lines
    assert "how many nights remain is unknown: nothing was done to tell the pace by" in lines


def test_nothing_to_do_is_told_from_a_scan_that_did_not_end(media_database, close):
    _, lines = close(begin(media_database))
    assert "nothing was launched: nothing to do was found, and the scan did not come to its end" in lines
    assert "nothing is left of what is known; the scan has not come to its end" in lines


@pytest.mark.parametrize(
    ("withdrawn", "reason"),
    [(0, "launch_shards did not come to it; its log says why"), (1, "1 run asked for, and Airflow started none: is")],
)
def test_launching_that_did_not_come_about_is_told_by_its_reason(media_database, close, withdrawn, reason):
    fill_archive(media_database, [600] * 3)
    backfill_id = begin(media_database)
    plan(media_database, backfill_id)
    for number in range(withdrawn):
        add_shard(media_database, backfill_id, f"shard__1_{number}", outcome="withdrawn")
    assert any(line.startswith(f"nothing was launched: {reason}") for line in close(backfill_id)[1])


def test_pauses_are_told_with_who_when_and_why(media_database, close):
    fill_archive(media_database, [600])
    backfill_id = begin(media_database, closes_at=NOW + 60 * MINUTE)
    plan(media_database, backfill_id)
    pauses = [
        ("ann", NOW - 60 * MINUTE, NOW - 30 * MINUTE),
        ("ben", NOW - 10 * MINUTE, NOW + 20 * MINUTE),
        ("eve", NOW + 50 * MINUTE, None),
    ]
    row = (
        "insert into backfill_pause (paused_at, paused_by, reason, resumed_at, resumed_by) values "
        "(:at, :who, 'disks', :until, case when cast(:until as timestamptz) is not null then 'x' end)"
    )
    with media_database.begin() as connection:
        for who, paused_at, resumed_at in pauses:
            connection.execute(text(row), {"at": paused_at, "who": who, "until": resumed_at})
    report, lines = close(backfill_id)
    assert [(pause.paused_by, pause.lasted_s) for pause in report.pauses] == [("ben", 1200), ("eve", 600)]
    assert "paused 2 times, for 30 min 00 s in all" in lines
    assert "paused by ben from 2026-11-20 21:50 until 2026-11-20 22:20: disks" in lines
    assert "paused by eve from 2026-11-20 22:50 and still; `make resume` ends it: disks" in lines
    assert "nothing was launched: backfills were paused" in lines


def test_runs_that_came_to_nothing_are_counted(media_database, close):
    backfill_id = begin(media_database)
    for number, outcome in enumerate(["left", "left", "done", "withdrawn"]):
        add_shard(media_database, backfill_id, f"shard__1_{number}", outcome=outcome)
    report, lines = close(backfill_id)
    assert (report.shards, report.fruitless, report.withdrawn) == (3, 2, 1)
    assert any(line.startswith("runs that came to none of their files: 2; nothing was launched") for line in lines)


def test_what_failed_is_left_though_nothing_else_is(media_database, close):
    fill_archive(media_database, [600] * 2)
    hold_back(media_database)
    backfill_id = begin(media_database)
    plan(media_database, backfill_id)
    _, lines = close(backfill_id)
    assert any(line.startswith("nothing is left but what failed") for line in lines)
    assert (
        "failed before: 1 waiting, the first until 2026-11-20 23:00, 1 parked; when the cause is mended, "
        "`make backfill FOLDER=… ARGS=--retry-parked` takes them, as does “retry parked” in the form"
    ) in lines


def test_times_are_those_of_the_deployment(media_database, ended_night):
    backfill_id, settings = ended_night
    report = close_backfill(media_database, backfill_id, settings, NO_GPUS)
    (failed,) = report.failed_assets
    assert failed.not_before is not None
    told = "\n".join(report_lines(report, ZoneInfo("Asia/Tokyo")))
    assert f"tried again from {failed.not_before.astimezone(ZoneInfo('Asia/Tokyo')):%Y-%m-%d %H:%M} on" in told
