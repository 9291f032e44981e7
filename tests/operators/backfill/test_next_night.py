"""What `make up` and `make status` say of the nights."""

from datetime import UTC, datetime

import pytest
from sqlalchemy import Engine

from operators.backfill import next_night
from operators.backfill.next_night import night_line
from operators.backfill.night_settings import NightSettings
from operators.backfill.pause import Pause, PauseAction, switch_backfills

BERLIN = {
    "NIGHTREEL_NIGHT_DAYS": "mon-fri",
    "NIGHTREEL_NIGHT_HOURS": "22:00-06:00",
    "NIGHTREEL_TIME_ZONE": "Europe/Berlin",
}
# A Friday; in Berlin it is an hour later.
EVENING = datetime(2026, 11, 20, 20, 30, tzinfo=UTC)
NIGHT = datetime(2026, 11, 20, 23, 0, tzinfo=UTC)
SATURDAY = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)
PAUSE = Pause(NIGHT, "anna", "disks are moved")


def line(now: datetime, pause: Pause | None = None, **environ: str) -> str:
    return night_line(NightSettings.from_environment({**BERLIN, **environ}), pause, ["archive", "tapes"], now)


@pytest.mark.parametrize(
    ("now", "told"),
    [
        (EVENING, "the next one opens 2026-11-20 22:00 (Europe/Berlin), over archive, tapes"),
        (NIGHT, "open until 2026-11-21 06:00 (Europe/Berlin), over archive, tapes"),
        (SATURDAY, "the next one opens 2026-11-23 22:00 (Europe/Berlin), over archive, tapes"),
    ],
)
def test_the_next_night_is_told_by_the_deployments_clock(now: datetime, told: str) -> None:
    assert line(now, NIGHTREEL_MORE_ARCHIVES="tapes=/mnt/tapes") == told


def test_an_archive_that_nights_leave_out_is_told() -> None:
    told = line(EVENING, NIGHTREEL_NIGHT_FOLDERS="archive/2024")
    assert told.endswith("over archive/2024; NIGHTREEL_NIGHT_FOLDERS leaves out tapes")


def test_nights_that_are_off_are_told_with_the_setting_that_turns_them_on() -> None:
    assert line(EVENING, NIGHTREEL_NIGHT_DAYS="").startswith("nights are off: NIGHTREEL_NIGHT_DAYS is empty; set it in")


@pytest.mark.parametrize("days", ["mon-fri", ""])
def test_a_pause_goes_before_all_else_and_names_who_and_why(days: str) -> None:
    told = line(SATURDAY, PAUSE, NIGHTREEL_NIGHT_DAYS=days)
    assert told == (
        "backfills are paused by anna since 2026-11-21 00:00 (Europe/Berlin): disks are moved; "
        "`make resume` lets them go on"
    )


def test_it_is_printed_on_one_line_that_cannot_write_to_the_terminal(
    media_database: Engine, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    switch_backfills(media_database, PauseAction.PAUSE, "anna", "two\nlines \x1b[2J")
    monkeypatch.setattr(next_night, "connect", lambda: media_database)

    assert next_night.main() == 0
    assert "two lines \\x1b[2J; `make resume`" in capsys.readouterr().out


def test_a_setting_that_is_wrong_is_told_and_is_an_error(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("NIGHTREEL_NIGHT_DAYS", "montag")

    assert next_night.main() == 1
    assert capsys.readouterr().err.startswith("NIGHTREEL_NIGHT_DAYS must be days")
