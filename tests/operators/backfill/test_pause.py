from zoneinfo import ZoneInfo

import pytest

from operators.backfill.pause import PauseAction, find_pause, switch_backfills
from operators.errors import ChoiceInvalid
from tests.operators.backfill.night_setup import rows


def test_who_paused_and_resumed_and_why_is_kept(media_database):
    switch_backfills(media_database, PauseAction.PAUSE, "anna", "disks are moved")
    switch_backfills(media_database, PauseAction.RESUME, "ben", "")
    assert find_pause(media_database) is None
    kept = rows(media_database, "select paused_by, reason, resumed_by from backfill_pause")
    assert kept == [("anna", "disks are moved", "ben")]


def test_a_second_pause_names_the_first_and_changes_nothing(media_database):
    switch_backfills(media_database, PauseAction.PAUSE, "anna", "disks are moved")
    told = switch_backfills(media_database, PauseAction.PAUSE, "ben", "me too")
    assert "anna" in told
    assert "disks are moved" in told
    assert rows(media_database, "select paused_by from backfill_pause") == [("anna",)]


def test_since_when_it_is_paused_is_told_as_clocks_here_show_it(media_database):
    switch_backfills(media_database, PauseAction.PAUSE, "anna", "disks are moved")
    ((paused_at,),) = rows(media_database, "select paused_at from backfill_pause")
    tokyo = ZoneInfo("Asia/Tokyo")
    told = switch_backfills(media_database, PauseAction.PAUSE, "ben", "me too", tokyo)
    assert f"since {paused_at.astimezone(tokyo):%Y-%m-%d %H:%M}: disks" in told


def test_resuming_what_is_not_paused_says_so(media_database):
    assert "were not paused" in switch_backfills(media_database, PauseAction.RESUME, "anna", "")


@pytest.mark.parametrize(("who", "why"), [("", "disks"), ("anna", " ")])
def test_a_pause_must_say_who_and_why(media_database, who, why):
    with pytest.raises(ChoiceInvalid, match="who and why"):
        switch_backfills(media_database, PauseAction.PAUSE, who, why)
    assert find_pause(media_database) is None
