"""What is read of the media database, and that reading writes nothing and waits for nobody."""

import time
from datetime import timedelta

import pytest
from sqlalchemy import Engine, text
from sqlalchemy.exc import OperationalError

from operators.gpu.breaker import BreakerState
from operators.gpu.breaker_store import fail
from operators.metrics.reading import EndedAttempts, Fallbacks, PhaseUse, Reading, read_media
from operators.routing import DevicePolicy
from operators.stage_plan import AttemptOutcome
from stage_contract.vocabulary import Variant
from tests.operators.metrics.tonight import GPUS, add_attempt, add_night, choose_cpu, fill, now


def read(database: Engine) -> Reading:
    return read_media(database, GPUS, deadline_s=5.0)


def test_nothing_is_read_of_an_empty_database_but_that_all_devices_are_free(media_database: Engine) -> None:
    reading = read(media_database)

    assert (reading.phase_uses, reading.phase_spreads, reading.attempts, reading.fallbacks) == ((), (), (), ())
    assert [(use.breaker.device_uuid, use.breaker.state, use.leases) for use in reading.devices] == [
        ("GPU-1", BreakerState.CLOSED, 0),
        ("GPU-2", BreakerState.CLOSED, 0),
    ]
    assert (reading.waiting.count, reading.backfills, reading.is_paused, reading.parked) == (0, (), False, 0)


def test_phases_of_the_night_are_counted_and_their_percentiles_are_at_most_five_percent_off(
    media_database: Engine,
) -> None:
    add_attempt(media_database, "run", durations_s=[float(second) for second in range(1, 101)])
    add_attempt(media_database, "old", durations_s=[500.0] * 50, ended_at=now() - timedelta(days=1))

    reading = read(media_database)

    assert reading.phase_uses == (PhaseUse("audio.transcribe", "transcription", "cpu", "cpu", 100, 5050.0),)
    (spread,) = reading.phase_spreads
    assert spread.occurrences == 100
    assert spread.median_s == pytest.approx(50, rel=0.05)
    assert spread.p95_s == pytest.approx(95, rel=0.05)


def test_what_ended_over_an_hour_ago_does_not_count(media_database: Engine) -> None:
    add_attempt(media_database, "new", AttemptOutcome.DEVICE_FAILED, Variant.CUDA, "GPU-1")
    add_attempt(
        media_database, "old", AttemptOutcome.DEVICE_FAILED, Variant.CUDA, ended_at=now() - timedelta(minutes=61)
    )

    reading = read(media_database)

    assert reading.attempts == (EndedAttempts("audio.transcribe", "cuda", "device_failed", 1),)
    assert reading.fallbacks == (Fallbacks("audio.transcribe", "device_failed", 1),)


def test_a_stage_that_was_to_go_to_the_cpu_is_no_fallback(media_database: Engine) -> None:
    choose_cpu(media_database, "wanted", policy=DevicePolicy.CPU)
    assert read(media_database).fallbacks == ()
    choose_cpu(media_database, "fell back")
    assert read(media_database).fallbacks == (Fallbacks("audio.transcribe", "chosen", 1),)


def test_leases_are_told_by_device_and_who_waits_by_how_long(media_database: Engine) -> None:
    fill(media_database)

    reading = read(media_database)

    assert sorted(use.leases for use in reading.devices) == [0, 1]
    (held,) = [use for use in reading.devices if use.leases]
    assert held.capacity_mib == held.leased_mib
    assert reading.waiting.count == 1
    assert reading.waiting.longest_s == pytest.approx(90, abs=10)


def test_a_breaker_whose_wait_is_over_is_told_as_half_open_and_left_as_it_was(media_database: Engine) -> None:
    fail(media_database, "GPU-2", "Xid 79", None, first_wait_s=120.0)
    assert read(media_database).devices[1].breaker.state is BreakerState.OPEN
    with media_database.begin() as connection:
        connection.execute(text("update gpu_breaker set half_opens_at = now() - interval '1 s'"))

    assert read(media_database).devices[1].breaker.state is BreakerState.HALF_OPEN
    with media_database.begin() as connection:
        assert connection.execute(text("select state from gpu_breaker")).scalar_one() == "open"


def test_a_device_that_is_not_configured_is_told_while_its_breaker_was_ever_open(media_database: Engine) -> None:
    fail(media_database, "GPU-9", "Xid 79", None, first_wait_s=120.0)

    assert [(use.breaker.device_uuid, use.capacity_mib) for use in read(media_database).devices] == [
        ("GPU-1", 7680),
        ("GPU-2", 24064),
        ("GPU-9", None),
    ]


def test_a_night_is_told_with_what_is_left_and_when_it_is_done(media_database: Engine) -> None:
    add_night(media_database)

    reading = read(media_database)

    (night,) = reading.backfills
    assert (night.counts.done, night.counts.failed, night.counts.under_way, night.counts.waiting) == (1, 1, 1, 2)
    assert night.expected_end is not None
    assert (night.expected_end - reading.now).total_seconds() == pytest.approx(6 * 3600, rel=0.01)
    assert reading.parked == 1


def test_a_table_that_is_locked_is_not_waited_for_past_the_deadline(media_database: Engine) -> None:
    with media_database.begin() as connection:
        connection.execute(text("lock table processing_run in access exclusive mode"))
        started_s = time.monotonic()
        with pytest.raises(OperationalError, match="statement timeout"):
            read_media(media_database, GPUS, deadline_s=0.3)
    assert time.monotonic() - started_s < 2.0
