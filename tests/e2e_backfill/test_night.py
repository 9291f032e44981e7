"""Two nights over one archive: the first ends before its work does, the second takes the rest."""

from collections import Counter
from datetime import UTC, datetime, timedelta
from statistics import median

import pytest

from tests.e2e_backfill.night_log import WORK, read_nights

FILMS = 200
REJECTED = 10
# Two cores bring a shard through its nine tasks in half a minute; the archive takes some minutes.
FIRST_NIGHT = timedelta(seconds=150)
NIGHT_LIMIT_S = 900
LATE_LAUNCHES = """
select count(*) as n from processing_run
where run_id = any(:run_ids) and queued_at >= :closes_at
"""


@pytest.fixture(scope="module")
def archive(archive_deployment):
    """200 distinct films; every twentieth is rejected."""
    for number in range(REJECTED):
        archive_deployment.film(f"night/broken {number:02}.mp4", "media.probe: reject corrupt")
    archive_deployment.films("night", FILMS - REJECTED, "audio.transcribe: sleep 0.5", "vision.analyze: sleep 0.5")
    return "archive/night"


@pytest.fixture(scope="module")
def first_night(archive_deployment, archive):
    until = datetime.now(UTC) + FIRST_NIGHT
    begun = archive_deployment.begin_backfill([archive], until=f"{until:%H:%M:%S}")
    return archive_deployment.wait(begun, NIGHT_LIMIT_S)


@pytest.fixture(scope="module")
def second_night(archive_deployment, archive, first_night):
    return archive_deployment.wait(archive_deployment.begin_backfill([archive]), NIGHT_LIMIT_S)


def test_a_night_that_is_too_short_ends_in_order_with_work_left(archive_deployment, first_night):
    assert first_night.state == "success"
    log = read_nights(archive_deployment, first_night)
    report = log.reports[first_night.run_id]
    assert 0 < log.ended["done"] < FILMS - REJECTED
    assert report["done"] == log.ended["done"]
    assert report["left"] == FILMS - log.ended.total()
    assert report["nights_left"] >= 1


def test_nothing_is_launched_after_the_window(archive_deployment, first_night):
    log = read_nights(archive_deployment, first_night)
    assert log.shards
    assert log.launched_late == []
    closes_at = log.shards[0]["closes_at"]
    run_ids = [shard["run_id"] for shard in log.shards]
    assert archive_deployment.rows(LATE_LAUNCHES, run_ids=run_ids, closes_at=closes_at) == [{"n": 0}]


def test_the_next_night_takes_the_rest_and_nothing_twice(archive_deployment, first_night, second_night):
    assert second_night.state == "success"
    log = read_nights(archive_deployment, first_night, second_night)
    assert log.ended == Counter(done=FILMS - REJECTED, rejected=REJECTED)
    assert log.done_more_than_once == []
    assert {shard["outcome"] for shard in log.shards} == {"done"}
    work = archive_deployment.rows(WORK, run_ids=[shard["run_id"] for shard in log.shards])
    assert {row["n"] for row in work} == {1}
    assert Counter(row["stage"] for row in work)["vision.analyze"] == FILMS - REJECTED


def test_the_report_is_in_the_runs_note(archive_deployment, second_night):
    note = archive_deployment.note(second_night)
    assert "done" in note
    assert str(read_nights(archive_deployment, second_night).ended["done"]) in note


def test_what_is_expected_comes_near_the_truth_once_there_are_timings(archive_deployment, second_night, capsys):
    estimates = read_nights(archive_deployment, second_night).estimates()
    assert estimates
    ratios = [taken_s / expected_s for expected_s, _, taken_s in estimates]
    with capsys.disabled():
        print(f"\nshards: {len(estimates)}; taken / expected: {', '.join(f'{ratio:.2f}' for ratio in ratios)}")
        print(f"within the longest: {sum(taken <= longest for _, longest, taken in estimates)} of {len(estimates)}")
    assert 0.25 <= median(ratios) <= 4


def test_a_third_night_finds_nothing_to_do(archive_deployment, archive, second_night):
    third = archive_deployment.wait(archive_deployment.begin_backfill([archive]), NIGHT_LIMIT_S)
    assert third.state == "success"
    assert read_nights(archive_deployment, third).shards == []
