"""What is told of a backfill before it begins."""

from dataclasses import replace
from datetime import UTC

from operators.backfill.preview import plan_lines, plan_summary, preview
from operators.backfill.store import NewBackfill, open_backfills
from operators.gpu.configuration import GpuConfiguration
from operators.scan.rules import ScanRules
from tests.operators.backfill.night_setup import MINUTE, NOW, SCOPE, fill_archive, hold_back, night_of, rows

NO_GPUS = GpuConfiguration.from_environment({})


def planned(database, airflow, clock, closes_at=None, **settings):
    given = replace(night_of(database, 0, airflow, clock).settings, **settings)
    new = NewBackfill("archive_backfill", "dry", SCOPE, dict.fromkeys(SCOPE.stages), NOW, closes_at)
    return preview(database, new, given, NO_GPUS, ScanRules(), NOW)


def test_a_dry_run_tells_the_plan_and_leaves_nothing_behind(media_database, airflow, clock):
    fill_archive(media_database, [600] * 30)
    plan = planned(media_database, airflow, clock)
    assert (plan.assets, plan.media_s, plan.guessed) == (30, 18_000, 0)
    assert plan.shards >= len(plan.first_shards) > 1
    assert sum(shard.assets for shard in plan.first_shards) == 30
    assert plan.on_cpu.shortest_s < plan.on_cpu.expected_s < plan.on_cpu.longest_s
    assert plan.nights == 1
    assert plan.first_assets[0] == "archive/tape 0000.mp4"
    assert any(line.startswith("shard 1: ") for line in plan_lines(plan, UTC))
    assert rows(media_database, "select * from backfill_item") == []
    assert open_backfills(media_database) == []


def test_without_nights_the_plan_is_reckoned_in_nights_of_the_length_set(media_database, airflow, clock):
    fill_archive(media_database, [36_000] * 32)
    with_nights = planned(media_database, airflow, clock)
    without = planned(media_database, airflow, clock, hours=None)
    assert without.nights == with_nights.nights > 1
    assert f"nights of 8 h needed: {without.nights}; none are set: NIGHTREEL_NIGHT_DAYS is empty" in plan_summary(
        without, UTC
    )
    assert f"nights of 8 h needed: {with_nights.nights}" in plan_summary(with_nights, UTC)


def test_what_no_night_holds_is_named_whatever_the_end_of_this_run(media_database, airflow, clock):
    fill_archive(media_database, [3_600, 360_000])
    for closes_at in (None, NOW + MINUTE):
        plan = planned(media_database, airflow, clock, closes_at, hours=None)
        assert [asset.name for asset in plan.too_long] == ["archive/tape 0001.mp4"]


def test_a_dry_run_tells_what_is_held_back(media_database, airflow, clock):
    fill_archive(media_database, [600] * 3)
    hold_back(media_database)
    plan = planned(media_database, airflow, clock)
    assert plan.assets == 1
    assert any(
        line.startswith("failed before: 1 waiting, the first until 2026-11-20 23:00, 1 parked;")
        for line in plan_lines(plan, UTC)
    )


def test_nothing_but_failures_is_not_nothing(media_database, airflow, clock):
    fill_archive(media_database, [600] * 2)
    hold_back(media_database)
    nothing, held_back = plan_summary(planned(media_database, airflow, clock), UTC)
    assert nothing == "dry run: nothing else lacks a current result; nothing would be launched"
    assert "--retry-parked" in held_back
